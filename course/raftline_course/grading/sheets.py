"""Files of a grading, for a teacher: a CSV, a feedback file for each hand-in, Gradescope's JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from raftline_course.grading.handin import HandIn
from raftline_course.grading.judging import Marks
from raftline_course.grading.milestones import MILESTONES, POINTS

Row = tuple[HandIn, Sequence[Marks]]
SHOWN = 20  # failed runs of a milestone in a feedback file


def write_csv(path: Path, rows: Sequence[Row], numbers: Sequence[int]) -> None:
    """Write a line for each hand-in: name, points of each milestone, sum, problem."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["hand-in", *(f"milestone {number}" for number in numbers), "sum",
                         "problem"])  # fmt: skip
        for one, marks in rows:
            points = [each.points for each in marks] or [0] * len(numbers)
            writer.writerow([_plain(one.name), *points, sum(points), one.problem])


def _plain(name: str) -> str:
    """Return a name that no spreadsheet takes for a formula."""
    return f"'{name}" if name[:1] in tuple("=+-@\t\r") else name


def feedback(one: HandIn, marks: Sequence[Marks]) -> str:
    """Return what the author of a hand-in reads: points, and each failed run with its reason."""
    lines = [f"# {one.name}", ""]
    if one.problem:
        return "\n".join([*lines, f"Nothing was graded: {one.problem}.", ""])
    total = sum(each.points for each in marks)
    lines += [f"{total} of {POINTS * len(marks)} points.", ""]
    for each in marks:
        milestone = MILESTONES[each.milestone - 1]
        lines += [
            f"## Milestone {each.milestone}, {milestone.name}: {each.points} of {POINTS}",
            "",
            f"Transcripts {each.transcripts_passed} of {each.transcripts}, "
            f"schedules {each.schedules_passed} of {each.schedules}. {milestone.section}.",
            "",
        ]
        for failure in each.failures[:SHOWN]:
            lines += ["```", failure, "```", ""]
        if len(each.failures) > SHOWN:
            lines += [f"{len(each.failures) - SHOWN} more runs failed.", ""]
        if each.failures:
            name = each.failures[0].partition(":")[0]
            lines += [f"See it happen: `grade.py FOLDER --only '{name}' --trace`", ""]
    return "\n".join(lines)


def write_feedback(folder: Path, rows: Sequence[Row]) -> None:
    """Write NAME.md for each hand-in."""
    folder.mkdir(parents=True, exist_ok=True)
    for one, marks in rows:
        (folder / f"{one.name}.md").write_text(feedback(one, marks), encoding="utf-8")


def write_gradescope(path: Path, one: HandIn, marks: Sequence[Marks]) -> None:
    """Write the results.json that an autograder of Gradescope leaves."""
    tests = [
        {
            "name": f"{each.milestone} {MILESTONES[each.milestone - 1].name}",
            "score": each.points,
            "max_score": POINTS,
            "output": "\n\n".join(each.failures[:SHOWN]),
        }
        for each in marks
    ]
    results: dict[str, object] = {"tests": tests} if tests else {"score": 0, "output": one.problem}
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
