"""A schedule of the grader in the lab page, on a hand-in that the page holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

from raftline.picture.harness.lab.fixed import FixedRun
from raftline.picture.harness.lab.plan import EVENTS_MAX
from raftline_course.grading.isolation.servers import HandInRun
from raftline_course.grading.judging import reason_of
from raftline_course.grading.machine import TriedMachine
from raftline_course.grading.runs import Run, Stage, seeded
from raftline_course.grading.transcripts import Playing
from raftline_testing.lab_address import GRADED
from raftline_testing.virtual.schedule_key import WrongKey


class GradedRun(FixedRun):
    """A schedule of the grader. A moment of it is a number of its events; in a situation of the
    paper these are the acts of a transcript."""

    source = "a schedule of the grader: its seed decides about faults and clients"
    names_places = False

    def __init__(self, run: Run, servers: HandInRun) -> None:
        self._run, self._servers = run, servers
        super().__init__()

    def _make_events(self) -> Iterator[None]:
        stage = Stage(self.picture, self._say)
        staged = self._staged = self._run.begin(self._servers, stage)
        if isinstance(staged, TriedMachine):
            raise WrongKey(f"{self._run.name} tests the state machine alone; no server runs")
        self.world, self.hosts, self.links = staged.world, staged.hosts, staged.network
        self._done = 0
        return staged.events()

    def _run_event(self) -> None:
        self._done += 1
        super()._run_event()
        if self._is_over:
            self._lines.append(f"{self._run.name} passed")

    @property
    def moment(self) -> tuple[int, int]:
        return self._done, 0

    def run_until(self, until_ms: int) -> bool:
        """Run all events that are due by then; of a transcript, do the next act."""
        if isinstance(self._staged, Playing):
            return self._advance() and not self.broken
        return super().run_until(until_ms)

    def _say(self, line: str) -> None:
        if isinstance(self._staged, Playing):
            self._lines += filter(None, line.splitlines())
        else:
            super()._say(line)

    def _words(self, error: Exception) -> str:
        return reason_of(error)

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        if isinstance(self._staged, Playing):  # its time stands still between two acts
            facts["next_ms"] = facts["now_ms"] if self._can_go_on() else None
        return facts

    def _address(self) -> str:
        return f"{self._run.address}&at={self._done}"


def graded(servers: HandInRun, address: str) -> tuple[GradedRun, int]:
    """Return the run of an address, at its beginning, and the number of events to go to: those
    before its failure, if the address names no other.

    Raises:
        WrongKey: it names no schedule.
    """
    fields = parse_qs(address, keep_blank_values=True)
    seed, at, salt = (fields.pop(name, [""])[-1] for name in (GRADED[:-1], "at", "salt"))
    run = seeded(int(seed), salt) if _is_number(seed) else None
    if run is None or fields or not (_is_number(at) or not at):
        raise WrongKey(f"not a schedule of the grader: {address}")
    return GradedRun(run, servers), int(at or EVENTS_MAX)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
