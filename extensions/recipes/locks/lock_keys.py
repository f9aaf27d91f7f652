"""The keys of locks, elections and semaphores, and what they say. Pure.

`hold` sets them (docs/use/protocol.md): under `lock/NAME/held/` are those who hold the lock, under
`lock/NAME/line/` those who wait, each under the lease of its claim. The way of a claim is in
how-a-lock-is-held.md, and why no two holders conflict in recipes-as-entries.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from raftline.clients.calls.calls import CALLS, Ask, Steps, lease_ms, whole
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.requests.times import Seconds
from raftline.common.config import FAST
from raftline.wire.limits import SEATS_MAX

from ..recipe_operands import ALONE, CLAIM, SHARED, TOGETHER
from .recipe_calls import giving_up

LEAST_TTL_S = FAST.election_timeout_ms / 1000  # an election would end any shorter claim
LOCKS = "lock"
ELECTIONS = "election"
SEMAPHORES = "semaphore"
Pairs = Sequence[tuple[str, str]]
_SEAT = re.compile(  # of a key of a holder
    rf"(?:{ALONE}|{SHARED}|[0-9]{{4}}|{TOGETHER}/[0-9]{{19}})/{CLAIM}", re.ASCII
)


def check_ttl(ttl: Seconds) -> None:
    """Raise TypeError, ValueError unless a claim may have this time. A shorter one may end before
    its answer comes, and the next try would be no better."""
    if lease_ms(ttl) < 1000 * LEAST_TTL_S:
        raise ValueError(
            f"a ttl of {ttl} seconds would end before its holder knows; give at least "
            f"{LEAST_TTL_S}, the shortest election timeout. Nothing was sent"
        )


class LockKeys:
    """The keys of one lock or election, for one holder at a time."""

    mode = ALONE
    limit: int | None = 1  # how many hold it at a time; None: any number

    def __init__(self, kind: str, name: str) -> None:
        """Name the keys. Raises TypeError, ValueError if the name can't be a part of a key."""
        self.name = TEXT.key(name, f"the name of {'an' if kind == ELECTIONS else 'a'} {kind}")
        self.prefix = f"{kind}/{self.name}/"
        self.held = f"{self.prefix}held/"
        self.giving_up = partial(giving_up, self.prefix)

    def holders(self) -> Steps[Pairs]:
        """Read the keys of the holders, and the names that they gave."""
        pairs = (yield Ask(CALLS.page(self.held))).pairs
        return [pair for pair in pairs if self.is_seat(pair[0])]

    def is_seat(self, key: str) -> bool:
        """Return whether a key is that of a holder, and not of a lock with a longer name."""
        return key.startswith(self.held) and bool(_SEAT.fullmatch(key, len(self.held)))

    def is_free(self, holders: Pairs) -> bool:
        """Return whether a claim may hold it along with these holders."""
        return not holders

    def is_forgotten(self, holders: Pairs) -> bool:
        """Return whether a claim waits for what these holders leave free, which happens if someone
        has deleted the key of a holder by hand."""
        return not holders

    def seat_prefix(self, claim: str) -> str:
        """Return what the key begins with that a claim has as a holder."""
        return f"{self.held}{self.mode}/{claim}"

    def slot_of(self, key: str) -> int:
        """Return the number of the slot with this key; 0 if there are no slots."""
        return 0


class SharedKeys(LockKeys):
    """The keys of a lock for shared holders."""

    mode = SHARED
    limit = None

    def __init__(self, name: str) -> None:
        super().__init__(LOCKS, name)

    def is_free(self, holders: Pairs) -> bool:
        return all(key.startswith(f"{self.held}{SHARED}/") for key, _ in holders)


class Slots(LockKeys):
    """The keys of a semaphore: a slot for each possible holder."""

    def __init__(self, name: str, limit: int) -> None:
        """Name the keys. Raises TypeError, ValueError if the name or the limit is invalid."""
        super().__init__(SEMAPHORES, name)
        if not 1 <= whole(limit) <= SEATS_MAX:
            raise ValueError(f"a semaphore has 1 to {SEATS_MAX} holders at a time, not {limit}")
        self.limit: int = limit
        self.mode = str(limit)

    def is_free(self, holders: Pairs) -> bool:
        taken = {self.slot_of(key) for key, _ in holders}
        return 0 not in taken and any(slot not in taken for slot in range(1, self.limit + 1))

    def is_forgotten(self, holders: Pairs) -> bool:
        return self.is_free(holders)

    def seat_prefix(self, claim: str) -> str:
        return self.held

    def slot_of(self, key: str) -> int:
        digits = key[len(self.held) :].partition("/")[0]
        return int(digits) if digits.isdecimal() else 0
