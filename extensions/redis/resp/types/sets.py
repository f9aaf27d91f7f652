"""The commands of Redis on sets, as functions of a view. Pure.

The members stay in the order in which they came, the same at each node.
"""

from __future__ import annotations

from raftline.wire.protocol import real

from ..programs import CommandRefused, integer
from ..replies import SYNTAX, Failure, SetReply, Value
from ..view import View
from .counted_keys import FEW_KEYS, counted, limit_in
from .elements import Body, Items
from .lists import NOT_POSITIVE
from .scans import chosen, count_in, scanned, scanned_items
from .typed import SET, formatted

_FEW = 8  # members that are searched one by one
_MANY_KEYS = Failure("ERR Number of keys can't be greater than number of args")


def sadd(view: View, words: list[str]) -> Value:
    """SADD KEY MEMBER [MEMBER ...]"""
    body, members = view.body(words[1], SET), dict.fromkeys(map(formatted, words[2:]))
    if len(members) <= _FEW:
        new = [member for member in members if body.find(f" {member} ") < 0]
    else:
        held = set(body.items())
        new = [member for member in members if member not in held]
    if new:
        view.put_body(words[1], SET, body.with_words(new))
    return len(new)


def srem(view: View, words: list[str]) -> Value:
    """SREM KEY MEMBER [MEMBER ...]"""
    body, members = view.body(words[1], SET), dict.fromkeys(map(formatted, words[2:]))
    removed = 0
    if len(members) <= _FEW:
        for member in members:
            place = body.find(f" {member} ")
            if place >= 0:
                body = body.with_piece(place, place + len(member) + 1)
                removed += 1
        left: Body | Items = body
    else:
        items = body.items()
        left = items.kept(lambda item: item not in members)
        removed = len(items) - len(left)
    if removed:
        view.put_body(words[1], SET, left)
    return removed


def smembers(view: View, words: list[str]) -> Value:
    """SMEMBERS KEY"""
    return SetReply(list(view.items(words[1], SET).meant()))


def sismember(view: View, words: list[str]) -> Value:
    """SISMEMBER KEY MEMBER"""
    return int(view.body(words[1], SET).find(f" {formatted(words[2])} ") >= 0)


def smismember(view: View, words: list[str]) -> Value:
    """SMISMEMBER KEY MEMBER [MEMBER ...]"""
    members = set(view.items(words[1], SET))
    return [int(formatted(word) in members) for word in words[2:]]


def scard(view: View, words: list[str]) -> Value:
    """SCARD KEY"""
    return view.body(words[1], SET).size()


def spop(view: View, words: list[str]) -> Value:
    """SPOP KEY [COUNT]"""
    if len(words) > 3:
        raise CommandRefused(SYNTAX)
    count = 1 if len(words) == 2 else integer(words[2], NOT_POSITIVE)
    if count < 0:
        raise CommandRefused(NOT_POSITIVE)
    members = view.items(words[1], SET)
    taken = chosen(view, members, count)
    gone = set(taken)
    if gone:
        view.put_body(words[1], SET, members.kept(lambda item: item not in gone))
    if len(words) == 2:
        return real(taken[0]) if gone else None
    return SetReply(list(taken.meant()))


def srandmember(view: View, words: list[str]) -> Value:
    """SRANDMEMBER KEY [COUNT]"""
    count = 1 if len(words) == 2 else count_in(words)[0]
    taken = chosen(view, view.items(words[1], SET), count)
    if len(words) == 2:
        return real(taken[0]) if len(taken) else None
    return list(taken.meant())


def smove(view: View, words: list[str]) -> Value:
    """SMOVE FROM TO MEMBER"""
    source, to, member = words[1:]
    if not view.has(source):
        return 0
    view.body(to, SET)
    if not sismember(view, ["", source, member]):
        return 0
    if source != to:
        srem(view, ["", source, member])
        sadd(view, ["", to, member])
    return 1


def _combined(view: View, name: str, keys: list[str]) -> Items:
    """Return the members that all of these sets have (SINTER), that one of them has (SUNION), or
    that only the first one has (SDIFF), as they are written."""
    if name == "SUNION":
        every = dict.fromkeys(member for key in keys for member in view.items(key, SET))
        return view.items_of(list(every))
    first, keeps = view.items(keys[0], SET), name == "SINTER"
    for key in keys[1:]:
        first = _compared(first, set(view.items(key, SET)), keeps=keeps)
    return first


def _compared(items: Items, others: set[str], *, keeps: bool) -> Items:
    """Return those that are among others, or are not."""
    return items.kept(lambda item: (item in others) == keeps)


def combine(view: View, words: list[str]) -> Value:
    """SINTER KEY [KEY ...], SUNION, SDIFF"""
    return SetReply(list(_combined(view, words[0].upper(), words[1:]).meant()))


def sintercard(view: View, words: list[str]) -> Value:
    """SINTERCARD COUNT KEY ... [LIMIT COUNT]"""
    keys, rest = counted(words, 1, FEW_KEYS, _MANY_KEYS)
    limit = limit_in(rest)
    count = len(_combined(view, "SINTER", keys))
    return min(count, limit or count)


def combine_into(view: View, words: list[str]) -> Value:
    """SINTERSTORE TO KEY [KEY ...], SUNIONSTORE, SDIFFSTORE"""
    found = _combined(view, words[0].upper().removesuffix("STORE"), words[2:])
    view.delete(words[1])
    if found:
        view.put_body(words[1], SET, found)
    return len(found)


def sscan(view: View, words: list[str]) -> Value:
    """SSCAN KEY CURSOR [MATCH PATTERN] [COUNT NUMBER]"""
    return ["0", list(scanned(view, words, scanned_items(view, words, SET).meant()))]
