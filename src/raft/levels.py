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
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ..common.extensions import KERNEL
from .log import SafetyError, Versions

PREFIX: Final = "cluster "
FLOOR: Final = 0  # of a log without a level, and of a member that announces none
LOWEST: Final = 1  # above the floor: the format of the first release
NOT_HEARD: Final = -1  # instead of a level: nothing has been heard on an open connection
CLUSTER: Final = "[0-9a-f]{16}"  # the form of an identity
NUMBER: Final = "[1-9][0-9]{0,8}"  # of a level above the floor
_PART = "[a-z]{1,32}=[0-9a-f]{12}"
PARTS: Final = f"{_PART}(?: {_PART}){{0,31}}"  # the form of needs, and of what a build applies
_LEVEL = re.compile(rf"cluster ({CLUSTER}) level ({NUMBER})(?: with ({PARTS}))?", re.ASCII)


class Raise(NamedTuple):
    """The level to which an entry raises the cluster, the identity in it, and the parts that
    entries may need from there on."""

    level: int
    cluster: str
    needs: str = ""


class LevelTooHigh(SafetyError):
    """The log holds entries that this build can't execute. It must stop, and another build take
    over."""


def level_command(level: int, cluster: str, needs: str = "") -> str:
    """Return the command of the entry that raises the level or adds parts; `read` is the
    inverse."""
    return f"{PREFIX}{cluster} level {level}{f' with {needs}' if needs else ''}"


def read(command: str) -> Raise:
    """Return the level and identity to which a command raises the cluster; the floor and "" for any
    other command.

    The function is total: a malformed command changes nothing on any server.
    """
    match = _LEVEL.fullmatch(command)
    if match is None:
        return Raise(FLOOR, "")
    return Raise(int(match[2]), match[1], match[3] or "")


def name_of_part(each: str) -> str:
    """Return the PART of `PART=DIGEST`."""
    return each.partition("=")[0]


def words_of_part(each: str) -> str:
    """Return what a reader calls the part of `PART=DIGEST`."""
    part = name_of_part(each)
    return "the kernel" if part == KERNEL else f"the extension {part}"


def with_parts(needs: str, added: Iterable[str]) -> str:
    """Return needs and further ones, each `PART=DIGEST`, in their one form. A part has one
    digest: the added one."""
    by_part = {name_of_part(each): each for each in [*needs.split(), *added]}
    return " ".join([by_part[part] for part in sorted(by_part)])


def lacking(needs: str, applies: Iterable[str]) -> list[str]:
    """Return what entries need, as `PART=DIGEST`, and a build that applies these does not."""
    return sorted({*needs.split()}.difference(applies)) if needs else []


def why_lacking(needs: str, applies: Iterable[str]) -> str:
    """Return in words why a build can't apply entries that need these parts, "" if it can."""
    parts = {*map(name_of_part, applies)}
    missing = lacking(needs, applies)
    absent = [each for each in missing if name_of_part(each) not in {*parts, KERNEL}]
    if absent:
        return (
            f"need {' and '.join(map(words_of_part, absent))}, which this build of raftline "
            "lacks: start the node from a build that has it"
        )
    if missing:
        return (
            f"need {' and '.join(map(words_of_part, missing))} as an earlier or later build "
            "applies it, which would give another state here: start the node from the build that "
            "it ran before"
        )
    return ""


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


def check_needs(name: str, applies: Iterable[str] | None, what: str, needs: str) -> None:
    """Check that a build applies what this entry or file says that entries need.

    Raises:
        LevelTooHigh: it does not.
    """
    if applies is not None and (why := why_lacking(needs, applies)):
        raise LevelTooHigh(f"from {what} on, entries {why} (docs/operate/upgrades.md)")


class Levels(Versions[int]):
    """Every level of the log by the index of its entry, the identity of the cluster, and the parts
    that entries need. The latest level is the highest."""

    def __init__(
        self,
        base_index: int,
        base: int,
        commands: Sequence[str] = (),
        cluster: str = "",
        needs: str = "",
    ) -> None:
        """`base`, `cluster` and `needs` are the values at the log's base."""
        super().__init__(base_index, base)
        self.clusters: Versions[str] = Versions(base_index, cluster)
        self.needs: Versions[str] = Versions(base_index, needs)
        for index, command in enumerate(commands, start=base_index + 1):
            if command.startswith(PREFIX):
                self.append(index, command)

    def append(self, index: int, command: str) -> bool:
        """Record a new entry that may raise the level or add parts; return whether it does. The
        level never falls, and an entry with an identity other than the first one changes
        nothing."""
        level, cluster, needs = read(command)
        if is_foreign(self.clusters.latest, cluster):
            return False
        if cluster and not self.clusters.latest:
            self.clusters.add(index, cluster)
        has_new = bool(lacking(needs, self.needs.latest.split()))
        if has_new:
            self.needs.add(index, with_parts(self.needs.latest, needs.split()))
        if level > self.latest:
            self.add(index, level)
            return True
        return has_new

    def cut_after(self, index: int) -> None:
        super().cut_after(index)
        self.clusters.cut_after(index)
        self.needs.cut_after(index)

    def compact(self, index: int) -> None:
        super().compact(index)
        self.clusters.compact(index)
        self.needs.compact(index)
