"""A partitioner: which program has which shard. Its keys, and its operations as machines.

* `partition/NAME/count` has the number of shards. It changes only while there is no member.
* `partition/NAME/held/shared/CLAIM` has the value of a member, as in a party (`party_steps.py`).
* `partition/NAME/shards/NUMBER` has the claim of the member that has the shard, under its lease. It
  is set only on the conditions that this claim is a member, and that the shard is free: the key is
  absent, or its claim has left. So one member has the shard at a time. The index of that entry is
  the fencing token.

Each member is due an equal part of the shards; the first to join have one more if there is a
remainder. A member with more gives shards back, and a member with fewer takes free shards. Members
that read the same keys take different shards, and no shard changes hands without need.

A member that leaves deletes its shards along with its membership. If the
outcome of its claim on a shard is unknown, the shard is left to a claim that is gone, so it
is free.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, Generic, NamedTuple

from raftline.clients.calls.calls import Ask, Call, Stat, Steps, whole
from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.calls.transaction import Operations, Outcome, Transaction, itself
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.calls.wait_times import Wait, seconds_to_wait
from raftline.clients.connections.node_connection import ClientError
from raftline.clients.requests.times import Seconds
from raftline.clients.watches.watch_events import Event

from ..locks.claim_steps import Claiming
from ..locks.claims import Attempt, News
from ..locks.held import BaseHeld, Leased, SomeHeld
from ..locks.recipe_calls import Seat
from .party_steps import JoinSteps, PartyKeys, Versions, in_order

PARTITIONS = "partition"
SHARDS_MAX = 1000
_DIGITS = len(str(SHARDS_MAX))
_TOGETHER = 64  # shards in one transaction


class PartitionKeys(PartyKeys):
    """The keys of one partitioner."""

    def __init__(self, name: str, shards: int) -> None:
        """Name the keys. Raises TypeError, ValueError if the name or the number is invalid."""
        super().__init__(name, PARTITIONS)
        if not 1 <= whole(shards) <= SHARDS_MAX:
            raise ValueError(f"a partitioner has 1 to {SHARDS_MAX} shards, not {shards}")
        self.shards = shards
        self.count = f"{self.prefix}count"

    def gone(self, claim: str) -> str:
        """Return the key of a claim that was abandoned."""
        return f"{self.prefix}gone/{claim}"

    def shard(self, number: int) -> str:
        return f"{self.prefix}shards/{number:0{_DIGITS}}"


class Division(NamedTuple):
    """The members and their shards at one moment."""

    members: dict[str, str]  # the value of each claim, in the order in which they joined
    owners: dict[int, tuple[str, int]]  # the member that has a shard, and the token
    leftover: dict[int, int]  # the tokens of the shards of claims that have left

    @staticmethod
    def of(keys: PartitionKeys, pairs: Versions) -> Division:
        """Return what the keys under the prefix of a partitioner say."""
        members = {
            key.removeprefix(keys.members): version.value or ""
            for key, version in in_order(keys, pairs)
        }
        by_key = dict(pairs)
        found = {
            number: (version.value or "", version.index)
            for number in range(keys.shards)
            if (version := by_key.get(keys.shard(number))) is not None
        }
        owners = {number: each for number, each in found.items() if each[0] in members}
        leftover = {number: each[1] for number, each in found.items() if number not in owners}
        return Division(members, owners, leftover)

    def change_for(self, claim: str, shards: int) -> tuple[list[int], list[int]]:
        """Return the shards that a member has to take, and those that it has to give back."""
        counts = Counter(owner for owner, _ in self.owners.values())
        free = [number for number in range(shards) if number not in self.owners]
        least, remainder = divmod(shards, len(self.members))
        for place, member in enumerate(self.members):
            due = least + (place < remainder)
            takes = free[: max(0, due - counts[member])]
            if member == claim:
                return takes, list(self.tokens_of(claim))[due:]
            free = free[len(takes) :]
        return [], []

    def tokens_of(self, claim: str) -> dict[int, int]:
        """Return the shards that a member has, each with its token."""
        return {number: token for number, (owner, token) in self.owners.items() if owner == claim}


class BaseShare(BaseHeld[Leased], Generic[Leased]):
    """The shards of one member, and its membership."""

    def __init__(self, keys: PartitionKeys, lease: Leased, seat: Seat, claim: Any) -> None:
        super().__init__(keys, lease, seat.key, seat.token)
        self._claim = claim
        self._keys: PartitionKeys = keys
        self._shards: dict[int, int] | None = None  # as `update` returned them
        self._surplus: dict[int, int] = {}  # to be given back by the next `update`
        self._attempt: Attempt[Leased] = Attempt()  # has the watch

    def _releasing(self) -> Steps[None]:
        self._attempt.hang_up()
        has = list({**(self._shards or {}), **self._surplus}.items())
        self._gives_with = _deleting(self._keys, dict(has[:_TOGETHER]), self._key)
        yield from super()._releasing()
        for begin in range(_TOGETHER, len(has), _TOGETHER):
            with contextlib.suppress(ClientError):  # they are free in any case
                yield Ask(_deleting(self._keys, dict(has[begin : begin + _TOGETHER])))


class ShareNews(News):
    """A member that waits looks again if members come or go, a shard is given back, or another has
    one of its shards. The shards of others concern nobody else."""

    def __init__(self, keys: PartitionKeys, share: BaseShare[Any]) -> None:
        super().__init__(keys.prefix)
        self._keys = keys
        self._share = share

    def take(self, events: Sequence[Event[str]], *, is_listing: bool) -> bool:
        return is_listing or any(map(self._concerns, events))

    def _concerns(self, event: Event[str]) -> bool:
        if event.key.startswith(f"{self._keys.prefix}shards/"):
            if not event.is_there:
                return True
            shards = {**(self._share._shards or {}), **self._share._surplus}
            tokens = {self._keys.shard(number): token for number, token in shards.items()}
            return event.index > tokens.get(event.key, event.index)
        return self._keys.is_seat(event.key)


class PartitionSteps(JoinSteps[Leased, SomeHeld]):
    """The parts of a partitioner that send requests, as a claim (`claims.py`)."""

    _keys: PartitionKeys

    def _holding(
        self, attempt: Attempt[Leased], value: str, *, is_once: bool = False
    ) -> Claiming[Seat]:
        """Join, if the members agree about the number of shards. As `hold` does, this does nothing
        for a claim that was abandoned."""
        keys, count, lease = self._keys, str(self._keys.shards), attempt.lease
        assert lease is not None, "a claim has a lease"
        claim = lease._claim_name
        key = f"{keys.members}{claim}"

        def joining(after: Operations[str, Call[Outcome[str]]]) -> Steps[Outcome[str]]:
            joins = after.set(key, value, lease=lease.id).stat(key).else_.get(keys.count)
            return lease._requesting(joins.commit())

        while True:
            agreed = Transaction(TEXT, itself).if_.absent(keys.gone(claim))
            joined = yield from joining(agreed.equal(keys.count, count).then)
            if not joined and joined.value(0) == count:
                raise LeaseLost(f"{claim} was abandoned, so nothing was done")
            if not joined:
                first = Transaction(TEXT, itself).if_.absent(keys.gone(claim))
                then = first.none_under(keys.members).then.set(keys.count, count)
                joined = yield from joining(then)
            if joined:
                return Seat(key, index_in(joined))
            current = joined.value(0)
            if current != count:
                lease._forget_request()
                what = current or "an unknown number of"
                raise ValueError(f"{self._keys.name} has {what} shards, not {count}")

    def _make_held(self, lease: Leased, seat: Seat) -> SomeHeld:
        make: Any = self._held_class
        share: SomeHeld = make(self._keys, lease, seat, self)
        return share

    def _division(self) -> Steps[Division]:
        return Division.of(self._keys, (yield from self._versions(self._keys.prefix)))

    def _owners(self) -> Steps[dict[int, str]]:
        """Return the text of the value of each shard's owner."""
        division = yield from self._division()
        return {number: division.members[owner] for number, (owner, _) in division.owners.items()}

    def _updating(self, share: BaseShare[Any], timeout: Seconds | None) -> Claiming[dict[int, int]]:
        """Give back what the last update announced, and wait until the shards change. Return them,
        each with its token."""
        if share._is_released:
            raise RuntimeError(f"the share of {share.name} is released already")
        wait = Wait.of(seconds_to_wait(timeout, -1), self._now())
        yield from self._limits(wait).outlasting(lambda: self._exchanging(share, wait))
        share._lease._expect_held()
        return dict(share._shards or {})

    def _exchanging(self, share: BaseShare[Any], wait: Wait) -> Claiming[bool]:
        """Give back the surplus, and wait until the shards change."""
        share._lease._expect_held()
        surplus = list(share._surplus.items())
        while surplus:
            # If one of them has changed, none is given; the next read shows that.
            yield Ask(_deleting(self._keys, dict(surplus[:_TOGETHER])))
            del surplus[:_TOGETHER]
            share._surplus = dict(surplus)  # what is left if an outage comes between
        is_changed = partial(self._is_changed, share)
        news = ShareNews(self._keys, share)
        return (yield from self._watched(share._attempt, is_changed, wait, news))

    def _is_changed(self, share: BaseShare[Any]) -> Steps[bool]:
        """Take the shards that this member is due; return whether its shards have changed."""
        claim, free = share._lease._claim_name, [0]
        while free:
            division = yield from self._division()
            if claim not in division.members:
                share._lease._lose()
                raise share._broken()
            tokens = division.tokens_of(claim)
            free, surplus = division.change_for(claim, self._keys.shards)
            while free:
                token = yield from self._taking(share, free[:_TOGETHER], division)
                if token is None:
                    break  # another member has taken one of them, or this one has left
                tokens |= dict.fromkeys(free[:_TOGETHER], token)
                del free[:_TOGETHER]
        share._surplus = {number: tokens.pop(number) for number in surplus}
        before, share._shards = share._shards, dict(sorted(tokens.items()))
        return share._shards != before

    def _taking(
        self, share: BaseShare[Any], numbers: list[int], division: Division
    ) -> Steps[int | None]:
        """Take free shards; return their token, or None if one of them is not free any more."""
        lease, keys = share._lease, self._keys
        conditions = Transaction(TEXT, itself).if_.exists(share._key)
        for number in numbers:
            token = division.leftover.get(number)
            if token is None:
                conditions.absent(keys.shard(number))
            else:
                conditions.unchanged(keys.shard(number), token)
        taking = conditions.then
        for number in numbers:
            taking.set(keys.shard(number), lease._claim_name, lease=lease.id)
        with contextlib.suppress(LeaseLost):  # the next read shows that the member is gone
            taken = yield Ask(taking.stat(keys.shard(numbers[0])).commit())
            return index_in(taken) if taken else None
        return None


def _deleting(
    keys: PartitionKeys, tokens: dict[int, int], member: str | None = None
) -> Call[Outcome[str]]:
    """Return the request that gives shards back, and ends the membership with this key. It does
    nothing if one of them has changed."""
    conditions = Transaction(TEXT, itself).if_
    for number, token in tokens.items():
        conditions.unchanged(keys.shard(number), token)
    deleted = [keys.shard(number) for number in tokens]
    if member is not None:
        conditions.exists(member)
        deleted.append(member)
    giving = conditions.then
    for key in deleted:
        giving.delete(key)
    return giving.commit()


def index_in(outcome: Outcome[str]) -> int:
    """Return the index of the entry of a transaction that set a key and showed its `stat`."""
    stat = next(each for each in outcome.results if isinstance(each, Stat))
    return stat.index
