"""Linearizability: whether the clients' observations could come from a single copy of the data.

A history is good if every operation can be assigned one moment between its call and its answer such
that, in the order of these moments, each answer is right. Keys don't influence one another, so each
is judged separately (Herlihy and Wing, "Linearizability", 1990: locality). The search is Wing and
Gong's (1993) with Lowe's memory of visited states (2017).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter, itemgetter
from typing import NamedTuple

from .history import ClientOperation

STEPS_MAX = 1_000_000
EXCERPT_LINES = 10


class HistoryVerdict(Enum):
    """The result of the search."""

    LINEARIZABLE = "linearizable"
    VIOLATED = "not linearizable"
    GAVE_UP = "gave up"


@dataclass(frozen=True, slots=True)
class HistoryReport:
    """The verdict on a history; unless it is good, the key at fault and the relevant lines."""

    verdict: HistoryVerdict
    steps: int
    key: str | None = None
    excerpt: list[str] = field(default_factory=list)


def check(history: Iterable[ClientOperation], steps_max: int = STEPS_MAX) -> HistoryReport:
    """Judge a history on keys that were absent before it, in at most `steps_max` steps.

    A violation on one key is reported even if the search gave up on another key.
    """
    keys: dict[str, list[ClientOperation]] = {}
    for operation in history:
        keys.setdefault(operation.key, []).append(operation)
    steps, gave_up = 0, None
    for key in sorted(keys, key=lambda name: (len(keys[name]), name)):
        search = _Search(keys[key], max(1, steps_max - steps))
        verdict = search.run()
        steps += search.steps
        if verdict is HistoryVerdict.VIOLATED:
            return HistoryReport(verdict, steps, key, search.excerpt())
        if verdict is HistoryVerdict.GAVE_UP and gave_up is None:
            gave_up = HistoryReport(verdict, steps, key, [f"{key}: no verdict after {steps} steps"])
    return gave_up or HistoryReport(HistoryVerdict.LINEARIZABLE, steps)


class _SearchState(NamedTuple):
    """A state of the search: the operations that have a moment so far, and the key's value then.

    All known operations before `first` have one; `ahead` marks others, bit 0 for `first` itself;
    `used` marks the operations of unknown outcome that are assumed to have happened.
    """

    first: int
    ahead: int
    value: str | None
    used: int


class _Search:
    """The search through one key's history."""

    def __init__(self, operations: list[ClientOperation], steps_max: int) -> None:
        operations = sorted(operations, key=attrgetter("called_at"))
        self.known = [o for o in operations if o.returned_at is not None]
        self.ends = [o.returned_at for o in operations if o.returned_at is not None]
        unknown = [o for o in operations if o.returned_at is None]
        self.unknown = [o for o in unknown if o.verb != "get"]  # a lost get shows nothing
        self.steps = 0
        self.steps_max = steps_max
        self.seen: dict[tuple[int, int, str | None], list[int]] = {}
        # The first answer that no order has satisfied yet, and the key's value there.
        self.furthest: tuple[float, ClientOperation | None, str | None] = (
            float("-inf"),
            None,
            None,
        )

    def run(self) -> HistoryVerdict:
        """Return the verdict; afterwards `furthest` is the furthest state."""
        stack = [_SearchState(0, 0, None, 0)]
        while stack:
            place = stack.pop()
            if place.first == len(self.known):
                return HistoryVerdict.LINEARIZABLE
            if self.steps >= self.steps_max:
                return HistoryVerdict.GAVE_UP
            self.steps += 1
            stack += [next_place for next_place in self._moves(place) if self._is_new(next_place)]
        return HistoryVerdict.VIOLATED

    def _is_new(self, place: _SearchState) -> bool:
        """Whether no state as good was visited. No unknown operation has to happen, so a state that
        used fewer of them leaves open every path that a state with more does."""
        visited = self.seen.setdefault(place[:3], [])
        if any(used & place.used == used for used in visited):
            return False
        visited.append(place.used)
        return True

    def _moves(self, place: _SearchState) -> list[_SearchState]:
        """Return the states one known operation further, the most promising one last."""
        candidates, horizon = self._candidates(place)
        for position in candidates:
            operation = self.known[position]
            # An operation that changes nothing and fits here does no harm, so no other path is
            # needed.
            if operation.is_idle and _fits(operation, place.value):
                return [_passed(place, position, place.value, place.used)]
        plain, forced = [], []
        for position in candidates:
            operation = self.known[position]
            if _fits(operation, place.value):
                plain.append(_passed(place, position, operation.value, place.used))
                continue
            for number, other in enumerate(self.unknown):
                # An unknown write only needs a moment right before the answer that shows it.
                if _fits(operation, other.value):
                    for used in self._ways(place, number, horizon, place.used):
                        value_after = other.value if operation.is_idle else operation.value
                        forced.append(_passed(place, position, value_after, used))
        return forced + plain[::-1]

    def _ways(self, place: _SearchState, number: int, horizon: float, used: int) -> list[int]:
        """Return the unknown writes used by each path that lets an unknown write happen here: a cas
        may need another one before it."""
        other = self.unknown[number]
        if used >> number & 1 or other.called_at > horizon:
            return []
        used |= 1 << number
        if other.verb != "cas" or other.old == place.value:
            return [used]
        return [
            way
            for before, write in enumerate(self.unknown)
            if write.value == other.old
            for way in self._ways(place, before, horizon, used)
        ]

    def _candidates(self, place: _SearchState) -> tuple[list[int], float]:
        """Return the operations that may come next, called before any other remaining one was
        answered; and the earliest of these answers."""
        candidates, horizon, blocker = [], float("inf"), None
        for position in range(place.first, len(self.known)):
            if place.ahead >> (position - place.first) & 1:
                continue
            operation = self.known[position]
            if operation.called_at > horizon:
                break
            candidates.append(position)
            if self.ends[position] < horizon:
                horizon, blocker = self.ends[position], operation
        self.furthest = max(self.furthest, (horizon, blocker, place.value), key=itemgetter(0))
        return candidates, horizon

    def excerpt(self) -> list[str]:
        """Return the lines that show a violation, up to the first answer that fits no order."""
        horizon, blocker, value = self.furthest
        if blocker is None:
            return []
        others = [o for o in self.known + self.unknown if o is not blocker]
        writers = [o for o in others if not o.is_idle and o.value == blocker.value is not None][:2]
        before = [o for o in others if o.called_at <= horizon and o not in writers]
        shown = writers + sorted(before, key=attrgetter("called_at"))[-EXCERPT_LINES:]
        shown_value = "absent" if value is None else value
        first = f"{blocker} fits no order: {blocker.key} was {shown_value} at best"
        return [first, *map(str, sorted(shown, key=attrgetter("called_at")))]


def _passed(place: _SearchState, position: int, value: str | None, used: int) -> _SearchState:
    ahead = place.ahead | 1 << (position - place.first)
    gone = (~ahead & (ahead + 1)).bit_length() - 1  # ones at the low end
    return _SearchState(place.first + gone, ahead >> gone, value, used)


def _fits(operation: ClientOperation, held: str | None) -> bool:
    """Whether a key with this value gives the operation's answer."""
    if operation.verb == "get":
        return operation.value == held
    if operation.verb == "cas":
        if not operation.matched:
            return operation.found is (held is not None) and operation.old != held
        return operation.old == held
    return operation.verb == "set" or operation.found in (None, held is not None)
