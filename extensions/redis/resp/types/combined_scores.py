"""The combinations of sorted sets, and of sets, whose members have the score 1. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isnan
from typing import Final, NamedTuple, TypeAlias

from ..programs import CommandRefused, in_capitals
from ..replies import NOT_INTEGER, SYNTAX, Failure, Value
from ..view import View
from .counted_keys import counted, limit_in
from .elements import Items
from .scores import formatted_score, score_in
from .sorted_sets import order_of, shown
from .typed import SET, SORTED_SET

_Aggregate: TypeAlias = Callable[[float, float], float]

_NO_WEIGHT: Final = Failure("ERR weight value is not a float")


def _number(score: float) -> float:
    """Return a score; neither NaN, as in Redis, nor a negative zero."""
    return 0.0 if isnan(score) else score + 0.0


_AGGREGATES: Final[Mapping[str, _Aggregate]] = {
    "SUM": lambda one, other: _number(one + other),
    "MIN": lambda one, other: other if other < one else one,
    "MAX": lambda one, other: other if other > one else one,
}


class _Combining(NamedTuple):
    """The operands after the keys."""

    weights: list[float]
    aggregate: _Aggregate
    with_scores: bool
    limit: int = 0


def _options(name: str, words: list[str], count: int) -> _Combining:
    """Return the options after so many keys.

    Raises:
        Refused: one is unknown or wrong.
    """
    weights, aggregate, with_scores, place = [1.0] * count, "SUM", False, 0
    if name.endswith("CARD"):
        return _Combining(weights, _AGGREGATES[aggregate], with_scores, limit_in(words))
    while place < len(words):
        word, operands = in_capitals(words[place]), words[place + 1 :]
        if word == "WITHSCORES" and not name.endswith("STORE"):
            with_scores = True
        elif "DIFF" in name or not operands:
            raise CommandRefused(SYNTAX)
        elif word == "WEIGHTS" and len(operands) >= count:
            weights = [score_in(text, _NO_WEIGHT) for text in operands[:count]]
            place += count
        elif word == "AGGREGATE" and in_capitals(operands[0]) in _AGGREGATES:
            aggregate = in_capitals(operands[0])
            place += 1
        else:
            raise CommandRefused(SYNTAX)
        place += 1
    return _Combining(weights, _AGGREGATES[aggregate], with_scores)


def _type(view: View, key: str) -> str:
    is_set = view.has(key) and view.type_of(key) == SET
    return SET if is_set else SORTED_SET


def _scores(view: View, key: str) -> dict[str, float]:
    """Return the members of a sorted set or a set, written as in a sorted set, and their scores."""
    kind = _type(view, key)
    items = view.items(key, kind)
    if kind == SET:
        return dict.fromkeys([item.replace("=", r"\x3d") for item in items.scored()], 1.0)
    return {
        name: float(score) for score, _, name in [item.partition("=") for item in items.scored()]
    }


def _combined(view: View, words: list[str], place: int) -> tuple[Items, _Combining]:
    """Return the elements of a combination in their order, and its options."""
    name = in_capitals(words[0])
    few = Failure(f"ERR at least 1 input key is needed for '{name.lower()}' command")
    keys, rest = counted(words, place, few, problem=NOT_INTEGER)
    sizes = [view.body(key, _type(view, key)).size() for key in keys]
    options, order = _options(name, rest, len(keys)), list(range(len(keys)))
    if "DIFF" not in name:
        order.sort(key=sizes.__getitem__)  # sums are taken in this order
    first, weight = _scores(view, keys[order[0]]), options.weights[order[0]]
    found = {member: _number(score * weight) for member, score in first.items()}
    for place in order[1:]:
        scores, weight = _scores(view, keys[place]), options.weights[place]
        _add(name, found, scores, weight, options.aggregate)
    items = [f"{formatted_score(score)}={member}" for member, score in found.items()]
    return view.items_of(items).sorted(order_of), options


def _add(
    name: str, found: dict[str, float], scores: dict[str, float], weight: float, add: _Aggregate
) -> None:
    """Combine what was found with one more set."""
    if "INTER" in name:
        for member in [member for member in found if member not in scores]:
            del found[member]
    for member, score in scores.items():
        if "DIFF" in name:
            found.pop(member, None)
        elif member in found:
            new = score * weight
            found[member] = add(found[member], _number(new) if "UNION" in name else new)
        elif "UNION" in name:
            found[member] = _number(score * weight)


def combine(view: View, words: list[str]) -> Value:
    """ZUNION COUNT KEY ... [WEIGHTS WEIGHT ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES], ZINTER,
    ZDIFF"""
    items, options = _combined(view, words, 1)
    return shown(items, with_scores=options.with_scores)


def count_common(view: View, words: list[str]) -> Value:
    """ZINTERCARD COUNT KEY ... [LIMIT COUNT]"""
    items, options = _combined(view, words, 1)
    return min(len(items), options.limit or len(items))


def combine_into(view: View, words: list[str]) -> Value:
    """ZUNIONSTORE TO COUNT KEY ... [WEIGHTS WEIGHT ...] [AGGREGATE SUM|MIN|MAX], ZINTERSTORE,
    ZDIFFSTORE"""
    items, _ = _combined(view, words, 2)
    view.delete(words[1])
    if items:
        view.put_body(words[1], SORTED_SET, items)
    return len(items)
