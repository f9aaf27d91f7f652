"""Files of a grading, for a teacher: a CSV, a feedback file for each hand-in, Gradescope's JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from raftline_course.grading.handin import IN_LAB, HandIn
from raftline_course.grading.judging import Marks
from raftline_course.grading.milestones import MILESTONES, POINTS

Row = tuple[HandIn, Sequence[Marks]]


SHOWN = 20  # failed runs of a milestone in a feedback file


class WrongCsv(Exception):
    """A CSV with which a grading can't be resumed; the text is one line."""


class Csv:
    """A line for each hand-in: name, points of each milestone, sum, problem. Each is in the file as
    soon as it is added. The first one replaces the file's content, unless the grading is resumed.

    Raises:
        OSError: nothing can be written there.
    """

    def __init__(self, path: Path, numbers: Sequence[int]) -> None:
        path.open("a").close()
        self._path, self._is_begun = path, False
        self._head = ["hand-in", *(f"milestone {number}" for number in numbers), "sum", "problem"]

    def points_of_before(self) -> dict[str, list[int]]:
        """Return the points of the hand-ins that are already in the file, by name, and resume it.
        Drop an incomplete last line.

        Raises:
            WrongCsv: it has other milestones, or isn't from a grading.
        """
        text = self._path.read_text("utf-8")
        if not text:
            return {}
        whole = text[: text.rfind("\n") + 1]
        head, *rows = list(csv.reader(whole.splitlines())) or [[]]
        if head != self._head or any(len(row) != len(head) for row in rows):
            raise WrongCsv(f"{self._path} is not a table of these milestones")
        if whole != text:
            self._path.write_text(whole, encoding="utf-8", newline="")
        self._is_begun = True
        return {row[0]: [int(points) for points in row[1:-2]] for row in rows}

    def add(self, one: HandIn, marks: Sequence[Marks]) -> None:
        """Add the line of a hand-in."""
        if not self._is_begun:
            self._write("w", self._head)
            self._is_begun = True
        points = [each.points for each in marks] or [0] * (len(self._head) - 3)
        self._write("a", [name_in_csv(one), *points, sum(points), one.problem])

    def _write(self, mode: str, row: Sequence[object]) -> None:
        with self._path.open(mode, encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(row)


def name_in_csv(one: HandIn) -> str:
    """Return the name of a hand-in as in its line."""
    return _plain(one.name)


def _plain(name: str) -> str:
    """Return a name that no spreadsheet treats as a formula."""
    return f"'{name}" if name[:1] in tuple("=+-@\t\r") else name


def feedback(one: HandIn, marks: Sequence[Marks]) -> str:
    """Return the feedback for the author of a hand-in: points, and each failed run with its
    reason."""
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
        if each.lab:
            lines += [IN_LAB.format(each.lab), ""]
    return "\n".join(lines)


def write_feedback(folder: Path, one: HandIn, marks: Sequence[Marks]) -> None:
    """Write NAME.md of a hand-in."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{one.name}.md").write_text(feedback(one, marks), encoding="utf-8")


def write_gradescope(path: Path, one: HandIn, marks: Sequence[Marks]) -> None:
    """Write the results.json of a Gradescope autograder."""
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
