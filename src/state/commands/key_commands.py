"""The functions that apply commands, by verb, and the functions for commands on keys.

Every node executes the same commands in the same order, so no function may depend on a clock, on
randomness or on a node. No function may raise: an error is a reply (paper §2). Keys and values are
in their canonical form, as in the log.

The modules for leases and transactions hold the functions of the other commands.
docs/develop/add-a-command.md shows how to add a command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, Protocol

from ...common.effects import own_parts
from ...common.extensions import parts_in
from ...common.text import NUMBER_MAX
from ...raft.identity import CannotApply
from ...wire.commands.command_table import BEYOND_FLOOR, COMMANDS
from ...wire.done_reply import KEY_EXISTS, NO_MATCH, NO_SUCH_KEY, with_word
from ...wire.key_stat import TYPED
from ...wire.operands.operands import Limits, not_understood
from ...wire.protocol import ProtocolError, escape, real, shown, size_of, unescape
from ...wire.refusal import (
    APPENDED_TOO_LONG,
    NO_NUMBER,
    NUMBER_TOO_LARGE,
    OUT_OF_RANGE,
    SORRY,
    WRONG_KIND,
    error,
)
from ..key_events import DELETE
from ..store import Store, in_one_order

Apply = Callable[[Store, str], str | None]
Measure = Callable[[Store, str], int]


def _no_growth(command: str) -> int:
    return 0


class Trial(NamedTuple):
    """Finds out whether a command is too much for one entry before it becomes one."""

    # Whether it may be, by a quick estimate of at least what it takes. Requests under way may make
    # each value longer by so many characters.
    is_needed: Callable[[Store, str, int], bool]
    # Returns why the operands are refused by the present pairs, which it leaves as they are, or "".
    # The lock guards the pairs, and is held while they are looked at. The user is that of the
    # entry.
    why_refused: Callable[[Store, AbstractContextManager[object], str, str], str]
    # Returns by how many characters, at most, a command makes values longer that it does not have.
    growth: Callable[[str], int] = _no_growth


APPLIED: Final[dict[str, Apply]] = {}  # by verb
TRIALS: Final[dict[str, Trial]] = {}  # by verb: of commands that may be too much for one entry
MEASURES: Final[dict[str, Measure]] = {}  # of the rows with Work.MEASURED


class OpenValues(Protocol):
    """The values that the operations of one verb keep open in a transaction, so that each is read
    and written once. The transaction closes a value before another verb uses its key."""

    @property
    def are_open(self) -> bool:
        """Whether a value is open."""

    def execute(self, operands: str) -> str:
        """Execute the verb and return its reply. The value stays open."""

    def close(self, key: str) -> None:
        """Write the value under a key, if it is open. Raises RequestRefused: it does not fit."""

    def close_all(self) -> None:
        """Write all open values. Raises RequestRefused: one does not fit."""


KEPT_OPEN: Final[dict[str, Callable[[Store], OpenValues]]] = {}  # by verb: for a transaction


def applies(verb: str, measure: Measure | None = None) -> Callable[[Apply], Apply]:
    """Register the function that applies a command to the Store. The function gets the operands.

    It returns the reply, or None if the operands do not fit the command's row. A read changes no
    pair. `measure` returns how many keys a command reads or changes, judged by pairs that may be
    slightly older or newer.
    """

    def register(apply: Apply) -> Apply:
        if measure is not None:
            MEASURES[verb] = measure
        APPLIED[verb] = apply
        return apply

    return register


def execute(store: Store, command: str) -> str:
    """Carry out one command and return its reply, without the server's name. At the floor, a
    command beyond it is unknown, as in other implementations."""
    verb, _, operands = command.partition(" ")
    applied = APPLIED.get(verb)
    if applied is not None and not (store.is_at_floor and verb in BEYOND_FLOOR):
        reply = applied(store, operands)
        if reply is not None and not reply.startswith(SORRY):
            return reply
    else:
        reply = None
    if absent := sorted(parts_in(command) - own_parts().keys()):
        raise CannotApply(
            f"entry {store.number} needs the extension {' and '.join(absent)}, which this build of "
            "raftline lacks, so its state would differ from that of the others: start the node "
            "from a build that has it (docs/operate/upgrades.md)"
        )
    return reply or error(not_understood(command))


_READS: Final = frozenset([verb for verb, row in COMMANDS.items() if row.handling.takes_mode])
_DIGITS_MAX = 19
_LONG_NUMBER = re.compile("-?[1-9][0-9]*", re.ASCII)  # of any length


def is_read(command: str) -> bool:
    """Return whether the command changes nothing, so that a retry may read a newer state."""
    verb, space, _ = command.partition(" ")
    return bool(space) and verb in _READS


@applies("noop")
@applies("members")
@applies("cluster")
def _of_the_core(store: Store, operands: str) -> str | None:
    """Apply an entry of the core. It has no effect on the pairs."""
    return ""


@applies("get")
def _get(store: Store, key: str) -> str | None:
    if not key or " " in key:
        return None
    value = store.get(key)
    return with_word("GET", NO_SUCH_KEY, key) if value is None else f"GET response: {value}"


def set_to(key: str, value: str) -> str:
    """Return the reply to a successful `set`."""
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
        return with_word("DELETE", NO_SUCH_KEY, key)
    return f"DELETE response: {key} deleted"


@applies("setnx")
def _setnx(store: Store, operands: str) -> str | None:
    key, space, value = operands.partition(" ")
    if not (key and space):
        return None
    if key in store:
        return with_word("SETNX", KEY_EXISTS, key)
    store[key] = value
    return f"SETNX response: {key} set to {value}"


@applies("cas")
def _cas(store: Store, operands: str) -> str | None:
    key, _, rest = operands.partition(" ")
    old, space, new = rest.partition(" ")
    if not (key and space):
        return None
    current = store.get(key)
    if current is None:
        return with_word("CAS", NO_SUCH_KEY, key)
    try:
        old = _value(unescape(old))  # it is one word: its spaces are \s
    except ProtocolError as problem:
        return problem.refusal
    if current != old:
        return with_word("CAS", NO_MATCH, key)
    store[key] = new
    return f"CAS response: {key} set to {new}"


@applies("incr")
def _incr(store: Store, operands: str) -> str | None:
    key, _, by = operands.partition(" ")
    if not key:
        return None
    value, step = whole_number(store.get(key, "0")), whole_number(by or "1")
    if step is None:
        return error(f"{shown(by)} is not a whole number from -(2^63-1) to 2^63-1: incr KEY [BY]")
    if value is None:
        return _no_number(key, store[key])
    if abs(value + step) > NUMBER_MAX:
        return OUT_OF_RANGE(shown(key))
    store.amend(key, str(value + step))
    return f"INCR response: {value + step}"


def _no_number(key: str, text: str) -> str:
    """Return the refusal of an `incr` of a value that is not a number of 64 bits."""
    if text.startswith(TYPED):
        return WRONG_KIND(shown(key), "number")
    return NUMBER_TOO_LARGE(shown(key)) if _LONG_NUMBER.fullmatch(text) else NO_NUMBER(shown(key))


@applies("append")
def _append(store: Store, operands: str) -> str | None:
    key, space, tail = operands.partition(" ")
    if not (key and space):
        return None
    current = store.get(key, "")
    if current.startswith(TYPED):
        return WRONG_KIND(shown(key), "text")
    try:
        # Two halves of one character may meet, so the whole value is escaped again.
        text = unescape(current) + unescape(tail)
        store.pause()
        value = _value(text)
    except ProtocolError as problem:
        return problem.refusal
    size = size_of(text)
    store.reworked += 2 * size
    limit = Limits().value_bytes
    if size > limit:
        return APPENDED_TOO_LONG(size, limit)
    store.amend(key, value)
    return f"APPEND response: {key} has {size} bytes"


@applies("stat")
def _stat(store: Store, key: str) -> str | None:
    if not key or " " in key:
        return None
    facts = store.facts(key)
    if facts is None:
        return with_word("STAT", NO_SUCH_KEY, key)
    size = size_of(real(store[key]))
    store.reworked += size
    lease = f'"{facts.lease}"' if facts.lease else "null"
    return f'STAT response: {{"index": {facts.changed}, "lease": {lease}, "bytes": {size}}}'


@applies("read")
def _read(store: Store, key: str) -> str | None:
    if not key or " " in key:
        return None
    facts = store.facts(key)
    if facts is None:
        return with_word("READ", NO_SUCH_KEY, key)
    value = real(store[key])
    store.reworked += size_of(value)
    return f"READ response: {json.dumps({'index': facts.changed, 'value': value})}"


@applies("sum")
def _sum(store: Store, operands: str) -> str | None:
    """Make the node sum its state after this entry; the reply is the entry's number."""
    if operands:
        return None
    store.to_sum = True
    return f"SUM response: {store.number}"


@applies("clear")
def _clear(store: Store, prefix: str) -> str | None:
    """Delete all keys that begin with the prefix."""
    if not prefix or " " in prefix:
        return None
    keys = store.keys_under(prefix)
    store.remove_all(in_one_order(keys), DELETE)
    return f"CLEAR response: {len(keys)} key{'s' * (len(keys) != 1)} deleted"


def _value(raw: str) -> str:
    """Return the canonical form of a value."""
    whole = raw.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return escape(whole, key=False)


def whole_number(text: str) -> int | None:
    """Return the whole number in a text, or None if it is not in canonical form."""
    digits = text.removeprefix("-")
    if len(digits) > _DIGITS_MAX or not (digits.isascii() and digits.isdigit()):
        return None
    number = int(text)
    return number if str(number) == text and abs(number) <= NUMBER_MAX else None
