"""The times of keys: options of commands, and the commands that set or tell them. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from .programs import INTEGER_MAX, CommandRefused, in_capitals, integer
from .replies import OK, SYNTAX, Value
from .view import View

NO_KEY, NO_TIME = -2, -1
_PER_UNIT: Final = {"EX": 1000, "EXAT": 1000, "PX": 1, "PXAT": 1}


class Times(NamedTuple):
    """The time of a key as an option sets it."""

    left_ms: int | None = None  # from now on; None: it says no time
    keeps: bool = False  # KEEPTTL
    ends: bool = False  # PERSIST

    @property
    def is_set(self) -> bool:
        return self.left_ms is not None or self.keeps or self.ends


def time_option(
    before: Times, word: str, argument: str | None, command: str, now_ms: int
) -> tuple[Times, int]:
    """Return the times after one more option, and the number of arguments that it used.

    Raises:
        Refused: the option is unknown, wrong or out of place.
    """
    if before.is_set:
        raise CommandRefused(SYNTAX)
    if word == "KEEPTTL" and command == "set":
        return Times(keeps=True), 0
    if word == "PERSIST" and command == "getex":
        return Times(ends=True), 0
    if word not in _PER_UNIT or argument is None:
        raise CommandRefused(SYNTAX)
    time_ms = in_ms(argument, _PER_UNIT[word], command)
    if time_ms <= 0:
        raise CommandRefused(f"ERR invalid expire time in '{command}' command")
    return Times(time_ms - now_ms if word.endswith("AT") else time_ms), 1


def in_ms(text: str, per_unit: int, command: str) -> int:
    """Return a time in milliseconds.

    Raises:
        Refused: it is not a whole number, or too large for 64 bits.
    """
    number = integer(text)
    if abs(number) * per_unit > INTEGER_MAX:
        raise CommandRefused(f"ERR invalid expire time in '{command}' command")
    return number * per_unit


def expire_time(words: list[str], now_ms: int) -> int:
    """Return the time that the key of an `EXPIRE`, `PEXPIRE`, `EXPIREAT` or `PEXPIREAT` has left.

    Raises:
        Refused: the time is wrong.
    """
    name = words[0].lower()
    per_unit = 1 if name.startswith("p") else 1000
    time_ms = in_ms(words[2], per_unit, name)
    if name.endswith("at"):
        return time_ms - now_ms
    if time_ms > INTEGER_MAX - now_ms:
        raise CommandRefused(f"ERR invalid expire time in '{name}' command")
    return time_ms


def expire_flags(words: list[str]) -> set[str]:
    """Return the options of an `EXPIRE`.

    Raises:
        Refused: one is unknown, or they contradict each other.
    """
    if len(words) == 3:
        return set()
    flags = set(map(in_capitals, words[3:]))
    for word in words[3:]:
        if in_capitals(word) not in ("NX", "XX", "GT", "LT"):
            raise CommandRefused(f"ERR Unsupported option {word}")
    if "NX" in flags and len(flags) > 1:
        raise CommandRefused("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {"GT", "LT"} <= flags:
        raise CommandRefused("ERR GT and LT options at the same time are not compatible")
    return flags


def expire(view: View, words: list[str]) -> Value:
    """EXPIRE KEY SECONDS [NX|XX|GT|LT], PEXPIRE, EXPIREAT, PEXPIREAT"""
    flags, left_ms, key = expire_flags(words), expire_time(words, view.now_ms), words[1]
    if not view.has(key):
        return 0
    if not flags:
        view.expire(key, left_ms)
        return 1
    if flags & {"NX", "XX"} and view.has_time(key) != ("XX" in flags):
        return 0
    if flags & {"GT", "LT"}:
        before = view.left_ms(key)
        if "GT" in flags and (before is None or left_ms <= before):
            return 0
        if "LT" in flags and before is not None and left_ms >= before:
            return 0
    view.expire(key, left_ms)
    return 1


def persist(view: View, words: list[str]) -> Value:
    """PERSIST KEY"""
    if not view.has(words[1]) or not view.has_time(words[1]):
        return 0
    view.expire(words[1], None)
    return 1


def ttl(view: View, words: list[str]) -> Value:
    """TTL KEY, PTTL, EXPIRETIME, PEXPIRETIME"""
    if not view.has(words[1]):
        return NO_KEY
    left_ms = view.left_ms(words[1])
    return NO_TIME if left_ms is None else told(words[0].upper(), left_ms, view.now_ms)


def told(name: str, left_ms: int, now_ms: int) -> int:
    """Return a time in the unit of the command that asks for it."""
    if name.endswith("TIME"):
        left_ms += now_ms
    return left_ms if name.startswith("P") else (left_ms + 500) // 1000


def setex(view: View, words: list[str]) -> Value:
    """SETEX KEY SECONDS VALUE, PSETEX KEY MILLISECONDS VALUE"""
    view.set(words[1], words[3], setex_time(words))
    return OK


def setex_time(words: list[str]) -> int:
    """Return the time of a `SETEX` or a `PSETEX`.

    Raises:
        Refused: the time is wrong.
    """
    name = words[0].lower()
    time_ms = in_ms(words[2], 1 if name.startswith("p") else 1000, name)
    if time_ms <= 0:
        raise CommandRefused(f"ERR invalid expire time in '{name}' command")
    return time_ms
