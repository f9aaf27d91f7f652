"""The commands that wait for an element of a list or a sorted set, or for an entry of a stream, as
programs. Pure.

Such a command is an entry only when there is an element: then it is the command that does not wait,
and names the one list that has it. After `MULTI` it never waits, as in Redis. A value of another
type is an error when it is there at first, and later no element.
"""

from __future__ import annotations

import itertools
import json
from bisect import bisect_right
from typing import Any, Final

from raftline.wire.done_reply import is_done

from .entry import format_entry
from .functions import FUNCTIONS
from .key_programs import Task, read, write
from .programs import CommandContext, Program, RedisAsk, Steps, format_key, in_capitals
from .replies import NO_LIST, WRONG_TYPE, Failure, NoList, Value
from .types.lists import timeout_in
from .types.streams import last_id_in, read_options
from .types.typed import LIST, SORTED_SET
from .view import HeldKey, View

_LOOK_BYTES: Final = 1 << 20  # of values whose types are read together
LATE = "late"  # the reply to an `RedisAsk` of the kind "await": the time is over


def wait(context: CommandContext, words: list[str]) -> Program:
    """BLPOP KEY [KEY ...] SECONDS, BRPOP, BZPOPMIN, BZPOPMAX; BLMOVE FROM TO LEFT|RIGHT LEFT|RIGHT
    SECONDS, BRPOPLPUSH FROM TO SECONDS; BLMPOP SECONDS COUNT KEY ... LEFT|RIGHT, BZMPOP"""
    task = Task(FUNCTIONS[in_capitals(words[0])], words)
    _check(context, task)
    is_first = task.function.name.endswith("MPOP")  # the time is the first operand
    moves = task.function.spec[1] > 0
    within_s = timeout_in(words[1] if is_first else words[-1])
    keys = task.keys[:1] if moves else task.keys
    look = _Look(context, keys, SORTED_SET if task.function.name.startswith("BZ") else LIST)
    entry = format_entry(context.node.now_ms(), [[task.function.name, *words[1:]]])
    has_waited = False
    while True:  # who may not change a key does not wait for it
        (turn,) = yield RedisAsk(
            [entry], "await", keys[0], is_canonical=True, awaited=tuple(keys), within_s=within_s
        )
        if turn == LATE:
            return NO_LIST
        key = yield from look.ready(has_waited=has_waited)
        if key is not None:
            one = Task(task.function, words if moves else _words_with(task, key))
            value = yield from _taken(context, one)
            is_other = isinstance(value, Failure) and value.code == WRONG_TYPE.code
            if is_other and has_waited and (yield from look.ready(has_waited=True)) is None:
                value = None  # the key has changed since it was looked at
            if value is not None:
                return value
        has_waited = True


def _check(context: CommandContext, task: Task) -> None:
    """Try a command without any keys: what is wrong in it is wrong before it waits.

    Raises:
        Refused: it has a mistake.
    """
    nothing = View(lambda key: HeldKey(), lambda lease: 0, 0, context.ledger, str)
    task.function.decide(nothing, task.words)


class _Look:
    """Finds out which key has an element, by reads alone: no entry is written in vain. A value of
    another type is read once for each change of it."""

    def __init__(self, context: CommandContext, keys: list[str], kind: str) -> None:
        self._context = context
        self._keys = list(dict.fromkeys(keys))
        self._kind = kind
        self._lines = [f"stat {format_key(key, context.node.limits)}" for key in self._keys]
        self._others: dict[str, int] = {}  # the last change of a value of another type

    def ready(self, *, has_waited: bool) -> Steps[str | None]:
        """Return the first key with an element, None if there is none. Before a wait, the first key
        that exists is the only one that counts, whatever its type."""
        replies = yield RedisAsk(self._lines, "read", self._keys[0], at_leader=True)
        found = [
            (key, json.loads(reply.partition(": ")[2]))
            for key, reply in zip(self._keys, replies, strict=True)
            if is_done(reply)
        ]
        if not has_waited:
            return found[0][0] if found else None
        asked = [(key, facts) for key, facts in found if self._others.get(key) != facts["index"]]
        while asked:
            some = _some(asked)
            del asked[: len(some)]
            tasks = [Task(FUNCTIONS["TYPE"], ["TYPE", key]) for key, _ in some]
            types = yield from read(self._context, tasks, {})
            for (key, facts), kind in zip(some, types or [], strict=True):
                if kind == self._kind:
                    return key
                self._others[key] = facts["index"]
        return None


def _some(asked: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the first keys whose values have a few bytes together, at least one."""
    sizes = itertools.accumulate([facts["bytes"] for _, facts in asked])
    return asked[: max(1, bisect_right(list(sizes), _LOOK_BYTES))]


def _taken(context: CommandContext, task: Task) -> Steps[Value]:
    """Return the element that a command takes, or its error, or None without an element."""
    values = yield from write(context, [task], {})
    return values[0] if values and not isinstance(values[0], NoList) else None


def _words_with(task: Task, key: str) -> list[str]:
    """Return the words of a command with this key alone."""
    name, seconds = task.words[:2]
    if task.function.name.endswith("MPOP"):
        return [name, seconds, "1", key, *task.words[3 + len(task.keys) :]]
    return [name, key, task.words[-1]]


def wait_for_entries(context: CommandContext, words: list[str]) -> Program:
    """XREAD [COUNT COUNT] [BLOCK MS] STREAMS KEY [KEY ...] ID [ID ...]"""
    options = read_options(words)
    if options.within_s is not None:
        words = yield from _with_ids(context, words, options.place)
    task = Task(FUNCTIONS[in_capitals(words[0])], words)
    lines = [f"get {format_key(key, context.node.limits)}" for key in task.keys]
    while True:
        if options.within_s is not None:
            (turn,) = yield RedisAsk(
                lines, "await", task.keys[0], is_canonical=True, awaited=tuple(task.keys),
                within_s=options.within_s, in_line=False,
            )  # fmt: skip
            if turn == LATE:
                return NO_LIST
        values = yield from read(context, [task], {})
        value = values[0] if values else None
        if options.within_s is None or not isinstance(value, NoList):
            return value


def _with_ids(context: CommandContext, words: list[str], place: int) -> Steps[list[str]]:
    """Return the words of an `XREAD` with the last ID of a stream in place of each `$`."""
    words, count = list(words), (len(words) - place) // 2
    for at in range(place, place + count):
        if words[at + count] == "$":
            line = f"get {format_key(words[at], context.node.limits)}"
            (reply,) = yield RedisAsk([line], "read", words[at])
            words[at + count] = last_id_in(reply.partition(": ")[2])
    return words
