"""The contest for a lock or an election: who holds it, who is next, and by which entry. Pure.

Two keys, both under the lease of their owner, so that both go when it dies:

* `lock/NAME/held` has the owner. Only a transaction on the condition that it is absent sets it:
  so there is one holder at a time. The number of that entry is the fencing token.
* `lock/NAME/next` has the lease of the next holder. While it is there, no other claim takes the
  lock. So a holder that releases it and asks again at once does not overtake those that wait.

A claim that waits follows both keys with a watch, and asks only when they changed. When `next`
goes, all others that wait try to become next.
"""

from __future__ import annotations

from collections.abc import Iterable

from raftline.kv.calls import Call, Stat
from raftline.kv.codec import TEXT
from raftline.kv.events import Event
from raftline.kv.transaction import Outcome, Transaction, itself

LOCKS = "lock"
ELECTIONS = "election"


class LockKeys:
    """The keys of one lock or election."""

    def __init__(self, kind: str, name: str) -> None:
        """Name them. Raises TypeError, ValueError if the name can't be a part of a key."""
        TEXT.key(name)
        self.name = name
        self.prefix = f"{kind}/{name}/"
        self.held = f"{self.prefix}held"
        self.next = f"{self.prefix}next"


class LockProtocol:
    """One claim's view of both keys, and its next request."""

    def __init__(self, keys: LockKeys, lease: str, value: str) -> None:
        """Claim it under this lease; `held` gets `value`."""
        self._keys = keys
        self._lease = lease
        self._value = value
        self._values: dict[str, str] = {}  # as the watch reported them
        self._has_news = False

    def see(self, events: Iterable[Event[str]], is_listed: bool) -> None:
        """Take what a watch of the prefix reported; `is_listed` once all keys are listed."""
        for event in events:
            if event.value is None:
                self._values.pop(event.key, None)
            else:
                self._values[event.key] = event.value
            self._has_news = True
        if is_listed and not self._values:
            self._has_news = True

    def next_call(self) -> Call[Outcome[str]] | None:
        """Return the next request; None while none can succeed. If it fails, the keys have changed
        meanwhile, so the watch will report more."""
        if not self._has_news:
            return None
        self._has_news = False
        held, ahead = self._values.get(self._keys.held), self._values.get(self._keys.next)
        if ahead == self._lease:
            return self._as_next() if held is None else None
        return self.try_once(and_wait=True) if ahead is None else None

    def try_once(self, and_wait: bool = False) -> Call[Outcome[str]]:
        """Take it if it is free and `next` is absent. Else, with `and_wait`, try to become next."""
        keys = self._keys
        taken = _plan(keys).if_.absent(keys.held).absent(keys.next).then
        taken.set(keys.held, self._value, lease=self._lease).stat(keys.held)
        if and_wait:
            taken.else_.setnx(keys.next, self._lease, lease=self._lease)
        return taken.commit()

    def _as_next(self) -> Call[Outcome[str]]:
        keys = self._keys
        taken = _plan(keys).if_.absent(keys.held).equal(keys.next, self._lease).then
        taken.set(keys.held, self._value, lease=self._lease).stat(keys.held).delete(keys.next)
        return taken.commit()


def token_in(outcome: Outcome[str]) -> int | None:
    """Return the fencing token; None if the transaction did not take the lock."""
    if not outcome.succeeded:
        return None
    stat = outcome.results[1]
    assert isinstance(stat, Stat)
    return stat.index


def _plan(keys: LockKeys) -> Transaction[str, Call[Outcome[str]]]:
    return Transaction(TEXT, itself)
