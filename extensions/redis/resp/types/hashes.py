"""The commands of Redis on hashes, as functions of a view. Pure."""

from __future__ import annotations

from typing import Final

from raftline.wire.protocol import real, size_of

from ..programs import INTEGER_MAX, CommandRefused, in_capitals, integer
from ..replies import OK, OVERFLOW, Failure, Pairs, Value
from ..strings import sum_of_floats
from ..view import View
from .elements import Body, Items
from .scans import chosen, count_in, scanned, scanned_items
from .typed import HASH, formatted, meant, name_of

_FEW: Final = 8  # fields that are searched one by one
_NOT_INTEGER: Final = Failure("ERR hash value is not an integer")
_NOT_FINITE: Final = Failure("ERR value is NaN or Infinity")
_NOT_FLOAT: Final = Failure("ERR hash value is not a float")


def _place(body: Body, field: str) -> tuple[int, int]:
    """Return where the value of a field begins and ends; the first is below 0 if it is absent."""
    mark = f" {field}="
    place = body.find(mark)
    if place < 0:
        return -1, -1
    begin = place + len(mark)
    return begin, body.end_of(begin)


def _found(body: Body, field: str) -> str | None:
    begin, end = _place(body, name_of(field))
    return None if begin < 0 else real(body.piece(begin, end))


def _put(body: Body, field: str, value: str) -> tuple[Body, bool]:
    """Return the body with a field set, and whether it is new."""
    name, word = name_of(field), formatted(value)
    begin, end = _place(body, name)
    if begin < 0:
        return body.with_words([f"{name}={word}"]), True
    return body.with_piece(begin, end, word), False


def _fields_in(items: Items) -> dict[str, str]:
    """Return the fields and values, as they are written."""
    fields: dict[str, str] = {}
    for item in items.read():
        field, _, value = item.partition("=")
        fields[field] = value
    return fields


def _items_of(view: View, fields: dict[str, str]) -> Items:
    return view.items_of([f"{field}={value}" for field, value in fields.items()])


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    if len(words) % 2:
        raise CommandRefused(f"ERR wrong number of arguments for '{words[0].lower()}' command")
    return list(zip(words[2::2], words[3::2], strict=True))


def _set_all(view: View, words: list[str]) -> int:
    """Set the fields of a command; return how many are new."""
    pairs, key = _pairs(words), words[1]
    body = view.body(key, HASH)
    if len(pairs) <= _FEW:
        new = 0
        for field, value in pairs:
            body, is_new = _put(body, field, value)
            new += is_new
    else:
        fields = _fields_in(body.items())
        before = len(fields)
        fields |= {name_of(field): formatted(value) for field, value in pairs}
        new = len(fields) - before
        view.put_body(key, HASH, _items_of(view, fields))
        return new
    view.put_body(key, HASH, body)
    return new


def hset(view: View, words: list[str]) -> Value:
    """HSET KEY FIELD VALUE [FIELD VALUE ...]"""
    return _set_all(view, words)


def hmset(view: View, words: list[str]) -> Value:
    """HMSET KEY FIELD VALUE [FIELD VALUE ...]"""
    _set_all(view, words)
    return OK


def hsetnx(view: View, words: list[str]) -> Value:
    """HSETNX KEY FIELD VALUE"""
    body = view.body(words[1], HASH)
    if _place(body, name_of(words[2]))[0] >= 0:
        return 0
    view.put_body(words[1], HASH, _put(body, words[2], words[3])[0])
    return 1


def hget(view: View, words: list[str]) -> Value:
    """HGET KEY FIELD"""
    return _found(view.body(words[1], HASH), words[2])


def hmget(view: View, words: list[str]) -> Value:
    """HMGET KEY FIELD [FIELD ...]"""
    body = view.body(words[1], HASH)
    if len(words) - 2 <= _FEW:
        return [_found(body, field) for field in words[2:]]
    fields, names = _fields_in(body.items()), list(map(name_of, words[2:]))
    # Each text is made once: the same field may be asked for again and again.
    texts = {name: real(fields[name]) for name in dict.fromkeys(names) if name in fields}
    return list(map(texts.get, names))


