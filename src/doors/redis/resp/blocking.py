"""The commands that wait for an element of a list or a sorted set, as programs. Pure.

Such a command is an entry only when there is an element: then it is the command that does not wait,
`LPOP` of the first list that is not empty. After `MULTI` it never waits, as in Redis.
"""

from __future__ import annotations

from .entry import format_entry
from .functions import FUNCTIONS
from .key_programs import Task, write
from .programs import CommandContext, Program, RedisAsk, format_key, in_capitals
from .replies import NO_LIST, NoList
from .types.lists import timeout_in

LATE = "late"  # the reply to an `RedisAsk` of the kind "await": the time is over


def wait(context: CommandContext, words: list[str]) -> Program:
    """BLPOP KEY [KEY ...] SECONDS, BRPOP, BZPOPMIN, BZPOPMAX; BLMOVE FROM TO LEFT|RIGHT LEFT|RIGHT
    SECONDS, BRPOPLPUSH FROM TO SECONDS"""
    task = Task(FUNCTIONS[in_capitals(words[0])], words)
    within_s = timeout_in(words[-1])
    moves = task.function.spec[1] > 0
    keys = task.keys[:1] if moves else task.keys
    lines = [f"stat {format_key(key, context.node.limits)}" for key in dict.fromkeys(keys)]
    entry = format_entry(context.node.now_ms(), [[task.function.name, *words[1:]]])
    while True:  # who may not change a key does not wait for it
        (turn,) = yield RedisAsk(
            [entry], "await", keys[0], is_canonical=True, awaited=tuple(keys), within_s=within_s
        )
        if turn == LATE:
            return NO_LIST
        replies = yield RedisAsk(lines, "read", keys[0], at_leader=True)
        if any([reply.startswith("STAT response: ") for reply in replies]):
            values = yield from write(context, [task], {})
            if values and not (values[0] is None or isinstance(values[0], NoList)):
                return values[0]
