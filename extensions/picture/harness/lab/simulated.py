"""A schedule of the simulation in the lab: a failed one is stepped through, as its seed decides."""

from __future__ import annotations

from collections.abc import Iterator

from raftline_testing.virtual.schedule import Schedule, as_planned
from raftline_testing.virtual.schedule_key import ScheduleKey, key_in

from .fixed import FixedRun


class SimulatedRun(FixedRun):
    """A run of a schedule. Its faults and clients are those of the seed, so nobody acts on it."""

    source = "a schedule of the simulation: its seed decides about faults and clients"

    def __init__(self, key: ScheduleKey, bug: int = 0) -> None:
        """Start a schedule; the sources have this bug of lab 6 already."""
        self._key, self._bug = key, bug
        super().__init__()

    def _make_events(self) -> Iterator[None]:
        schedule = self._schedule = Schedule(self._key.seed, self._key.plan(), self._say)
        schedule.show_to(self.picture)
        self.world, self.hosts, self.links = schedule.world, schedule.hosts, schedule.network
        return self._all_events()

    def _all_events(self) -> Iterator[None]:
        yield from self._schedule.events(self._key.steps)
        self._schedule.judge()

    def _run_event(self) -> None:
        with as_planned(self._schedule):
            super()._run_event()

    def _address(self) -> str:
        return self._key.address(self.world.events, self._bug)


def schedule_in(address: str) -> tuple[SimulatedRun, int]:
    """Return the run of an address, at its beginning, and the number of events to go to.

    Raises:
        WrongKey: it names no schedule.
    """
    found = key_in(address)
    return SimulatedRun(found.key, found.bug), found.at
