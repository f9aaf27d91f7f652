"""A party: the programs that are here. Its keys, and its operations as machines.

A member is a claim (`claims.py`) that holds the party along with any others, with its value in
`party/NAME/held/shared/CLAIM`. So joining and leaving are one entry each, and a member that dies
leaves with its lease. The index of that key is the order in which they joined.
"""

from __future__ import annotations

import math
from typing import Any

from raftline.clients.calls.calls import CALLS, Ask, Steps, Version
from raftline.clients.calls.wait_times import Wait

from ..locks.claim_steps import Claiming
from ..locks.claims import BaseClaim
from ..locks.held import Leased, SomeHeld
from ..locks.lock_keys import LockKeys
from ..recipe_operands import SHARED

PARTIES = "party"
Versions = list[tuple[str, Version[str]]]
_FOREVER = Wait(math.inf, is_once=False)


class PartyKeys(LockKeys):
    """The keys of one party."""

    mode = SHARED
    limit = None

    def __init__(self, name: str, kind: str = PARTIES) -> None:
        super().__init__(kind, name)
        self.members = self.seat_prefix("")


class JoinSteps(BaseClaim[Leased, SomeHeld]):
    """The parts of a party that send requests, as a claim."""

    _waits_for_others = False
    _keys: PartyKeys

    def _versions(self, prefix: str) -> Steps[Versions]:
        """Return all keys under a prefix with their versions."""
        pairs: Versions = []
        after, is_last = "", False
        while not is_last:
            page = yield Ask(CALLS.versions_page(prefix, after))
            pairs += page.pairs
            after, is_last = page.after, page.is_last
        return pairs

    def _joined(self) -> Steps[Versions]:
        """Return the keys of the members in the order in which they joined."""
        pairs = yield from self._versions(self._keys.members)
        return in_order(self._keys, pairs)

    def _members(self) -> Steps[list[str]]:
        """Return the texts of the members' values, in the order in which they joined."""
        return [version.value or "" for _, version in (yield from self._joined())]

    def _changed(self, changes: MemberChanges) -> Claiming[list[str]]:
        """Return the texts of the members that a watch reports, in the same order. Members that
        joined before the watch began is not known from it."""
        if changes.are_unordered:
            joined = yield from self._limits(_FOREVER).outlasting(self._joined)
            changes.order(joined or [])
        return changes.report()


class MemberChanges:
    """The members that a watch of a party reports."""

    def __init__(self, keys: PartyKeys) -> None:
        self._keys = keys
        self._values: dict[str, str] = {}  # of the members, by key, in order
        self._listed: set[str] = set()  # these have the index of the listing
        self._reported: list[str] | None = None

    def take(self, watch: Any) -> bool:
        """Take the events of a watch; return whether there is something to report."""
        for event in watch._take_ready():
            if self._keys.is_seat(event.key):
                self._values.pop(event.key, None)
                self._listed.discard(event.key)
                if event.value is not None:
                    self._values[event.key] = event.value
                    if event.kind == "has":
                        self._listed.add(event.key)
        return bool(watch.is_listed and list(self._values.values()) != self._reported)

    @property
    def are_unordered(self) -> bool:
        return bool(self._listed) and len(self._values) > 1

    def order(self, joined: Versions) -> None:
        """Put the members in the order in which they joined."""
        places = {key: place for place, (key, _) in enumerate(joined)}
        by_place = sorted(self._values, key=lambda key: places.get(key, len(places)))
        self._values = {key: self._values[key] for key in by_place}
        self._listed = set()

    def report(self) -> list[str]:
        """Return the texts of the members' values."""
        self._reported = list(self._values.values())
        return self._reported


def in_order(keys: LockKeys, pairs: Versions) -> Versions:
    """Return those of these pairs that are members, in the order in which they joined."""
    members = [pair for pair in pairs if keys.is_seat(pair[0])]
    return sorted(members, key=lambda pair: pair[1].index)
