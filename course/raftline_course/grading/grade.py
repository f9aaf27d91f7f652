"""Grades hand-ins of the lab "write Raft": a table, a row for each hand-in.

FOLDER holds raft.py, or a folder with raft.py for each student. A hand-in runs in a process that
can only compute: it opens no file, starts nothing and has no network. --only RUN --trace shows one
run, with all that the hand-in prints. Exit status: 0 graded, 1 the run of --only failed or a
picture could not be drawn, 2 a mistyped option, no hand-in there, or a machine that does not lock
a hand-in in.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from labs.checking import end_with
from raftline_course.grading import sandbox
from raftline_course.grading.handin import HandIn, details, hand_ins_of, table
from raftline_course.grading.judging import Judge, Marks, marks_of, reason_of
from raftline_course.grading.milestones import MILESTONES
from raftline_course.grading.runs import Stage, run_named
from raftline_course.grading.servers import CannotLock, shown
from raftline_course.grading.sheets import Row, write_csv, write_feedback, write_gradescope


def arguments_of(typed: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what was typed; end with status 2, and why, where that can't be done."""
    parser = argparse.ArgumentParser(
        prog="raftline grade", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a hand-in, or many of them")
    parser.add_argument(
        "--milestone",
        type=_milestone,
        action="append",
        metavar="N",
        help="grade this milestone only; may be given again",
    )
    parser.add_argument(
        "--schedules", type=_positive, metavar="N", help="so many schedules for each milestone"
    )
    parser.add_argument("--json", action="store_true", help="print all marks as JSON")
    parser.add_argument(
        "--jobs", type=_positive, default=1, metavar="N", help="grade so many at a time"
    )
    parser.add_argument("--only", metavar="RUN", help="do this run alone, as in --only 'seed 7003'")
    parser.add_argument(
        "--trace", action="store_true", help="with --only: print each step, and what is printed"
    )
    parser.add_argument(
        "--salt", default="", metavar="WORD", help="draw schedules that nobody has seen before"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table there as CSV")
    parser.add_argument(
        "--feedback", type=Path, metavar="DIR", help="write a page for each hand-in there"
    )
    parser.add_argument(
        "--gradescope", type=Path, metavar="FILE", help="write results.json of one hand-in there"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="draw the first failed run of each there"
    )
    found = parser.parse_args(typed)
    if found.trace and found.only is None:
        parser.error("--trace goes with --only RUN")
    return found


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**5):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _milestone(text: str) -> int:
    number = _positive(text)
    if number > len(MILESTONES):
        raise argparse.ArgumentTypeError(f"there are milestones 1 to {len(MILESTONES)}")
    return number


Task = tuple[HandIn, int, int | None, Path | None, str]


def mark(task: Task) -> Marks:
    """Return one hand-in's marks for one milestone."""
    one, number, schedules, pictures, salt = task
    picture = pictures / one.name / f"milestone-{number}.html" if pictures else None
    milestone = MILESTONES[number - 1]
    return marks_of(one.files, milestone, schedules=schedules, picture=picture, salt=salt)


def marks_of_all(
    found: Sequence[HandIn], numbers: Sequence[int], typed: argparse.Namespace
) -> list[Row]:
    """Return each hand-in with its marks; print how far it is at a terminal."""
    tasks = [
        (one, number, typed.schedules, typed.pictures, typed.salt)
        for one in found
        if not one.problem
        for number in numbers
    ]
    rows: list[tuple[HandIn, list[Marks]]] = [(one, []) for one in found]
    by_name = {one.name: marks for one, marks in rows}
    with ProcessPoolExecutor(min(typed.jobs, len(tasks) or 1)) as pool:
        for task, marks in zip(tasks, pool.map(mark, tasks), strict=True):
            by_name[task[0].name].append(marks)
            if sys.stderr.isatty():
                print(f"{task[0].name}: milestone {task[1]}: {marks.points}", file=sys.stderr)
    return [(one, marks) for one, marks in rows]


def main(given: Sequence[str] | None = None) -> int:
    """Grade, and print; return the exit status."""
    typed = arguments_of(given)
    if not typed.folder.is_dir() or not (found := hand_ins_of(typed.folder)):
        return _nothing_done(f"{typed.folder} holds no hand-in: a raft.py, or folders with one")
    if (typed.only is not None or typed.gradescope is not None) and len(found) != 1:
        return _nothing_done(f"{typed.folder} holds {len(found)} hand-ins; name the folder of one")
    numbers = sorted({*(typed.milestone or range(1, len(MILESTONES) + 1))})
    try:
        if typed.only is not None:
            return do_one(found[0], typed)
        rows = marks_of_all(found, numbers, typed)
    except CannotLock as refused:
        print(
            f"[!] This machine does not let a hand-in be locked in ({refused}), so none may run "
            "here. Grade on another one",
            file=sys.stderr,
        )
        return 2
    write(rows, numbers, typed)
    return int(any(each.picture_error for _, marks in rows for each in marks))


def _nothing_done(why: str) -> int:
    print(f"[!] {why}. Nothing was graded", file=sys.stderr)
    return 2


def do_one(one: HandIn, typed: argparse.Namespace) -> int:
    """Do the run that `--only` names, and print how it went; return 1 if it failed."""
    run = run_named(typed.only, typed.salt)
    if one.problem or run is None:
        names = "a transcript of labs/write-raft/transcripts, or 'seed 7003'"
        return _nothing_done(one.problem or f"there is no run {typed.only!r}: name {names}")
    marks = Marks(0)
    with Judge(one.files, marks, typed.pictures and typed.pictures / "run.html") as judge:
        error = judge.error_of(run, Stage(say=_say if typed.trace else None))
        if error is None:
            print(f"passed: {run.text}")
            return 0
        judge.fail(f"{run.text}: {reason_of(error)}", run)
    print(f"FAILED: {marks.first_failure}")
    if marks.picture:
        print(f"picture: {marks.picture}")
    if marks.picture_error:
        print(f"[!] no picture: {marks.picture_error}")
    return 1


def _say(line: str) -> None:
    print(shown(line))


def write(rows: list[Row], numbers: Sequence[int], typed: argparse.Namespace) -> None:
    """Print the table, and write the files that were asked for."""
    if typed.csv is not None:
        write_csv(typed.csv, rows, numbers)
    if typed.feedback is not None:
        write_feedback(typed.feedback, rows)
    if typed.gradescope is not None:
        write_gradescope(typed.gradescope, *rows[0])
    if typed.json:
        hand_ins = [
            {
                "name": one.name,
                "problem": one.problem,
                "points": sum(m.points for m in marks),
                "milestones": [each.as_json() for each in marks],
            }
            for one, marks in rows
        ]
        print(json.dumps({"isolation": sandbox.isolation(), "hand_ins": hand_ins}, indent=1))
        return
    print(f"isolation: {sandbox.isolation()}\n")
    print(table(rows, numbers))
    for line in details(rows):
        print(line)


if __name__ == "__main__":
    os.environ.setdefault("RAFTLINE_PURE", "1")
    end_with(main)
