"""The hand-ins of a folder, and the table of their points."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from raftline_course.grading.isolation.servers import shown
from raftline_course.grading.judging import Marks
from raftline_course.grading.milestones import POINTS

FILES_MAX, BYTES_MAX = 400, 2 << 20
MAIN = "raft.py"
IN_LAB = "step through it: python3 src/cli.py learn, open {}, and put its raft.py there"
ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".xz", ".bz2", ".7z", ".rar")
WRITTEN = (".csv", ".json", ".md", ".html")  # files of a grading, not hand-ins


@dataclass
class HandIn:
    """One hand-in: its name, its Python files by their path, or why it has none."""

    name: str
    files: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def hand_ins_of(folder: Path) -> list[HandIn]:
    """Return the hand-in in a folder, or the hand-ins in its subfolders, by name."""
    if (folder / MAIN).is_file():
        return [read(folder)]
    inside = sorted(one for one in folder.iterdir() if one.name[0] not in "._")
    found = [_linked(one) if one.is_symlink() else read(one) for one in inside if one.is_dir()]
    if all(one.problem for one in found) and any(map(_is_main, os.listdir(folder))):
        return [read(folder)]  # its problem is the name of its file
    loose = [_loose(one) for one in inside if one.is_file() and one.suffix not in WRITTEN]
    return sorted([*found, *loose], key=lambda one: one.name)


def _loose(file: Path) -> HandIn:
    """Return a hand-in without files: it isn't a folder, as in the export of a learning
    platform."""
    if file.suffix.lower() in ARCHIVES:
        problem = f"it is an archive: unpack it into the folder {shown(file.stem)}"
    else:
        problem = f"it is a file: put it into a folder of its own, as {MAIN}"
    return HandIn(_own_name(file), problem=problem)


def _is_main(path: str) -> bool:
    """Whether a file has the name of the main one, in upper or lower case."""
    return Path(path).name.lower() == MAIN


def _own_name(folder: Path) -> str:
    """Return the name of a folder to print; it may not be UTF-8, for example from an archive."""
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


class Table:
    """The table of points: a row for each hand-in, with a column for each milestone."""

    def __init__(self, found: Sequence[HandIn], numbers: Sequence[int]) -> None:
        self._width = max([len("hand-in"), *(len(one.name) for one in found)])
        self._numbers = numbers

    @property
    def head(self) -> str:
        columns = "".join(f"{number:>5}" for number in self._numbers)
        return f"{'hand-in':{self._width}}{columns}{'sum':>7}"

    def row(self, one: HandIn, points: Sequence[int]) -> str:
        """Return the row of a hand-in."""
        if one.problem:
            return f"{one.name:{self._width}}  {one.problem}"
        columns = "".join(f"{each:>5}" for each in points)
        return f"{one.name:{self._width}}{columns}{sum(points):>7}"

    @property
    def foot(self) -> str:
        return self.row(HandIn("of"), [POINTS] * len(self._numbers))


def details(rows: Sequence[tuple[HandIn, Sequence[Marks]]]) -> list[str]:
    """Return a paragraph for each milestone that lost points: the first failure and its picture."""
    lines: list[str] = []
    for one, marks in rows:
        for each in marks:
            if not each.first_failure:
                continue
            runs = f"transcripts {each.transcripts_passed}/{each.transcripts}, "
            runs += f"schedules {each.schedules_passed}/{each.schedules}"
            lines.append(f"{one.name}, milestone {each.milestone}: {runs}")
            lines.append(f"    {each.first_failure}")
            if each.lab:
                lines.append(f"    {IN_LAB.format(each.lab)}")
            if each.picture:
                lines.append(f"    picture: {each.picture}")
            if each.picture_error:
                lines.append(f"    [!] no picture: {each.picture_error}")
    return lines
