"""The judgement of one hand-in: its transcripts, its schedules, its points."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from raftline.picture.harness.judging.collected import Collector
from raftline_course.grading import transcripts
from raftline_course.grading.isolation.servers import CannotLock, Nursery, TimeIsUp, shown
from raftline_course.grading.milestones import POINTS, TRANSCRIPT_POINTS, Milestone
from raftline_course.grading.runs import Run, Stage, schedules_of, transcripts_of
from raftline_course.home import ROOT
from raftline_testing.broken_rules import sentence
from raftline_testing.lab_address import ADDRESS, PAGE

CPU_SECONDS, WALL_SECONDS = 10, 600  # for a server, and for a run, which takes less than one
KINDS = 3  # each failed kind of schedule costs this part of the points for schedules
PAGE_IN_CLONE = ROOT.parent / PAGE[1:]  # no handout has it
_NO_PYTHON = re.compile(r"\b(?:Syntax|Indentation|Tab)Error: ")  # no step of it can be shown
MILESTONE_SECONDS = 3600.0  # for all runs of a milestone


@dataclass
class Marks:
    """The points of one hand-in for one milestone."""

    milestone: int
    points: int = 0
    transcripts_passed: int = 0
    transcripts: int = 0
    schedules_passed: int = 0
    schedules: int = 0
    first_failure: str = ""  # the run, and the sentence
    picture: str = ""
    picture_error: str = ""  # why the first failure was not drawn
    lab: str = ""  # the address at which the lab page shows the first failed schedule
    failures: list[str] = field(default_factory=list)  # failures of transcripts, one line each

    def as_json(self) -> dict[str, object]:
        return dataclasses.asdict(self)


def marks_of(
    files: Mapping[str, str],
    milestone: Milestone,
    *,
    schedules: int | None = None,
    picture: Path | None = None,
    salt: str = "",
    seconds: float | None = None,
) -> Marks:
    """Return the marks of a hand-in for a milestone; draw the first failure into `picture`. A
    `salt` draws schedules that its author hasn't seen. No run begins after `seconds`."""
    marks = Marks(milestone.number)
    marks.transcripts = len(milestone.transcripts) + milestone.machine
    marks.schedules = milestone.count if schedules is None else schedules
    failed: set[str] = set()  # kinds of schedules
    with Judge(files, marks, picture, seconds) as judge:
        try:
            for run in transcripts_of(milestone):
                marks.transcripts_passed += judge.passes(run)
            for run in schedules_of(milestone, marks.schedules, salt):
                if judge.passes(run):
                    marks.schedules_passed += 1
                else:
                    failed.add(run.kind)
        except TimeIsUp as error:
            judge.fail(f"stopped: {error}", None)
    marks.points = _share(TRANSCRIPT_POINTS, marks.transcripts_passed, marks.transcripts)
    rest = POINTS - TRANSCRIPT_POINTS
    by_kind = max(0, rest * (KINDS - len(failed)) // KINDS)
    marks.points += min(by_kind, _share(rest, marks.schedules_passed, marks.schedules))
    return marks


def first_lost(files: Mapping[str, str], milestone: Milestone, schedules: int) -> str:
    """Return which schedule fails first, and why; "" if all pass. Play no transcripts."""
    with Judge(files, Marks(milestone.number)) as judge:
        for run in schedules_of(milestone, schedules):
            error = judge.error_of(run, Stage())
            if error is not None:
                return f"{run.text}: {reason_of(error)}"
    return ""


def _share(points: int, passed: int, count: int) -> int:
    """Return the points for `passed` of `count`, rounded down: each failure costs at least one."""
    return points * passed // count if count else points


class Judge:
    """The runs of one hand-in in one milestone."""

    def __init__(
        self,
        files: Mapping[str, str],
        marks: Marks,
        picture: Path | None = None,
        seconds: float | None = None,
    ) -> None:
        self._files = files
        self._marks = marks
        self._picture = picture
        self._seconds = MILESTONE_SECONDS if seconds is None else seconds
        self._until = time.monotonic() + self._seconds
        self._nursery: Nursery | None = None

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        if self._nursery is not None:
            self._nursery.__exit__()

    def passes(self, run: Run) -> bool:
        """Carry out a run; repeat the first failed one for its picture.

        Raises:
            TimeIsUp: it took too long, so no other run may start.
        """
        if time.monotonic() > self._until:
            raise TimeIsUp(f"its runs took more than {self._seconds:.0f} s in all")
        error = self.error_of(run, Stage())
        if error is None:
            return True
        self.fail(f"{run.text}: {reason_of(error)}", run)
        if isinstance(error, TimeIsUp):
            raise error
        return False

    def error_of(self, run: Run, stage: Stage) -> Exception | None:
        """Carry out a run; return its failure, if any."""
        try:
            if self._nursery is None or not self._nursery.is_there:
                self._nursery = Nursery(self._files)
            with self._nursery.run(CPU_SECONDS, WALL_SECONDS, stage.say) as servers:
                run.perform(servers, stage)
        except CannotLock:
            raise
        except Exception as error:
            return error  # of any kind: the hand-in caused it
        return None

    def fail(self, text: str, run: Run | None) -> None:
        """Record a failure."""
        marks = self._marks
        marks.failures.append(text)
        has_steps = PAGE_IN_CLONE.is_file() and not _NO_PYTHON.search(text)
        if run is not None and run.address and not marks.lab and has_steps:
            marks.lab = f"{ADDRESS}#{run.address}"
        if marks.first_failure:
            return
        marks.first_failure = text
        if self._picture is None or run is None:
            return
        collector = Collector(one_clock=True, names_places=False)
        again = self.error_of(run, Stage(collector))
        how = f"{run.text}: {reason_of(again)}" if again is not None else "it passed"
        if how != text:
            marks.picture_error = f"when the run was repeated to draw it, {how}"
        elif collector.count:
            collector.fail(text)
            self._picture.parent.mkdir(parents=True, exist_ok=True)
            page = collector.page(f"milestone {self._marks.milestone}")
            self._picture.write_text(page, encoding="utf-8")
            marks.picture = str(self._picture)


def reason_of(error: Exception) -> str:
    """Return why a run failed, for its author."""
    return shown(str(error) if isinstance(error, transcripts.NotSo) else sentence(error))
