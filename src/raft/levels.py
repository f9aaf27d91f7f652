"""The levels of a log: what its entries may hold, from which entry on.

An entry `level 2` means that every member understands what builds of level 2 may write. The level
is in force where that entry is applied. A log without such an entry, and without one before its
base, is of the first level.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from raftline.raft.log import SafetyError, Versions

PREFIX: Final = "level "
FIRST: Final = 1
LOSSES: Final = 4  # builds of this level understand ` you lost N` (raft/recovering.py)
BOUNDED: Final = 3  # from here on, what one entry may do and leave is bounded, and leases have tags
_LEVEL = re.compile(r"level ([1-9][0-9]{0,8})", re.ASCII)


class LevelTooHigh(SafetyError):
    """The log holds what this build can't execute. It must stop, and a newer one go on."""


def spell(level: int) -> str:
    """Return the command of the entry that raises the level; `read` gives it back."""
    return f"{PREFIX}{level}"


def read(command: str) -> int:
    """Return the level that a command raises the cluster to; 0 for any other command.

    Total: what looks like a level and isn't one changes nothing, on every server alike.
    """
    found = _LEVEL.fullmatch(command)
    return int(found[1]) if found is not None else 0


def check_level(name: str, known: int, index: int, level: int) -> int:
    """Return the level that an entry brings.

    Raises:
        LevelTooHigh: the build of this server knows lower ones alone.
    """
    if level > known:
        raise LevelTooHigh(
            f"entry {index} raises this cluster to level {level}, and this build of {name} knows "
            f"levels up to {known}: start it with a newer version"
        )
    return level


class Levels(Versions[int]):
    """Every level of the log by the index of its entry. The latest is the highest."""

    def __init__(self, base_index: int, base: int, commands: Sequence[str] = ()) -> None:
        super().__init__(base_index, base)
        for index, command in enumerate(commands, start=base_index + 1):
            if command.startswith(PREFIX):
                self.append(index, command)

    def append(self, index: int, command: str) -> bool:
        """Record a new entry that may raise the level; return whether it does. A level never
        falls."""
        level = read(command)
        if level <= self.latest:
            return False
        self.add(index, level)
        return True
