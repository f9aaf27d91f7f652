"""A node's files while it runs: what a look at their names shows, and what is to be done. Pure.

Another program may remove, rename or cut them: logrotate, a clean-up job, a person. An open file
stays writable then, and nothing that is written to it is there at the next start.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import NamedTuple

Identity = tuple[int, int]  # device and inode of a file


class Found(NamedTuple):
    """What a name stands for."""

    identity: Identity
    size: int
    is_file: bool = True


class FileState(Enum):
    """The file under a name, compared with the one that the node writes."""

    WHOLE = "whole"
    GONE = "gone"  # or another file, without content
    CUT = "cut"
    FOREIGN = "another file"  # that somebody put there


class LossStep(Enum):
    """What a look at the files leads to."""

    NOTHING = "nothing"
    WRITE_AGAIN = "the node writes its files again"
    WAIT = "it is writing them"
    DONE = "they are whole again"


def compare(found: Found | None, ours: Identity, size: int) -> FileState:
    """Compare what has the name with the node's own file, of which `size` bytes were written."""
    if found is None:
        return FileState.GONE
    if found.identity == ours:
        return FileState.WHOLE if found.size >= size else FileState.CUT
    return FileState.FOREIGN if found.size or not found.is_file else FileState.GONE


def decide(states: Mapping[str, FileState], lost_before: Collection[str]) -> LossStep:
    """Return what is to be done; `lost_before` are the files that were lost at the last look. A
    node has all in memory that its files hold, so it writes them again."""
    lost = lost_files(states)
    if not lost:
        return LossStep.DONE if lost_before else LossStep.NOTHING
    return LossStep.WAIT if set(lost) <= set(lost_before) else LossStep.WRITE_AGAIN


def lost_files(states: Mapping[str, FileState]) -> list[str]:
    """Return the names of the files that are gone or cut."""
    return [name for name, state in states.items() if state in (FileState.GONE, FileState.CUT)]


def foreign_files(states: Mapping[str, FileState]) -> list[str]:
    """Return the names under which another file lies. Somebody put it there: it may be worth
    something, and may be another node's. So it is never overwritten, and the node stops."""
    return [name for name, state in states.items() if state is FileState.FOREIGN]
