"""The keys of locks and queues that are asked for in order: places in line, waiting jobs. Pure.

A `hold` asks for the first in line, and a `dequeue` for the first job, in each entry. This index
answers from the keys of one PREFIX, however many others there are. It is made of all keys by the
first such entry after a start, then follows each new and each removed key. It depends on nothing
but the keys that exist, so it is not a part of the state.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable
from heapq import heapify, heappop, heappush
from typing import Final

from raftline.common.process.wakeup import PauseFunction
from raftline.state.store import SecondaryIndex, Store
from raftline.wire.operands.lease_operands import LEASE

from .recipe_operands import (
    ALONE,
    CLAIM,
    COUNT,
    DELIVERIES,
    MODE,
    SHARED,
    TOGETHER,
    is_claim,
)

_INDEX: Final = "[0-9]{19}"  # the number of an entry, so that keys are in the order of the entries
_KEY: Final = re.compile(
    rf"(.*/)(?:(held/(?:{ALONE}|{SHARED})/){CLAIM}|(held/)[0-9]{{4}}/{CLAIM}"
    rf"|(held/{TOGETHER}/){_INDEX}/{CLAIM}"
    rf"|(line/){_INDEX}/(?:{MODE})/{CLAIM}"
    rf"|(idle/){_INDEX}/(?:{COUNT})\.(?:{DELIVERIES})/{CLAIM}|(wait/){_INDEX})",
    re.ASCII | re.DOTALL,
)
_SEATS: Final = "held/"  # the end of the group of a semaphore
_NAME: Final = "recipes"
_MADE_KEYS: Final = 5000  # between two pauses: some ms of work
_REMOVED: Final = 64  # removed keys that a group may hold in any case


class _Group:
    """The keys of one kind at a PREFIX, as a heap that may hold removed keys as well, and those
    that exist by their claims."""

    __slots__ = ("claims", "count", "heap", "seats")

    def __init__(self) -> None:
        self.heap: list[str] = []
        self.count = 0  # of the keys that exist
        self.claims: dict[str, dict[str, None]] = {}
        self.seats = Counter[str]()  # of a semaphore: how many keys each has


def group_of(key: str) -> str:
    """Return the beginning of a key that its group shares: `PREFIX held/alone/`,
    `PREFIX held/shared/`, `PREFIX held/together/`, `PREFIX held/` for the seats of a semaphore,
    `PREFIX line/`, `PREFIX idle/` or `PREFIX wait/`. Return "" for any other key."""
    match = _KEY.fullmatch(key)
    return "" if match is None else match[1] + match[match.lastindex or 1]


def _claim_of(key: str) -> str:
    """Return the claim at the end of a key; "" for a waiting job, which has none."""
    begin = key.rfind(f"/{LEASE}") + 1
    claim = key[begin:]
    return claim if is_claim(claim) else ""


def lock_of(key: str) -> str:
    """Return the PREFIX of the lock that has a key as a seat or a place in line, "" for any other
    key."""
    match = _KEY.fullmatch(key)
    return match[1] if match is not None and any(match.group(2, 3, 4, 5)) else ""


class RecipeKeys(SecondaryIndex):
    """These keys by group. `held` holds the keys that exist now."""

    def __init__(self, keys: Iterable[str], pause: PauseFunction) -> None:
        self._groups: dict[str, _Group] = {}
        for place, key in enumerate(keys, start=1):
            self.add(key)
            if place % _MADE_KEYS == 0:
                pause()

    def add(self, key: str) -> None:
        """Add a key that was absent."""
        name = group_of(key)
        if name:
            group = self._groups.setdefault(name, _Group())
            group.count += 1
            heappush(group.heap, key)
            if name.endswith(_SEATS):
                group.seats[key[len(name) :][:4]] += 1
            if claim := _claim_of(key):
                group.claims.setdefault(claim, {})[key] = None

    def remove(self, key: str, held: Container[str]) -> None:
        """Remove a key that is not in `held` any more."""
        name = group_of(key)
        group = self._groups.get(name)
        if group is None:
            return
        group.count -= 1
        if name.endswith(_SEATS):
            group.seats[key[len(name) :][:4]] -= 1
        if claim := _claim_of(key):
            del group.claims[claim][key]
            if not group.claims[claim]:
                del group.claims[claim]
        if not group.count:
            del self._groups[name]
        elif len(group.heap) > 2 * group.count + _REMOVED:
            group.heap = list({each for each in group.heap if each in held})
            heapify(group.heap)

    def count(self, name: str) -> int:
        """Return the number of keys of a group."""
        group = self._groups.get(name)
        return 0 if group is None else group.count

    def first(self, name: str, held: Container[str]) -> str | None:
        """Return the first key of a group, in the order of their bytes; None if it has none."""
        group = self._groups.get(name)
        if group is None:
            return None
        while group.heap[0] not in held:
            heappop(group.heap)
        return group.heap[0]

    def of_claim(self, name: str, claim: str) -> list[str]:
        """Return the keys of a group that a claim has, in no order."""
        group = self._groups.get(name)
        return [] if group is None else [*group.claims.get(claim, ())]

    def is_seat_taken(self, name: str, seat: str) -> bool:
        """Return whether a semaphore, whose group this is, has a key of that seat."""
        group = self._groups.get(name)
        return group is not None and group.seats[seat] > 0


def keys_of(store: Store) -> RecipeKeys:
    """Return the index of the keys of a store, which the first entry that asks makes."""
    keys = store.indexes.get(_NAME)
    if not isinstance(keys, RecipeKeys):
        keys = store.indexes[_NAME] = RecipeKeys(store.held, store.pause)
    return keys


def waiting_at(store: Store, prefix: str) -> int:
    """Return the number of claims in line at the PREFIX of a lock; while there is no index, the
    number of keys that the next such entry looks at. Read without the lock, it may be slightly out
    of date."""
    keys = store.indexes.get(_NAME)
    return keys.count(f"{prefix}line/") if isinstance(keys, RecipeKeys) else len(store.held)
