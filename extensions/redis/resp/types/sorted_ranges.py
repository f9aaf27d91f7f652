"""The ranges of sorted sets: by rank, by score, and by the bytes of members. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final, NamedTuple

from ..programs import CommandRefused, in_capitals, integer
from ..replies import SYNTAX, Failure, Value
from ..view import View
from .elements import Items
from .scores import Bounds, LexBounds, bounds_in
from .sorted_sets import member_of, order_of, remove_items, score_of, shown
from .typed import SORTED_SET

_LIMIT_BY_RANK: Final = Failure(
    "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
)
_SCORES_BY_LEX: Final = Failure(
    "ERR syntax error, WITHSCORES not supported in combination with BYLEX"
)


def zcount(view: View, words: list[str]) -> Value:
    """ZCOUNT KEY MIN MAX"""
    bounds = bounds_in(words[2], words[3])
    return len(_within(view.items(words[1], SORTED_SET), bounds))


def zlexcount(view: View, words: list[str]) -> Value:
    """ZLEXCOUNT KEY MIN MAX"""
    bounds = LexBounds(words[2], words[3])
    return len(_within(view.items(words[1], SORTED_SET), bounds))


def _within(items: Items, bounds: Bounds | LexBounds) -> Items:
    """Return the elements within bounds. Of scores, only a few are read, also of equal ones."""
    if isinstance(bounds, LexBounds):
        return items.kept_as_meant(lambda item: bounds.has(member_of(item)))
    to_begin = bisect_right if bounds.without_least else bisect_left
    to_end = bisect_left if bounds.without_most else bisect_right
    begin = to_begin(items, bounds.least, key=score_of)
    return items.part(begin, to_end(items, bounds.most, lo=begin, key=score_of))


def _by_rank(items: Items, start: str, stop: str) -> Items:
    begin, end = integer(start), integer(stop)
    begin = max(0, begin + len(items) if begin < 0 else begin)
    end = end + len(items) if end < 0 else end
    return items.part(begin, max(begin, end + 1))


def _limited(items: Items, offset: int, count: int) -> Items:
    if offset < 0:
        return items.part(0, 0)
    return items.part(offset, None if count < 0 else offset + count)


class _Options(NamedTuple):
    """The options of a range."""

    by: str = ""  # BYSCORE, BYLEX, or by rank
    is_reverse: bool = False
    limit: tuple[int, int] | None = None
    with_scores: bool = False


def _options(words: list[str]) -> _Options:
    """Return what follows START STOP.

    Raises:
        Refused: an option is unknown, or contradicts another one.
    """
    options, place = _Options(), 0
    while place < len(words):
        word = in_capitals(words[place])
        if word in ("BYSCORE", "BYLEX") and options.by in ("", word):
            options = options._replace(by=word)
        elif word == "REV":
            options = options._replace(is_reverse=True)
        elif word == "WITHSCORES":
            options = options._replace(with_scores=True)
        elif word == "LIMIT" and place + 2 < len(words):
            limit = integer(words[place + 1]), integer(words[place + 2])
            options = options._replace(limit=limit)
            place += 2
        else:
            raise CommandRefused(SYNTAX)
        place += 1
    if options.limit is not None and options.limit[1] != -1 and not options.by:
        raise CommandRefused(_LIMIT_BY_RANK)
    if options.with_scores and options.by == "BYLEX":
        raise CommandRefused(_SCORES_BY_LEX)
    return options


def _ranged(view: View, key: str, ends: list[str], options: _Options) -> Items:
    """Return the elements from START to STOP."""
    if not options.by:
        integer(ends[0]), integer(ends[1])
        items = view.items(key, SORTED_SET)
        return _by_rank(items.reversed() if options.is_reverse else items, *ends)
    low, high = reversed(ends) if options.is_reverse else ends
    bounds = bounds_in(low, high) if options.by == "BYSCORE" else LexBounds(low, high)
    found = _within(view.items(key, SORTED_SET), bounds)
    found = found.reversed() if options.is_reverse else found
    return found if options.limit is None else _limited(found, *options.limit)


def _shown(view: View, words: list[str], options: _Options) -> Value:
    found = _ranged(view, words[1], words[2:4], options)
    return shown(found, with_scores=options.with_scores)


def zrange(view: View, words: list[str]) -> Value:
    """ZRANGE KEY START STOP [BYSCORE|BYLEX] [REV] [LIMIT OFFSET COUNT] [WITHSCORES]"""
    return _shown(view, words, _options(words[4:]))


def zrevrange(view: View, words: list[str]) -> Value:
    """ZREVRANGE KEY START STOP [WITHSCORES]"""
    options = _options(_only(words[4:], "WITHSCORES"))
    return _shown(view, words, options._replace(is_reverse=True))


def zrangebyscore(view: View, words: list[str]) -> Value:
    """ZRANGEBYSCORE KEY MIN MAX [WITHSCORES] [LIMIT OFFSET COUNT], ZREVRANGEBYSCORE KEY MAX MIN"""
    return _by(view, words, "BYSCORE", "WITHSCORES", "LIMIT")


def zrangebylex(view: View, words: list[str]) -> Value:
    """ZRANGEBYLEX KEY MIN MAX [LIMIT OFFSET COUNT], ZREVRANGEBYLEX KEY MAX MIN"""
    return _by(view, words, "BYLEX", "LIMIT")


def _by(view: View, words: list[str], by: str, *allowed: str) -> Value:
    options = _options([by, *_only(words[4:], *allowed)])
    return _shown(view, words, options._replace(is_reverse="REV" in words[0].upper()))


def _only(words: list[str], *allowed: str) -> list[str]:
    """Return options.

    Raises:
        Refused: there are others than these.
    """
    place = 0
    while place < len(words):
        word = in_capitals(words[place])
        if word not in allowed:
            raise CommandRefused(SYNTAX)
        place += 3 if word == "LIMIT" else 1
    return words


def zrangestore(view: View, words: list[str]) -> Value:
    """ZRANGESTORE TO FROM START STOP [BYSCORE|BYLEX] [REV] [LIMIT OFFSET COUNT]"""
    options = _options(_only(words[5:], "BYSCORE", "BYLEX", "REV", "LIMIT"))
    items = _ranged(view, words[2], words[3:5], options).sorted(order_of)
    view.delete(words[1])
    if items:
        view.put_body(words[1], SORTED_SET, items)
    return len(items)


def zremrangebyscore(view: View, words: list[str]) -> Value:
    """ZREMRANGEBYSCORE KEY MIN MAX"""
    bounds, items = bounds_in(words[2], words[3]), view.items(words[1], SORTED_SET)
    return remove_items(view, words[1], items, _within(items, bounds))


def zremrangebyrank(view: View, words: list[str]) -> Value:
    """ZREMRANGEBYRANK KEY START STOP"""
    integer(words[2]), integer(words[3])
    items = view.items(words[1], SORTED_SET)
    return remove_items(view, words[1], items, _by_rank(items, words[2], words[3]))


def zremrangebylex(view: View, words: list[str]) -> Value:
    """ZREMRANGEBYLEX KEY MIN MAX"""
    bounds = LexBounds(words[2], words[3])
    items = view.items(words[1], SORTED_SET)
    return remove_items(view, words[1], items, _within(items, bounds))
