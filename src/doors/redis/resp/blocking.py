"""The commands that wait for an element of a list or a sorted set, as programs. Pure.

Such a command is an entry only when there is an element: then it is the command that does not wait,
`LPOP` of the first list that is not empty. After `MULTI` it never waits, as in Redis. A value of
another type is an error when it is there at first, and later no element.
"""

from __future__ import annotations

from .entry import format_entry
from .functions import FUNCTIONS
from .key_programs import Task, read, write
from .programs import CommandContext, Program, RedisAsk, Steps, format_key, in_capitals
from .replies import NO_LIST, WRONG_TYPE, NoList, Value
from .types.lists import sides_in, timeout_in
from .types.typed import LIST, SORTED_SET

LATE = "late"  # the reply to an `RedisAsk` of the kind "await": the time is over


def wait(context: CommandContext, words: list[str]) -> Program:
    """BLPOP KEY [KEY ...] SECONDS, BRPOP, BZPOPMIN, BZPOPMAX; BLMOVE FROM TO LEFT|RIGHT LEFT|RIGHT
    SECONDS, BRPOPLPUSH FROM TO SECONDS"""
    task = Task(FUNCTIONS[in_capitals(words[0])], words)
    moves = task.function.spec[1] > 0
    if moves:
        sides_in(words)
    within_s = timeout_in(words[-1])
    keys = task.keys[:1] if moves else task.keys
    lines = [f"stat {format_key(key, context.node.limits)}" for key in dict.fromkeys(keys)]
    entry = format_entry(context.node.now_ms(), [[task.function.name, *words[1:]]])
    has_waited = False
    while True:  # who may not change a key does not wait for it
        (turn,) = yield RedisAsk(
            [entry], "await", keys[0], is_canonical=True, awaited=tuple(keys), within_s=within_s
        )
        if turn == LATE:
            return NO_LIST
        replies = yield RedisAsk(lines, "read", keys[0], at_leader=True)
        if any([reply.startswith("STAT response: ") for reply in replies]):
            value = yield from _taken(context, task)
            if value == WRONG_TYPE and has_waited:
                value = yield from _taken_of_type(context, task, keys)
            if value is not None:
                return value
        has_waited = True


def _taken(context: CommandContext, task: Task) -> Steps[Value]:
    """Return the element that a command takes, or its error; None if there is no element."""
    values = yield from write(context, [task], {})
    return values[0] if values and not isinstance(values[0], NoList) else None


def _taken_of_type(context: CommandContext, task: Task, keys: list[str]) -> Steps[Value]:
    """Return the same, of those keys alone that have the right type by now; an error is that of the
    list to which the element would move."""
    asked = [Task(FUNCTIONS["TYPE"], ["TYPE", key]) for key in keys]
    types = yield from read(context, asked, {})
    kind = SORTED_SET if task.function.name.startswith("BZ") else LIST
    right = [key for key, found in zip(keys, types or [], strict=True) if found == kind]
    if not right:
        return None
    if len(right) < len(keys):
        task = Task(task.function, [task.words[0], *right, task.words[-1]])
    return (yield from _taken(context, task))
