"""The commands of Redis, one row each, and what a command becomes: a line of this store, an answer,
or a program. Pure.

Keys, values and other arguments are texts in which a lone surrogate represents a byte that is not
UTF-8.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from sys import getsizeof
from typing import Final, NamedTuple, TypeAlias

from ....wire.protocol import shown, size_of
from . import fast, keys, notifications, scripts, strings, times, transactions
from .cluster import CLUSTER
from .connection import CONNECTION
from .fast import Line
from .limits import REDIS_QUEUED
from .programs import Call, Context, Program, Refused, Run, integer
from .replies import (
    QUEUED,
    SYNTAX,
    Failure,
    Flat,
    Simple,
    Spelled,
    Value,
    spell,
    unknown_command,
    wrong_count,
)
from .transactions import Queued
from .view import Decide, Task, carry_out

COPIES: Final = 2  # of the words of a queued command: as words, and as a line
QUEUED_BYTES: Final = 300  # of memory for each queued command, in addition to these


@dataclass(slots=True)
class Answer:
    """A command that needs no line."""

    value: Value


Plan: TypeAlias = Line | Answer | Call
FastPlan = Callable[[Context, list[str]], "Line | None"]


class Row(NamedTuple):
    """A command. It has a function of a view, of a program, or both a line and one of these."""

    name: str
    arity: int  # with the name; negative: at least as many words
    decide: Decide | None = None  # on a view
    line: FastPlan | None = None  # the way by one line
    run: Run | None = None  # as a program
    flags: str = ""
    keys: tuple[int, int, int] = (0, 0, 0)  # the first, the last, and the step between two
    takes_times: bool = False  # it depends on the time that a key has left
    in_multi: bool = True  # it is queued after `MULTI`

    def fits(self, count: int) -> bool:
        """Whether the command may have so many words."""
        return count == self.arity or (self.arity < 0 and count >= -self.arity)

    def task(self, words: list[str]) -> Task | None:
        """Return the command as a function of a view, if it is one."""
        if self.decide is None:
            return None
        first, last, step = self.keys
        end = last if last >= 0 else len(words) + last
        return Task(self.decide, words, words[first : end + 1 : step], self.takes_times)


COMMANDS: Final[dict[str, Row]] = {}  # by name in capitals; the rows are at the end
SUBSCRIBING: Final = frozenset(  # commands that change the subscriptions
    ["PSUBSCRIBE", "PUNSUBSCRIBE", "RESET", "SUBSCRIBE", "UNSUBSCRIBE"]
)
_WHILE_SUBSCRIBED: Final = SUBSCRIBING | {"PING", "QUIT"}
_ONLY_SUBSCRIPTIONS: Final = (
    "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
)
_ONE: Final = (1, 1, 1)
_ALL: Final = (1, -1, 1)
_PAIRS: Final = (1, -1, 2)
_TWO: Final = (1, 2, 1)


def _row(
    name: str,
    arity: int,
    decide: Decide,
    line: FastPlan | None,
    flags: str,
    spec: tuple[int, int, int] = _ONE,
    *,
    takes_times: bool = False,
) -> Row:
    return Row(name, arity, decide, line, None, flags, spec, takes_times)


def plan_of(words: list[str], context: Context) -> Plan:
    """Return what a command becomes. A wrong one becomes an answer: its error."""
    row = COMMANDS.get(words[0].upper())
    session = context.session
    if row is None or not row.fits(len(words)):
        session.is_spoiled = session.queue is not None
        if row is not None and row.name == "EXEC" and session.is_spoiled:
            session.end_transaction()
            return Answer(transactions.ABORTED)
        return Answer(unknown_command(words) if row is None else wrong_count(row.name))
    if session.is_subscribed and row.name not in _WHILE_SUBSCRIBED:
        name = row.name.lower()
        return Answer(Failure(f"ERR Can't execute '{name}': {_ONLY_SUBSCRIPTIONS}"))
    if session.queue is not None and row.in_multi:
        return Answer(_queue(row, words, context))
    try:
        line = row.line(context, words) if row.line is not None else None
    except Refused as refused:
        return Answer(refused.failure)
    if line is not None:
        return line
    return Call(row.name, row.run or _alone, words)


def _alone(context: Context, words: list[str]) -> Program:
    """Carry out one command on a view."""
    task = COMMANDS[words[0].upper()].task(words)
    assert task is not None  # a row without a program has a function of a view
    results = yield from carry_out(context, [task], {})
    return results[0] if isinstance(results, list) else results


def _queue(row: Row, words: list[str], context: Context) -> Value:
    """Queue a command after `MULTI`."""
    session = context.session
    assert session.queue is not None
    task, call, line = row.task(words), None, None
    if task is None and row.flags.startswith(("readonly", "write")):
        session.is_spoiled = True
        return Failure(f"ERR {row.name} is not supported after MULTI")
    if task is None and row.run is not None:
        call = Call(row.name, row.run, words)
    if row.line is not None:
        with contextlib.suppress(Refused):  # its error is a reply of the transaction, as in Redis
            line = row.line(context, words)
    session.queue_bytes += sum(map(size_of, words))
    if session.queue_bytes > context.node.limits.line_bytes or len(session.queue) >= REDIS_QUEUED:
        session.end_transaction()
        session.queue, session.is_spoiled = [], True
        most = f"{REDIS_QUEUED} commands, and {context.node.limits.line_bytes} bytes,"
        return Failure(f"ERR at most {most} follow MULTI; send them in parts, or without MULTI")
    session.held_bytes += QUEUED_BYTES + COPIES * sum(map(getsizeof, words))
    session.queue.append(Queued(task, line, call))
    return QUEUED


def _command(context: Context, words: list[str]) -> Value:
    """COMMAND [COUNT | DOCS | INFO [NAME ...] | LIST | GETKEYS COMMAND ...]"""
    sub = words[1].upper() if len(words) > 1 else "INFO"
    match sub:
        case "COUNT":
            return len(COMMANDS)
        case "LIST":
            return _names(words[2:])
        case "INFO":
            return list(map(_described, words[2:])) if words[2:] else _all_described()
        case "DOCS":
            return Flat([])
        case "GETKEYS":
            return _keys_in(words[2:])
    raise Refused(f"ERR unknown subcommand '{shown(words[1])}'. Try COMMAND HELP.")


def _names(filters: list[str]) -> Value:
    """Return the names of the commands, or of some: FILTERBY PATTERN GLOB, or MODULE NAME."""
    pattern = keys.Pattern("*")
    if filters:
        if len(filters) != 3 or filters[0].upper() != "FILTERBY":
            raise Refused(SYNTAX)
        match filters[1].upper():
            case "PATTERN":
                pattern = keys.Pattern(filters[2].lower())
            case "MODULE":
                return []
            case _:
                raise Refused(SYNTAX)
    return [name.lower() for name in COMMANDS if pattern.fits(name.lower())]


def _described(name: str) -> Value:
    row = COMMANDS.get(name.upper())
    return None if row is None else _spelled_row(row)


@cache
def _spelled_row(row: Row) -> Spelled:
    flags: list[Value] = [Simple(flag) for flag in row.flags.split()]
    facts: Value = [row.name.lower(), row.arity, flags, *row.keys, [], [], [], []]
    return Spelled(spell(facts, 2))


@cache
def _all_described() -> Spelled:
    return Spelled(spell(list(map(_spelled_row, COMMANDS.values())), 2))


def _keys_in(words: list[str]) -> Value:
    row = COMMANDS.get(words[0].upper()) if words else None
    task = row.task(words) if row is not None and row.fits(len(words)) else None
    if row is None:
        raise Refused("ERR Invalid command specified")
    if task is None or not row.keys[0]:
        raise Refused("ERR The command has no key arguments")
    if row.decide is scripts.evaluate:
        first = row.keys[0]
        return list(words[first : first + integer(words[first - 1])])
    return list(task.keys)


_ROWS: Final = (
    _row("GET", 2, lambda view, words: view.get(words[1]), fast.get, "readonly fast"),
    _row("SET", -3, strings.set_value, fast.set_value, "write", takes_times=True),
    _row("GETSET", 3, strings.getset, fast.getset, "write fast"),
    _row("GETDEL", 2, strings.getdel, fast.getdel, "write fast"),
    _row("GETEX", -2, strings.getex, fast.getex, "write fast"),
    _row("SETNX", 3, strings.setnx, fast.setnx, "write fast"),
    _row("SETEX", 4, times.setex, fast.setex, "write"),
    _row("PSETEX", 4, times.setex, fast.setex, "write"),
    _row("MGET", -2, strings.mget, None, "readonly fast", _ALL),
    _row("MSET", -3, strings.mset, fast.mset, "write", _PAIRS),
    _row("MSETNX", -3, strings.msetnx, fast.msetnx, "write", _PAIRS),
    _row("APPEND", 3, strings.append, fast.append, "write fast", takes_times=True),
    _row("STRLEN", 2, strings.strlen, fast.strlen, "readonly fast"),
    _row("GETRANGE", 4, strings.getrange, fast.getrange, "readonly"),
    _row("SUBSTR", 4, strings.getrange, fast.getrange, "readonly"),
    _row("SETRANGE", 4, strings.setrange, None, "write", takes_times=True),
    _row("INCR", 2, strings.incr, fast.incr, "write fast", takes_times=True),
    _row("INCRBY", 3, strings.incr, fast.incr, "write fast", takes_times=True),
    _row("DECR", 2, strings.incr, fast.incr, "write fast", takes_times=True),
    _row("DECRBY", 3, strings.incr, fast.incr, "write fast", takes_times=True),
    _row("INCRBYFLOAT", 3, strings.incrbyfloat, None, "write fast", takes_times=True),
    _row("DEL", -2, keys.delete, fast.delete, "write", _ALL),
    _row("UNLINK", -2, keys.delete, fast.delete, "write fast", _ALL),
    _row("DELEX", -2, keys.delex, fast.delex, "write fast"),
    _row("EXISTS", -2, keys.exists, fast.exists, "readonly fast", _ALL),
    _row("TOUCH", -2, keys.exists, fast.exists, "readonly fast", _ALL),
    _row("TYPE", 2, keys.type_of, fast.type_of, "readonly fast"),
    _row("RENAME", 3, keys.rename, None, "write", _TWO, takes_times=True),
    _row("RENAMENX", 3, keys.renamenx, None, "write fast", _TWO, takes_times=True),
    _row("COPY", -3, keys.copy, None, "write", _TWO, takes_times=True),
    _row("EXPIRE", -3, times.expire, fast.expire, "write fast", takes_times=True),
    _row("PEXPIRE", -3, times.expire, fast.expire, "write fast", takes_times=True),
    _row("EXPIREAT", -3, times.expire, fast.expire, "write fast", takes_times=True),
    _row("PEXPIREAT", -3, times.expire, fast.expire, "write fast", takes_times=True),
    _row("PERSIST", 2, times.persist, fast.persist, "write fast", takes_times=True),
    _row("TTL", 2, times.ttl, fast.ttl, "readonly fast", takes_times=True),
    _row("PTTL", 2, times.ttl, fast.ttl, "readonly fast", takes_times=True),
    _row("EXPIRETIME", 2, times.ttl, fast.ttl, "readonly fast", takes_times=True),
    _row("PEXPIRETIME", 2, times.ttl, fast.ttl, "readonly fast", takes_times=True),
    Row("KEYS", 2, run=keys.keys, flags="readonly"),
    Row("SCAN", -2, run=keys.scan, flags="readonly"),
    Row("DBSIZE", 1, run=keys.dbsize, flags="readonly fast"),
    Row("RANDOMKEY", 1, run=keys.randomkey, flags="readonly"),
    Row("FLUSHDB", -1, run=keys.flush, flags="write"),
    Row("FLUSHALL", -1, run=keys.flush, flags="write"),
    Row("MULTI", 1, run=transactions.multi, flags="noscript fast", in_multi=False),
    Row("EXEC", 1, run=transactions.execute, flags="noscript", in_multi=False),
    Row("DISCARD", 1, run=transactions.discard, flags="noscript fast", in_multi=False),
    Row("WATCH", -2, run=transactions.watch, flags="noscript fast", keys=_ALL, in_multi=False),
    Row("UNWATCH", 1, run=transactions.unwatch, flags="noscript fast"),
    _row("EVAL", -3, scripts.evaluate, scripts.line, "write", (3, 3, 1), takes_times=True),
    _row("EVALSHA", -3, scripts.evaluate, scripts.line, "write", (3, 3, 1), takes_times=True),
    Row("SCRIPT", -2, run=scripts.script, flags="noscript"),
    Row("SUBSCRIBE", -2, run=notifications.subscribe, flags="pubsub noscript loading stale"),
    Row("PSUBSCRIBE", -2, run=notifications.subscribe, flags="pubsub noscript loading stale"),
    Row("UNSUBSCRIBE", -1, run=notifications.unsubscribe, flags="pubsub noscript loading stale"),
    Row("PUNSUBSCRIBE", -1, run=notifications.unsubscribe, flags="pubsub noscript loading stale"),
    Row("COMMAND", -1, run=_command, flags="loading stale"),
    *(
        Row(name, arity, run=run, flags=flags, in_multi=name not in ("QUIT", "RESET"))
        for name, arity, run, flags in (*CONNECTION, *CLUSTER)
    ),
)
COMMANDS.update({row.name: row for row in _ROWS})
