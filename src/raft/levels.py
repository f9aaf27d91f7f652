"""The levels of a log: what its entries may hold, from which entry on.

An entry `level 2` means that every member understands what builds of level 2 may write. The level
is in force where that entry is applied. A log without such an entry, and without one before its
base, is of the first level.

From level 4 on the entry carries the identity of the cluster as well: `level 4 cluster
9f86d081884c7d65`. The first such entry of a log decides, and nothing changes the identity after
that. A node knows its identity from the moment that this entry is committed. Log Matching (§5.3)
holds within one cluster only: two clusters may hold different entries with the same index and
term. So nothing is taken from a server whose identity `is_foreign`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from .log import SafetyError, Versions

PREFIX: Final = "level "
FIRST: Final = 1
LOSSES: Final = 4  # builds of this level understand ` you lost N` (raft/recovering.py)
BOUNDED: Final = 3  # from here on, what one entry may do and leave is bounded, and leases have tags
IDENTIFIED: Final = 4  # from here on a cluster has an identity
CLUSTER: Final = "[0-9a-f]{16}"  # the form of an identity
_LEVEL = re.compile(rf"level ([1-9][0-9]{{0,8}})(?: cluster ({CLUSTER}))?", re.ASCII)


class Raise(NamedTuple):
    """The level that an entry raises the cluster to, and from level 4 on the identity in it."""

    level: int
    cluster: str


class LevelTooHigh(SafetyError):
    """The log holds what this build can't execute. It must stop, and a newer one go on."""


def spell(level: int, cluster: str = "") -> str:
    """Return the command of the entry that raises the level; `read` gives it back."""
    named = level >= IDENTIFIED and cluster
    return f"{PREFIX}{level} cluster {cluster}" if named else f"{PREFIX}{level}"


def read(command: str) -> Raise:
    """Return what a command raises the cluster to; level 0 for any other command.

    Total: what looks like a level and isn't one changes nothing, on every server alike.
    """
    found = _LEVEL.fullmatch(command)
    if found is None or (found[2] is not None and int(found[1]) < IDENTIFIED):
        return Raise(0, "")
    return Raise(int(found[1]), found[2] or "")


def is_foreign(mine: str, theirs: str) -> bool:
    """Whether two identities are those of different clusters. An identity that is not known yet,
    "", is foreign to none."""
    return mine != theirs and bool(mine) and bool(theirs)


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
    """Every level of the log by the index of its entry, and the identity. The latest level is the
    highest."""

    def __init__(
        self, base_index: int, base: int, commands: Sequence[str] = (), cluster: str = ""
    ) -> None:
        """`base` and `cluster` are the level and the identity at the log's base."""
        super().__init__(base_index, base)
        self.clusters: Versions[str] = Versions(base_index, cluster)
        for index, command in enumerate(commands, start=base_index + 1):
            if command.startswith(PREFIX):
                self.append(index, command)

    @property
    def lacks_cluster(self) -> bool:
        """Whether the log is of level 4 and holds no identity, as one written by hand may."""
        return self.latest >= IDENTIFIED and not self.clusters.latest

    def append(self, index: int, command: str) -> bool:
        """Record a new entry that may raise the level; return whether it does. A level never
        falls, and an entry with another identity than the first one changes nothing."""
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
