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
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from labs.checking import end_with
from raftline_course.grading.handin import IN_LAB, HandIn, Table, details, hand_ins_of
from raftline_course.grading.isolation import sandbox
from raftline_course.grading.isolation.servers import CannotLock, shown
from raftline_course.grading.judging import Judge, Marks, marks_of, reason_of
from raftline_course.grading.milestones import MILESTONES
from raftline_course.grading.runs import Stage, run_named
from raftline_course.grading.sheets import (
    Csv,
    Row,
    WrongCsv,
    name_in_csv,
    write_feedback,
    write_gradescope,
)

MINUTES = 180  # of a hand-in, by default; a correct one needs 15


def arguments_of(typed: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments; exit with status 2 and the reason if they are invalid."""
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
        "--trace", action="store_true", help="with --only: print each step, and the output"
    )
    parser.add_argument(
        "--salt", default="", metavar="WORD", help="draw schedules that no student has seen"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table there as CSV")
    parser.add_argument(
        "--resume", action="store_true", help="with --csv: grade only the hand-ins that FILE lacks"
    )
    parser.add_argument(
        "--minutes",
        type=_positive,
        default=MINUTES,
        metavar="N",
        help="a hand-in's most time, an equal part for each milestone (180)",
    )
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
    if found.resume and found.csv is None:
        parser.error("--resume goes with --csv FILE")
    return found


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**5):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _milestone(text: str) -> int:
    number = _positive(text)
    if number > len(MILESTONES):
        raise argparse.ArgumentTypeError(f"there are milestones 1 to {len(MILESTONES)}")
    return number


Task = tuple[HandIn, int, argparse.Namespace, float]


def mark(task: Task) -> Marks:
    """Return one hand-in's marks for one milestone."""
    one, number, typed, seconds = task
    picture = typed.pictures / one.name / f"milestone-{number}.html" if typed.pictures else None
    return marks_of(
        one.files,
        MILESTONES[number - 1],
        schedules=typed.schedules,
        picture=picture,
        salt=typed.salt,
        seconds=seconds,
    )


def marks_of_all(
    found: Sequence[HandIn], numbers: Sequence[int], typed: argparse.Namespace
) -> Iterator[Row]:
    """Yield each hand-in with its marks as soon as it is graded; print the progress at a
    terminal."""
    seconds = typed.minutes * 60 / len(numbers)
    sound = [one for one in found if not one.problem]
    tasks = [(one, number, typed, seconds) for one in sound for number in numbers]
    pool = ProcessPoolExecutor(min(typed.jobs, len(tasks) or 1), initializer=_end_at_ctrl_c)
    try:
        graded = pool.map(mark, tasks)
        for one in found:
            marks: list[Marks] = []
            for number in () if one.problem else numbers:
                marks.append(next(graded))
                if sys.stderr.isatty():
                    points = marks[-1].points
                    print(f"{one.name}: milestone {number}: {points}", file=sys.stderr)
            yield one, marks
    finally:
        pool.shutdown(cancel_futures=True)


def _end_at_ctrl_c() -> None:
    """End this pool process at once, and with it its nursery."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def grade_all(
    found: Sequence[HandIn], numbers: Sequence[int], typed: argparse.Namespace
) -> list[Row]:
    """Grade, and write each hand-in's row and page as soon as it is graded; return all rows.

    Raises:
        WrongCsv: the CSV to resume doesn't fit.
    """
    sheet, table = Csv(typed.csv, numbers) if typed.csv else None, Table(found, numbers)
    before: dict[str, list[int]] = {}
    row: Row
    if sheet is not None and typed.resume:
        before = sheet.points_of_before()
    rows: list[Row] = []
    graded = marks_of_all([one for one in found if name_in_csv(one) not in before], numbers, typed)
    for one in found:
        points = before.get(name_in_csv(one))
        if points is not None:
            pairs = zip(numbers, points, strict=True)
            row = (one, [Marks(number, each) for number, each in pairs])
        else:
            row = next(graded)
            if sheet is not None:
                sheet.add(*row)
            if typed.feedback is not None:
                write_feedback(typed.feedback, *row)
        if not rows and not typed.json:
            print(f"isolation: {sandbox.isolation()}\n\n{table.head}", flush=True)
        rows.append(row)
        if not typed.json:
            print(table.row(one, [each.points for each in rows[-1][1]]), flush=True)
    if not typed.json:
        print(table.foot)
    return rows


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
        rows = grade_all(found, numbers, typed)
    except KeyboardInterrupt:
        if typed.csv is not None and typed.only is None:
            print(
                f"[!] {typed.csv} already has graded hand-ins: continue with --resume",
                file=sys.stderr,
            )
        raise
    except WrongCsv as wrong:
        return _nothing_done(str(wrong))
    except CannotLock as refused:
        print(
            f"[!] This machine does not let a hand-in be locked in ({refused}), so none may run "
            "here. Grade on another one",
            file=sys.stderr,
        )
        return 2
    write(rows, typed)
    return int(any(each.picture_error for _, marks in rows for each in marks))


def _nothing_done(why: str) -> int:
    print(f"[!] {why}. Nothing was graded", file=sys.stderr)
    return 2


def do_one(one: HandIn, typed: argparse.Namespace) -> int:
    """Carry out the run that `--only` names, and print the result; return 1 if it failed."""
    run = run_named(typed.only, typed.salt)
    if one.problem or run is None:
        names = "a transcript of course/labs/write-raft/transcripts, or 'seed 7003'"
        return _nothing_done(one.problem or f"there is no run {typed.only!r}: name {names}")
    marks = Marks(0)
    with Judge(one.files, marks, typed.pictures and typed.pictures / "run.html") as judge:
        error = judge.error_of(run, Stage(say=_say if typed.trace else None))
        if error is None:
            print(f"passed: {run.text}")
            return 0
        judge.fail(f"{run.text}: {reason_of(error)}", run)
    print(f"FAILED: {marks.first_failure}")
    if marks.lab:
        print(IN_LAB.format(marks.lab))
    if marks.picture:
        print(f"picture: {marks.picture}")
    if marks.picture_error:
        print(f"[!] no picture: {marks.picture_error}")
    return 1


def _say(line: str) -> None:
    print(shown(line))


def write(rows: list[Row], typed: argparse.Namespace) -> None:
    """Print the failures, or all marks as JSON; write the file for Gradescope."""
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
    for line in details(rows):
        print(line)


if __name__ == "__main__":
    os.environ.setdefault("RAFTLINE_PURE", "1")
    end_with(main)
