"""Invariants of simulated programs that divide shards, meet at barriers or join a party."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from raftline.recipes.groups.barrier_steps import BarrierKeys


class Share(Protocol):
    """The shards of a program."""

    @property
    def is_held(self) -> bool: ...
    @property
    def is_broken(self) -> bool: ...


class MemberLease(Protocol):
    """The lease of a member of a party."""

    is_broken: bool  # it may have been revoked

    @property
    def id(self) -> str: ...
    @property
    def is_held(self) -> bool: ...


class ShardCheck:
    """The shards of one partitioner, as the programs know them."""

    def __init__(self) -> None:
        self._owners: dict[int, Share] = {}
        self._tokens: dict[int, int] = {}

    def updated(self, share: Share, tokens: Mapping[int, int]) -> None:
        """Check the shards that a program has from now on.

        Raises:
            AssertionError: another program certainly has one of them, or its token does not grow.
        """
        self.left(share)
        for number, token in tokens.items():
            owner, last = self._owners.get(number), self._tokens.get(number, 0)
            is_held = owner is not None and owner.is_held and not owner.is_broken
            assert not is_held, f"{share} has shard {number}, and {owner} has it for certain"
            assert token >= last, f"shard {number} has token {token} after {last}"
            self._owners[number], self._tokens[number] = share, token

    def left(self, share: Share) -> None:
        """Record that a program uses none of its shards any more."""
        self._owners = {n: each for n, each in self._owners.items() if each is not share}


class PartyCheck:
    """The members of one party, as the programs know them and as confirmed lists show them.

    A member is gone when it has left, or when its lease has ended: a program that died or was cut
    off does not renew it. The check of lateness.py bounds the time until then.
    """

    def __init__(self) -> None:
        self._members: dict[str, MemberLease] = {}  # by value; their programs are not leaving
        self._values: dict[str, set[str]] = {}  # of all members so far, by lease
        self._gone: set[str] = set()
        self._vain: set[str] = set()  # their joins have not succeeded
        self.has_leftover = False  # whether the last list has one of these

    def joining(self, value: str) -> None:
        """Record that a program tries to join. If it gives up, it is not to be a member, though it
        lives."""
        self._vain.add(value)

    def joined(self, value: str, lease: MemberLease) -> None:
        """Record that a program has joined with this value, which no other member has."""
        self._vain.remove(value)
        self._members[value] = lease
        self._values.setdefault(lease.id, set()).add(value)

    def leaving(self, value: str) -> None:
        """Record that a program leaves or dies: it may be listed or not."""
        self._members.pop(value, None)

    def left(self, value: str) -> None:
        """Record that a program knows that it has left."""
        self._gone.add(value)

    def ended(self, leases: Iterable[str]) -> int:
        """Record that a node has applied the end of these leases; return how many members they
        had."""
        values = set().union(*(self._values.get(lease, ()) for lease in leases)) - self._gone
        self._gone |= values
        return len(values)

    def now(self) -> tuple[Mapping[str, MemberLease], set[str]]:
        """Return the present members, and those that are gone, for `listed`."""
        return dict(self._members), set(self._gone)

    def listed(
        self, values: Sequence[str], before: tuple[Mapping[str, MemberLease], set[str]]
    ) -> None:
        """Check a list; `before` is from the time before the request.

        Raises:
            AssertionError: a member is certainly here and is not listed, or a member that was gone
                is listed.
        """
        members, gone = before
        for value, lease in members.items():
            is_here = self._members.get(value) is lease and lease.is_held and not lease.is_broken
            assert value in values or not is_here, f"{value} is here, and is not listed"
        self.has_leftover = not self._vain.isdisjoint(values)
        for value in values:
            assert value not in gone, f"{value} is gone, and is listed"


class BarrierCheck:
    """A barrier and a double barrier, as the first node to apply their entries has them."""

    def __init__(self, keys: BarrierKeys) -> None:
        self._keys = keys
        self._count = int(keys.mode.partition(":")[2])
        self._round = ""  # the prefix of its keys
        self._is_closed = False
        self.rounds = self.openings = 0  # so far; one that is under way, or open, counts

    def applied(self, pairs: Mapping[str, object]) -> None:
        """Check the keys after some entries.

        Raises:
            AssertionError: a round has begun, though too few programs were in, or before the last
                one was over; or enough programs wait, and no round has begun.
        """
        keys, is_closed = self._keys, self._is_closed
        self._is_closed = keys.closed in pairs
        self.openings += is_closed and not self._is_closed
        seats = [key for key in pairs if keys.is_seat(key)]
        rounds = {key[: key.index("lease-")] for key in seats}
        assert len(rounds) <= 1, f"several rounds at a time: {sorted(rounds)}"
        before, self._round = self._round, min(rounds, default="")
        if self._round and self._round != before:
            count = len(seats)
            assert count >= self._count, f"a round of {self._count} begins with {count}"
            self.rounds += 1
        waiting = [key for key in pairs if key.startswith(f"{keys.prefix}line/")]
        is_late = bool(waiting) and (bool(rounds) or len(waiting) >= self._count)
        assert not is_late, f"{waiting} wait, and the round is {self._round or 'not begun'}"

    def left(self, round_: str) -> None:
        """Check that a round is over, as a program that has left it has been told.

        Raises:
            AssertionError: it is not.
        """
        assert self._round != round_, f"a program has left {round_}, and it is not over"

    @property
    def entering(self) -> int:
        """The rounds before the one that a program may join now."""
        return self.rounds - bool(self._round)

    @property
    def waiting(self) -> int:
        """The openings before the one that a program waits for now; -1 if it is open."""
        return self.openings if self._is_closed else -1
