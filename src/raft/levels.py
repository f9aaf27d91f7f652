"""The levels of a log: which commands its entries may hold, and from which entry on.

The first entry of a cluster's log gives the cluster its identity and its level: `cluster
9f86d081884c7d65 level 1`. Level 1 is the format of the first release. A later entry of the same
form raises the level: `level N` means that every member understands the entries that builds of
level N may write. A level takes effect where its entry is applied.

A log without such an entry, in the log or before its base, is at the floor. Its members may be
other implementations, which announce no level and know only the lines of the paper's messages and
the simplest commands. A node gives its log an identity when it leads, unless it was started with
`--floor`.

The first such entry of a log sets the identity, and nothing changes it after that. A node knows its
identity from the moment at which this entry is committed. Log Matching (§5.3) holds only within one
cluster: two clusters may hold different entries with the same index and term. So a server ignores
every message from a server whose identity `is_foreign`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from .log import SafetyError, Versions

PREFIX: Final = "cluster "
FLOOR: Final = 0  # of a log without a level, and of a member that announces none
LOWEST: Final = 1  # above the floor: the format of the first release
NOT_HEARD: Final = -1  # instead of a level: nothing has been heard on an open connection
CLUSTER: Final = "[0-9a-f]{16}"  # the form of an identity
NUMBER: Final = "[1-9][0-9]{0,8}"  # of a level above the floor
_LEVEL = re.compile(rf"cluster ({CLUSTER}) level ({NUMBER})", re.ASCII)


class Raise(NamedTuple):
    """The level to which an entry raises the cluster, and the identity in it."""

    level: int
    cluster: str


class LevelTooHigh(SafetyError):
    """The log holds entries that this build can't execute. It must stop, and a newer build take
    over."""


def level_command(level: int, cluster: str) -> str:
    """Return the command of the entry that raises the level; `read` is the inverse."""
    return f"{PREFIX}{cluster} level {level}"


def read(command: str) -> Raise:
    """Return the level and identity to which a command raises the cluster; the floor and "" for any
    other command.

    The function is total: a malformed command changes nothing on any server.
    """
    match = _LEVEL.fullmatch(command)
    return Raise(FLOOR, "") if match is None else Raise(int(match[2]), match[1])


def is_foreign(mine: str, theirs: str) -> bool:
    """Whether two identities belong to different clusters. An identity that is not known yet, "",
    is never foreign."""
    return mine != theirs and bool(mine) and bool(theirs)


def check_level(name: str, supported: int, index: int, level: int) -> int:
    """Return the level of an entry after checking that this build supports it.

    Raises:
        LevelTooHigh: this build supports only lower levels.
    """
    if level > supported:
        raise LevelTooHigh(
            f"entry {index} raises this cluster to level {level}, and {name} knows levels up to "
            f"{supported}: start it with a newer version, or without --floor"
        )
    return level


class Levels(Versions[int]):
    """Every level of the log by the index of its entry, and the identity of the cluster. The latest
    level is the highest."""

    def __init__(
        self, base_index: int, base: int, commands: Sequence[str] = (), cluster: str = ""
    ) -> None:
        """`base` and `cluster` are the level and the identity at the log's base."""
        super().__init__(base_index, base)
        self.clusters: Versions[str] = Versions(base_index, cluster)
        for index, command in enumerate(commands, start=base_index + 1):
            if command.startswith(PREFIX):
                self.append(index, command)

    def append(self, index: int, command: str) -> bool:
        """Record a new entry that may raise the level; return whether it does. The level never
        falls, and an entry with an identity other than the first one changes nothing."""
        level, cluster = read(command)
        if is_foreign(self.clusters.latest, cluster):
            return False
        if cluster and not self.clusters.latest:
            self.clusters.add(index, cluster)
        if level <= self.latest:
            return False
        self.add(index, level)
        return True

    def cut_after(self, index: int) -> None:
        super().cut_after(index)
        self.clusters.cut_after(index)

    def compact(self, index: int) -> None:
        super().compact(index)
        self.clusters.compact(index)
