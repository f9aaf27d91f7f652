"""The effect of each command on the pairs, and its answer. Deterministic and total.

Every node executes the same commands in the same order, so nothing here may depend on a clock,
on chance or on a node; and nothing may raise: an error is a reply (paper §2). Keys and values
are in their canonical spelling, as they stand in the log.

`object KEY OPERATION [JSON …]` is an operation on the JSON value under a key (objectcommands.py).
docs/use/objects.md is the view of the user.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from raftline.raft.entries import NUMBER_MAX
from raftline.state.leasecommands import execute_expiry, execute_under
from raftline.state.leases import EXPIRED
from raftline.state.objectcommands import execute_object
from raftline.state.store import Pairs, Store, amend, spend
from raftline.state.storecommands import OF_STORE
from raftline.state.transactions import execute_transaction
from raftline.wire.commands import COMMANDS
from raftline.wire.operands import Limits, not_understood
from raftline.wire.protocol import ProtocolError, error, escape, shown, unescape

_Function = Callable[[Pairs, str], str | None]
APPLIED: Final[dict[str, _Function]] = {}
_READS = {verb: row.level for verb, row in COMMANDS.items() if row.access.takes_mode}
_DIGITS_MAX = 19


def execute(pairs: Pairs, command: str, number: int = 0) -> str:
    """Carry out one command and return its reply, without the server's name.

    `number` is that of its entry (`entry_number`): an object may keep it, the same on every node.
    """
    verb, _, operands = command.partition(" ")
    if verb == "set":  # by far the most frequent
        key, space, value = operands.partition(" ")
        if key and space:
            pairs[key] = value
            return f"SET response: {key} set to {value}"
    elif verb in ("noop", "members", "level"):  # entries of the core's own
        return ""
    elif verb == "object":
        return execute_object(pairs, operands, number)
    elif verb in APPLIED:
        reply = APPLIED[verb](pairs, operands)
        if reply is not None:
            return reply
    elif isinstance(pairs, Store):
        reply = _execute_on_store(pairs, verb, operands)
        if reply is not None:
            return reply
    return error(not_understood(command))


def _execute_on_store(store: Store, verb: str, operands: str) -> str | None:
    """Carry out a command of level 2, as the functions in `APPLIED` do."""
    if verb == "txn":
        return execute_transaction(store, operands, execute)
    if verb == "under":
        return execute_under(store, operands, execute)
    if verb == EXPIRED:  # an entry of the leader's own
        execute_expiry(store, operands)
        return ""
    return OF_STORE[verb](store, operands) if verb in OF_STORE else None


def is_read(command: str, level: int) -> bool:
    """Whether the command changes nothing, so that a retry may read what is new. Each build knows
    the same reads at the same level of the cluster."""
    verb, space, _ = command.partition(" ")
    return bool(space) and _READS.get(verb, NUMBER_MAX) <= level


def _applies(verb: str) -> Callable[[_Function], _Function]:
    """Register the function that applies a command to the pairs; it gets the operands.

    It returns the reply, or None where the operands are not those of the command's row. A
    command that is a read changes no pair.
    """

    def register(apply: _Function) -> _Function:
        APPLIED[verb] = apply
        return apply

    return register


@_applies("get")
def _get(pairs: Pairs, key: str) -> str | None:
    if not key or " " in key:
        return None
    found = pairs.get(key)
    return f"GET response, no such key: {key}" if found is None else f"GET response: {found}"


@_applies("delete")
def _delete(pairs: Pairs, key: str) -> str | None:
    if not key or " " in key:
        return None
    if pairs.pop(key, None) is None:
        return f"DELETE response, no such key: {key}"
    return f"DELETE response: {key} deleted"


@_applies("setnx")
def _setnx(pairs: Pairs, operands: str) -> str | None:
    key, space, value = operands.partition(" ")
    if not (key and space):
        return None
    if key in pairs:
        return f"SETNX response, key exists: {key}"
    pairs[key] = value
    return f"SETNX response: {key} set to {value}"


@_applies("cas")
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


@_applies("incr")
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
    amend(pairs, key, str(value + step))
    return f"INCR response: {value + step}"


@_applies("append")
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
    spend(pairs, 2 * size)
    limit = Limits().value_bytes
    if size > limit:
        return error(f"the value would have {size} bytes; the limit is {limit}. Nothing was done.")
    amend(pairs, key, value)
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
