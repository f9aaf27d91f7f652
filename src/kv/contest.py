"""The contest for a lock, an election or a semaphore: who holds it, who is next, and by which
entry. Pure.

Two keys, both under the lease of their owner, so that both go when it dies:

* `lock/NAME/held` has the owner. Only a transaction on the condition that it is absent sets it:
  so there is one holder at a time. The number of that entry is the fencing token.
* `lock/NAME/next` has the lease of the next holder. While it is there, no other claim takes the
  lock. So a holder that releases it and asks again at once does not overtake those that wait.

A claim that waits follows both keys with a watch, and asks only when they changed. When `next`
goes, all others that wait try to become next.

Shared holders of a lock have a key each, `lock/NAME/shared/LEASE`, and `held` has their mark. A
semaphore has its slots in place of `held`. docs/develop/how-a-lock-is-held.md has the argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from ..wire.leaseoperands import lease_in
from .calls import CALLS, Call, Page, Stat, whole
from .codec import TEXT
from .events import Event
from .transaction import Conditions, Operations, Outcome, Transaction, itself

_Conditions: TypeAlias = "Conditions[str, Call[Outcome[str]]]"
_Operations: TypeAlias = "Operations[str, Call[Outcome[str]]]"
LOCKS = "lock"
ELECTIONS = "election"


SEMAPHORES = "semaphore"
SLOTS_MAX = 1000
MARK = "shared:"  # and the lease of the first one: the mark of shared holders


class LockKeys:
    """The keys of one lock or election, for one holder at a time."""

    looks_first = False  # whether a claim that may wait looks before its first try, too
    is_for_many = False  # whether callers that share an object may all hold it

    def __init__(self, kind: str, name: str) -> None:
        """Name them. Raises TypeError, ValueError if the name can't be a part of a key."""
        self.name = TEXT.key(name, f"the name of {'an' if kind == ELECTIONS else 'a'} {kind}")
        self.prefix = f"{kind}/{self.name}/"
        self.held = f"{self.prefix}held"
        self.next = f"{self.prefix}next"
        self._may_be_shared = kind == LOCKS
        self._sharers = f"{self.prefix}shared/"

    def holders_in(self, values: Mapping[str, str]) -> list[str]:
        """Return the holders that a look found, by the names that they gave."""
        return [values[self.held]] if self.held in values else []

    @property
    def look(self) -> Call[Any]:
        """The request by which a claim looks whether it is free."""
        return CALLS.get(self.held)

    def seen(self, answer: Any) -> dict[str, str]:
        """Return the keys that a look found."""
        return {} if answer is None else {self.held: answer}

    def is_free(self, values: Mapping[str, str]) -> bool:
        """Whether a claim may have it, by these keys."""
        return self.held not in values

    def claim(self, lease: str, value: str) -> LockProtocol:
        """Return a claim to it."""
        return LockProtocol(self, lease, value)

    def sharer(self, lease: str) -> str:
        """Return the key of the shared holder with this lease."""
        return f"{self._sharers}{lease}"

    def mark_in(self, values: Mapping[str, str]) -> str | None:
        """Return the mark of shared holders; None: there is none."""
        value = values.get(self.held, "")
        is_mark = self._may_be_shared and value.startswith(MARK)
        return value if is_mark and lease_in(value.removeprefix(MARK)) else None

    @property
    def look_for_sharers(self) -> Call[Page[str]]:
        return CALLS.page(f"{self._sharers}lease-")

    def sharers_in(self, values: Mapping[str, str]) -> list[str]:
        """Return the shared holders by the names that they gave."""
        begin = len(self._sharers)
        return [
            value
            for key, value in values.items()
            if key.startswith(self._sharers) and lease_in(key[begin:])
        ]

    def sweep(self, mark: str, since: int) -> Call[Outcome[str]]:
        """Return the request that deletes the mark, if nobody became a shared holder after this
        index."""
        same = _plan().if_.equal(self.held, mark).unchanged(self.held, since)
        return same.then.delete(self.held).commit()


class SharedKeys(LockKeys):
    """The keys of a lock for shared holders."""

    looks_first = is_for_many = True

    def __init__(self, name: str) -> None:
        super().__init__(LOCKS, name)

    def is_free(self, values: Mapping[str, str]) -> bool:
        return self.held not in values or self.mark_in(values) is not None

    def claim(self, lease: str, value: str) -> LockProtocol:
        return SharedProtocol(self, lease, value)


