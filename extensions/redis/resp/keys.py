"""The commands of Redis on keys, as functions of a view, and the ones that list all keys. Pure."""

from __future__ import annotations

import itertools
import json
import operator
import re
from sys import getsizeof
from typing import Final

from raftline.wire.key_stat import TYPED
from raftline.wire.protocol import escape, real

from .limits import REDIS_PATTERN_BYTES
from .programs import (
    CommandContext,
    CommandRefused,
    Program,
    RedisAsk,
    Steps,
    in_capitals,
    integer,
    raw,
    text_of,
)
from .replies import OK, SYNTAX, Simple, Value, length_of
from .scripts import PREFIX
from .types.typed import STRING, type_in
from .view import View

NO_SUCH_KEY: Final = "ERR no such key"


def delete(view: View, words: list[str]) -> Value:
    """DEL KEY [KEY ...], UNLINK"""
    return sum([view.delete(key) for key in words[1:]])


def exists(view: View, words: list[str]) -> Value:
    """EXISTS KEY [KEY ...], TOUCH"""
    return sum([view.has(key) for key in words[1:]])


def type_of(view: View, words: list[str]) -> Value:
    """TYPE KEY"""
    return Simple(view.type_of(words[1]) if view.has(words[1]) else "none")


def rename(view: View, words: list[str]) -> Value:
    """RENAME KEY NEW"""
    _move(view, words[1], words[2])
    return OK


def renamenx(view: View, words: list[str]) -> Value:
    """RENAMENX KEY NEW"""
    if view.has(words[1]) and view.has(words[2]):
        return 0
    _move(view, words[1], words[2])
    return 1


def _move(view: View, key: str, to: str) -> None:
    if not view.has(key):
        raise CommandRefused(NO_SUCH_KEY)
    if key != to:
        view.set_like(to, key)
        view.delete(key)


def copy(view: View, words: list[str]) -> Value:
    """COPY KEY TO [DB 0] [REPLACE]"""
    options = list(map(in_capitals, words[3:]))
    if "DB" in options:
        place = options.index("DB")
        if place + 1 == len(options):
            raise CommandRefused(SYNTAX)
        if integer(options[place + 1]) != 0:
            raise CommandRefused("ERR DB index is out of range")
        del options[place : place + 2]
    if any([word != "REPLACE" for word in options]):
        raise CommandRefused(SYNTAX)
    if words[1] == words[2]:
        raise CommandRefused("ERR source and destination objects are the same")
    if not view.has(words[1]) or (view.has(words[2]) and not options):
        return 0
    view.set_like(words[2], words[1])
    return 1


def delex(view: View, words: list[str]) -> Value:
    """DELEX KEY [IFEQ VALUE|IFNE VALUE]"""
    if len(words) > 2:
        test, value = delex_test(words), view.get(words[1])
        if value is None or (value == words[3]) != (test == "="):
            return 0
    return int(view.delete(words[1]))


def delex_test(words: list[str]) -> str:
    """Return the test of a `DELEX` with a condition.

    Raises:
        Refused: the condition is unknown.
    """
    test = {"IFEQ": "=", "IFNE": "!="}.get(in_capitals(words[2]), "")
    if len(words) != 4 or not test:
        raise CommandRefused(SYNTAX)
    return test


# --- all keys ------------------------------------------------------------------------------------


