"""The contest for a lock, an election or a semaphore: its holder, the next holder, and the entries
that decide. Pure.

There are two keys, each under the lease of its owner, so that it is deleted when the owner dies:

* `lock/NAME/held` has the name of the owner. It is set only by a transaction on the condition that
  it is absent, so there is one holder at a time. The index of that entry is the fencing token.
* `lock/NAME/next` has the lease of the next holder. While it exists, no other claim takes the lock.
  So a holder that releases the lock and acquires it again at once does not overtake waiting claims.

A waiting claim follows both keys with a watch, and sends a request only after a change. When `next`
is deleted, all other waiting claims try to become next.

Each shared holder of a lock has a key, `lock/NAME/shared/LEASE`, and `held` has their mark. A
semaphore has slots in place of `held`. docs/develop/how-a-lock-is-held.md has the argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from ...wire.commands.lease_operands import lease_in
from ..calls.calls import CALLS, Call, Page, Stat, whole
from ..calls.transaction import Conditions, Operations, Outcome, Transaction, itself
from ..calls.value_codec import TEXT
from ..watches.watch_events import Event

_Conditions: TypeAlias = "Conditions[str, Call[Outcome[str]]]"
_Operations: TypeAlias = "Operations[str, Call[Outcome[str]]]"
LOCKS = "lock"
ELECTIONS = "election"


SEMAPHORES = "semaphore"
SLOTS_MAX = 1000
MARK = "shared:"  # with the lease of the first shared holder this is the mark of shared holders


class LockKeys:
    """The keys of one lock or election, for one holder at a time."""

    looks_first = False  # whether a claim that may wait also reads before its first try
    limit: int | None = 1  # how many hold it at a time; None: any number

    def __init__(self, kind: str, name: str) -> None:
        """Name the keys. Raises TypeError, ValueError if the name can't be a part of a key."""
        self.name = TEXT.key(name, f"the name of {'an' if kind == ELECTIONS else 'a'} {kind}")
        self.prefix = f"{kind}/{self.name}/"
        self.held = f"{self.prefix}held"
        self.next = f"{self.prefix}next"
        self._may_be_shared = kind == LOCKS
        self._sharers = f"{self.prefix}shared/"

    def holders_in(self, values: Mapping[str, str]) -> list[str]:
        """Return the names that the holders in these keys gave."""
        return [values[self.held]] if self.held in values else []

    def slot_of(self, key: str) -> int | None:
        """Return the number of the slot with this key; None if there are no slots."""
        return None

    @property
    def read_request(self) -> Call[Any]:
        """The request that reads whether it is free."""
        return CALLS.get(self.held)

    def parse(self, answer: Any) -> dict[str, str]:
        """Return the keys in the answer to `look`."""
        return {} if answer is None else {self.held: answer}

    def is_free(self, values: Mapping[str, str]) -> bool:
        """Return whether these keys let a claim acquire it."""
        return self.held not in values

    def claim(self, lease: str, value: str) -> LockProtocol:
        """Return a claim under a lease, with the name of its holder."""
        return LockProtocol(self, lease, value)

    def sharer(self, lease: str) -> str:
        """Return the key of the shared holder with this lease."""
        return f"{self._sharers}{lease}"

    def mark_in(self, values: Mapping[str, str]) -> str | None:
        """Return the mark of shared holders; None if there is no mark."""
        value = values.get(self.held, "")
        is_mark = self._may_be_shared and value.startswith(MARK)
        return value if is_mark and lease_in(value.removeprefix(MARK)) else None

    @property
    def sharers_request(self) -> Call[Page[tuple[str, str]]]:
        return CALLS.page(f"{self._sharers}lease-")

    def sharers_in(self, values: Mapping[str, str]) -> list[str]:
        """Return the names that the shared holders gave."""
        begin = len(self._sharers)
        return [
            value
            for key, value in values.items()
            if key.startswith(self._sharers) and lease_in(key[begin:])
        ]

    def sweep(self, mark: str, since: int) -> Call[Outcome[str]]:
        """Return the request that deletes the mark unless it was set again after this index."""
        same = _plan().if_.equal(self.held, mark).unchanged(self.held, since)
        return same.then.delete(self.held).commit()


class SharedKeys(LockKeys):
    """The keys of a lock for shared holders."""

    looks_first = True
    limit = None

    def __init__(self, name: str) -> None:
        super().__init__(LOCKS, name)

    def is_free(self, values: Mapping[str, str]) -> bool:
        return self.held not in values or self.mark_in(values) is not None

    def claim(self, lease: str, value: str) -> LockProtocol:
        return SharedProtocol(self, lease, value)


