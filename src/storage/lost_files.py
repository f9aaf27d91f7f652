"""Detect lost files of a running node, and decide what to do. Pure.

Another program or a person may remove, rename or truncate the files: logrotate, a clean-up job. An
open file stays writable then, but the written bytes are missing at the next start. A line that
another program appends has the same effect: nothing that the node writes after it can be read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import NamedTuple

Identity = tuple[int, int]  # device and inode of a file


class Found(NamedTuple):
    """The file under a name."""

    identity: Identity
    size: int
    is_file: bool = True


class FileState(Enum):
    """The file under a name, compared with the file that the node writes."""

    WHOLE = "whole"
    GONE = "gone"  # or replaced by an empty file
    CUT = "cut"
    LONGER = "longer"  # someone appended to it
    FOREIGN = "another file"  # someone put it there


class LossStep(Enum):
    """The step after a check of the files."""

    NOTHING = "nothing"
    WRITE_AGAIN = "the node writes its files again"
    WAIT = "it is writing them"
    DONE = "they are whole again"


def compare(file: Found | None, ours: Identity, size: int) -> FileState:
    """Compare the file under a name with the node's own file, which had `size` bytes
    written."""
    if file is None:
        return FileState.GONE
    if file.identity == ours:
        if file.size == size:
            return FileState.WHOLE
        return FileState.CUT if file.size < size else FileState.LONGER
    return FileState.FOREIGN if file.size or not file.is_file else FileState.GONE


def decide(states: Mapping[str, FileState], lost_before: Collection[str]) -> LossStep:
    """Return the next step. `lost_before` are the files that were lost at the last check. A node
    has the content of its files in memory, so it can write them again."""
    lost = lost_files(states)
    if not lost:
        return LossStep.DONE if lost_before else LossStep.NOTHING
    return LossStep.WAIT if set(lost) <= set(lost_before) else LossStep.WRITE_AGAIN


def lost_files(states: Mapping[str, FileState]) -> list[str]:
    """Return the names of the files that are gone, truncated or extended."""
    left = (FileState.WHOLE, FileState.FOREIGN)
    return [name for name, state in states.items() if state not in left]


def foreign_files(states: Mapping[str, FileState]) -> list[str]:
    """Return the names that another file has. Someone put it there: it may be valuable, or another
    node's file. So it is never overwritten, and the node stops."""
    return [name for name, state in states.items() if state is FileState.FOREIGN]
