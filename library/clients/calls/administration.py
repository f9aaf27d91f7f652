"""The requests of an administrator, with typed results: the state of a node, the members of the
cluster, and its leader. Pure.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from raftline.common.address import Address
from raftline.common.public import public
from raftline.wire.commands.member_commands import leaves_learner

from .calls import Call, answered, name_of

Role = Literal["voter", "learner", "leaving"]
_name = partial(name_of, "node")
_ENTRY = re.compile(r"\bentry ([0-9]+)\b", re.ASCII)


@public("raftline.api")
@dataclass(frozen=True)
class Status:
    """The cluster as one node knows it; `facts` has all of it (docs/use/protocol.md)."""

    name: str
    role: str  # "leader", "follower", "candidate" and so on
    leader: str | None  # as this node knows
    term: int
    commit_index: int
    last_applied: int
    version: str
    cluster: str  # its identity, "" if it is not known yet
    members: dict[str, str]  # name to address
    facts: dict[str, Any] = field(repr=False)


@public("raftline.api")
@dataclass(frozen=True)
class Member:
    """A member of the cluster. `role` is "leaving" for a voter that a change removes."""

    name: str
    address: str
    role: Role

    @property
    def votes(self) -> bool:
        """Whether its vote counts."""
        return self.role != "learner"


@public("raftline.api")
@dataclass(frozen=True)
class MemberChange:
    """A change of the members that the cluster has made.

    `is_complete` is false if a new member is a learner, without a vote, because it did not catch
    up. `index` is the entry with the change, if the node names it.
    """

    text: str
    index: int | None
    is_complete: bool


def _status(text: str) -> Status:
    facts = json.loads(answered(text).rest)
    return Status(
        name=facts["name"],
        role=facts["role"],
        leader=facts["leader"],
        term=int(facts["term"]),
        commit_index=int(facts["commit_index"]),
        last_applied=int(facts["last_applied"]),
        version=facts["version"],
        cluster=facts.get("cluster") or "",
        members=dict(facts["members"]),
        facts=facts,
    )


def _members(text: str) -> list[Member]:
    facts = json.loads(answered(text).rest)

    def role_of(name: str) -> Role:
        if name in facts["voters"]:
            return "voter"
        return "leaving" if name in facts["outgoing"] else "learner"

    return [Member(name, where, role_of(name)) for name, where in facts["members"].items()]


def _change(text: str) -> MemberChange:
    rest = answered(text).rest
    entry = _ENTRY.search(rest)
    return MemberChange(rest, int(entry[1]) if entry else None, not leaves_learner(text))


def _force(force: bool) -> str:
    return " force" if force else ""


def _place(address: str) -> str:
    """Return an address as two words. Raises TypeError, ValueError."""
    if not isinstance(address, str):
        raise TypeError(f"an address is a str, HOST:PORT, not {type(address).__name__}")
    host, port = Address.parse(address)
    return f"{host} {port}"


class AdminCalls:
    """The requests about a node and its leadership."""

    def status(self) -> Call[Status]:
        """Return what the node that answers knows about the cluster. Any member may answer."""
        return Call("status", _status)

    def transfer(self, to: str | None = None) -> Call[str]:
        """Hand the leadership to a member, or to any that can take it; return the name of the new
        leader. Raises Refused if it did not take over."""
        command = "transfer" if to is None else f"transfer {_name(to)}"
        return Call(command, lambda text: answered(text).rest.partition(" ")[0])


class MemberCalls:
    """The requests about the members."""

    def list(self) -> Call[list[Member]]:
        """Return the members, as the leader knows them."""
        return Call("members", _members)

    def add(self, name: str, address: str) -> Call[MemberChange]:
        """Add a member. It catches up first, and votes from then on."""
        return Call(f"add {_name(name)} {_place(address)}", _change)

    def remove(self, name: str, *, force: bool = False) -> Call[MemberChange]:
        """Remove a member. The cluster refuses this if too few of the remaining voters answer for
        a majority, unless `force` is true."""
        return Call(f"remove {_name(name)}{_force(force)}", _change)

    def replace(
        self, old: str, name: str, address: str, *, force: bool = False
    ) -> Call[MemberChange]:
        """Replace a member with a new one, in one step; `force` as for `remove`."""
        return Call(f"replace {_name(old)} {_name(name)} {_place(address)}{_force(force)}", _change)

    def promote(self, name: str) -> Call[MemberChange]:
        """Give a learner a vote."""
        return Call(f"promote {_name(name)}", _change)

    def demote(self, name: str, *, force: bool = False) -> Call[MemberChange]:
        """Make a voter a learner; `force` as for `remove`."""
        return Call(f"demote {_name(name)}{_force(force)}", _change)

    def update(self, name: str, address: str) -> Call[MemberChange]:
        """Give a member another address, for nodes whose configuration file names none."""
        return Call(f"update {_name(name)} {_place(address)}", _change)
