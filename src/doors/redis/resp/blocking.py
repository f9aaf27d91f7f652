"""The commands that wait for an element of a list or a sorted set, or for an entry of a stream, as
programs. Pure.

Such a command is an entry only when there is an element: then it is the command that does not wait,
`LPOP` of the first list that is not empty. After `MULTI` it never waits, as in Redis. A value of
another type is an error when it is there at first, and later no element.
"""

from __future__ import annotations

from ....wire.done_reply import is_done
from .entry import format_entry
from .functions import FUNCTIONS
from .key_programs import Task, read, write
from .programs import CommandContext, Program, RedisAsk, Steps, format_key, in_capitals
from .replies import NO_LIST, WRONG_TYPE, Failure, NoList, Value
from .types.lists import sides_in, timeout_in
from .types.streams import last_id_in, read_options
from .types.typed import LIST, SORTED_SET

LATE = "late"  # the reply to an `RedisAsk` of the kind "await": the time is over


def wait(context: CommandContext, words: list[str]) -> Program:
    """BLPOP KEY [KEY ...] SECONDS, BRPOP, BZPOPMIN, BZPOPMAX; BLMOVE FROM TO LEFT|RIGHT LEFT|RIGHT
    SECONDS, BRPOPLPUSH FROM TO SECONDS; BLMPOP SECONDS COUNT KEY ... LEFT|RIGHT, BZMPOP"""
    task = Task(FUNCTIONS[in_capitals(words[0])], words)
    is_first = task.function.name.endswith("MPOP")  # the time is the first operand
    moves = task.function.spec[1] > 0
    if moves:
        sides_in(words)
    within_s = timeout_in(words[1] if is_first else words[-1])
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
        if any([is_done(reply) for reply in replies]):
            value = yield from _taken(context, task)
            is_other = isinstance(value, Failure) and value.code == WRONG_TYPE.code
            if is_other and has_waited:
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
        task = Task(task.function, _words_with(task, right, len(keys)))
    return (yield from _taken(context, task))


def _words_with(task: Task, keys: list[str], count: int) -> list[str]:
    """Return the words of a command with these keys in place of its own."""
    name, seconds = task.words[:2]
    if task.function.name.endswith("MPOP"):
        return [name, seconds, str(len(keys)), *keys, *task.words[3 + count :]]
    return [name, *keys, task.words[-1]]


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