def hgetall(view: View, words: list[str]) -> Value:
    """HGETALL KEY"""
    fields = _fields_in(view.items(words[1], HASH))
    names, values = meant(list(fields)), meant(list(fields.values()))
    return Pairs("map", list(zip(names, values, strict=True)))


def hkeys(view: View, words: list[str]) -> Value:
    """HKEYS KEY"""
    return list(meant(list(_fields_in(view.items(words[1], HASH)))))


def hvals(view: View, words: list[str]) -> Value:
    """HVALS KEY"""
    return list(meant(list(_fields_in(view.items(words[1], HASH)).values())))


def hlen(view: View, words: list[str]) -> Value:
    """HLEN KEY"""
    return view.body(words[1], HASH).size()


def hexists(view: View, words: list[str]) -> Value:
    """HEXISTS KEY FIELD"""
    return int(_place(view.body(words[1], HASH), name_of(words[2]))[0] >= 0)


def hstrlen(view: View, words: list[str]) -> Value:
    """HSTRLEN KEY FIELD"""
    return size_of(_found(view.body(words[1], HASH), words[2]) or "")


def hdel(view: View, words: list[str]) -> Value:
    """HDEL KEY FIELD [FIELD ...]"""
    body, removed = view.body(words[1], HASH), 0
    if len(words) - 2 <= _FEW:
        for field in map(name_of, words[2:]):
            begin, end = _place(body, field)
            if begin >= 0:
                body = body.with_piece(begin - len(field) - len(" ="), end)
                removed += 1
        left: Body | Items = body
    else:
        fields = _fields_in(body.items())
        removed = sum([fields.pop(name_of(field), None) is not None for field in words[2:]])
        left = _items_of(view, fields)
    if removed:
        view.put_body(words[1], HASH, left)
    return removed


def hincrby(view: View, words: list[str]) -> Value:
    """HINCRBY KEY FIELD NUMBER"""
    by, body = integer(words[3]), view.body(words[1], HASH)
    before = _found(body, words[2])
    total = by + (0 if before is None else integer(before, _NOT_INTEGER))
    if not -INTEGER_MAX - 1 <= total <= INTEGER_MAX:
        raise CommandRefused(OVERFLOW)
    view.put_body(words[1], HASH, _put(body, words[2], str(total))[0])
    return total


def hincrbyfloat(view: View, words: list[str]) -> Value:
    """HINCRBYFLOAT KEY FIELD NUMBER"""
    sum_of_floats(None, words[3], _NOT_FLOAT, _NOT_FINITE)  # first of all, it is a number
    body = view.body(words[1], HASH)
    total = sum_of_floats(_found(body, words[2]), words[3], _NOT_FLOAT)
    view.put_body(words[1], HASH, _put(body, words[2], total)[0])
    return total


def hrandfield(view: View, words: list[str]) -> Value:
    """HRANDFIELD KEY [COUNT [WITHVALUES]]"""
    count, with_values = (1, False) if len(words) == 2 else count_in(words, "WITHVALUES")
    found = chosen(view, view.items(words[1], HASH), count)
    pairs = [item.partition("=") for item in found.read()]
    if len(words) == 2:
        return real(pairs[0][0]) if pairs else None
    if not with_values:
        return [real(name) for name, _, _ in pairs]
    return Pairs("pairs", [(real(name), real(value)) for name, _, value in pairs])


def hscan(view: View, words: list[str]) -> Value:
    """HSCAN KEY CURSOR [MATCH PATTERN] [COUNT NUMBER] [NOVALUES]"""
    names = [word for word in words if in_capitals(word) == "NOVALUES"]
    fields = _fields_in(scanned_items(view, words, HASH))
    shown = scanned(view, words[: len(words) - len(names)], meant(list(fields)))
    if names:
        return ["0", list(shown)]
    return ["0", [each for name in shown for each in (name, real(fields[name_of(name)]))]]
