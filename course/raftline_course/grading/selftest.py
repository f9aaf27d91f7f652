"""The grader's own test: the model solution and raftline get all points, each bug loses some.

`python3 -m raftline_course.grading.selftest [NAME …]`: model, raftline, or numbers of bugs; all
without one. Exit status: 0 as it should be, 1 not so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from labs.checking import end_with
from raftline_course.grading import bugs
from raftline_course.grading.handin import read
from raftline_course.grading.judging import Marks, marks_of
from raftline_course.grading.milestones import LAB, MILESTONES, POINTS


def line_about(name: str, marks: Marks) -> str:
    """Return a line about one hand-in in one milestone."""
    runs = f"transcripts {marks.transcripts_passed}/{marks.transcripts}, "
    runs += f"schedules {marks.schedules_passed}/{marks.schedules}"
    return f"{name:12} milestone {marks.milestone:2}: {marks.points:2} of {POINTS}, {runs}"


BUG_SCHEDULES = 20  # of a bug: its transcripts find most of them


def holds(name: str, files: Mapping[str, str], numbers: Sequence[int], *, whole: bool) -> bool:
    """Grade these milestones; return whether all points were given, or, unless `whole`, not all."""
    good = True
    for number in numbers:
        schedules = None if whole else BUG_SCHEDULES
        marks = marks_of(files, MILESTONES[number - 1], schedules=schedules)
        is_so = (marks.points == POINTS) == whole
        good = good and is_so
        print(("ok     " if is_so else "FAILED ") + line_about(name, marks), flush=True)
        if whole:
            for failure in marks.failures:
                print(f"       {failure}", flush=True)
    return good


def main(names: Sequence[str] = ()) -> int:
    """Test what was named, or all; return the exit status."""
    every = [one.number for one in MILESTONES]
    names = names or sys.argv[1:] or ["model", "raftline", *map(str, bugs.MILESTONE_OF)]
    good = True
    for name in names:
        if name == "model":
            good &= holds(name, read(LAB / "answers").files, every, whole=True)
        elif name == "raftline":
            good &= holds(name, bugs.hand_in(0), every, whole=True)
        else:
            number = int(name)
            milestones = [bugs.MILESTONE_OF[number]]
            good &= holds(f"bug {number}", bugs.hand_in(number), milestones, whole=False)
    print("the grader finds what it should" if good else "the grader fails its own test")
    return 0 if good else 1


if __name__ == "__main__":
    end_with(main)