class Slots(LockKeys):
    """The keys of a semaphore: a slot for each possible holder."""

    looks_first = True

    def __init__(self, name: str, limit: int) -> None:
        """Name the keys. Raises TypeError, ValueError if the name or the limit is invalid."""
        super().__init__(SEMAPHORES, name)
        if not 1 <= whole(limit) <= SLOTS_MAX:
            raise ValueError(f"a semaphore has 1 to {SLOTS_MAX} holders at a time, not {limit}")
        self.limit = limit
        self.slots = [f"{self.prefix}{number}" for number in range(1, limit + 1)]

    def holders_in(self, values: Mapping[str, str]) -> list[str]:
        begin = len(self.prefix)
        slots = {int(key[begin:]): key for key in values if key[begin:].isdecimal()}
        return [values[slots[number]] for number in sorted(slots)]

    def slot_of(self, key: str) -> int | None:
        return int(key[len(self.prefix) :])

    @property
    def read_request(self) -> Call[Any]:
        return CALLS.page(self.prefix)

    def parse(self, answer: Any) -> dict[str, str]:
        return dict(answer.pairs)

    def is_free(self, values: Mapping[str, str]) -> bool:
        return any(slot not in values for slot in self.slots)

    def claim(self, lease: str, value: str) -> LockProtocol:
        return SlotProtocol(self, lease, value)


class LockProtocol:
    """One claim's view of the keys, and its next request."""

    def __init__(self, keys: LockKeys, lease: str, value: str) -> None:
        """Start a claim under this lease; the key that it sets gets `value`."""
        self.key = keys.held  # the key that it sets
        self.mark: str | None = None  # the value of `held` while shared holders hold the lock
        self._keys = keys
        self._lease = lease
        self._value = value
        self._values: dict[str, str] = {}  # as the watch reported them
        self._is_listed = False
        self._has_news = False

    def reset(self, values: Mapping[str, str]) -> None:
        """Replace the known keys with the keys that a request returned."""
        self._values = dict(values)
        self._has_news = True

    def apply_events(self, events: Iterable[Event[str]], is_listed: bool) -> None:
        """Apply the events of a watch of the prefix; `is_listed` once all keys are listed."""
        for event in events:
            if event.value is None:
                self._values.pop(event.key, None)
            else:
                self._values[event.key] = event.value
            self._has_news = True
        if is_listed and not (self._is_listed and self._values):
            self._has_news = True
        self._is_listed = is_listed

    def next_call(self, and_wait: bool = True) -> Call[Outcome[str]] | None:
        """Return the next request; None while no request can succeed. If the request fails, the
        keys have changed meanwhile, so the watch will report more."""
        if not self._has_news:
            return None
        self._has_news = False
        ahead, is_free = self._values.get(self._keys.next), self._keys.is_free(self._values)
        if ahead == self._lease:
            return self._as_next() if is_free else None
        return self.try_once(and_wait) if ahead is None and (is_free or and_wait) else None

    @property
    def abandoned(self) -> str | None:
        """The mark of shared holders, if all of them are gone."""
        mark = self._keys.mark_in(self._values)
        return mark if mark and not self._keys.sharers_in(self._values) else None

    def try_once(self, and_wait: bool = False) -> Call[Outcome[str]]:
        """Return the request that takes the lock if it is free and `next` is absent. Otherwise,
        with `and_wait`, the request tries to become next."""
        keys = self._keys
        operations = self._take(self._if_free().absent(keys.next).then)
        if and_wait:
            operations.else_.setnx(keys.next, self._lease, lease=self._lease)
        return operations.commit()

    def _as_next(self) -> Call[Outcome[str]]:
        keys = self._keys
        operations = self._take(self._if_free().equal(keys.next, self._lease).then)
        return operations.delete(keys.next).commit()

    def _if_free(self) -> _Conditions:
        return _plan().if_.absent(self._keys.held)

    def _take(self, then: _Operations) -> _Operations:
        return then.set(self.key, self._value, lease=self._lease).stat(self.key)


class SharedProtocol(LockProtocol):
    """A claim to share a lock: with the other shared holders, or as the first of them."""

    def __init__(self, keys: LockKeys, lease: str, value: str) -> None:
        super().__init__(keys, lease, value)
        self.key = keys.sharer(lease)

    def _if_free(self) -> _Conditions:
        held, mark = self._keys.held, self._keys.mark_in(self._values)
        self.mark = mark or f"{MARK}{self._lease}"
        return _plan().if_.equal(held, mark) if mark else _plan().if_.absent(held)

    def _take(self, then: _Operations) -> _Operations:
        assert self.mark is not None
        return super()._take(then).set(self._keys.held, self.mark)


class SlotProtocol(LockProtocol):
    """A claim to one slot of a semaphore."""

    def __init__(self, keys: Slots, lease: str, value: str) -> None:
        super().__init__(keys, lease, value)
        first = (lease_in(lease) or 0) % len(keys.slots)  # so that claims try different slots
        self._slots = keys.slots[first:] + keys.slots[:first]

    def _if_free(self) -> _Conditions:
        free = (slot for slot in self._slots if slot not in self._values)
        self.key = next(free, self._slots[0])
        return _plan().if_.absent(self.key)


def number_of(key: str) -> int:
    """Return the number of the lease that a key ends with; 0 if it does not."""
    return lease_in(key.rpartition("/")[2]) or 0


def token_in(outcome: Outcome[str]) -> int | None:
    """Return the fencing token; None if the transaction did not take the lock."""
    if not outcome.succeeded:
        return None
    stat = outcome.results[1]
    assert isinstance(stat, Stat)
    return stat.index


def _plan() -> Transaction[str, Call[Outcome[str]]]:
    return Transaction(TEXT, itself)
