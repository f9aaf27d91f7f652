"""The grader's own test. The model solution and raftline get all points. The model solution cut
down to the rules of a milestone gets all points of that milestone. Each of the bugs, cheats and
mistakes loses its milestone by schedules alone.

`python3 -m raftline_course.grading.selftests.selftest [NAME …]`: `model`, `raftline`, `parts`,
`bugs`, `cheats` or numbers of bugs; all without an argument. `table` grades each bug and cheat in
every milestone, ten schedules each, and prints a table. Exit status: 0 if all is as
expected, else 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from labs.checking import end_with
from labs.solutions.model import model
from raftline_course.grading.judging import Marks, first_lost, marks_of
from raftline_course.grading.milestones import MILESTONES, POINTS, Milestone
from raftline_course.grading.selftests import bugs
from raftline_course.grading.selftests.cheats import CHEATS, MISTAKES, cut_down

FEW = 10  # schedules of a bug or a cheat: a tenth of a hand-in's schedules


@dataclass(frozen=True)
class Faulty:
    """A hand-in that must lose points in this milestone."""

    name: str
    milestone: int
    files: Callable[[], Mapping[str, str]]


def faulty_ones() -> list[Faulty]:
    """Return all bugs, cheats and mistakes."""
    results = [
        Faulty(f"bug {number}", milestone, lambda number=number: bugs.hand_in(number))  # type: ignore[misc]
        for number, milestone in bugs.MILESTONE_OF.items()
    ]
    return results + [Faulty(one.name, one.milestone, one.files) for one in (*CHEATS, *MISTAKES)]


def line_about(name: str, marks: Marks) -> str:
    """Return a line about one hand-in in one milestone."""
    runs = f"transcripts {marks.transcripts_passed}/{marks.transcripts}, "
    runs += f"schedules {marks.schedules_passed}/{marks.schedules}"
    return f"{name:12} milestone {marks.milestone:2}: {marks.points:2} of {POINTS}, {runs}"


def gets_all(
    name: str, files: Mapping[str, str], milestones: Sequence[Milestone] = MILESTONES
) -> bool:
    """Grade these milestones; return whether all points were given."""
    good = True
    for milestone in milestones:
        marks = marks_of(files, milestone)
        good = good and marks.points == POINTS
        print(("ok     " if marks.points == POINTS else "FAILED ") + line_about(name, marks))
        for failure in marks.failures:
            print(f"       {failure}", flush=True)
    return good


def loses(one: Faulty, schedules: int = FEW) -> bool:
    """Return whether a schedule of its milestone fails and names a place of the paper or thesis;
    print the first failure."""
    lost = first_lost(one.files(), MILESTONES[one.milestone - 1], schedules)
    good = "§" in lost or "Figure 2" in lost
    print(f"{'ok     ' if good else 'FAILED '}{one.milestone:2} {one.name}: {lost or 'passes'}")
    return good


def table() -> str:
    """Return a table of the milestones that each loses by schedules alone."""
    numbers = [one.number for one in MILESTONES]
    lines = [
        "| | " + " | ".join(map(str, numbers)) + " |",
        "|---|" + "---|" * len(numbers),
    ]
    for one in faulty_ones():
        files, cells = one.files(), []
        for number in numbers:
            mark = "×" if first_lost(files, MILESTONES[number - 1], FEW) else ""
            cells.append(f"**{mark or '–'}**" if number == one.milestone else mark)
        lines.append(f"| {one.name} | " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main(names: Sequence[str] = ()) -> int:
    """Test the named ones, or all; return the exit status."""
    names = names or sys.argv[1:] or ["model", "raftline", "parts", "bugs", "cheats"]
    if "table" in names:
        print(table())
        return 0
    good = True
    if "model" in names:
        good &= gets_all("model", model())
    if "raftline" in names:
        good &= gets_all("raftline", bugs.hand_in(0))
    for milestone in MILESTONES if "parts" in names else ():
        part = cut_down(milestone.number)
        good &= gets_all(f"rules 1-{milestone.number}", part, [milestone])
    for one in faulty_ones():
        kind, _, number = one.name.partition(" ")
        is_bug = kind == "bug"
        if number in names or ("bugs" if is_bug else "cheats") in names:
            good &= loses(one)
    print("the grader finds what it should" if good else "the grader fails its own test")
    return 0 if good else 1


if __name__ == "__main__":
    end_with(main)
