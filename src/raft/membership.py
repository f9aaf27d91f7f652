"""Membership: voters, learners, joint configurations and their quorums.

A configuration is an entry of the log, in readable text:

    members s1=localhost:10000,voter s2=localhost:10001,voter s4=localhost:10003,learner
    members s1=localhost:10000,voter | s1=localhost:10000,voter s2=localhost:10001,voter

The second example is a joint configuration (paper §6, C_old,new), with the voters of the old
configuration on the left and all members of the new one on the right. A server uses the latest
configuration in its log, committed or not, and returns to the previous one if the entry is cut off
(paper §6).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final

from ..common.text import NAME
from .log import Versions

PREFIX: Final = "members "
_WORD = re.compile(rf"({NAME})=([^\s=,|]+:[1-9][0-9]{{0,4}}),(voter|learner)")
# The form in common/address.py, since a node could not dial any other.
_HOST = re.compile(r"(?!\.|.{0,252}\.\.|.{0,252}[^.]{64})[A-Za-z0-9_.:%-]{1,253}")
_PORT_MAX: Final = 65535


@dataclass(frozen=True, slots=True)
class Membership:
    """The members of one configuration, by name. Learners receive entries but are never counted."""

    voters: tuple[str, ...]
    learners: tuple[str, ...] = ()
    outgoing: tuple[str, ...] = ()  # voters of the old configuration; empty unless joint
    addresses: Mapping[str, str] = field(default_factory=dict, hash=False)  # name to host:port

    @property
    def is_joint(self) -> bool:
        return bool(self.outgoing)

    @property
    def names(self) -> tuple[str, ...]:
        """All members that receive entries, each once."""
        return tuple(dict.fromkeys((*self.outgoing, *self.voters, *self.learners)))

    @property
    def electors(self) -> tuple[str, ...]:
        """The voters of both halves, each of which may stand for election (paper §6)."""
        return tuple(dict.fromkeys((*self.outgoing, *self.voters)))

    def has(self, name: str) -> bool:
        """Return whether a server is a member."""
        return name in self.voters or name in self.learners or name in self.outgoing

    def is_quorum(self, names: Collection[str]) -> bool:
        """Return whether these servers are a majority of the voters. In a joint configuration they
        must be a majority of the old voters and, separately, of the new ones (paper §6)."""
        there = set(names)
        return all([len(there.intersection(half)) >= majority(half) for half in self._halves()])

    def reached_by_quorum(self, values: dict[str, int]) -> int:
        """Return the highest number that a quorum reached; a missing number counts as 0."""
        if not self.outgoing:
            return _reached_by_majority(self.voters, values)
        return min([_reached_by_majority(half, values) for half in self._halves()])

    def joint_to(self, target: Membership) -> Membership:
        """Return C_old,new, the joint configuration between this one and `target` (paper §6)."""
        return Membership(
            target.voters, target.learners, self.voters, {**self.addresses, **target.addresses}
        )

    def settled(self) -> Membership:
        """Return C_new, the configuration that follows a joint one."""
        names = (*self.voters, *self.learners)
        addresses = {name: where for name, where in self.addresses.items() if name in names}
        return Membership(self.voters, self.learners, (), addresses)

    def format(self) -> str:
        """Return the command of the entry for this configuration; `read` is the inverse."""
        words = [f"{name}={self.addresses[name]},voter" for name in self.outgoing]
        words += ["|"] if self.is_joint else []
        words += [f"{name}={self.addresses[name]},voter" for name in self.voters]
        words += [f"{name}={self.addresses[name]},learner" for name in self.learners]
        return PREFIX + " ".join(words)

    def describe(self) -> str:
        """Return the voters and learners as text for a person."""
        text = "voters " + " ".join(self.voters)
        if self.is_joint:
            old, new = " ".join(self.outgoing), " ".join(self.voters)
            text = f"voters {old} | {new} (a majority of each)"
        return text + (f", learners {' '.join(self.learners)}" if self.learners else "")

    def _halves(self) -> tuple[tuple[str, ...], ...]:
        return (self.voters, self.outgoing) if self.outgoing else (self.voters,)


def all_vote(addresses: Mapping[str, str]) -> Membership:
    """Return a configuration in which all of these servers vote, as in a new cluster."""
    return Membership(tuple(addresses), addresses=dict(addresses))


def _reached_by_majority(voters: Sequence[str], values: dict[str, int]) -> int:
    return sorted(map(values.get, voters, repeat(0)))[-majority(voters)]


def majority(voters: Sequence[str]) -> int:
    """Return the smallest majority of these voters: 2 of 3, 3 of 4 (paper §5.2)."""
    return len(voters) // 2 + 1


def read(command: str) -> Membership | None:
    """Return the configuration in a command; None for any other command.

    The function is total: a malformed configuration is an entry that changes nothing on any server.
    """
    if not command.startswith(PREFIX):
        return None
    old, bar, new = command[len(PREFIX) :].rpartition(" | ")
    addresses: dict[str, str] = {}
    before, now = _read_half(old, addresses), _read_half(new, addresses)
    if before is None or now is None or not now["voter"]:
        return None
    if before["learner"] or bool(bar) != bool(before["voter"]):
        return None
    return Membership(tuple(now["voter"]), tuple(now["learner"]), tuple(before["voter"]), addresses)


def is_dialled(address: str) -> bool:
    """Whether a node can dial HOST:PORT, whose port has one to five digits."""
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    return int(port) <= _PORT_MAX and _HOST.fullmatch(host) is not None


def _read_half(text: str, addresses: dict[str, str]) -> dict[str, list[str]] | None:
    """Return names by role; None if a word is malformed or its address can't be dialled, a name
    occurs twice, or a member's address differs from its earlier address."""
    names: dict[str, list[str]] = {"voter": [], "learner": []}
    for word in text.split(" ") if text else ():
        match = _WORD.fullmatch(word)
        if match is None or any(match[1] in others for others in names.values()):
            return None
        if not is_dialled(match[2]) or addresses.setdefault(match[1], match[2]) != match[2]:
            return None
        names[match[3]].append(match[1])
    return names


class Configurations(Versions[Membership]):
    """Every configuration of the log by the index of its entry; the latest is in use (paper §6).

    The first configuration is the configuration at the log's base: the initial members, the members
    in a snapshot, or nobody for a server that waits to be added.
    """

    def __init__(self, base_index: int, base: Membership, commands: Sequence[str] = ()) -> None:
        super().__init__(base_index, base)
        for index, command in enumerate(commands, start=base_index + 1):
            if command.startswith(PREFIX):
                self.append(index, command)

    def has_known(self, name: str) -> bool:
        """Whether any configuration that the log still has includes this server."""
        return any(membership.has(name) for membership in self._known)

    def removed_by(self, name: str) -> int:
        """Return the entry that removed `name`; 0 if it is a member or never was one here."""
        index = 0  # of the configuration after the current one
        for place in range(len(self._known) - 1, -1, -1):
            if self._known[place].has(name):
                return index
            index = self._indexes[place]
        return 0

    def append(self, index: int, command: str) -> None:
        """Record the configuration of a new entry, if it is one."""
        membership = read(command)
        if membership is not None:
            self.add(index, membership)
