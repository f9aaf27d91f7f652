"""The commands of Redis on lists, as functions of a view. Pure.

The ends of a list are cut off its text, so a push or a pop reads no other element.
"""

from __future__ import annotations

from typing import Final

from raftline.wire.operands.lease_operands import SECONDS_MAX
from raftline.wire.protocol import real

from ..keys import NO_SUCH_KEY
from ..programs import CommandRefused, in_capitals, integer
from ..replies import NO_LIST, NOT_INTEGER, OK, SYNTAX, Failure, Value, wrong_count
from ..view import View
from .counted_keys import popped
from .elements import Body, Items
from .scores import score_in
from .typed import LIST, formatted

OUT_OF_RANGE: Final = Failure("ERR index out of range")
NOT_POSITIVE: Final = Failure("ERR value is out of range, must be positive")
NO_TIMEOUT: Final = Failure("ERR timeout is not a float or out of range")
_NO_RANK: Final = (
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use"
    " negative to start from the end of the list"
)
_LEFT, _RIGHT = "LEFT", "RIGHT"


def _push(view: View, key: str, side: str, elements: list[str]) -> int:
    """Add elements at an end of a list, one after the other; return its length."""
    body = view.body(key, LIST)
    words = list(map(formatted, elements))
    is_left = side == _LEFT
    body = body.with_words(words[::-1] if is_left else words, at_begin=is_left)
    view.put_body(key, LIST, body)
    return body.size()


def _pop(view: View, key: str, side: str, count: int) -> list[str]:
    """Remove elements at an end of a list; return them, from that end on."""
    body = view.body(key, LIST)
    if not body or not count:
        return []
    taken, rest = body.cut(count, at_end=side == _RIGHT)
    view.put_body(key, LIST, rest)
    return view.items_of(taken).meant()


def _side(words: list[str]) -> str:
    return _LEFT if words[0].upper().startswith("L") else _RIGHT


def _side_in(word: str) -> str:
    """Return an end of a list that an argument names.

    Raises:
        Refused: it names none.
    """
    side = in_capitals(word)
    if side not in (_LEFT, _RIGHT):
        raise CommandRefused(SYNTAX)
    return side


def push(view: View, words: list[str]) -> Value:
    """LPUSH KEY ELEMENT [ELEMENT ...], RPUSH"""
    return _push(view, words[1], _side(words), words[2:])


def pushx(view: View, words: list[str]) -> Value:
    """LPUSHX KEY ELEMENT [ELEMENT ...], RPUSHX"""
    return _push(view, words[1], _side(words), words[2:]) if view.body(words[1], LIST) else 0


def pop(view: View, words: list[str]) -> Value:
    """LPOP KEY [COUNT], RPOP"""
    if len(words) == 2:
        one = _pop(view, words[1], _side(words), 1)
        return one[0] if one else None
    if len(words) > 3:
        raise CommandRefused(wrong_count(words[0]))
    count = integer(words[2], NOT_POSITIVE)
    if count < 0:
        raise CommandRefused(NOT_POSITIVE)
    exists = bool(view.body(words[1], LIST))
    return list(_pop(view, words[1], _side(words), count)) if exists else NO_LIST


def move(view: View, words: list[str]) -> Value:
    """LMOVE FROM TO LEFT|RIGHT LEFT|RIGHT, RPOPLPUSH FROM TO; and BLMOVE and BRPOPLPUSH, where the
    list is not empty"""
    source, to = words[1], words[2]
    side, other = sides_in(words)
    if not view.body(source, LIST):
        return None
    view.body(to, LIST)
    (element,) = _pop(view, source, side, 1)
    _push(view, to, other, [element])
    return element


def sides_in(words: list[str]) -> tuple[str, str]:
    """Return the ends of two lists that a move names.

    Raises:
        Refused: an end, or the time that it may wait, is wrong.
    """
    name = in_capitals(words[0])
    sides = _RIGHT, _LEFT
    if not name.endswith("RPOPLPUSH"):
        sides = _side_in(words[3]), _side_in(words[4])
    if name.startswith("B"):
        timeout_in(words[-1])
    return sides


def pop_first(view: View, words: list[str]) -> Value:
    """BLPOP KEY [KEY ...] TIMEOUT, BRPOP: the end of the first list that is not empty"""
    side = _LEFT if in_capitals(words[0]) == "BLPOP" else _RIGHT
    timeout_in(words[-1])
    for key in words[1:-1]:
        if view.body(key, LIST):
            return [key, *_pop(view, key, side, 1)]
    return NO_LIST


def pop_some(view: View, words: list[str]) -> Value:
    """LMPOP COUNT KEY ... LEFT|RIGHT [COUNT COUNT], and BLMPOP with a time before: elements of the
    first list that is not empty"""
    is_timed = in_capitals(words[0]) == "BLMPOP"
    keys, side, count = popped(words, 1 + is_timed, (_LEFT, _RIGHT))
    if is_timed:
        timeout_in(words[1])
    for key in keys:
        if view.body(key, LIST):
            return [key, list(_pop(view, key, side, count))]
    return NO_LIST


