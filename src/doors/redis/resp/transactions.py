"""`MULTI`, `EXEC` and `WATCH`: the queued commands become one entry. Pure.

Commands that are one operation each become a transaction as they are. If one of them needs more, or
fails, all are carried out on a view, where a failed command leaves the others alone, as in Redis.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import Final

from ....wire.commands.transaction_line import spell_word
from ....wire.limits import TRANSACTION_ITEMS
from ....wire.protocol import real
from ....wire.request_ledger import OverLedgerError
from .fast import Line
from .programs import Ask, Call, Context, Program, Refused, Steps, spell_key
from .replies import NO_LIST, OK, Failure, Value, length_of
from .view import KeyState, Task, carry_out, state_of, too_many, unchanged

ABORTED: Final = Failure("EXECABORT Transaction discarded because of previous errors.")
WATCHED_BYTES: Final = 250  # of a watched key's state, in memory
_VERBS: Final = (
    "get", "set", "setnx", "setex", "delete", "incr", "append", "expire", "persist",
)  # fmt: skip


@dataclass(slots=True)
class Queued:
    """A command after `MULTI`: a task with its line, if one line does it, or a call."""

    task: Task | None
    line: Line | None = None
    call: Call | None = None


def multi(context: Context, words: list[str]) -> Value:
    """MULTI"""
    if context.session.queue is not None:
        raise Refused("ERR MULTI calls can not be nested")
    context.session.queue = []
    return OK


def discard(context: Context, words: list[str]) -> Value:
    """DISCARD"""
    if context.session.queue is None:
        raise Refused("ERR DISCARD without MULTI")
    context.session.end_transaction()
    return OK


def watch(context: Context, words: list[str]) -> Program:
    """WATCH KEY [KEY ...]: note the last change of each, or that it is absent since an entry."""
    if context.session.queue is not None:
        raise Refused("ERR WATCH inside MULTI is not allowed")
    new = [key for key in dict.fromkeys(words[1:]) if key not in context.session.watched]
    count = len(new) + len(context.session.watched)
    if count > TRANSACTION_ITEMS:
        raise Refused(too_many("watches", count, TRANSACTION_ITEMS))
    if new:
        lines = [f"stat {spell_key(key, context.node.limits)}" for key in new]
        (last,) = yield Ask([], "last")  # before the read
        states = map(state_of, (yield Ask(lines, "read", new[0])))
        context.session.watched.update(
            (key, state if state.changed else KeyState(since=int(last)))
            for key, state in zip(new, states, strict=True)
        )
        context.session.held_bytes += sum([getsizeof(key) + WATCHED_BYTES for key in new])
    return OK


def unwatch(context: Context, words: list[str]) -> Value:
    """UNWATCH"""
    context.session.watched.clear()
    context.session.held_bytes = 0
    return OK


def execute(context: Context, words: list[str]) -> Program:
    """EXEC"""
    session = context.session
    queue, is_spoiled, watched = session.queue, session.is_spoiled, dict(session.watched)
    if queue is None:
        raise Refused("ERR EXEC without MULTI")
    session.end_transaction()
    if is_spoiled:
        return ABORTED
    commands: list[Queued] = queue
    if all([one.line is not None and _is_plain(one.line) for one in commands]):
        lines = [one.line for one in commands if one.line is not None]
        is_done, value = yield from _at_once(lines, watched)
        if is_done:
            return NO_LIST if value is None else value
    tasks = [one.task for one in commands if one.task is not None]
    results = yield from carry_out(context, tasks, watched)
    if not isinstance(results, list):
        return NO_LIST if results is None else results
    replies, values = iter(results), []
    for one in commands:
        if one.call is None:
            values.append(next(replies))
        else:
            values.append((yield from _within(context, one.call)))
    return values


def _within(context: Context, call: Call) -> Program:
    """Carry out a call; its reply must fit into what the others leave."""
    value = yield from call.carry_out(context)
    try:
        context.ledger.returns(length_of(value))
    except OverLedgerError as problem:  # the changes were made: only this command fails
        return Failure(f"ERR {problem}")
    return value


def _is_plain(line: Line) -> bool:
    return line.command.partition(" ")[0] in _VERBS and ":" not in line.form


def _at_once(lines: Sequence[Line], watched: dict[str, KeyState]) -> Steps[tuple[bool, Value]]:
    """Try the commands as operations of one transaction. Return whether that was possible, and the
    replies, or None if a watched key has changed."""
    if not lines or len(lines) > TRANSACTION_ITEMS:
        return False, None
    conditions = " ; ".join([unchanged(*one) for one in watched.items()])
    operations = " ; ".join(map(_operation, lines))
    line = f"txn if {conditions} then {operations}" if conditions else f"txn {operations}"
    (reply,) = yield Ask([line], "write", lines[0].key, takes_refusals=True)
    if not reply.startswith("TXN response, "):
        return False, None
    if reply.startswith("TXN response, else"):
        return True, None
    results = json.loads(reply.partition(": ")[2])
    return True, [_result(*one) for one in zip(lines, results, strict=True)]


def _operation(line: Line) -> str:
    """Return a line in the form of an operation, in which a value is one word."""
    verb, *operands = line.command.split(" ", 3 if line.command.startswith("setex ") else 2)
    return " ".join([verb, *(spell_word(real(word)) for word in operands)])


def _result(line: Line, text: str | None) -> Value:
    """Return the reply to a command, made from the result of its operation."""
    match line.form:
        case "get":
            return text
        case "set":
            return OK
        case "incr":
            return int(text or "")
        case "append":
            return int((text or "").rsplit(" ", 2)[1])
    verb, *_, last = line.command.split(" ")
    done = {"delete": "deleted", "expire": f"for {last} s", "persist": "stays"}
    if verb == "setnx":
        return int(text != f"key exists: {line.key}")
    return int(text == f"{line.key} {done[verb]}")
