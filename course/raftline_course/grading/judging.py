"""The judgement of one hand-in: its transcripts, its schedules, its points."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from raftline.logmanager import LogManager
from raftline.raft.log import Entry
from raftline.view.collected import Collector
from raftline_course.grading import schedule, transcripts
from raftline_course.grading.findings import sentence
from raftline_course.grading.milestones import MILESTONES, POINTS, TRANSCRIPT_POINTS, Milestone
from raftline_course.grading.remote import CannotLock, HandInProcess, TimeIsUp
from tests.faulty_folder import MemoryFolder

CPU_SECONDS, WALL_SECONDS = 10, 120  # a run; it takes less than one
MILESTONE_SECONDS = 1200  # of all runs of one
MACHINE_COMMANDS = 300


@dataclass
class Marks:
    """The points of one hand-in for one milestone."""

    milestone: int
    points: int = 0
    transcripts_passed: int = 0
    transcripts: int = 0
    schedules_passed: int = 0
    schedules: int = 0
    first_failure: str = ""  # which run, and the sentence
    picture: str = ""
    failures: list[str] = field(default_factory=list)  # of transcripts, one line each

    def as_json(self) -> dict[str, object]:
        return dataclasses.asdict(self)


def marks_of(
    files: Mapping[str, str],
    milestone: Milestone,
    *,
    schedules: int | None = None,
    picture: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Marks:
    """Return what a hand-in gets for a milestone; the first failure is drawn into `picture`."""
    marks = Marks(milestone.number)
    marks.transcripts = len(milestone.transcripts) + milestone.machine
    marks.schedules = milestone.count if schedules is None else schedules
    judge = _Judge(files, milestone, marks, picture)
    try:
        judge.play_all()
        judge.run_all()
    except TimeIsUp as error:
        judge.fail(f"stopped: {error}", None)
    marks.points = _share(TRANSCRIPT_POINTS, marks.transcripts_passed, marks.transcripts)
    rest = POINTS - TRANSCRIPT_POINTS
    marks.points += _share(rest, marks.schedules_passed, marks.schedules)
    say(f"milestone {milestone.number}: {marks.points} of {POINTS}")
    return marks


def _share(points: int, passed: int, count: int) -> int:
    """Return the points for `passed` of `count`, rounded down: each failure costs at least one."""
    return points * passed // count if count else points


class _Judge:
    """The runs of one hand-in in one milestone."""

    def __init__(
        self, files: Mapping[str, str], milestone: Milestone, marks: Marks, picture: Path | None
    ) -> None:
        self._files = files
        self._milestone = milestone
        self._marks = marks
        self._picture = picture
        self._until = time.monotonic() + MILESTONE_SECONDS

    def play_all(self) -> None:
        for path in self._milestone.transcripts:
            text = path.read_text(encoding="utf-8")

            def play(process: HandInProcess, collector: Collector | None, text: str = text) -> None:
                transcripts.play(text, process, collector)

            name = f"transcript {path.stem}: {transcripts.title_of(text)}"
            self._marks.transcripts_passed += self._try(name, play)
        if self._milestone.machine:
            self._marks.transcripts_passed += self._try("state machine", _try_machine)

    def run_all(self) -> None:
        one = self._milestone
        for seed in range(one.number * 1000, one.number * 1000 + self._marks.schedules):
            plan = schedule.plan_of(seed, one.nodes_of(seed), one.faults, one.given)

            def run(
                process: HandInProcess,
                collector: Collector | None,
                seed: int = seed,
                plan: schedule.Plan = plan,
            ) -> None:
                schedule.run(
                    process, seed, plan, one.timeouts, collector, quorum_check=one.quorum_check
                )

            self._marks.schedules_passed += self._try(f"seed {seed}", run)

    def _try(self, name: str, run: Callable[[HandInProcess, Collector | None], None]) -> bool:
        """Do a run; the first one that fails is done once more, for its picture."""
        if time.monotonic() > self._until:
            raise TimeIsUp(f"its runs took more than {MILESTONE_SECONDS} s in all")
        error = self._error_of(run, None)
        if error is None:
            return True
        reason = str(error) if isinstance(error, transcripts.NotSo) else sentence(error)
        self.fail(f"{name}: {reason}", run)
        if isinstance(error, TimeIsUp):
            raise error
        return False

    def _error_of(
        self, run: Callable[[HandInProcess, Collector | None], None], collector: Collector | None
    ) -> Exception | None:
        try:
            with HandInProcess(self._files, CPU_SECONDS, WALL_SECONDS) as process:
                run(process, collector)
        except CannotLock:
            raise
        except Exception as error:
            return error  # of whatever kind: the hand-in has led to it
        return None

    def fail(
        self, text: str, run: Callable[[HandInProcess, Collector | None], None] | None
    ) -> None:
        """Record a failure."""
        marks = self._marks
        marks.failures.append(text)
        if marks.first_failure:
            return
        marks.first_failure = text
        if self._picture is None or run is None:
            return
        collector = Collector()
        self._error_of(run, collector)
        if collector.count:
            self._picture.parent.mkdir(parents=True, exist_ok=True)
            page = collector.page(f"milestone {self._milestone.number}, {text[:200]}")
            self._picture.write_text(page, encoding="utf-8")
            marks.picture = str(self._picture)


def _try_machine(process: HandInProcess, collector: Collector | None) -> None:
    """Let the hand-in's state machine execute commands; its replies must be raftline's."""
    commands = machine_commands(random.Random(9))
    replies = process.ask({"machine": commands}).get("replies")
    manager = LogManager("s1", MemoryFolder(), {"s1": "localhost:1"})
    manager.recover()
    entries = [Entry(index, 1, command) for index, command in enumerate(commands, start=1)]
    expected = manager.apply(entries)
    if not isinstance(replies, list) or len(replies) != len(expected):
        raise AssertionError("the state machine gives one reply to each command (§8)")
    for command, reply, right in zip(commands, replies, expected, strict=True):
        if reply != right:
            raise AssertionError(
                f"a numbered request is done once, and answered as then (§8): {command!r} is "
                f"answered {reply!r:.80}, not {right!r}"
            )


def machine_commands(chance: random.Random) -> list[str]:
    """Return commands of clients, some of which come again, a late one among later ones."""
    made: list[str] = []
    numbers = dict.fromkeys(("client1", "client2"), 0)
    for _ in range(MACHINE_COMMANDS):
        key = chance.choice("abc")
        command = chance.choice([f"set {key} {len(made)}", f"delete {key}", "incr n"])
        if chance.random() < 0.3:
            made.append(command)
        elif chance.random() < 0.3 and any("#" in one for one in made[-40:]):
            made.append(chance.choice([one for one in made[-40:] if "#" in one]))
        else:
            client = chance.choice(list(numbers))
            numbers[client] += 1
            made.append(f"{client}#{numbers[client]}@{command}")
    return made


def all_marks(
    files: Mapping[str, str],
    numbers: Sequence[int],
    *,
    schedules: int | None = None,
    pictures: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Marks]:
    """Return the marks of these milestones."""
    return [
        marks_of(
            files,
            milestone,
            schedules=schedules,
            say=say,
            picture=pictures / f"milestone-{milestone.number}.html" if pictures else None,
        )
        for milestone in MILESTONES
        if milestone.number in numbers
    ]
