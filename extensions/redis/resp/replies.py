"""Replies to Redis clients, as RESP2 and RESP3 write them. Pure.

A reply is text in which a lone surrogate (`surrogateescape`) represents a byte that is not UTF-8,
like the values of the store.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, Union

from raftline.wire.protocol import shown, size_of
from raftline.wire.refusal import Refusal, RequestOutcome
from raftline.wire.replies.refusals import leader_in, refusal_in

SLOTS: Final = 16384
OK_LINE: Final = "+OK\r\n"
NO_LEADER: Final = "CLUSTERDOWN The cluster is down"


class Simple(str):
    """A status, such as `OK`."""

    __slots__ = ()


class Failure(str):
    """An error: its code in capitals, and a sentence."""

    __slots__ = ()

    @property
    def code(self) -> str:
        """The first word, which programs compare."""
        return self.partition(" ")[0]


NO_LOGIN: Final = Failure("NOAUTH Authentication required.")


class Pairs(NamedTuple):
    """Pairs of values. A "map" is a map in RESP3, and a list of both in RESP2; "keyed" pairs are a
    list of pairs there. "pairs" are a list of pairs in RESP3, and of both in RESP2; so are
    "scores", which are members with their numbers."""

    kind: Literal["map", "keyed", "pairs", "scores"]
    items: Sequence[tuple[Value, Value]]


class SetReply(NamedTuple):
    """Distinct texts in no order: a set in RESP3, a list in RESP2."""

    items: list[Value]


class Push(NamedTuple):
    """A message that answers no command, or the reply to a subscription."""

    items: list[Value]


class Formatted(NamedTuple):
    """A reply, or a part of one, that is the same in both versions, and is encoded once."""

    text: str


class Several(NamedTuple):
    """More replies than one to a command."""

    items: list[Value]


class NoList:
    """The reply of `EXEC` if a watched key has changed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NO_LIST"


Value: TypeAlias = Union[
    str,
    int,
    float,
    Pairs,
    SetReply,
    Push,
    Several,
    Formatted,
    NoList,
    "list[Value]",
    None,
]
OK: Final = Simple("OK")
QUEUED: Final = Simple("QUEUED")
NO_LIST: Final = NoList()
_HEAD: Final = 24  # bytes of a number, or of a length, with what ends it


def bulk(text: str) -> str:
    """Return a text as a bulk string."""
    return f"${size_of(text)}\r\n{text}\r\n"


def format_double(number: float) -> str:
    """Return a number as Redis 7 prints it."""
    return f"{number:.17g}"


def format_reply(value: Value, version: int) -> str:
    """Return a reply in version 2 or 3 of the protocol."""
    match value:
        case None | NoList():
            return "_\r\n" if version > 2 else "$-1\r\n" if value is None else "*-1\r\n"
        case Simple():
            return f"+{value}\r\n"
        case Failure():
            return f"-{_one_line(value)}\r\n"
        case str():
            return bulk(value)
        case int():
            return f":{int(value)}\r\n"
        case float():
            text = format_double(value)
            return f",{text}\r\n" if version > 2 else bulk(text)
        case Formatted(text):
            return text
    return _format_several(value, version)


def _format_several(value: Pairs | SetReply | Push | Several | list[Value], version: int) -> str:
    parts: Sequence[Value]
    match value:
        case Pairs(kind, items) if kind == "keyed" if version == 2 else kind in ("pairs", "scores"):
            head, parts = f"*{len(items)}\r\n", [list(item) for item in items]
        case Pairs(_, items):
            head = f"%{len(items)}\r\n" if version > 2 else f"*{2 * len(items)}\r\n"
            parts = [each for item in items for each in item]
        case SetReply(parts):
            head = f"{'~' if version > 2 else '*'}{len(parts)}\r\n"
        case Push(parts):
            head = f"{'>' if version > 2 else '*'}{len(parts)}\r\n"
        case Several(parts):
            head = ""
        case _:
            head, parts = f"*{len(value)}\r\n", value
    return "".join([head, *(format_reply(each, version) for each in parts)])