class Slots(LockKeys):
    """The keys of a semaphore: a slot for each that may hold it."""

    looks_first = is_for_many = True

    def __init__(self, name: str, limit: int) -> None:
        """Name them. Raises TypeError, ValueError also if the limit can't be one."""
        super().__init__(SEMAPHORES, name)
        if not 1 <= whole(limit) <= SLOTS_MAX:
            raise ValueError(f"a semaphore has 1 to {SLOTS_MAX} holders at a time, not {limit}")
        self.slots = [f"{self.prefix}{number}" for number in range(1, limit + 1)]

    def holders_in(self, values: Mapping[str, str]) -> list[str]:
        begin = len(self.prefix)
        taken = {int(key[begin:]): key for key in values if key[begin:].isdecimal()}
        return [values[taken[number]] for number in sorted(taken)]

    @property
    def look(self) -> Call[Any]:
        return CALLS.page(self.prefix)

    def seen(self, answer: Any) -> dict[str, str]:
        return dict(answer.pairs)

    def is_free(self, values: Mapping[str, str]) -> bool:
        return any(slot not in values for slot in self.slots)

    def claim(self, lease: str, value: str) -> LockProtocol:
        return SlotProtocol(self, lease, value)


class LockProtocol:
    """One claim's view of the keys, and its next request."""

    def __init__(self, keys: LockKeys, lease: str, value: str) -> None:
        """Claim it under this lease; the key that it sets gets `value`."""
        self.key = keys.held  # which it sets
        self.mark: str | None = None  # which `held` has for as long as a shared claim holds it
        self._keys = keys
        self._lease = lease
        self._value = value
        self._values: dict[str, str] = {}  # as the watch reported them
        self._is_listed = False
        self._has_news = False

    def know(self, values: Mapping[str, str]) -> None:
        """Take what a look found."""
        self._values = dict(values)
        self._has_news = True

    def see(self, events: Iterable[Event[str]], is_listed: bool) -> None:
        """Take what a watch of the prefix reported; `is_listed` once all keys are listed."""
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
        """Return the next request; None while none can succeed. If it fails, the keys have changed
        meanwhile, so the watch will report more."""
        if not self._has_news:
            return None
        self._has_news = False
        ahead, is_free = self._values.get(self._keys.next), self._keys.is_free(self._values)
        if ahead == self._lease:
            return self._as_next() if is_free else None
        return self.try_once(and_wait) if ahead is None and (is_free or and_wait) else None

    @property
    def abandoned(self) -> str | None:
        """The mark of shared holders that have all gone."""
        mark = self._keys.mark_in(self._values)
        return mark if mark and not self._keys.sharers_in(self._values) else None

    def try_once(self, and_wait: bool = False) -> Call[Outcome[str]]:
        """Take it if it is free and `next` is absent. Else, with `and_wait`, try to become next."""
        keys = self._keys
        taken = self._take(self._if_free().absent(keys.next).then)
        if and_wait:
            taken.else_.setnx(keys.next, self._lease, lease=self._lease)
        return taken.commit()

    def _as_next(self) -> Call[Outcome[str]]:
        keys = self._keys
        taken = self._take(self._if_free().equal(keys.next, self._lease).then)
        return taken.delete(keys.next).commit()

    def _if_free(self) -> _Conditions:
        return _plan().if_.absent(self._keys.held)

    def _take(self, then: _Operations) -> _Operations:
        return then.set(self.key, self._value, lease=self._lease).stat(self.key)


class SharedProtocol(LockProtocol):
    """A claim to share a lock: with all who share it, or as the first one."""

    def __init__(self, keys: LockKeys, lease: str, value: str) -> None:
        super().__init__(keys, lease, value)
        self.key = keys.sharer(lease)

    def _if_free(self) -> _Conditions:
        held, found = self._keys.held, self._keys.mark_in(self._values)
        self.mark = found or f"{MARK}{self._lease}"
        return _plan().if_.equal(held, found) if found else _plan().if_.absent(held)

    def _take(self, then: _Operations) -> _Operations:
        assert self.mark is not None
        return super()._take(then).set(self._keys.held, self.mark)


class SlotProtocol(LockProtocol):
    """A claim to one slot of a semaphore."""

    def __init__(self, keys: Slots, lease: str, value: str) -> None:
        super().__init__(keys, lease, value)
        first = (lease_in(lease) or 0) % len(keys.slots)  # so that claims try several
        self._slots = keys.slots[first:] + keys.slots[:first]

    def _if_free(self) -> _Conditions:
        free = (slot for slot in self._slots if slot not in self._values)
        self.key = next(free, self._slots[0])
        return _plan().if_.absent(self.key)


def token_in(outcome: Outcome[str]) -> int | None:
    """Return the fencing token; None if the transaction did not take the lock."""
    if not outcome.succeeded:
        return None
    stat = outcome.results[1]
    assert isinstance(stat, Stat)
    return stat.index


def _plan() -> Transaction[str, Call[Outcome[str]]]:
    return Transaction(TEXT, itself)
