"""Membership changes and the configurations that they go through; pure arithmetic.

Any change of voters goes C_old → C_old,new → C_new (paper §6), however many voters it moves at
once. A learner is never counted, so adding or removing one takes a single entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..common.address import canonical_host
from .membership import Membership

FORCE: Final = "force"  # the last word of a request that may take the quorum


class ChangeRefused(Exception):
    """A change refused before anything was appended. The message is one line for a person."""


class Change(NamedTuple):
    """One request: `add`, `remove`, `promote`, `demote` or `update` NAME, or `replace` OLD with
    NAME. An `update` gives a member another address."""

    verb: str
    name: str
    address: str = ""
    old: str = ""
    cluster: str = ""  # the identity that the new member knows, "" if none
    force: bool = False  # even if too few of the voters answer for a majority
    applies: frozenset[str] | None = None  # what the new member's build applies; None: not heard
    is_at_floor: bool = False  # the new member announces no build

    def __str__(self) -> str:
        return " ".join(word for word in (self.verb, self.old, self.name) if word)

    @property
    def place(self) -> str:
        """The new member in the form of a request: NAME HOST PORT."""
        host, _, port = self.address.rpartition(":")
        return f"{self.name} {host} {port}"

    @property
    def forced(self) -> str:
        """The request for the same change, even if too few voters answer for a majority."""
        words = (self.verb, self.old, self.place if self.address else self.name, FORCE)
        return " ".join(word for word in words if word)


class ChangePlan(NamedTuple):
    """The steps of a change: `learner_first` is appended at once, then `candidate` catches up."""

    target: Membership
    candidate: str | None = None
    learner_first: Membership | None = None


@dataclass(slots=True)
class PendingChange:
    """A change in progress at the leader. It ends with the leadership; the log has its outcome.

    The catch-up rounds follow thesis §4.2.1: each round sends the learner the entries that the log
    held when the round began.
    """

    change: Change
    token: Any
    target: Membership
    candidate: str | None
    began_ms: int
    round_began_ms: int
    round_index: int  # the entry that the candidate must hold to finish this round
    rounds: int = 1
    joint_index: int = 0
    # The most that the candidate held: its last entry, that of a snapshot, and bytes of it.
    held: tuple[int, int, int] = (0, 0, 0)
    held_since_ms: int = 0  # when it last took more


def plan(change: Change, members: Membership) -> ChangePlan:
    """Return the steps from `members` to the requested configuration.

    Raises:
        ChangeRefused: the change does not fit the members, or would leave no voter.
    """
    match change.verb:
        case "add":
            return _with_voter(change, members)
        case "replace":
            return _replaced(change, members)
        case "promote":
            _expect(change.name in members.names, f"{change.name} is not a member: add it")
            _expect(change.name in members.learners, f"{change.name} votes already")
            return ChangePlan(_placed(members, change.name, "voter"), change.name)
        case "demote":
            _expect(change.name in members.names, f"{change.name} is not a member")
            _expect(change.name in members.voters, f"{change.name} is a learner already")
            return ChangePlan(_checked(_placed(members, change.name, "learner")))
        case "update":
            _expect(change.name in members.names, f"{change.name} is not a member: add it")
            _expect_free(change, members)
            addresses = {**members.addresses, change.name: change.address}
            return ChangePlan(Membership(members.voters, members.learners, (), addresses))
        case _:
            _expect(change.name in members.names, f"{change.name} is not a member")
            return ChangePlan(_checked(_placed(members, change.name, "")))


def _with_voter(change: Change, members: Membership) -> ChangePlan:
    """Return the steps to make NAME at this address a voter. If it is one already, the current
    members must still be committed, because a deposed leader could wrongly claim that."""
    name, address = change.name, change.address
    if name in members.names:
        where = members.addresses.get(name)
        _expect(
            where == address, f"{name} is a member at {where}; to move it: update {change.place}"
        )
        if name in members.voters:
            return ChangePlan(members)
        return ChangePlan(_placed(members, name, "voter"), name)
    for other in members.names:
        why = f"{name} differs from {other} by case only, so on some disks they share their files"
        _expect(name.lower() != other.lower(), f"{why}; choose another name")
    _expect_free(change, members)
    learner = _placed(members, name, "learner", address)
    return ChangePlan(_placed(learner, name, "voter"), name, learner)


def _expect_free(change: Change, members: Membership) -> None:
    """Refuse the address of another member."""
    for other, where in members.addresses.items():
        is_taken = other != change.name and _place(where) == _place(change.address)
        _expect(not is_taken, f"{change.address} is the address of {other}")


def _place(address: str) -> str:
    """Return the canonical form of HOST:PORT."""
    host, _, port = address.rpartition(":")
    return f"{canonical_host(host)}:{port}"


def _replaced(change: Change, members: Membership) -> ChangePlan:
    """Return the remaining steps after any earlier attempt: NAME may be unknown, a learner, a voter
    alongside OLD, or the replacement may be complete."""
    _expect(change.old != change.name, "a replacement needs a name of its own")
    added = _with_voter(change, members)
    if change.old not in members.names and change.name in members.voters:
        return added
    _expect(
        change.old in members.voters,
        f"{change.old} is not a voter, so it can't be replaced; to give {change.name} a vote: "
        f"add {change.place}",
    )
    return added._replace(target=_placed(added.target, change.old, ""))


def _placed(members: Membership, name: str, role: str, address: str = "") -> Membership:
    """Return the members with `name` in this role, or without it if the role is empty."""
    voters = tuple(one for one in members.voters if one != name)
    learners = tuple(one for one in members.learners if one != name)
    addresses = dict(members.addresses)
    if address:
        addresses[name] = address
    if role == "voter":
        voters += (name,)
    elif role == "learner":
        learners += (name,)
    else:
        addresses.pop(name, None)
    return Membership(voters, learners, (), addresses)


def _checked(target: Membership) -> Membership:
    _expect(bool(target.voters), "no voter would be left")
    return target


def _expect(fact: bool, otherwise: str) -> None:
    if not fact:
        raise ChangeRefused(otherwise)


def advice(voters: int) -> str:
    """Return why this number of voters is a poor choice; "" if it is a good one."""
    if voters == 2:
        return "2 voters need each other, and the loss of either stops the cluster: use 1 or 3"
    if voters % 2 == 0:
        tolerated = voters // 2 - 1
        return (
            f"{voters} voters tolerate the loss of {tolerated}, like {voters - 1} voters, and "
            f"every write waits for {voters // 2 + 1}: use {voters - 1} or {voters + 1}"
        )
    return ""
