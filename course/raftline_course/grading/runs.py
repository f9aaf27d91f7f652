"""The runs of a milestone: its transcripts, and its schedules, each by its seed.

Of ten schedules one is a quiet cluster, five draw a situation of the paper on purpose, and four
draw faults. A seed gives the same run each time; with a salt it gives another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from raftline.picture.harness.judging.collected import Collector
from raftline_course.grading import quiet, schedule, situations, transcripts
from raftline_course.grading.isolation.servers import HandInRun, Print
from raftline_course.grading.machine import TriedMachine
from raftline_course.grading.milestones import MILESTONES, Milestone
from raftline_testing.lab_address import GRADED

SEEDS_APART = 1000  # distance of the seeds of two milestones
MACHINE_SEED = 9
MACHINE_EVERY = 10  # schedules of its milestone


@dataclass(frozen=True)
class Stage:
    """The observers of a run, if any: a collector of its steps, a printer of its lines."""

    collector: Collector | None = None
    say: Print | None = None


Staged = schedule.Schedule | transcripts.Playing | TriedMachine  # what yields the events of a run
Begin = Callable[[HandInRun, Stage], Staged]


@dataclass(frozen=True)
class Run:
    """One run: `name` is the argument of `--only`, and `title` says more. Runs of one kind test the
    same rule."""

    name: str
    title: str
    begin: Begin
    kind: str = "transcript"
    address: str = ""  # in the lab, after `#`; it opens at the failed step

    def perform(self, servers: HandInRun, stage: Stage) -> None:
        """Carry it out.

        Raises:
            Exception: it failed.
        """
        for _ in self.begin(servers, stage).events():
            pass

    @property
    def text(self) -> str:
        return f"{self.name}: {self.title}" if self.title else self.name


def transcripts_of(milestone: Milestone) -> Iterator[Run]:
    """Yield the runs whose texts students have."""
    for path in milestone.transcripts:
        text = path.read_text(encoding="utf-8")
        yield Run(f"transcript {path.stem}", transcripts.title_of(text), _play(text))
    if milestone.machine:
        yield Run("state machine", "", _machine(MACHINE_SEED))


def schedules_of(milestone: Milestone, count: int, salt: str = "") -> Iterator[Run]:
    """Yield the runs that chance draws."""
    for place in range(count):
        yield schedule_of(milestone, milestone.number * SEEDS_APART + place, salt)


def schedule_of(milestone: Milestone, seed: int, salt: str) -> Run:
    """Return the run of this seed."""
    name, place = f"seed {seed}", seed % SEEDS_APART
    number = salted(seed, salt)
    drawn = milestone.situations
    if milestone.machine and place % MACHINE_EVERY == 2:
        return Run(name, "a state machine", _machine(number), "machine")
    address = lab_address(seed, salt)
    if place % 10 == 0:
        return Run(name, "a quiet cluster", _quiet(milestone, number), "quiet", address)
    if drawn and place % 2:
        draw = drawn[place // 2 % len(drawn)]
        text = situations.text_of(draw, number)
        return Run(name, transcripts.title_of(text), _play(text), draw.__name__, address)
    return Run(name, "", _schedule(milestone, number, place), "faults", address)


def lab_address(seed: int, salt: str) -> str:
    """Return the part of an address of the lab, after `#`, that opens this schedule."""
    return f"{GRADED}{seed}" + (f"&salt={quote(salt, safe='')}" if salt else "")


def seeded(seed: int, salt: str = "") -> Run | None:
    """Return the schedule of this seed, or None."""
    number = seed // SEEDS_APART
    if not 1 <= number <= len(MILESTONES):
        return None
    return schedule_of(MILESTONES[number - 1], seed, salt)


def run_named(name: str, salt: str = "") -> Run | None:
    """Return the run with this name, as a failure prints it, or None."""
    kind, _, rest = name.strip().partition(" ")
    if kind == "seed" and rest.isascii() and rest.isdigit():
        return seeded(int(rest), salt)
    for milestone in MILESTONES:
        for run in transcripts_of(milestone):
            if name.strip() in (run.name, run.name.removeprefix("transcript ")):
                return run
    return None


def salted(seed: int, salt: str) -> int:
    """Return the seed of chance: the seed itself, or a salted one."""
    if not salt:
        return seed
    return int(hashlib.sha256(f"{salt} {seed}".encode()).hexdigest()[:12], 16)


def _play(text: str) -> Begin:
    def begin(servers: HandInRun, stage: Stage) -> Staged:
        return transcripts.Playing(text, servers, stage.collector, stage.say)

    return begin


def _machine(number: int) -> Begin:
    def begin(servers: HandInRun, stage: Stage) -> Staged:
        return TriedMachine(servers, number)

    return begin


def _quiet(milestone: Milestone, number: int) -> Begin:
    plan = quiet.plan_of(number, milestone.nodes[number % len(milestone.nodes)])

    def begin(servers: HandInRun, stage: Stage) -> Staged:
        return quiet.QuietCluster(number, plan, servers, stage.collector, stage.say)

    return begin


def _schedule(milestone: Milestone, number: int, place: int) -> Begin:
    plan = schedule.plan_of(number, milestone.nodes_of(place), milestone.faults, milestone.given)

    def begin(servers: HandInRun, stage: Stage) -> Staged:
        return schedule.Schedule(
            number,
            plan,
            servers,
            stage.collector,
            stage.say,
            timeouts=milestone.timeouts,
            quorum_check=milestone.quorum_check,
            replicates=milestone.replicates,
            in_order=milestone.in_order,
        )

    return begin
