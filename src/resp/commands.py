"""The commands of Redis, one row each, and what each becomes: a line of this store, an answer, or a
program of several lines. Pure.

Keys, values and other arguments are texts in which a lone surrogate represents a byte that is not
UTF-8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from ..wire.commands.command_table import row_of
from ..wire.commands.operands import Limits
from ..wire.protocol import escape
from .replies import Failure, Simple, Value, unknown_command, wrong_count


class Refused(Exception):
    """A command that is wrong in itself. `failure` is its reply."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


@dataclass(slots=True)
class Line:
    """A command that one line of this store carries out. `form` names the meaning of the reply."""

    command: str  # in canonical form
    form: str
    key: str  # its first key
    level: int = 1


@dataclass(slots=True)
class Answer:
    """A command that needs no line."""

    value: Value


@dataclass(slots=True)
class Call:
    """A command that the connection's own thread carries out."""

    name: str
    arguments: list[str]


Plan: TypeAlias = Line | Answer | Call


class Row(NamedTuple):
    """A command: its least or exact number of words, and what it becomes."""

    name: str
    arity: int  # with the name; negative: at least as many
    plan: Callable[[list[str], Limits], Plan]
    flags: str = ""
    keys: tuple[int, int, int] = (0, 0, 0)  # the first, the last, and the step between two

    def fits(self, count: int) -> bool:
        """Whether the command may have so many words."""
        return count == self.arity or (self.arity < 0 and count >= -self.arity)


def spell_key(text: str, limits: Limits) -> str:
    """Return a key as a line spells it.

    Raises:
        Refused: the key is empty or too long.
    """
    if not text:
        raise Refused(Failure("ERR the empty key is not supported"))
    return escape(_bounded("key", text, limits.key_bytes), key=True)


def spell_value(text: str, limits: Limits) -> str:
    """Return a value as the end of a line spells it.

    Raises:
        Refused: the value is too long.
    """
    return escape(_bounded("value", text, limits.value_bytes), key=False)


def _bounded(what: str, text: str, limit: int) -> str:
    if 4 * len(text) > limit:
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))
        if size > limit:
            raise Refused(Failure(f"ERR the {what} has {size} bytes; the limit is {limit}"))
    return text


def line(command: str, form: str, key: str) -> Line:
    """Return the plan of one line on a key."""
    return Line(command, form, key, row_of(command).level)


def _get(words: list[str], limits: Limits) -> Plan:
    return line(f"get {spell_key(words[1], limits)}", "get", words[1])


def _set(words: list[str], limits: Limits) -> Plan:
    key, value = spell_key(words[1], limits), spell_value(words[2], limits)
    return line(f"set {key} {value}", "set", words[1])


def _delete(words: list[str], limits: Limits) -> Plan:
    return line(f"delete {spell_key(words[1], limits)}", "delete", words[1])


def _ping(words: list[str], limits: Limits) -> Plan:
    return Answer(words[1] if len(words) > 1 else Simple("PONG"))


def _echo(words: list[str], limits: Limits) -> Plan:
    return Answer(words[1])


def _call(words: list[str], limits: Limits) -> Plan:
    return Call(words[0].upper(), words[1:])


_ONE: Final = (1, 1, 1)
_ROWS: Final = (
    Row("PING", -1, _ping, "fast"),
    Row("ECHO", 2, _echo, "fast"),
    Row("HELLO", -1, _call, "noscript fast"),
    Row("CLIENT", -2, _call, "noscript"),
    Row("GET", 2, _get, "readonly fast", _ONE),
    Row("SET", 3, _set, "write", _ONE),
    Row("DEL", 2, _delete, "write", _ONE),
)
COMMANDS: Final[Mapping[str, Row]] = {row.name: row for row in _ROWS}


def plan_of(words: list[str], limits: Limits) -> Plan:
    """Return what a command becomes. A wrong one becomes an answer: its error."""
    row = COMMANDS.get(words[0].upper())
    if row is None:
        return Answer(unknown_command(words))
    if not row.fits(len(words)):
        return Answer(wrong_count(row.name))
    try:
        return row.plan(words, limits)
    except Refused as refused:
        return Answer(refused.failure)
