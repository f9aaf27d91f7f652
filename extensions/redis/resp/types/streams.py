r"""The commands of Redis on streams, as functions of a view. Pure.

    \sstream 1764351306000-1 1764351306000-0:type=1,worker=Ada 1764351306000-1:type=2

The first element is the last ID that was given: it stays when all entries are gone. Then come the
entries in the order of their IDs, each with its fields and values. These are written like keys, and
have no `,`; a field has no `=`. The ID for `*` is the time of the log's entry, which every node has
from the leader.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from ..programs import CommandRefused, in_capitals, integer
from ..replies import NO_LIST, SYNTAX, Failure, Pairs, Value, wrong_count
from ..view import View
from .elements import Body, Items
from .typed import STREAM, formatted, meant, name_of

StreamId: TypeAlias = tuple[int, int]  # a time in milliseconds, and a number within it

_MOST: Final = (1 << 64) - 1
_FIRST: Final = (0, 0)
_LAST: Final = (_MOST, _MOST)
_ID: Final = re.compile(r"([0-9]{1,99})(?:-([0-9]{1,99}|\*))?", re.ASCII)
_INVALID_ID: Final = Failure("ERR Invalid stream ID specified as stream command argument")
_ONLY_GROUPS: Final = (
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer>"
    " option."
)
_NO_STRATEGY: Final = "LIMIT cannot be used without specifying a trimming strategy"
_NOT_EXACT: Final = "LIMIT cannot be used without the special ~ option"
_BOTH: Final = "MAXLEN and MINID options at the same time are not compatible"
_NO_TIMEOUT: Final = Failure("ERR timeout is not an integer or out of range")


# --- IDs -----------------------------------------------------------------------------------------


def _id_in(text: str, missing: int = 0, star: int = -1) -> StreamId:
    """Return the ID in an argument. `missing` is the number of one that has a time alone, and
    `star` that of one with `*`, if there may be one.

    Raises:
        Refused: it is none.
    """
    found = _ID.fullmatch(text)
    if found is None or (found[2] == "*" and star < 0):
        raise CommandRefused(_INVALID_ID)
    time, text = int(found[1]), found[2] or str(missing)
    number = star if text == "*" else int(text)
    if time > _MOST or (number > _MOST and text != "*"):
        raise CommandRefused(_INVALID_ID)
    return time, number


def _spelled_id(one: StreamId) -> str:
    return f"{one[0]}-{one[1]}"


def _id_of(item: str) -> StreamId:
    """Return the ID of an entry, or the element that is an ID."""
    time, _, number = item.partition(":")[0].partition("-")
    return int(time), int(number)


def _after(one: StreamId) -> StreamId:
    return (one[0], one[1] + 1) if one[1] < _MOST else (one[0] + 1, 0)


def _before(one: StreamId) -> StreamId:
    return (one[0], one[1] - 1) if one[1] else (one[0] - 1, _MOST)


# --- the text ------------------------------------------------------------------------------------


def _entry(one: StreamId, words: list[str]) -> str:
    """Return an entry with these fields and values, as a body writes it."""
    pairs = [
        f"{name_of(field)}={formatted(value)}".replace(",", r"\x2c")
        for field, value in zip(words[::2], words[1::2], strict=True)
    ]
    return f"{_spelled_id(one)}:{','.join(pairs)}"


def _shown(items: Items) -> list[Value]:
    """Return entries as replies have them."""
    found: list[Value] = []
    for item in items.read_whole():
        name, _, text = item.partition(":")
        words: list[Value] = []
        for pair in text.split(","):
            words += meant(pair.split("=", 1))
        found.append([name, words])
    return found


def _parts(body: Body) -> tuple[StreamId, Body]:
    """Return the last ID of a stream, and its entries."""
    first, rest = body.cut(1)
    return (_id_of(first[0]) if first else _FIRST), rest


def _put(view: View, key: str, last: StreamId, entries: Body) -> None:
    view.put_body(key, STREAM, entries.with_words([_spelled_id(last)], at_begin=True))


def _entries(view: View, key: str) -> Items:
    return view.items(key, STREAM).part(1)


def last_id_in(text: str) -> str:
    """Return the last ID of a stream that the store writes so, 0-0 if it is none."""
    words = text.split(" ", 2)
    return words[1] if len(words) > 1 and words[0] == rf"\s{STREAM}" else _spelled_id(_FIRST)


# --- XADD and what shortens a stream -------------------------------------------------------------


class _TrimOptions:
    """The options of an `XADD` or an `XTRIM`."""

    def __init__(self, words: list[str], *, adds: bool) -> None:
        """Read them.

        Raises:
            Refused: one is wrong, or contradicts another.
        """
        self.makes = True
        self.place = 2  # of the ID
        self._longest: int | None = None
        self._least: StreamId | None = None
        self._limit: int | None = None
        self._is_exact = True
        while self.place < len(words) and self._take(words, adds=adds):
            self.place += 1
        self._check()

    def _check(self) -> None:
        trims = self._longest is not None or self._least is not None
        if not trims and self._limit:
            raise CommandRefused(f"ERR syntax error, {_NO_STRATEGY}")
        if self._limit is not None and self._is_exact:
            raise CommandRefused(f"ERR syntax error, {_NOT_EXACT}")

    def _take(self, words: list[str], *, adds: bool) -> bool:
        """Take the word at this place, and its operands; return whether it is an option."""
        name, is_last = in_capitals(words[self.place]), self.place + 1 == len(words)
        if name in ("MAXLEN", "MINID") and not is_last:
            self._take_bound(name, words)
        elif name == "LIMIT" and not is_last:
            self.place += 1
            self._limit = _not_negative(words[self.place], "LIMIT")
        elif adds:
            self.makes = self.makes and name != "NOMKSTREAM"
            return name == "NOMKSTREAM"
        else:
            raise CommandRefused(SYNTAX)
        return True

    def _take_bound(self, name: str, words: list[str]) -> None:
        if self._longest is not None or self._least is not None:
            raise CommandRefused(f"ERR syntax error, {_BOTH}")
        self.place += 1
        if words[self.place] in ("~", "=") and self.place + 1 < len(words):
            self._is_exact = words[self.place] == "="
            self.place += 1
        if name == "MAXLEN":
            self._longest = _not_negative(words[self.place], name)
        else:
            self._least = _id_in(words[self.place])

    def trimmed(self, entries: Body) -> tuple[Body, int]:
        """Return the entries that are left, and how many are gone. `~` is exact, too."""
        if self._longest is not None:
            gone = max(0, entries.size() - self._longest)
        elif self._least is not None:
            gone = bisect_left(entries.items(), self._least, key=_id_of)
        else:
            gone = 0
        gone = min(gone, self._limit or gone)
        if not gone:
            return entries, 0
        return entries.cut(gone)[1], gone


def _not_negative(text: str, name: str) -> int:
    number = integer(text)
    if number < 0:
        raise CommandRefused(f"ERR The {name} argument must be >= 0.")
    return number


def _next_id(view: View, text: str, last: StreamId) -> StreamId:
    """Return the ID of a new entry: the one in this argument, or the next one after the last.

    Raises:
        Refused: there is none.
    """
    if text == "*":
        return max((min(view.now_ms, _MOST), 0), _after(last))
    time, _ = _id_in(text, star=0)
    new = _id_in(text, star=last[1] + 1 if time == last[0] else 0)
    if new <= last or new[1] > _MOST:
        raise CommandRefused(
            "ERR The ID specified in XADD is equal or smaller than the target stream top item"
        )
    return new


def xadd(view: View, words: list[str]) -> Value:
    """XADD KEY [NOMKSTREAM] [MAXLEN|MINID [=|~] BOUND [LIMIT COUNT]] *|ID FIELD VALUE
    [FIELD VALUE ...]"""
    options = _TrimOptions(words, adds=True)
    given, pairs = "".join(words[options.place : options.place + 1]), words[options.place + 1 :]
    wanted = _id_in(given, star=1) if given not in ("", "*") else None
    if not pairs or len(pairs) % 2:
        raise CommandRefused(wrong_count(words[0]))
    if wanted == _FIRST:
        raise CommandRefused("ERR The ID specified in XADD must be greater than 0-0")
    body = view.body(words[1], STREAM)
    if not body and not options.makes:
        return None
    last, entries = _parts(body)
    if last == _LAST:
        raise CommandRefused(
            "ERR The stream has exhausted the last possible ID, unable to add more items"
        )
    new = _next_id(view, given, last)
    entries, _ = options.trimmed(entries.with_words([_entry(new, pairs)]))
    _put(view, words[1], new, entries)
    return _spelled_id(new)


def xtrim(view: View, words: list[str]) -> Value:
    """XTRIM KEY MAXLEN|MINID [=|~] BOUND [LIMIT COUNT]"""
    options = _TrimOptions(words, adds=False)
    last, entries = _parts(view.body(words[1], STREAM))
    entries, gone = options.trimmed(entries)
    if gone:
        _put(view, words[1], last, entries)
    return gone


def xdel(view: View, words: list[str]) -> Value:
    """XDEL KEY ID [ID ...]"""
    body = view.body(words[1], STREAM)
    if not body:
        return 0
    gone = {_spelled_id(_id_in(word)) for word in words[2:]}
    items = body.items()
    entries = items.part(1)
    kept = entries.kept(lambda item: item.partition(":")[0] not in gone)
    if len(kept) < len(entries):
        view.put_body(words[1], STREAM, kept.put(0, items[0]))
    return len(entries) - len(kept)


# --- reads ---------------------------------------------------------------------------------------


def xlen(view: View, words: list[str]) -> Value:
    """XLEN KEY"""
    return max(0, view.body(words[1], STREAM).size() - 1)


def _end_in(text: str, missing: int) -> tuple[StreamId, bool]:
    """Return an end of a range, and whether `(` excludes it."""
    if text in ("-", "+"):
        return (_FIRST if text == "-" else _LAST), False
    is_excluded = text[:1] == "(" and len(text) > 1
    return _id_in(text[is_excluded:], missing), is_excluded


def xrange(view: View, words: list[str]) -> Value:
    """XRANGE KEY START END [COUNT COUNT], XREVRANGE KEY END START"""
    is_reverse, count = "REV" in in_capitals(words[0]), -1
    low, high = (words[3], words[2]) if is_reverse else (words[2], words[3])
    begin, is_open = _end_in(low, 0)
    if is_open and begin == _LAST:
        raise CommandRefused("ERR invalid start ID for the interval")
    end, ends_open = _end_in(high, _MOST)
    if ends_open and end == _FIRST:
        raise CommandRefused("ERR invalid end ID for the interval")
    for place in range(4, len(words), 2):
        if in_capitals(words[place]) != "COUNT" or place + 1 == len(words):
            raise CommandRefused(SYNTAX)
        count = max(0, integer(words[place + 1]))
    if not view.body(words[1], STREAM):
        return []
    if not count:
        return NO_LIST
    items = _entries(view, words[1])
    first = bisect_left(items, _after(begin) if is_open else begin, key=_id_of)
    last = bisect_right(items, _before(end) if ends_open else end, key=_id_of)
    items = items.part(first, max(first, last))
    items = items.reversed() if is_reverse else items
    return _shown(items if count < 0 else items.part(0, count))


class ReadOptions(NamedTuple):
    """The options of an `XREAD`."""

    place: int  # of its keys
    most: int = 0  # entries of each; 0: all
    within_s: float | None = None  # how long it waits; 0: any time; None: it does not


def read_options(words: list[str]) -> ReadOptions:
    """Return the options of an `XREAD`.

    Raises:
        Refused: one is wrong, or there are no keys.
    """
    options = ReadOptions(1)
    for name, operand in _options_of(words):
        if name == "COUNT":
            options = options._replace(most=max(0, integer(operand)))
        elif name == "BLOCK":
            time_ms = integer(operand, _NO_TIMEOUT)
            if time_ms < 0:
                raise CommandRefused("ERR timeout is negative")
            options = options._replace(within_s=time_ms / 1000)
        elif name in ("GROUP", "NOACK"):
            why = f"The {name} option is only supported by XREADGROUP. You called XREAD instead."
            raise CommandRefused(f"ERR {why}")
        elif name != "STREAMS":
            raise CommandRefused(SYNTAX)
    place = _place_of_keys(words)
    if not place:
        raise CommandRefused(SYNTAX)
    if (len(words) - place) % 2:
        why = "for each stream key an ID or '$' must be specified."
        raise CommandRefused(f"ERR Unbalanced XREAD list of streams: {why}")
    return options._replace(place=place)


def _options_of(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the options before the keys, each with the word after it."""
    for place in range(1, len(words), 2):
        if place + 1 == len(words):
            raise CommandRefused(SYNTAX)
        name = in_capitals(words[place])
        yield name, words[place + 1]
        if name == "STREAMS":
            return


