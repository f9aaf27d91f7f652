"""`MULTI`, `EXEC` and `WATCH`: the queued commands become one entry, or one read. Pure.

A transaction that has arrived as a whole, with nothing watched and nothing to read, is a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from sys import getsizeof
from typing import Final, TypeAlias

from raftline.wire.limits import TRANSACTION_ITEMS

from .entry import format_entry
from .fast import Line
from .forms import EXECUTED
from .key_programs import KeyState, Task, read, state_of, too_many, write
from .messages import PUBLISH
from .programs import CommandContext, CommandRefused, Program, RedisAsk, RedisCall, format_key
from .replies import NO_LIST, OK, Failure, Value, length_of
from .request_ledger import OverLedgerError

ABORTED: Final = Failure("EXECABORT Transaction discarded because of previous errors.")
WATCHED_BYTES: Final = 250  # of a watched key's state, in memory
Queued: TypeAlias = "Task | RedisCall | Failure"  # the last is the reply to a command that is wrong


def multi(context: CommandContext, words: list[str]) -> Value:
    """MULTI"""
    if context.session.queue is not None:
        raise CommandRefused("ERR MULTI calls can not be nested")
    context.session.queue = []
    return OK


def discard(context: CommandContext, words: list[str]) -> Value:
    """DISCARD"""
    if context.session.queue is None:
        raise CommandRefused("ERR DISCARD without MULTI")
    context.session.end_transaction()
    return OK


def watch(context: CommandContext, words: list[str]) -> Program:
    """WATCH KEY [KEY ...]: note the last change of each, or that it is absent since an entry."""
    if context.session.queue is not None:
        raise CommandRefused("ERR WATCH inside MULTI is not allowed")
    new = [key for key in dict.fromkeys(words[1:]) if key not in context.session.watched]
    count = len(new) + len(context.session.watched)
    if count > TRANSACTION_ITEMS:
        raise CommandRefused(too_many("watches", count, TRANSACTION_ITEMS))
    if new:
        lines = [f"stat {format_key(key, context.node.limits)}" for key in new]
        (last,) = yield RedisAsk([], "last")  # before the read
        states = map(state_of, (yield RedisAsk(lines, "read", new[0])))
        context.session.watched.update(
            (key, state if state.changed else KeyState(since=int(last)))
            for key, state in zip(new, states, strict=True)
        )
        context.session.held_bytes += sum([getsizeof(key) + WATCHED_BYTES for key in new])
    return OK


def unwatch(context: CommandContext, words: list[str]) -> Value:
    """UNWATCH"""
    context.session.watched.clear()
    context.session.held_bytes = 0
    return OK


def execute(context: CommandContext, words: list[str]) -> Program:
    """EXEC"""
    session = context.session
    queue, is_spoiled, watched = session.queue, session.is_spoiled, dict(session.watched)
    if queue is None:
        raise CommandRefused("ERR EXEC without MULTI")
    session.end_transaction()
    if is_spoiled:
        return ABORTED
    commands: list[Queued] = queue
    tasks = [one for one in commands if isinstance(one, Task)]
    is_read = all([one.function.is_read and not one.function.is_entry for one in tasks])
    if is_read and all([state.changed for state in watched.values()]):
        replies = yield from read(context, tasks, watched)
    else:  # only an entry tells whether an absent key was set and removed
        replies = yield from write(context, tasks, watched)
    if replies is None:
        return NO_LIST
    values, done = list[Value](), iter(replies)
    for one in commands:
        if isinstance(one, Task):
            values.append(next(done))
        elif isinstance(one, Failure):
            values.append(one)
        else:
            values.append((yield from _within(context, one)))
    return values


def whole(context: CommandContext, tasks: Sequence[Task]) -> Line:
    """Return the line of a transaction whose commands depend on nothing but the keys where the
    entry is applied. The form has a parameter for each: the receivers of a message, or ""."""
    channels = [task.words[1] for task in tasks if task.function.name == PUBLISH]
    counts = iter(context.node.receivers(channels) if channels else [])
    receivers = [str(next(counts)) if task.function.name == PUBLISH else "" for task in tasks]
    commands = [[task.function.name, *task.words[1:]] for task in tasks]
    line = format_entry(context.node.now_ms(), commands)
    first = next((key for task in tasks for key in task.keys), "")
    return Line(line, ":".join([EXECUTED, *receivers]), first)


def _within(context: CommandContext, call: RedisCall) -> Program:
    """Carry out a call; its reply must fit into what the others leave."""
    value = yield from call.carry_out(context)
    try:
        context.ledger.returns(length_of(value))
    except OverLedgerError as problem:  # the changes were made: only this command fails
        return Failure(f"ERR {problem}")
    return value
