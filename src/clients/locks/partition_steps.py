"""A partitioner: which program has which shard. Its keys, and its operations as machines.

* `partition/NAME/count` has the number of shards. It changes only while there is no member.
* `partition/NAME/members/LEASE` has the value of a member, under the lease of that member.
* `partition/NAME/shards/NUMBER` has the lease of the member that has the shard, and ends with it.
  It is set only on the condition that it is absent, so one member has the shard at a time. The
  index of that entry is the fencing token.

Each member is due an equal part of the shards; the first to join have one more if there is a
remainder. A member with more gives shards back, and a member with fewer takes free shards. Members
that read the same keys take different shards, and no shard changes hands without need.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, Generic, NamedTuple

from ..calls.calls import Ask, Steps, Version, whole
from ..calls.kv_errors import LeaseLost
from ..calls.transaction import Transaction, itself
from ..calls.value_codec import TEXT
from ..calls.wait_times import Wait, seconds_to_wait
from ..requests.times import Seconds
from .claim_steps import Claiming
from .claims import Attempt
from .held import BaseHeld, Leased, SomeHeld
from .lock_keys import LockKeys, number_of
from .party_steps import JoinSteps, index_in

PARTITIONS = "partition"
SHARDS_MAX = 1000
_DIGITS = len(str(SHARDS_MAX))
_TOGETHER = 64  # shards in one transaction


class PartitionKeys(LockKeys):
    """The keys of one partitioner."""

    def __init__(self, name: str, shards: int) -> None:
        """Name the keys. Raises TypeError, ValueError if the name or the number is invalid."""
        super().__init__(PARTITIONS, name)
        if not 1 <= whole(shards) <= SHARDS_MAX:
            raise ValueError(f"a partitioner has 1 to {SHARDS_MAX} shards, not {shards}")
        self.shards = shards
        self.count = f"{self.prefix}count"
        self.members = f"{self.prefix}members/"
        self.shards_prefix = f"{self.prefix}shards/"

    def member(self, lease: str) -> str:
        return f"{self.members}{lease}"

    def shard(self, number: int) -> str:
        return f"{self.shards_prefix}{number:0{_DIGITS}}"


class Division(NamedTuple):
    """The members and their shards at one moment."""

    members: dict[str, str]  # the value of each lease, in the order in which they joined
    owners: dict[int, tuple[str, int]]  # the lease that has a shard, and the token

    @staticmethod
    def of(keys: PartitionKeys, pairs: Mapping[str, Version[str]]) -> Division:
        """Return what the keys under the prefix of a partitioner say."""
        there = sorted((key for key in pairs if key.startswith(keys.members)), key=number_of)
        members = {key.removeprefix(keys.members): pairs[key].value or "" for key in there}
        owners = {
            number: (version.value or "", version.index)
            for number in range(keys.shards)
            if (version := pairs.get(keys.shard(number))) is not None
        }
        return Division(members, owners)

    def change_for(self, lease: str, shards: int) -> tuple[list[int], list[int]]:
        """Return the shards that a member has to take, and those that it has to give back."""
        counts = Counter(owner for owner, _ in self.owners.values())
        free = [number for number in range(shards) if number not in self.owners]
        least, remainder = divmod(shards, len(self.members))
        for place, member in enumerate(self.members):
            due = least + (place < remainder)
            takes = free[: max(0, due - counts[member])]
            if member == lease:
                return takes, list(self.tokens_of(lease))[due:]
            free = free[len(takes) :]
        return [], []

    def tokens_of(self, lease: str) -> dict[int, int]:
        """Return the shards that a member has, each with its token."""
        return {number: token for number, (owner, token) in self.owners.items() if owner == lease}


class BaseShare(BaseHeld[Leased], Generic[Leased]):
    """The shards of one member, and its membership."""

    def __init__(
        self, keys: PartitionKeys, lease: Leased, key: str, token: int, claim: Any
    ) -> None:
        super().__init__(keys, lease, key, token)
        self._claim = claim
        self._shards: dict[int, int] | None = None  # as `update` returned them
        self._surplus: dict[int, int] = {}  # to be given back by the next `update`
        self._attempt: Attempt[Leased] = Attempt()  # has the watch

    def _releasing(self) -> Steps[None]:
        self._attempt.hang_up()
        yield from super()._releasing()


class PartitionSteps(JoinSteps[SomeHeld]):
    """The parts of a partitioner that send requests, as a claim (`claims.py`)."""

    # of BaseClaim
    _limits: Any
    _now: Any
    _watched: Any

    def _adding(self, key: str, value: str, lease: str) -> Steps[int]:
        """Join, if the members agree about the number of shards."""
        keys, count = self._keys, str(self._keys.shards)
        while True:
            agreed = Transaction(TEXT, itself).if_.equal(keys.count, count).then
            agreed = agreed.set(key, value, lease=lease).stat(key)
            joined = yield Ask(agreed.commit())
            if joined:
                return index_in(joined)
            alone = Transaction(TEXT, itself).if_.none_under(keys.members)
            fresh = alone.none_under(keys.shards_prefix).then.set(keys.count, count)
            outcome = yield Ask(fresh.else_.get(keys.count).commit())
            if not outcome and outcome.value(0) != count:
                current = outcome.value(0) or "an unknown number of"
                raise ValueError(f"{self._keys.name} has {current} shards, not {count}")

    def _make_held(self, lease: Any, key: str, token: int) -> SomeHeld:
        make: Any = self._held_class
        share: SomeHeld = make(self._keys, lease, key, token, self)
        return share

    def _division(self) -> Steps[Division]:
        return Division.of(self._keys, dict((yield from self._versions())))

    def _owners(self) -> Steps[dict[int, str]]:
        """Return the text of the value of each shard's owner."""
        division = yield from self._division()
        owners = ((number, lease) for number, (lease, _) in division.owners.items())
        members = division.members
        return {number: members[lease] for number, lease in owners if lease in members}

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
            yield from self._giving_back(dict(surplus[:_TOGETHER]))
            del surplus[:_TOGETHER]
            share._surplus = dict(surplus)  # what is left if an outage comes between
        is_changed = partial(self._is_changed, share)
        return bool((yield from self._watched(share._attempt, is_changed, wait)))

    def _is_changed(self, share: BaseShare[Any]) -> Steps[bool]:
        """Take the shards that this member is due; return whether its shards have changed."""
        lease, shards = share._lease.id, self._keys.shards
        while True:
            division = yield from self._division()
            if lease not in division.members:
                share._lease._lose()
                raise share._broken()
            free, surplus = division.change_for(lease, shards)
            if not free:
                break
            yield from self._taking(lease, free[:_TOGETHER])
        tokens = division.tokens_of(lease)
        share._surplus = {number: tokens.pop(number) for number in surplus}
        before, share._shards = share._shards, tokens
        return tokens != before

    def _giving_back(self, tokens: dict[int, int]) -> Steps[None]:
        """Give shards back. If one of them has changed, give none; the next read shows that."""
        keys = {self._keys.shard(number): token for number, token in tokens.items()}
        conditions = Transaction(TEXT, itself).if_
        for key, token in keys.items():
            conditions.unchanged(key, token)
        giving = conditions.then
        for key in keys:
            giving.delete(key)
        yield Ask(giving.commit())

    def _taking(self, lease: str, numbers: list[int]) -> Steps[None]:
        """Take free shards. If another member has taken one of them, take none."""
        keys = [self._keys.shard(number) for number in numbers]
        conditions = Transaction(TEXT, itself).if_
        for key in keys:
            conditions.absent(key)
        taking = conditions.then
        for key in keys:
            taking.set(key, lease, lease=lease)
        with contextlib.suppress(LeaseLost):  # the next read shows that the member is gone
            yield Ask(taking.commit())
