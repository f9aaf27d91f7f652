"""The commands of Redis on sets, as functions of a view. Pure.

The members stay in the order in which they came, the same at each node.
"""

from __future__ import annotations

from .....wire.protocol import real
from ..programs import CommandRefused, in_capitals, integer
from ..replies import SYNTAX, Failure, SetReply, Value
from ..view import View
from .counted_keys import FEW_KEYS, counted
from .lists import NOT_POSITIVE
from .scans import chosen, count_in, scanned, scanned_body
from .typed import SET, body_with, formatted, items_in, meant

_FEW = 8  # members that are searched one by one
_MEMBER = 16  # of a text that takes as long to make as one member to keep, or to compare
_MANY_KEYS = Failure("ERR Number of keys can't be greater than number of args")
_NEGATIVE_LIMIT = Failure("ERR LIMIT can't be negative")


def _members(view: View, key: str) -> dict[str, None]:
    members = dict.fromkeys(view.items(key, SET))
    view.works(_MEMBER * len(members))
    return members


def sadd(view: View, words: list[str]) -> Value:
    """SADD KEY MEMBER [MEMBER ...]"""
    body, members = view.body(words[1], SET), dict.fromkeys(map(formatted, words[2:]))
    if len(members) <= _FEW:
        ended = f"{body} "
        new = [member for member in members if f" {member} " not in ended]
    else:
        held = set(items_in(body))
        new = [member for member in members if member not in held]
    if new:
        view.put_body(words[1], SET, body + body_with(new))
    return len(new)


def srem(view: View, words: list[str]) -> Value:
    """SREM KEY MEMBER [MEMBER ...]"""
    body, members = view.body(words[1], SET), dict.fromkeys(map(formatted, words[2:]))
    removed = 0
    if len(members) <= _FEW:
        ended = f"{body} "
        for member in members:
            place = ended.find(f" {member} ")
            if place >= 0:
                ended = ended[:place] + ended[place + len(member) + 1 :]
                removed += 1
        body = ended[:-1]
    else:
        kept = [item for item in items_in(body) if item not in members]
        removed = body.count(" ") - len(kept)
        body = body_with(kept)
    if removed:
        view.put_body(words[1], SET, body)
    return removed


def smembers(view: View, words: list[str]) -> Value:
    """SMEMBERS KEY"""
    return SetReply(list(meant(view.items(words[1], SET))))


def sismember(view: View, words: list[str]) -> Value:
    """SISMEMBER KEY MEMBER"""
    return int(f" {formatted(words[2])} " in f"{view.body(words[1], SET)} ")


def smismember(view: View, words: list[str]) -> Value:
    """SMISMEMBER KEY MEMBER [MEMBER ...]"""
    members = _members(view, words[1])
    return [int(formatted(word) in members) for word in words[2:]]


def scard(view: View, words: list[str]) -> Value:
    """SCARD KEY"""
    return view.body(words[1], SET).count(" ")


def spop(view: View, words: list[str]) -> Value:
    """SPOP KEY [COUNT]"""
    if len(words) > 3:
        raise CommandRefused(SYNTAX)
    count = 1 if len(words) == 2 else integer(words[2], NOT_POSITIVE)
    if count < 0:
        raise CommandRefused(NOT_POSITIVE)
    members = _members(view, words[1])
    taken = chosen(view, list(members), count)
    for member in taken:
        del members[member]
    if taken:
        view.put_body(words[1], SET, body_with(list(members)))
    if len(words) == 2:
        return real(taken[0]) if taken else None
    return SetReply(list(meant(taken)))


def srandmember(view: View, words: list[str]) -> Value:
    """SRANDMEMBER KEY [COUNT]"""
    count = 1 if len(words) == 2 else count_in(words)[0]
    taken = chosen(view, list(_members(view, words[1])), count)
    if len(words) == 2:
        return real(taken[0]) if taken else None
    return list(meant(taken))


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


def _combined(view: View, name: str, keys: list[str]) -> list[str]:
    """Return the members that all of these sets have (SINTER), that one of them has (SUNION), or
    that only the first one has (SDIFF), as they are written."""
    first = _members(view, keys[0])
    for key in keys[1:]:
        other = _members(view, key)
        view.works(_MEMBER * len(other if name == "SUNION" else first))
        if name == "SUNION":
            first |= other
        else:
            keeps = name == "SINTER"
            first = {member: None for member in first if (member in other) == keeps}
    return list(first)


def combine(view: View, words: list[str]) -> Value:
    """SINTER KEY [KEY ...], SUNION, SDIFF"""
    return SetReply(list(meant(_combined(view, words[0].upper(), words[1:]))))


def sintercard(view: View, words: list[str]) -> Value:
    """SINTERCARD COUNT KEY ... [LIMIT COUNT]"""
    keys, rest = counted(words, 1, FEW_KEYS, _MANY_KEYS)
    limit = 0
    for place in range(0, len(rest), 2):
        if in_capitals(rest[place]) != "LIMIT" or place + 1 == len(rest):
            raise CommandRefused(SYNTAX)
        limit = integer(rest[place + 1], _NEGATIVE_LIMIT)
        if limit < 0:
            raise CommandRefused(_NEGATIVE_LIMIT)
    count = len(_combined(view, "SINTER", keys))
    return min(count, limit or count)


def combine_into(view: View, words: list[str]) -> Value:
    """SINTERSTORE TO KEY [KEY ...], SUNIONSTORE, SDIFFSTORE"""
    found = _combined(view, words[0].upper().removesuffix("STORE"), words[2:])
    view.delete(words[1])
    if found:
        view.put_body(words[1], SET, body_with(found))
    return len(found)


def sscan(view: View, words: list[str]) -> Value:
    """SSCAN KEY CURSOR [MATCH PATTERN] [COUNT NUMBER]"""
    return ["0", list(scanned(words, meant(items_in(scanned_body(view, words, SET)))))]
