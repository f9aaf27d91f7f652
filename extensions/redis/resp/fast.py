"""The commands that one line carries out. Pure.

Such a command goes with others in one batch. The line is a command of the store, where one does it,
or an entry. The function of a command returns None if it takes several lines after all.
"""

from __future__ import annotations

from dataclasses import dataclass

from raftline.wire.protocol import escape

from .entry import VERB, format_entry
from .functions import FUNCTIONS
from .keys import delex_test
from .messages import checked_channel
from .programs import (
    INTEGER_MAX,
    CommandContext,
    bounded,
    checked_key,
    format_key,
    format_value,
    in_capitals,
    integer,
    seconds_text,
)
from .strings import getex_times, increment_of, pairs_of, set_options
from .times import expire_flags, expire_time, setex_time


@dataclass(slots=True)
class Line:
    """One line in canonical form. `form` names the meaning of its reply, after which parameters of
    the form may follow."""

    command: str
    form: str
    key: str  # its first key

    @property
    def verb(self) -> str:
        return self.command[: self.command.find(" ")]


def _line(
    context: CommandContext, words: list[str], verb: str, form: str = "", rest: str = ""
) -> Line:
    """Return the line of a verb on the first key."""
    key = format_key(words[1], context.node.limits)
    command = f"{verb} {key}{rest}"
    return Line(command, form or verb, words[1])


def entry(context: CommandContext, words: list[str]) -> Line | None:
    """Return the line of an entry, unless its command takes the times that keys have left."""
    function = FUNCTIONS[in_capitals(words[0])]
    if function.takes_times(words):
        return None
    keys = function.keys_in(words)
    for key in keys:
        checked_key(key, context.node.limits)
    line = format_entry(context.node.now_ms(), [[function.name, *words[1:]]])
    return Line(line, VERB, keys[0] if keys else "")


def get(context: CommandContext, words: list[str]) -> Line | None:
    return _line(context, words, "get")


def exists(context: CommandContext, words: list[str]) -> Line | None:
    return _line(context, words, "stat", "met") if len(words) == 2 else None


def strlen(context: CommandContext, words: list[str]) -> Line | None:
    return _line(context, words, "get", "strlen")


def type_of(context: CommandContext, words: list[str]) -> Line | None:
    return _line(context, words, "get", "type")


def ttl(context: CommandContext, words: list[str]) -> Line | None:
    name = words[0].upper()
    now_ms = context.node.now_ms() if name.endswith("TIME") else 0
    return _line(context, words, "ttl", f"ttl:{name}:{now_ms}")


def element(context: CommandContext, words: list[str]) -> Line | None:
    """Return the line of a read whose reply has at most one element of the value."""
    parameters = [escape(word, key=True).replace(":", r"\x3a") for word in words]
    return _line(context, words, "get", ":".join(["element", *parameters]))


def getrange(context: CommandContext, words: list[str]) -> Line | None:
    return _line(context, words, "get", f"range:{integer(words[2])}:{integer(words[3])}")


def set_value(context: CommandContext, words: list[str]) -> Line | None:
    if len(words) == 3:
        value = format_value(words[2], context.node.limits)
        return _line(context, words, "set", "set", f" {value}")
    options = set_options(words[3:], context.node.now_ms())
    times = options.times
    if options.condition or options.gets or times.left_ms is None or times.left_ms <= 0:
        return entry(context, words)
    value = format_value(words[2], context.node.limits)
    return _line(context, words, "setex", "set", f" {seconds_text(times.left_ms)} {value}")


def setnx(context: CommandContext, words: list[str]) -> Line | None:
    value = format_value(words[2], context.node.limits)
    return _line(context, words, "setnx", "met", f" {value}")


def setex(context: CommandContext, words: list[str]) -> Line | None:
    time = seconds_text(setex_time(words))
    value = format_value(words[3], context.node.limits)
    return _line(context, words, "setex", "set", f" {time} {value}")


def getex(context: CommandContext, words: list[str]) -> Line | None:
    times = getex_times(words, context.node.now_ms())
    return entry(context, words) if times.is_set else get(context, words)


def mset(context: CommandContext, words: list[str]) -> Line | None:
    pairs_of(words)
    return entry(context, words)


def delete(context: CommandContext, words: list[str]) -> Line | None:
    if len(words) > 2:
        return entry(context, words)
    return _line(context, words, "delete", "met")


def delex(context: CommandContext, words: list[str]) -> Line | None:
    if len(words) == 2:
        return delete(context, words)
    delex_test(words)
    return entry(context, words)


def append(context: CommandContext, words: list[str]) -> Line | None:
    value = format_value(words[2], context.node.limits)
    return _line(context, words, "append", "append", f" {value}")


def incr(context: CommandContext, words: list[str]) -> Line | None:
    by = increment_of(words)
    if by < -INTEGER_MAX:
        return entry(context, words)
    return _line(context, words, "incr", "incr", f" {by}")


def expire(context: CommandContext, words: list[str]) -> Line | None:
    flags, left_ms = expire_flags(words), expire_time(words, context.node.now_ms())
    if flags:
        return entry(context, words)
    if left_ms <= 0:
        return _line(context, words, "delete", "met")
    return _line(context, words, "expire", "met", f" {seconds_text(left_ms)}")


def persist(context: CommandContext, words: list[str]) -> Line | None:
    return _line(context, words, "persist", "met")


def publish(context: CommandContext, words: list[str]) -> Line | None:
    checked_channel(words[1], context.node.limits.key_bytes)
    bounded("message", words[2], context.node.limits.value_bytes)
    line = entry(context, words)
    if line is not None:
        line.form = f"publish:{context.node.receivers(words[1:2])[0]}"
    return line