class Pattern:
    """A pattern of Redis: `*`, `?`, `[a-c]`, `[^a]`, and a backslash before a character that means
    itself.

    It is an automaton whose states are the bits of a number: bit N is set if the bytes up to here
    match the first N items of the pattern. So a pattern is read and kept in proportion to its
    bytes, and a match takes one step for each byte of a key, whatever the pattern.
    """

    __slots__ = ("_begin", "_classes", "_end", "_masks", "_prefix", "_stars")

    def __init__(self, glob: str) -> None:
        """Read a pattern.

        Raises:
            Refused: it is too long.
        """
        data = raw(glob)
        if len(data) > REDIS_PATTERN_BYTES:
            raise CommandRefused(f"ERR a pattern has at most {REDIS_PATTERN_BYTES} bytes")
        self._prefix = raw(literal_prefix(glob))  # compared as a whole
        place, count, changes = len(self._prefix), 0, [0] * 257
        self._stars = 0  # bit N: any bytes may follow the first N items
        while place < len(data):
            if data[place] == ord("*"):
                self._stars |= 1 << count
                place += 1
                continue
            ranges, place = _item(data, place)
            for begin, end in ranges:  # these bytes change between fitting and not
                changes[begin] ^= 1 << count
                changes[end + 1] ^= 1 << count
            count += 1
        self._end = 1 << count
        # The bytes that fit the same items are one class; its mask has the bits of these items.
        masks: dict[int, int] = {}
        fitting = itertools.accumulate(changes[:256], operator.xor)
        self._classes = bytes([masks.setdefault(mask, len(masks)) for mask in fitting])
        self._masks = tuple(masks)

    @property
    def held_bytes(self) -> int:
        """The memory that it takes."""
        return sum(map(getsizeof, (self, self._prefix, self._classes, self._masks, *self._masks)))

    def steps(self, key: str) -> int:
        """Return how many bytes of a key `fits` looks at one by one, at most."""
        data, is_prefix = raw(key), self._end == 1
        return 0 if is_prefix or not data.startswith(self._prefix) else len(data)

    def fits(self, key: str) -> bool:
        """Whether a key matches."""
        data = raw(key)
        if not data.startswith(self._prefix):
            return False
        masks, stars, states = self._masks, self._stars, 1
        if stars & self._end and self._end == 1:
            return True  # nothing but a star follows
        for each in data[len(self._prefix) :].translate(self._classes):
            states = (states & masks[each]) << 1 | states & stars
            if not states:
                return False
        return states & self._end > 0


def _item(data: bytes, place: int) -> tuple[list[tuple[int, int]], int]:
    """Return the ranges of bytes that fit one item of a pattern, and the place after it."""
    byte = data[place]
    place += 1
    if byte == ord("?"):
        return [(0, 255)], place
    if byte == ord("["):
        return _class_of(data, place)
    if byte == ord("\\") and place < len(data):
        byte = data[place]
        place += 1
    return [(byte, byte)], place


def _class_of(data: bytes, place: int) -> tuple[list[tuple[int, int]], int]:
    """Return the ranges of the bytes in brackets, and the place after them."""
    is_negated = data[place : place + 1] == b"^"
    place += is_negated
    chosen: list[tuple[int, int]] = []
    while place < len(data) and data[place] != ord("]"):
        if data[place] == ord("\\") and place + 1 < len(data):
            place += 1
        begin = end = data[place]
        if data[place + 1 : place + 2] == b"-" and place + 2 < len(data):
            end = data[place + 2]
            place += 2
        chosen.append((min(begin, end), max(begin, end)))
        place += 1
    return _disjoint(chosen, is_negated=is_negated), place + 1


def _disjoint(ranges: list[tuple[int, int]], *, is_negated: bool) -> list[tuple[int, int]]:
    """Return ranges of bytes without overlaps, or the ranges between them."""
    joined: list[tuple[int, int]] = []
    between: list[tuple[int, int]] = []
    past = 0
    for begin, end in sorted(ranges):
        if begin > past:
            between.append((past, begin - 1))
        if end >= past:
            joined.append((max(begin, past), end))
            past = end + 1
    if past < 256:
        between.append((past, 255))
    return between if is_negated else joined


def literal_prefix(glob: str) -> str:
    """Return the characters before the first one with a meaning."""
    return re.split(r"[*?\[\\]", glob, maxsplit=1)[0]


def page(prefix: str, after: str) -> Steps[tuple[list[str], bool]]:
    """Return the next keys with a prefix after a key, and whether there may be more."""
    pairs, is_more = yield from _pairs(prefix, after)
    return list(pairs), is_more


def _pairs(prefix: str, after: str) -> Steps[tuple[dict[str, str], bool]]:
    """Return the next keys and values, and whether there may be more."""
    line = f"show {escape(prefix, key=True)}" if prefix else "show"
    if after:
        line += f" after {escape(after, key=True)}"
    (reply,) = yield RedisAsk([line], "show")
    pairs, end = json.JSONDecoder().raw_decode(reply.partition(": ")[2])
    return pairs, reply.partition(": ")[2][end:] != ""


