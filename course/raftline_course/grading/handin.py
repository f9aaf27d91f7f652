"""The hand-ins of a folder, and the table of their points."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from raftline_course.grading.judging import Marks
from raftline_course.grading.milestones import POINTS
from raftline_course.grading.servers import shown

FILES_MAX, BYTES_MAX = 400, 2 << 20
MAIN = "raft.py"


@dataclass
class HandIn:
    """One hand-in: its name, its Python files by their path, or why it has none."""

    name: str
    files: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def hand_ins_of(folder: Path) -> list[HandIn]:
    """Return the hand-in that a folder is, or those in its folders, by name."""
    if (folder / MAIN).is_file():
        return [read(folder)]
    inside = sorted(one for one in folder.iterdir() if one.is_dir() and one.name[0] not in "._")
    found = [_linked(one) if one.is_symlink() else read(one) for one in inside]
    if all(one.problem for one in found) and any(map(_is_main, os.listdir(folder))):
        return [read(folder)]  # whose problem is the name of its file
    return found


def _is_main(path: str) -> bool:
    """Whether a file has the name of the main one, in letters of any size."""
    return Path(path).name.lower() == MAIN


def _own_name(folder: Path) -> str:
    """Return the name of a folder to print; it may be no UTF-8, as of an archive."""
    return shown(folder.name).replace("\n", " ")


def _linked(folder: Path) -> HandIn:
    """Return a hand-in without files: a link may lead to another hand-in, or to any folder."""
    return HandIn(_own_name(folder), problem="it is a link, and a link is not followed")


def read(folder: Path) -> HandIn:
    """Return a hand-in. Only plain files are read; nothing is run."""
    own_name = _own_name(folder)
    files: dict[str, str] = {}
    size = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one[0] not in "._")
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix != ".py" or path.is_symlink() or not path.is_file():
                continue
            size += path.stat().st_size
            if len(files) == FILES_MAX or size > BYTES_MAX:
                most = f"{FILES_MAX} files or {BYTES_MAX >> 20} MiB"
                return HandIn(own_name, problem=f"more than {most} of Python")
            within = path.relative_to(folder).as_posix()
            try:
                files[within] = _text(path)
            except OSError as error:
                problem = f"{shown(within)} can't be read: {error.strerror}"
                return HandIn(own_name, problem=problem)
    if MAIN not in files:
        near = next(filter(_is_main, files), None)
        only = f", only {shown(near)}: make it {MAIN}" if near is not None else ""
        return HandIn(own_name, problem=f"there is no {MAIN}{only}")
    return HandIn(own_name, files)


def _text(path: Path) -> str:
    """Return a file as Python reads it, without the byte order mark of some editors."""
    return path.read_text("utf-8-sig", "replace")


def table(rows: Sequence[tuple[HandIn, Sequence[Marks]]], numbers: Sequence[int]) -> str:
    """Return a row for each hand-in, with a column for each milestone."""
    width = max([len("hand-in"), *(len(one.name) for one, _ in rows)])
    head = "".join(f"{number:>5}" for number in numbers)
    lines = [f"{'hand-in':{width}}{head}{'sum':>7}"]
    for one, marks in rows:
        if one.problem:
            lines.append(f"{one.name:{width}}  {one.problem}")
            continue
        points = "".join(f"{each.points:>5}" for each in marks)
        total = sum(each.points for each in marks)
        lines.append(f"{one.name:{width}}{points}{total:>7}")
    lines.append(f"{'of':{width}}{f'{POINTS:>5}' * len(numbers)}{POINTS * len(numbers):>7}")
    return "\n".join(lines)


def details(rows: Sequence[tuple[HandIn, Sequence[Marks]]]) -> list[str]:
    """Return a paragraph for each milestone that lost points: what failed first, its picture."""
    lines: list[str] = []
    for one, marks in rows:
        for each in marks:
            if not each.first_failure:
                continue
            runs = f"transcripts {each.transcripts_passed}/{each.transcripts}, "
            runs += f"schedules {each.schedules_passed}/{each.schedules}"
            lines.append(f"{one.name}, milestone {each.milestone}: {runs}")
            lines.append(f"    {each.first_failure}")
            if each.picture:
                lines.append(f"    picture: {each.picture}")
            if each.picture_error:
                lines.append(f"    [!] no picture: {each.picture_error}")
    return lines
