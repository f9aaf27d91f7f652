"""The functions that apply commands, by their verbs, and those of the commands on keys.

Every node executes the same commands in the same order, so no function may depend on a clock, on
chance or on a node. None may raise: an error is a reply (paper §2). Keys and values are in their
canonical spelling, as they stand in the log.

The modules of leases, objects and transactions have the functions of the other commands.
docs/develop/add-a-command.md adds one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from ..raft.levels import FIRST
from ..raft.spelling import NUMBER_MAX
from ..wire.commands import COMMANDS
from ..wire.operands import Limits, not_understood
from ..wire.protocol import ProtocolError, error, escape, real, shown, unescape
from .events import DELETE
from .store import Store, in_one_order

Apply = Callable[[Store, str], str | None]
APPLIED: Final[dict[str, tuple[int, Apply]]] = {}  # by verb: the lowest level, the function


def applies(verb: str, level: int = FIRST) -> Callable[[Apply], Apply]:
    """Register the function that applies a command to the Store; it gets the operands.

    It returns the reply, or None if the operands are not those of the command's row. A command
    that is a read changes no pair. The level is that of the row. An entry that only
    a leader makes has no row, and gives it here.
    """

    def register(apply: Apply) -> Apply:
        APPLIED[verb] = (COMMANDS[verb].level if verb in COMMANDS else level, apply)
        return apply

    return register


def execute(store: Store, command: str) -> str:
    """Carry out one command and return its reply, without the server's name. Below its
    level the command is unknown, as in an older build."""
    verb, _, operands = command.partition(" ")
    found = APPLIED.get(verb)
    if found is not None and found[0] <= store.level:
        reply = found[1](store, operands)
        if reply is not None:
            return reply
    return error(not_understood(command))


_READS: Final = {verb: row.level for verb, row in COMMANDS.items() if row.handling.takes_mode}
_DIGITS_MAX = 19


def is_read(command: str, level: int) -> bool:
    """Whether the command changes nothing, so that a retry may read a newer state. The reads of a
    level are the same in each build."""
    verb, space, _ = command.partition(" ")
    return bool(space) and _READS.get(verb, NUMBER_MAX) <= level


@applies("noop")
@applies("members")
@applies("level")
def _of_the_core(store: Store, operands: str) -> str | None:
    """Entries of the core; they have no effect on the pairs."""
    return ""


@applies("get")
def _get(store: Store, key: str) -> str | None:
    if not key or " " in key:
        return None
    found = store.get(key)
    return f"GET response, no such key: {key}" if found is None else f"GET response: {found}"


def set_to(key: str, value: str) -> str:
    """Return the reply to a `set` that was carried out."""
    return f"SET response: {key} set to {value}"


@applies("set")
def _set(store: Store, operands: str) -> str | None:
    key, space, value = operands.partition(" ")
    if not (key and space):
        return None
    store[key] = value
    return set_to(key, value)


@applies("delete")
def _delete(store: Store, key: str) -> str | None:
    if not key or " " in key:
        return None
    if store.pop(key, None) is None:
        return f"DELETE response, no such key: {key}"
    return f"DELETE response: {key} deleted"


@applies("setnx")
def _setnx(store: Store, operands: str) -> str | None:
    key, space, value = operands.partition(" ")
    if not (key and space):
        return None
    if key in store:
        return f"SETNX response, key exists: {key}"
    store[key] = value
    return f"SETNX response: {key} set to {value}"


@applies("cas")
def _cas(store: Store, operands: str) -> str | None:
    key, _, rest = operands.partition(" ")
    old, space, new = rest.partition(" ")
    if not (key and space):
        return None
    found = store.get(key)
    if found is None:
        return f"CAS response, no such key: {key}"
    try:
        old = _value(unescape(old))  # spelled as one word: its spaces are \s
    except ProtocolError as problem:
        return error(str(problem))
    if found != old:
        return f"CAS response, no match: {key}"
    store[key] = new
    return f"CAS response: {key} set to {new}"


@applies("incr")
def _incr(store: Store, operands: str) -> str | None:
    key, _, by = operands.partition(" ")
    if not key:
        return None
    value, step = whole_number(store.get(key, "0")), whole_number(by or "1")
    if step is None:
        return error(f"{shown(by)} is no whole number from -(2^63-1) to 2^63-1: incr KEY [BY]")
    if value is None:
        return error(f"the value of {shown(key)} is no whole number, so nothing was added to it")
    if abs(value + step) > NUMBER_MAX:
        return error(f"the value of {shown(key)} would go beyond 2^63-1; nothing was added to it")
    store.amend(key, str(value + step))
    return f"INCR response: {value + step}"


@applies("append")
def _append(store: Store, operands: str) -> str | None:
    key, space, tail = operands.partition(" ")
    if not (key and space):
        return None
    try:
        # Two halves of one character may meet: the whole is spelled again.
        joined = unescape(store.get(key, "")) + unescape(tail)
        store.breathe()
        value = _value(joined)
    except ProtocolError as problem:
        return error(str(problem))
    size = len(joined.encode("utf-8", "surrogateescape"))
    store.reworked += 2 * size
    limit = Limits().value_bytes
    if size > limit:
        return error(f"the value would have {size} bytes; the limit is {limit}. Nothing was done.")
    store.amend(key, value)
    return f"APPEND response: {key} has {size} bytes"


@applies("stat")
def _stat(store: Store, key: str) -> str | None:
    if not key or " " in key:
        return None
    facts = store.facts(key)
    if facts is None:
        return f"STAT response, no such key: {key}"
    size = len(real(store[key]).encode("utf-8", "surrogateescape"))
    store.reworked += size
    stat = {"index": facts.changed, "lease": facts.lease or None, "bytes": size}
    return f"STAT response: {json.dumps(stat)}"


@applies("clear")
def _clear(store: Store, prefix: str) -> str | None:
    """Delete all keys that begin with the prefix."""
    if not prefix or " " in prefix:
        return None
    found = store.keys_under(prefix)
    store.remove_all(in_one_order(found), DELETE)
    return f"CLEAR response: {len(found)} key{'s' * (len(found) != 1)} deleted"


def _value(raw: str) -> str:
    """Return the canonical spelling of a value."""
    whole = raw.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return escape(whole, key=False)


def whole_number(text: str) -> int | None:
    """Return the whole number in a text; None unless it is in canonical spelling."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX):
        return None
    number = int(text)
    return number if str(number) == text and abs(number) <= NUMBER_MAX else None
