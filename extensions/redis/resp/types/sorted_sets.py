"""The commands of Redis on sorted sets, as functions of a view. Pure.

The members are in the order of their scores, and then of their bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from math import isnan
from typing import Final

from raftline.wire.protocol import real

from ..programs import CommandRefused, in_capitals, integer, raw
from ..replies import NO_LIST, SYNTAX, Failure, Pairs, Value, format_double
from ..view import View
from .counted_keys import popped
from .elements import Body, Items
from .lists import NOT_POSITIVE, timeout_in
from .scans import chosen, count_in, scanned, scanned_items
from .scores import formatted_score, score_in
from .typed import SORTED_SET, name_of

_FEW: Final = 8  # members that are searched one by one
_NOT_A_NUMBER: Final = Failure("ERR resulting score is not a number (NaN)")
_ONE_PAIR: Final = Failure("ERR INCR option supports a single increment-element pair")
_NX_AND_XX: Final = Failure("ERR XX and NX options at the same time are not compatible")
_NX_AND_GT: Final = Failure("ERR GT, LT, and/or NX options at the same time are not compatible")
_OPTIONS: Final = frozenset(["NX", "XX", "GT", "LT", "CH", "INCR"])


def score_of(item: str) -> float:
    return float(item.partition("=")[0])


def member_of(item: str) -> str:
    """Return the member of an element."""
    word = item.partition("=")[2]
    return real(word) if "\\" in word else word


def order_of(item: str) -> tuple[float, bytes]:
    score, _, word = item.partition("=")
    return float(score), raw(real(word) if "\\" in word else word)


def _found(body: Body, name: str) -> tuple[int, int]:
    """Return where the element of a member begins and ends; the first is below 0 if it is
    absent."""
    mark = f"={name} "
    place = body.find(mark)
    if place < 0:
        return -1, -1
    return body.begin_of(place), place + len(mark) - 1


class _Draft:
    """The elements of a sorted set while a command changes them. The members of a command are
    looked up one by one, or, if there are many, all elements are read once."""

    def __init__(self, view: View, key: str, count: int) -> None:
        self._view = view
        self._body = view.body(key, SORTED_SET)
        self._scores: dict[str, str] | None = None  # by member, as they are written
        if count > _FEW:
            self._scores = {}
            for item in self._body.items():
                score, _, name = item.partition("=")
                self._scores[name] = score

    def score(self, name: str) -> float | None:
        if self._scores is not None:
            text = self._scores.get(name)
            return None if text is None else float(text)
        begin, end = _found(self._body, name)
        return None if begin < 0 else score_of(self._body.piece(begin, end))

    def put(self, name: str, score: float) -> None:
        if self._scores is not None:
            self._scores[name] = formatted_score(score)
            return
        self.remove(name)
        items, item = self._body.items(), f"{formatted_score(score)}={name}"
        place = bisect_left(items, order_of(item), key=order_of)
        self._body = items.put(place, item).body()

    def remove(self, name: str) -> bool:
        if self._scores is not None:
            return self._scores.pop(name, None) is not None
        begin, end = _found(self._body, name)
        if begin < 0:
            return False
        self._body = self._body.with_piece(begin - 1, end)
        return True

    @property
    def elements(self) -> Body | Items:
        if self._scores is None:
            return self._body
        items = [f"{score}={name}" for name, score in self._scores.items()]
        return self._view.items_of(items).sorted(order_of)


def _options(words: list[str]) -> tuple[set[str], list[str]]:
    """Return the options of a `ZADD`, and the scores and members after them.

    Raises:
        Refused: they contradict each other, or there are no pairs.
    """
    options: set[str] = set()
    while len(options) < len(words) and in_capitals(words[len(options)]) in _OPTIONS - options:
        options.add(in_capitals(words[len(options)]))
    pairs = words[len(options) :]
    if not pairs or len(pairs) % 2:
        raise CommandRefused(SYNTAX)
    if {"NX", "XX"} <= options:
        raise CommandRefused(_NX_AND_XX)
    if {"GT", "LT"} <= options or ("NX" in options and options & {"GT", "LT"}):
        raise CommandRefused(_NX_AND_GT)
    if "INCR" in options and len(pairs) > 2:
        raise CommandRefused(_ONE_PAIR)
    return options, pairs


def _new_score(options: set[str], before: float | None, score: float) -> float | None:
    """Return the score that a member gets, None if an option leaves it as it is."""
    if ("NX" if before is not None else "XX") in options:
        return None
    if "INCR" in options:
        score = _sum(before or 0.0, score)
    if before is not None:
        if "GT" in options and score <= before:
            return None
        if "LT" in options and score >= before:
            return None
    return score


def zadd(view: View, words: list[str]) -> Value:
    """ZADD KEY [NX|XX] [GT|LT] [CH] [INCR] SCORE MEMBER [SCORE MEMBER ...]"""
    options, pairs = _options(words[2:])
    scores = [score_in(text) for text in pairs[::2]]
    draft = _Draft(view, words[1], len(scores))
    added = changed = 0
    score: float | None = None
    for given, member in zip(scores, pairs[1::2], strict=True):
        name = name_of(member)
        before = draft.score(name)
        score = _new_score(options, before, given)
        if score is not None and score != before:
            added += before is None
            changed += before is not None
            draft.put(name, score)
    if added or changed:
        view.put_body(words[1], SORTED_SET, draft.elements)
    if "INCR" in options:
        return score
    return added + changed if "CH" in options else added


def _sum(one: float, other: float) -> float:
    total = one + other
    if isnan(total):
        raise CommandRefused(_NOT_A_NUMBER)
    return total + 0.0


def zincrby(view: View, words: list[str]) -> Value:
    """ZINCRBY KEY NUMBER MEMBER"""
    return zadd(view, ["ZADD", words[1], "INCR", words[2], words[3]])


def zrem(view: View, words: list[str]) -> Value:
    """ZREM KEY MEMBER [MEMBER ...]"""
    draft = _Draft(view, words[1], len(words) - 2)
    removed = sum([draft.remove(name_of(member)) for member in words[2:]])
    if removed:
        view.put_body(words[1], SORTED_SET, draft.elements)
    return removed


def zscore(view: View, words: list[str]) -> Value:
    """ZSCORE KEY MEMBER"""
    return _Draft(view, words[1], 1).score(name_of(words[2]))


def zmscore(view: View, words: list[str]) -> Value:
    """ZMSCORE KEY MEMBER [MEMBER ...]"""
    draft = _Draft(view, words[1], len(words) - 2)
    return [draft.score(name_of(member)) for member in words[2:]]


def zcard(view: View, words: list[str]) -> Value:
    """ZCARD KEY"""
    return view.body(words[1], SORTED_SET).size()


def zrank(view: View, words: list[str]) -> Value:
    """ZRANK KEY MEMBER, ZREVRANK"""
    body = view.body(words[1], SORTED_SET)
    begin, end = _found(body, name_of(words[2]))
    if begin < 0:
        return None
    return body.size(end) if "REV" in words[0].upper() else body.size(0, begin - 1)


def shown(items: Items, *, with_scores: bool) -> Value:
    if with_scores:
        return Pairs("scores", [(member_of(item), score_of(item)) for item in items.scored()])
    return [member_of(item) for item in items.read()]


def remove_items(view: View, key: str, items: Items, found: Items) -> int:
    """Remove elements of a sorted set; return how many there were."""
    if found:
        gone = set(found)
        view.put_body(key, SORTED_SET, items.kept(lambda item: item not in gone))
    return len(found)


def _pop(view: View, key: str, name: str, count: int) -> Items:
    """Remove the elements with the lowest scores (ZPOPMIN) or the highest ones."""
    items = view.items(key, SORTED_SET)
    found = (items if "MIN" in name.upper() else items.reversed()).part(0, count)
    remove_items(view, key, items, found)
    return found


def zpop(view: View, words: list[str]) -> Value:
    """ZPOPMIN KEY [COUNT], ZPOPMAX"""
    if len(words) > 3:
        raise CommandRefused(SYNTAX)
    count = 1 if len(words) == 2 else integer(words[2], NOT_POSITIVE)
    if count < 0:
        raise CommandRefused(NOT_POSITIVE)
    found = _pop(view, words[1], words[0], count)
    if len(words) == 2:
        return [part for item in found.scored() for part in (member_of(item), score_of(item))]
    return shown(found, with_scores=True)


def pop_first(view: View, words: list[str]) -> Value:
    """BZPOPMIN KEY [KEY ...] TIMEOUT, BZPOPMAX: of the first sorted set that is not empty"""
    timeout_in(words[-1])
    for key in words[1:-1]:
        if view.body(key, SORTED_SET):
            item = _pop(view, key, words[0], 1)[0]
            return [key, member_of(item), score_of(item)]
    return NO_LIST


def pop_some(view: View, words: list[str]) -> Value:
    """ZMPOP COUNT KEY ... MIN|MAX [COUNT COUNT], and BZMPOP with a time before: elements of the
    first sorted set that is not empty"""
    is_timed = in_capitals(words[0]) == "BZMPOP"
    keys, side, count = popped(words, 1 + is_timed, ("MIN", "MAX"))
    if is_timed:
        timeout_in(words[1])
    for key in keys:
        if view.body(key, SORTED_SET):
            items = _pop(view, key, side, count)
            return [key, [[member_of(item), score_of(item)] for item in items.scored()]]
    return NO_LIST


def zrandmember(view: View, words: list[str]) -> Value:
    """ZRANDMEMBER KEY [COUNT [WITHSCORES]]"""
    count, with_scores = (1, False) if len(words) == 2 else count_in(words, "WITHSCORES")
    found = chosen(view, view.items(words[1], SORTED_SET), count)
    if len(words) == 2:
        return member_of(found[0]) if found else None
    return shown(found, with_scores=with_scores)


def zscan(view: View, words: list[str]) -> Value:
    """ZSCAN KEY CURSOR [MATCH PATTERN] [COUNT NUMBER]"""
    items = scanned_items(view, words, SORTED_SET)
    scores = {member_of(item): score_of(item) for item in items.scored()}
    names = scanned(view, words, list(scores))
    return ["0", [each for name in names for each in (name, format_double(scores[name]))]]