def _place_of_keys(words: list[str]) -> int:
    """Return where the keys of an `XREAD` begin, 0 if there are none."""
    for place in range(1, len(words) - 1, 2):
        if in_capitals(words[place]) == "STREAMS":
            return place + 1
    return 0


def keys_read(words: list[str]) -> list[str]:
    """Return the keys of an `XREAD`, none if it is wrong."""
    place = _place_of_keys(words)
    return words[place : (place + len(words)) // 2] if place else []


def xread(view: View, words: list[str]) -> Value:
    """XREAD [COUNT COUNT] [BLOCK MS] STREAMS KEY [KEY ...] ID [ID ...], which waits for nothing"""
    options, keys = read_options(words), keys_read(words)
    wanted = list[tuple[str, StreamId]]()
    for key, text in zip(keys, words[options.place + len(keys) :], strict=True):
        last, _ = _parts(view.body(key, STREAM))
        if text == ">":
            raise CommandRefused(_ONLY_GROUPS)
        wanted.append((key, last if text == "$" else _id_in(text)))
    found = list[tuple[Value, Value]]()
    for key, after in wanted:
        items = _entries(view, key)
        items = items.part(bisect_right(items, after, key=_id_of))
        if items:
            found.append((key, _shown(items.part(0, options.most or len(items)))))
    return Pairs("keyed", found) if found else NO_LIST
