"""The effect of each command on the pairs, and its answer. Deterministic and total.

Every node executes the same commands in the same order, so nothing here may depend on a clock,
on chance or on a node; and nothing may raise: an error is a reply (paper §2). Keys and values
are in their canonical spelling, as they stand in the log.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping

from raftline.raft.entries import NUMBER_MAX
from raftline.state.objects import execute_object
from raftline.wire.escapes import ProtocolError, escape, unescape
from raftline.wire.protocol import COMMANDS, NOT_UNDERSTOOD, Limits, error, shown

Pairs = MutableMapping[str, str]

_DIGITS_MAX = 19


def execute(pairs: Pairs, command: str, number: int = 0) -> str:
    """Carry out one command and return its reply, without the server's name.

    `number` is that of its entry (entry_numbers.py): an object may keep it, the same on every node.
    """
    verb, _, operands = command.partition(" ")
    if verb == "set":  # by far the most frequent
        key, space, value = operands.partition(" ")
        if key and space:
            pairs[key] = value
            return f"SET response: {key} set to {value}"
    elif verb in ("noop", "members"):  # entries of the core's own
        return ""
    elif verb == "object":
        return execute_object(pairs, operands, number)
    elif verb in _OTHERS:
        reply = _OTHERS[verb](pairs, operands)
        if reply is not None:
            return reply
    return error(f"{NOT_UNDERSTOOD}{shown(command)}. Try: {COMMANDS}")


def _get(pairs: Pairs, key: str) -> str | None:
    if not key or " " in key:
        return None
    found = pairs.get(key)
    return f"GET response, no such key: {key}" if found is None else f"GET response: {found}"


def _delete(pairs: Pairs, key: str) -> str | None:
    if not key or " " in key:
        return None
    if pairs.pop(key, None) is None:
        return f"DELETE response, no such key: {key}"
    return f"DELETE response: {key} deleted"


def _setnx(pairs: Pairs, operands: str) -> str | None:
    key, space, value = operands.partition(" ")
    if not (key and space):
        return None
    if key in pairs:
        return f"SETNX response, key exists: {key}"
    pairs[key] = value
    return f"SETNX response: {key} set to {value}"


def _cas(pairs: Pairs, operands: str) -> str | None:
    key, _, rest = operands.partition(" ")
    old, space, new = rest.partition(" ")
    if not (key and space):
        return None
    found = pairs.get(key)
    if found is None:
        return f"CAS response, no such key: {key}"
    try:
        old = _value(unescape(old))  # spelled as one word: its spaces are \s
    except ProtocolError as problem:
        return error(str(problem))
    if found != old:
        return f"CAS response, no match: {key}"
    pairs[key] = new
    return f"CAS response: {key} set to {new}"


def _incr(pairs: Pairs, operands: str) -> str | None:
    key, _, by = operands.partition(" ")
    if not key:
        return None
    value, step = _number(pairs.get(key, "0")), _number(by or "1")
    if step is None:
        return error(f"{shown(by)} is no whole number from -(2^63-1) to 2^63-1: incr KEY [BY]")
    if value is None:
        return error(f"the value of {shown(key)} is no whole number, so nothing was added to it")
    if abs(value + step) > NUMBER_MAX:
        return error(f"the value of {shown(key)} would go beyond 2^63-1; nothing was added to it")
    pairs[key] = str(value + step)
    return f"INCR response: {value + step}"


def _append(pairs: Pairs, operands: str) -> str | None:
    key, space, tail = operands.partition(" ")
    if not (key and space):
        return None
    try:
        # Two halves of one character may meet: the whole is spelled anew.
        joined = unescape(pairs.get(key, "")) + unescape(tail)
        value = _value(joined)
    except ProtocolError as problem:
        return error(str(problem))
    size = len(joined.encode("utf-8", "surrogateescape"))
    limit = Limits().value_bytes
    if size > limit:
        return error(
            f"the value would have {size} bytes; the limit is {limit}. Nothing was done."
        )
    pairs[key] = value
    return f"APPEND response: {key} has {size} bytes"


def _value(raw: str) -> str:
    """Return the canonical spelling of a value."""
    whole = raw.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return escape(whole, key=False)


def _number(text: str) -> int | None:
    """Return the whole number that is spelled so, in the one way that a number is spelled."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX):
        return None
    number = int(text)
    return number if str(number) == text and abs(number) <= NUMBER_MAX else None


_OTHERS: dict[str, Callable[[Pairs, str], str | None]] = {
    "get": _get,
    "delete": _delete,
    "setnx": _setnx,
    "cas": _cas,
    "incr": _incr,
    "append": _append,
}