def length_of(value: Value) -> int:
    """Return how many bytes a reply has at most, without encoding it."""
    match value:
        case str():
            return size_of(value) + _HEAD
        case None | int() | float() | NoList():
            return _HEAD
        case Formatted(text):
            return len(text)
        case Pairs(_, items):
            return _HEAD + sum([length_of(each) + _HEAD for item in items for each in item])
        case Several(parts) | Push(parts) | SetReply(parts):
            return _HEAD + sum(map(length_of, parts))
    return _HEAD + sum(map(length_of, value))


def _one_line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")


def slot_of(key: str) -> int:
    """Return the hash slot of a key: of the part in its first braces, if there is one."""
    begin = key.find("{")
    end = key.find("}", begin + 1) if begin >= 0 else -1
    part = key[begin + 1 : end] if end > begin + 1 else key
    return binascii.crc_hqx(part.encode("utf-8", "surrogateescape"), 0) % SLOTS


# --- errors in the words of Redis -----------------------------------------------------------------

SYNTAX: Final = Failure("ERR syntax error")
WRONG_TYPE: Final = Failure("WRONGTYPE Operation against a key holding the wrong kind of value")
NO_PASSWORDS: Final = Failure(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure"
    " your configuration is correct?"
)
NOT_INTEGER: Final = Failure("ERR value is not an integer or out of range")
OVERFLOW: Final = Failure("ERR increment or decrement would overflow")


def unknown_command(arguments: list[str]) -> Failure:
    """Return the error for a command that has no row."""
    beginning = "".join([f"'{shown(each)}' " for each in arguments[1:8]])
    name = shown(arguments[0])
    return Failure(f"ERR unknown command '{name}', with args beginning with: {beginning}")


def wrong_count(name: str) -> Failure:
    """Return the error for a command with too few or too many arguments."""
    return Failure(f"ERR wrong number of arguments for '{name.lower()}' command")


# --- refusals of this store -----------------------------------------------------------------------

NO_ROOM: Final = "OOM command not allowed when used memory > 'maxmemory'."
_CODES: Final = {
    "no-leader": NO_LEADER,
    "no-login": NO_LOGIN,
    "not-allowed": "NOPERM",
    "wrong-kind": WRONG_TYPE,
    "login-failed": "WRONGPASS invalid username-password pair or user is disabled.",
    "no-room": NO_ROOM,
    "identity-unknown": "TRYAGAIN",
    "build-unknown": "TRYAGAIN",
    "no-quorum": "CLUSTERDOWN",
    "users-unknown": "TRYAGAIN",
    "full": "TRYAGAIN",
    "stopping": "CLUSTERDOWN",
    "diverged": "CLUSTERDOWN",
    "removed": "CLUSTERDOWN",
    "down": "CLUSTERDOWN",
}


def failure_of(reply: str, key: str) -> Failure | None:
    """Return the error of a refused command on a key; None if the reply is not a refusal."""
    refusal = refusal_in(reply)
    return None if refusal is None else _failure(refusal, key)


def _failure(refusal: Refusal, key: str) -> Failure:
    text = refusal.sentence
    if refusal.code == "no-users":
        return NO_PASSWORDS
    if refusal.code == "no-number":
        return NOT_INTEGER
    if refusal.code == "out-of-range":
        return OVERFLOW
    if leader := leader_in(refusal):
        return Failure(f"MOVED {slot_of(key)} {leader[1]}:{leader[2]}")
    if refusal.code == "not-leader":
        return Failure(NO_LEADER)
    if refusal.outcome is RequestOutcome.UNKNOWN:
        return Failure(f"UNKNOWN {text}; the command may or may not take effect")
    code = _CODES.get(refusal.code, "ERR")
    return Failure(code if " " in code else f"{code} {text}")