def timeout_in(text: str) -> float:
    """Return how many seconds a command may wait; 0: any time.

    Raises:
        Refused: it is no such number.
    """
    seconds = score_in(text, NO_TIMEOUT)
    if seconds < 0:
        raise CommandRefused("ERR timeout is negative")
    if seconds > SECONDS_MAX:
        raise CommandRefused("ERR timeout is out of range")
    return seconds


def llen(view: View, words: list[str]) -> Value:
    """LLEN KEY"""
    return view.body(words[1], LIST).size()


def _range(words: list[str], size: int) -> tuple[int, int]:
    """Return the begin and the end of START STOP in a list of this length."""
    begin, stop = int(words[2]), int(words[3])
    begin = max(0, begin + size if begin < 0 else begin)
    stop = stop + size if stop < 0 else stop
    return begin, max(begin, stop + 1)


def _near(body: Body, begin: int, stop: int) -> Items:
    """Return elements in which two places mean the same: those at one end, if both count from it,
    or all."""
    if (begin < 0) is not (stop < 0):
        return body.items()
    return body.near(-begin if begin < 0 else stop + 1, at_end=begin < 0)


def lrange(view: View, words: list[str]) -> Value:
    """LRANGE KEY START STOP"""
    places = integer(words[2]), integer(words[3])
    items = _near(view.body(words[1], LIST), *places)
    begin, end = _range(words, len(items))
    return list(items.part(begin, end).meant())


def ltrim(view: View, words: list[str]) -> Value:
    """LTRIM KEY START STOP"""
    integer(words[2]), integer(words[3])
    items = view.items(words[1], LIST)
    begin, end = _range(words, len(items))
    if items and (begin > 0 or end < len(items)):
        view.put_body(words[1], LIST, items.part(begin, end))
    return OK


def lindex(view: View, words: list[str]) -> Value:
    """LINDEX KEY INDEX"""
    body = view.body(words[1], LIST)
    place = integer(words[2]) if body else 0
    items = _near(body, place, place)
    return real(items[place]) if -len(items) <= place < len(items) else None


def lset(view: View, words: list[str]) -> Value:
    """LSET KEY INDEX ELEMENT"""
    items = view.items(words[1], LIST)
    if not items:
        raise CommandRefused(NO_SUCH_KEY)
    place = integer(words[2])
    if not -len(items) <= place < len(items):
        raise CommandRefused(OUT_OF_RANGE)
    view.put_body(words[1], LIST, items.put(place, formatted(words[3]), replaces=True))
    return OK


def lrem(view: View, words: list[str]) -> Value:
    """LREM KEY COUNT ELEMENT"""
    count, items, word = integer(words[2]), view.items(words[1], LIST), formatted(words[3])
    found = items.number_of(word)
    left = min(found, abs(count)) if count else found
    if not left:
        return 0
    kept: list[str] = []
    removed = 0
    for item in items.reversed() if count < 0 else items:
        if item == word and removed < left:
            removed += 1
        else:
            kept.append(item)
    left_over = view.items_of(kept)
    view.put_body(words[1], LIST, left_over.reversed() if count < 0 else left_over)
    return removed


def linsert(view: View, words: list[str]) -> Value:
    """LINSERT KEY BEFORE|AFTER PIVOT ELEMENT"""
    where = in_capitals(words[2])
    if where not in ("BEFORE", "AFTER"):
        raise CommandRefused(SYNTAX)
    items, pivot = view.items(words[1], LIST), formatted(words[3])
    if not items:
        return 0
    place = items.place_of(pivot)
    if place < 0:
        return -1
    view.put_body(words[1], LIST, items.put(place + (where == "AFTER"), formatted(words[4])))
    return len(items) + 1


def lpos(view: View, words: list[str]) -> Value:
    """LPOS KEY ELEMENT [RANK RANK] [COUNT NUMBER] [MAXLEN LENGTH]"""
    options = {"RANK": 1, "COUNT": 1, "MAXLEN": 0}
    if len(words) % 2 == 0:
        raise CommandRefused(SYNTAX)
    for option, value in zip(words[3::2], words[4::2], strict=True):
        name = in_capitals(option)
        if name not in options:
            raise CommandRefused(SYNTAX)
        negative = Failure(f"ERR {name} can't be negative")
        options[name] = integer(value, NOT_INTEGER if name == "RANK" else negative)
        if name != "RANK" and options[name] < 0:
            raise CommandRefused(negative)
        if not options["RANK"]:
            raise CommandRefused(_NO_RANK)
    rank, longest = options["RANK"], options["MAXLEN"]
    items, word = view.items(words[1], LIST), formatted(words[2])
    places = items.places_of(word, longest or len(items), from_end=rank < 0)[abs(rank) - 1 :]
    if "COUNT" in map(in_capitals, words[3::2]):
        return list(places[: options["COUNT"] or len(places)])
    return places[0] if places else None
