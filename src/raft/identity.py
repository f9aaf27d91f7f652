"""The identity of a cluster in its log, and the parts of a build that its entries need.

The first entry of a cluster's log gives the cluster its identity: `cluster 9f86d081884c7d65 level 1
with kernel=104c7907f9d9`. `level 1` is the format of the first release. A later entry of the same
form names further parts, which entries after it may need (raft/upgrade.py).

A log without such an entry, in the log or before its base, is at the floor. Its members may be
other implementations, which announce no build and know only the lines of the paper's messages and
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
CLUSTER: Final = "[0-9a-f]{16}"  # the form of an identity
FORMAT: Final = "level 1"  # of logs, files and messages: that of the first release
_PART = "[a-z]{1,32}=[0-9a-f]{12}"
PARTS: Final = f"{_PART}(?: {_PART}){{0,31}}"  # the form of needs, and of what a build applies
_IDENTITY = re.compile(rf"cluster ({CLUSTER}) {FORMAT}(?: with ({PARTS}))?", re.ASCII)


class IdentityEntry(NamedTuple):
    """The identity in an entry, and the parts that entries may need from there on."""

    cluster: str
    needs: str = ""


class CannotApply(SafetyError):
    """The log holds entries that this build can't apply. It must stop, and another build take
    over."""


def identity_command(cluster: str, needs: str = "") -> str:
    """Return the command of the entry that gives the identity or adds parts; `read` is the
    inverse."""
    return f"{PREFIX}{cluster} {FORMAT}{f' with {needs}' if needs else ''}"


def read(command: str) -> IdentityEntry:
    """Return the identity and the parts in a command, "" and "" for any other command.

    The function is total: a malformed command changes nothing on any server.
    """
    match = _IDENTITY.fullmatch(command)
    return IdentityEntry("") if match is None else IdentityEntry(match[1], match[2] or "")


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


def check_needs(applies: Iterable[str] | None, what: str, needs: str) -> None:
    """Check that a build applies what this entry or file says that entries need.

    Raises:
        CannotApply: it does not.
    """
    if applies is not None and (why := why_lacking(needs, applies)):
        raise CannotApply(f"from {what} on, entries {why} (docs/operate/upgrades.md)")


class ClusterIdentity(Versions[str]):
    """The identity of the cluster, by the index of the entry that gives it, and the parts that
    entries need. It is "" at the floor."""

    def __init__(
        self, base_index: int, base: str = "", commands: Sequence[str] = (), needs: str = ""
    ) -> None:
        """`base` and `needs` are the values at the log's base."""
        super().__init__(base_index, base)
        self.needs: Versions[str] = Versions(base_index, needs)
        for index, command in enumerate(commands, start=base_index + 1):
            if command.startswith(PREFIX):
                self.append(index, command)

    @property
    def is_at_floor(self) -> bool:
        """Whether the log has no identity."""
        return not self.latest

    def append(self, index: int, command: str) -> None:
        """Record a new entry that may give the identity or add parts. An entry with an identity
        other than the first one changes nothing."""
        cluster, needs = read(command)
        if is_foreign(self.latest, cluster):
            return
        if cluster and not self.latest:
            self.add(index, cluster)
        if lacking(needs, self.needs.latest.split()):
            self.needs.add(index, with_parts(self.needs.latest, needs.split()))

    def cut_after(self, index: int) -> None:
        super().cut_after(index)
        self.needs.cut_after(index)

    def compact(self, index: int) -> None:
        super().compact(index)
        self.needs.compact(index)
