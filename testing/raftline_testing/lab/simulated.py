"""A schedule of the simulation in the lab: a failed one is stepped through, as its seed decides."""

from __future__ import annotations

from collections import deque

from ..virtual.schedule import Schedule, as_planned
from ..virtual.schedule_key import ScheduleKey, key_in
from .acts import ActRefused
from .live_picture import LivePicture
from .run import Run

LINES_MAX = 50  # the last ones, as many as the page keeps


class SimulatedRun(Run):
    """A run of a schedule. Its faults and clients are those of the seed, so nobody acts on it."""

    def __init__(self, key: ScheduleKey, bug: int = 0) -> None:
        """Start a schedule; the sources have this bug of lab 6 already."""
        self._key, self._bug = key, bug
        super().__init__()

    def _make_world(self) -> None:
        self.picture = LivePicture()
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._schedule = Schedule(self._key.seed, self._key.plan(), self._say)
        self._schedule.show_to(self.picture)
        self.world, self.hosts = self._schedule.world, self._schedule.hosts
        self.links = self._schedule.network
        self._events = self._schedule.events(self._key.steps)
        self._is_over = False

    def _start(self) -> None:
        self._run_event()  # up to the first event

    def _run_event(self) -> None:
        with as_planned(self._schedule):
            if next(self._events, self) is self:
                self._is_over = True
                self._schedule.judge()

    def _can_go_on(self) -> bool:
        return not self._is_over

    def _say(self, line: str) -> None:
        """Keep a line of the trace about a fault."""
        time, _, what = line.strip().partition("  > ")
        if what:
            self._lines.append(f"{time} ms: {what}")

    def act(self, act: str) -> None:
        raise ActRefused(
            "this is a schedule of the simulation: its seed decides about faults and clients. "
            "New begins a run of your own"
        )

    def _answers(self) -> list[str]:
        lines = list(self._lines)
        self._lines.clear()
        return lines

    def _address(self) -> str:
        return self._key.address(self.world.events, self._bug)


def schedule_in(address: str) -> tuple[SimulatedRun, int]:
    """Return the run of an address, at its beginning, and the number of events to go to.

    Raises:
        WrongKey: it names no schedule.
    """
    found = key_in(address)
    return SimulatedRun(found.key, found.bug), found.at
