"""A party: the programs that are here. Its keys, and its operations as machines.

Each member has a key, `party/NAME/LEASE`, under its own lease, so it leaves when it dies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic

from ..calls.calls import CALLS, Ask, Steps, Version
from ..calls.kv_errors import LeaseLost
from ..calls.transaction import Outcome, Transaction, itself
from ..calls.value_codec import TEXT
from ..calls.wait_times import Wait
from .claim_steps import Claiming
from .claims import Attempt
from .held import SomeHeld
from .lock_keys import LockKeys, number_of

PARTIES = "party"


class PartyKeys(LockKeys):
    """The keys of one party."""

    def __init__(self, name: str) -> None:
        super().__init__(PARTIES, name)

    def member(self, lease: str) -> str:
        return f"{self.prefix}{lease}"


def index_in(outcome: Outcome[str]) -> int:
    """Return the index of the entry of a transaction that set a key and showed its `stat`."""
    stat = outcome.stat(1)
    assert stat is not None, "the key was set in the same step"
    return stat.index


class JoinSteps(Generic[SomeHeld]):
    """The parts of a party that send requests, as a claim (`claims.py`)."""

    _held_class: type[SomeHeld]
    _waits_for_others = False
    # of BaseClaim
    _keys: Any
    _make_lease: Any
    _on_lost: Any
    _dropping: Any

    def _claiming(self, attempt: Attempt[Any], value: str, wait: Wait) -> Claiming[SomeHeld]:
        """Join, which never waits for others."""
        while True:
            try:
                yield from self._dropping(attempt)
                attempt.lease = lease = self._make_lease()
                name = yield from lease._granting()
                key = self._keys.member(name)
                token = yield from self._adding(key, value, name)
                if lease._begin_holding(self._on_lost):
                    return self._make_held(lease, key, token)
            except LeaseLost:
                pass  # the lease ended before the program had joined

    def _adding(self, key: str, value: str, lease: str) -> Steps[int]:
        """Set the key of a member; return the index of that entry."""
        joining = Transaction(TEXT, itself).then.set(key, value, lease=lease)
        return index_in((yield Ask(joining.stat(key).commit())))

    def _make_held(self, lease: Any, key: str, token: int) -> SomeHeld:
        make: Any = self._held_class
        held: SomeHeld = make(self._keys, lease, key, token)
        return held

    def _versions(self) -> Steps[list[tuple[str, Version[str]]]]:
        """Return all keys under the prefix with their versions."""
        pairs: list[tuple[str, Version[str]]] = []
        after, is_last = "", False
        while not is_last:
            page = yield Ask(CALLS.versions_page(self._keys.prefix, after))
            pairs += page.pairs
            after, is_last = page.after, page.is_last
        return pairs

    def _members(self) -> Steps[list[str]]:
        """Return the texts of the members' values, in the order in which they joined."""
        versions = yield from self._versions()
        return in_order({key: version.value or "" for key, version in versions})


class MemberChanges:
    """The members that a watch of a party reports."""

    def __init__(self) -> None:
        self._members: dict[str, str] = {}
        self._reported: list[str] | None = None

    def take(self, watch: Any) -> Iterator[list[str]]:
        """Yield the texts of the members if they have changed since the last call."""
        for event in watch._take_ready():
            if event.value is None:
                self._members.pop(event.key, None)
            else:
                self._members[event.key] = event.value
        now = in_order(self._members)
        if watch.is_listed and now != self._reported:
            self._reported = now
            yield now


def in_order(members: Mapping[str, str]) -> list[str]:
    """Return the values of members by their keys, in the order in which they got their leases."""
    return [members[key] for key in sorted(members, key=number_of)]
