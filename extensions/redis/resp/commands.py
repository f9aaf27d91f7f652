"""The commands of Redis, one row each, and what a command becomes: a line of this store, an answer,
or a program. Pure.

Keys, values and other arguments are texts in which a lone surrogate represents a byte that is not
UTF-8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from sys import getsizeof
from typing import Final, NamedTuple, TypeAlias

from raftline.wire.protocol import shown, size_of

from . import blocking, fast, keys, messages, notifications, scripts, transactions
from .cluster import CLUSTER
from .connection import CONNECTION, WITHOUT_LOGIN
from .fast import Line
from .function_rows import Function
from .functions import FUNCTIONS
from .key_programs import Task, read, write
from .limits import REDIS_QUEUED
from .programs import CommandContext, CommandRefused, Program, RedisCall, Run, in_capitals
from .replies import (
    NO_LOGIN,
    QUEUED,
    SYNTAX,
    Failure,
    Formatted,
    Pairs,
    Simple,
    Value,
    format_reply,
    unknown_command,
    wrong_count,
)
from .transactions import Queued
from .types import rows

QUEUED_BYTES: Final = 300  # of memory for each queued command, in addition to its words


@dataclass(slots=True)
class Answer:
    """A command that needs no line."""

    value: Value


Plan: TypeAlias = Line | Answer | RedisCall
FastPlan = Callable[[CommandContext, list[str]], "Line | None"]


class Row(NamedTuple):
    """A command: one on keys, or a program."""

    name: str
    arity: int  # with the name; negative: at least as many words
    function: Function | None = None  # on keys
    line: FastPlan | None = None  # the way by one line
    run: Run | None = None  # as a program
    flags: str = ""
    keys: tuple[int, int, int] = (0, 0, 0)  # the first, the last, and the step between two
    in_multi: bool = True  # it is queued after `MULTI`

    def fits(self, count: int) -> bool:
        """Whether the command may have so many words."""
        return count == self.arity or (self.arity < 0 and count >= -self.arity)


COMMANDS: Final[dict[str, Row]] = {}  # by name in capitals; the rows are at the end
SUBSCRIBING: Final = frozenset(  # commands that change the subscriptions
    ["PSUBSCRIBE", "PUNSUBSCRIBE", "RESET", "SUBSCRIBE", "UNSUBSCRIBE"]
)
_WHILE_SUBSCRIBED: Final = SUBSCRIBING | {"PING", "QUIT"}
_ONLY_SUBSCRIPTIONS: Final = (
    "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
)
_ALL: Final = (1, -1, 1)
_OF_GROUPS: Final = frozenset(["XACK", "XAUTOCLAIM", "XCLAIM", "XGROUP", "XPENDING", "XREADGROUP"])


def _on_keys(name: str, line: FastPlan | None) -> Row:
    """Return the row of a command on keys."""
    function = FUNCTIONS[name]
    return Row(name, function.arity, function, line, _alone, function.flags, function.spec)


def plan_of(words: list[str], context: CommandContext, *, is_stranger: bool = False) -> Plan:
    """Return what a command becomes. A wrong one becomes an answer: its error. Before a login no
    operand is read, but those of a login."""
    row = COMMANDS.get(in_capitals(words[0]))
    session = context.session
    if row is None or not row.fits(len(words)):
        session.is_spoiled = session.queue is not None
        if row is not None and row.name == "EXEC" and session.is_spoiled:
            session.end_transaction()
            return Answer(transactions.ABORTED)
        return Answer(_unknown(words) if row is None else wrong_count(row.name))
    if is_stranger and row.name not in WITHOUT_LOGIN:
        return Answer(NO_LOGIN)
    if session.is_subscribed and row.name not in _WHILE_SUBSCRIBED:
        name = row.name.lower()
        return Answer(Failure(f"ERR Can't execute '{name}': {_ONLY_SUBSCRIPTIONS}"))
    if session.queue is not None and row.in_multi:
        return Answer(_queue(row, words, context))
    try:
        line = row.line(context, words) if row.line is not None else None
    except CommandRefused as refused:
        return Answer(refused.failure)
    if line is not None:
        return line
    assert row.run is not None
    return RedisCall(row.name, row.run, words)


def _unknown(words: list[str]) -> Failure:
    """Return the error for a command that has no row."""
    name = in_capitals(words[0])
    if name not in _OF_GROUPS:
        return unknown_command(words)
    instead = "read a stream by XREAD, or take jobs from a list by BLMOVE"
    return Failure(f"ERR {name}: there are no consumer groups here; {instead}")


def _alone(context: CommandContext, words: list[str]) -> Program:
    """Carry out one command on keys."""
    task = Task(FUNCTIONS[in_capitals(words[0])], words)
    is_read = task.function.is_read and not task.function.is_entry
    values = yield from (read if is_read else write)(context, [task], {})
    return values[0] if values else None


def _script(context: CommandContext, words: list[str]) -> Program:
    """Carry out a script. Its text goes into the log if this node has not sent it yet, or if it is
    not there any more."""
    name = in_capitals(words[0])
    sha = scripts.sha_of(words[1]) if name in scripts.BY_TEXT else ""
    if sha and context.node.script(sha) is not None:
        by_sha = [name.replace("EVAL", "EVALSHA"), sha, *words[2:]]
        value = yield from _alone(context, by_sha)
        if not (isinstance(value, Failure) and value.code == scripts.NO_SCRIPT.code):
            return value
    value = yield from _alone(context, [name, *words[1:]])
    if sha:
        context.node.keep_script(sha, takes_times=scripts.takes_times([name, *words[1:]]))
    return value


def _checked(context: CommandContext, words: list[str]) -> None:
    scripts.check(words)


def _queue(row: Row, words: list[str], context: CommandContext) -> Value:
    """Queue a command after `MULTI`."""
    session = context.session
    assert session.queue is not None
    if row.function is None and row.flags.startswith(("readonly", "write")):
        session.is_spoiled = True
        return Failure(f"ERR {row.name} is not supported after MULTI")
    queued: Queued
    if row.function is not None:
        queued = _task(row, words, context)
    else:
        assert row.run is not None
        queued = RedisCall(row.name, row.run, words)
    if session.is_spoiled:
        return QUEUED  # it will not be carried out
    session.queue_bytes += sum(map(size_of, words))
    if session.queue_bytes > context.node.limits.line_bytes or len(session.queue) >= REDIS_QUEUED:
        session.end_transaction()
        session.queue, session.is_spoiled = [], True
        most = f"{REDIS_QUEUED} commands, and {context.node.limits.line_bytes} bytes,"
        return Failure(f"ERR at most {most} follow MULTI; send them in parts, or without MULTI")
    session.held_bytes += QUEUED_BYTES + sum(map(getsizeof, words))
    session.queue.append(queued)
    return QUEUED


def _task(row: Row, words: list[str], context: CommandContext) -> Task | Failure:
    """Return a command of a transaction; if it is wrong in itself, the error that is its reply, as
    in Redis."""
    function = row.function
    try:
        if row.line is not None:
            row.line(context, words)
    except CommandRefused as refused:
        return refused.failure
    assert function is not None
    return Task(function, words)


def change_of(words: list[str], context: CommandContext) -> Task | None:
    """Return a command of a transaction that changes keys by what is in them alone; None if it is
    another one, or wrong in itself."""
    row = COMMANDS.get(in_capitals(words[0]))
    if row is None or row.function is None or not row.fits(len(words)):
        return None
    task = _task(row, words, context)
    if isinstance(task, Failure) or task.function.is_read or task.function.is_entry:
        return None
    if task.takes_times:
        return None
    return task


def _command(context: CommandContext, words: list[str]) -> Value:
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
            return Pairs("map", [])
        case "GETKEYS":
            return _keys_in(words[2:])
    raise CommandRefused(f"ERR unknown subcommand '{shown(words[1])}'. Try COMMAND HELP.")


def _names(filters: list[str]) -> Value:
    """Return the names of the commands, or of some: FILTERBY PATTERN GLOB, or MODULE NAME."""
    pattern = keys.Pattern("*")
    if filters:
        if len(filters) != 3 or filters[0].upper() != "FILTERBY":
            raise CommandRefused(SYNTAX)
        match filters[1].upper():
            case "PATTERN":
                pattern = keys.Pattern(filters[2].lower())
            case "MODULE":
                return []
            case _:
                raise CommandRefused(SYNTAX)
    return [name.lower() for name in COMMANDS if pattern.fits(name.lower())]


def _described(name: str) -> Value:
    row = COMMANDS.get(name.upper())
    return None if row is None else _formatted_row(row)


@cache
def _formatted_row(row: Row) -> Formatted:
    flags: list[Value] = [Simple(flag) for flag in row.flags.split()]
    facts: Value = [row.name.lower(), row.arity, flags, *row.keys, [], [], [], []]
    return Formatted(format_reply(facts, 2))


@cache
def _all_described() -> Formatted:
    return Formatted(format_reply(list(map(_formatted_row, COMMANDS.values())), 2))


def _keys_in(words: list[str]) -> Value:
    row = COMMANDS.get(words[0].upper()) if words else None
    if row is None:
        raise CommandRefused("ERR Invalid command specified")
    first, last, step = row.keys
    end = last if last >= 0 else len(words) + last
    found = words[first : end + 1 : step] if first else []
    if row.fits(len(words)) and row.function is not None and row.function.find_keys is not None:
        found = row.function.find_keys(words)
    if not (row.fits(len(words)) and found):
        raise CommandRefused("ERR The command has no key arguments")
    return list(found)


def _way_of(row: Function) -> FastPlan | None:
    """Return the way of a command on a type by one line."""
    if not row.is_read:
        return fast.entry
    return fast.element if row.name in rows.OF_ONE_ELEMENT else None


def _waiting(row: Function) -> Run:
    return blocking.wait_for_entries if row.is_read else blocking.wait


_ROWS: Final = (
    _on_keys("GET", fast.get),
    _on_keys("SET", fast.set_value),
    _on_keys("GETSET", fast.entry),
    _on_keys("GETDEL", fast.entry),
    _on_keys("GETEX", fast.getex),
    _on_keys("SETNX", fast.setnx),
    _on_keys("SETEX", fast.setex),
    _on_keys("PSETEX", fast.setex),
    _on_keys("MGET", None),
    _on_keys("MSET", fast.mset),
    _on_keys("MSETNX", fast.mset),
    _on_keys("APPEND", fast.append),
    _on_keys("STRLEN", fast.strlen),
    _on_keys("GETRANGE", fast.getrange),
    _on_keys("SUBSTR", fast.getrange),
    _on_keys("SETRANGE", fast.entry),
    _on_keys("INCR", fast.incr),
    _on_keys("INCRBY", fast.incr),
    _on_keys("DECR", fast.incr),
    _on_keys("DECRBY", fast.incr),
    _on_keys("INCRBYFLOAT", fast.entry),
    _on_keys("DEL", fast.delete),
    _on_keys("UNLINK", fast.delete),
    _on_keys("DELEX", fast.delex),
    _on_keys("EXISTS", fast.exists),
    _on_keys("TOUCH", fast.exists),
    _on_keys("TYPE", fast.type_of),
    _on_keys("RENAME", None),
    _on_keys("RENAMENX", None),
    _on_keys("COPY", None),
    _on_keys("EXPIRE", fast.expire),
    _on_keys("PEXPIRE", fast.expire),
    _on_keys("EXPIREAT", fast.expire),
    _on_keys("PEXPIREAT", fast.expire),
    _on_keys("PERSIST", fast.persist),
    _on_keys("TTL", fast.ttl),
    _on_keys("PTTL", fast.ttl),
    _on_keys("EXPIRETIME", fast.ttl),
    _on_keys("PEXPIRETIME", fast.ttl),
    *(_on_keys(row.name, _way_of(row)) for row in rows.ROWS),
    *(
        Row(row.name, row.arity, row, None, _waiting(row), f"{row.flags} blocking", row.spec)
        for row in rows.BLOCKING
    ),
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
    *(_on_keys(name, _checked)._replace(run=_script) for name in scripts.NAMES),
    _on_keys("SCRIPT", _checked)._replace(flags="noscript"),
    Row("SUBSCRIBE", -2, run=notifications.subscribe, flags="pubsub noscript loading stale"),
    Row("PSUBSCRIBE", -2, run=notifications.subscribe, flags="pubsub noscript loading stale"),
    Row("UNSUBSCRIBE", -1, run=notifications.unsubscribe, flags="pubsub noscript loading stale"),
    Row("PUNSUBSCRIBE", -1, run=notifications.unsubscribe, flags="pubsub noscript loading stale"),
    _on_keys(messages.PUBLISH, fast.publish)._replace(keys=(0, 0, 0)),
    Row("PUBSUB", -2, run=messages.pubsub, flags="pubsub loading stale"),
    Row("COMMAND", -1, run=_command, flags="loading stale"),
    *(
        Row(name, arity, run=run, flags=flags, in_multi=name not in ("QUIT", "RESET"))
        for name, arity, run, flags in (*CONNECTION, *CLUSTER)
    ),
)
COMMANDS.update({row.name: row for row in _ROWS})