def _own(names: list[str]) -> list[str]:
    """Return the keys of clients: the texts of scripts are keys, too."""
    return [name for name in names if not name.startswith(PREFIX)]


def keys(context: CommandContext, words: list[str]) -> Program:
    """KEYS PATTERN"""
    pattern, prefix = Pattern(words[1]), literal_prefix(words[1])
    found: list[Value] = []
    after, is_more = "", True
    while is_more:
        names, is_more = yield from page(prefix, after)
        fitting: list[Value] = [name for name in _own(names) if pattern.fits(name)]
        found += fitting
        context.ledger.returns(length_of(fitting))
        after = names[-1] if names else ""
    return found


def scan(context: CommandContext, words: list[str]) -> Program:
    """SCAN CURSOR [MATCH PATTERN] [COUNT NUMBER] [TYPE TYPE]"""
    cursor, options = _scan_options(words)
    after = context.node.cursor(cursor) if cursor else ""
    if after is None:
        raise CommandRefused("ERR the cursor is not known here; begin with 0")
    pattern = Pattern(options.get("MATCH", "*"))
    prefix = literal_prefix(options.get("MATCH", "*"))
    count = integer(options.get("COUNT", "10"))
    if count < 1:
        raise CommandRefused(SYNTAX)
    pairs, is_more = yield from _pairs(prefix, after)
    is_more = is_more or len(pairs) > count
    names = list(pairs)[:count]
    following = context.node.keep_cursor(names[-1]) if is_more and names else 0
    if "TYPE" in options:
        types = yield from _types(context, {name: pairs[name] for name in names})
        names = [name for name in names if types.get(name, STRING) == options["TYPE"].lower()]
    found: list[Value] = [name for name in _own(names) if pattern.fits(name)]
    return [str(following), found]


def _types(context: CommandContext, pairs: dict[str, str]) -> Steps[dict[str, str]]:
    """Return the types of the keys that may have one. A listing shows what values mean, and a text
    may mean the same as a typed value, so these are read again."""
    keys = [key for key, value in pairs.items() if value.startswith(real(TYPED))]
    if not keys:
        return {}
    lines = [f"get {escape(key, key=True)}" for key in keys]
    replies = yield RedisAsk(lines, "read", keys[0])
    values = [reply.partition(": ")[2] for reply in replies]
    return {key: type_in(value) for key, value in zip(keys, values, strict=True)}


def _scan_options(words: list[str]) -> tuple[int, dict[str, str]]:
    if not (words[1].isascii() and words[1].isdigit() and len(words[1]) < 20):
        raise CommandRefused("ERR invalid cursor")
    options: dict[str, str] = {}
    for place in range(2, len(words), 2):
        name = words[place].upper()
        if name not in ("MATCH", "COUNT", "TYPE") or place + 1 == len(words):
            raise CommandRefused(SYNTAX)
        options[name] = words[place + 1]
    return int(words[1]), options


def dbsize(context: CommandContext, words: list[str]) -> Program:
    """DBSIZE"""
    count, after, is_more = 0, "", True
    while is_more:
        names, is_more = yield from page("", after)
        count += len(_own(names))
        after = names[-1] if names else ""
    return count


def randomkey(context: CommandContext, words: list[str]) -> Program:
    """RANDOMKEY"""
    names, _ = yield from page("", text_of(bytes([1 + context.node.chance(126)])))
    names = _own(names)
    if not names:
        names, _ = yield from page("", "")
        names = _own(names)
    return names[context.node.chance(len(names))] if names else None


def flush(context: CommandContext, words: list[str]) -> Program:
    """FLUSHDB [ASYNC|SYNC], FLUSHALL"""
    if len(words) > 2 or (len(words) == 2 and words[1].upper() not in ("ASYNC", "SYNC")):
        raise CommandRefused(SYNTAX)
    while True:
        names, _ = yield from page("", "")
        if not names:
            return OK
        yield RedisAsk([f"clear {escape(names[0][:1], key=True)}"], "write")
