"""Commands on keys as programs: reads of one moment, or one entry of the log. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from raftline.wire.commands.transaction_line import format_word
from raftline.wire.done_reply import is_done
from raftline.wire.operands.lease_operands import NO_LEASE
from raftline.wire.protocol import shown
from raftline.wire.replies.refusals import code_of

from .entry import answers_in, format_entry, lacking_in
from .function_rows import Function
from .limits import REDIS_ARGUMENTS
from .messages import PUBLISH
from .programs import CommandContext, CommandRefused, RedisAsk, Steps, format_key, in_capitals
from .replies import Failure, Value, length_of
from .scripts import BY_TEXT, freeing, sha_of
from .view import HeldKey, View, held_of

_GOT: Final = "GET response: "
_SEEDS: Final = 1 << 32
_TRIES: Final = 10  # of an entry whose script asks for the times of keys that it computes


class KeyState(NamedTuple):
    """A key as a condition describes it: its last change, 0 if it is absent, and its lease, which
    changes with its time. `since` is an entry since which an absent key was not even set and
    removed."""

    changed: int = 0
    lease: str = ""
    since: int = 0


@dataclass(slots=True)
class Task:
    """A command on keys."""

    function: Function
    words: list[str]

    @property
    def keys(self) -> list[str]:
        return self.function.keys_in(self.words)

    @property
    def takes_times(self) -> bool:
        return self.function.takes_times(self.words)


def state_of(stat: str) -> KeyState:
    """Return the state in the reply to a `stat`."""
    if not is_done(stat):
        return KeyState()
    facts = json.loads(stat.partition(": ")[2])
    return KeyState(facts["index"], facts["lease"] or "")


def condition(key: str, state: KeyState) -> str:
    """Return the condition that a key has still this state."""
    word = format_word(key)
    if not state.changed:
        return f"{word} absent since {state.since}" if state.since else f"{word} absent"
    return f"{word} unchanged since {state.changed} under {state.lease or NO_LEASE}"


def _keys_of(tasks: Sequence[Task], watched: Sequence[str] = ()) -> list[str]:
    """Return the keys that commands name.

    Raises:
        Refused: there are too many.
    """
    keys = list(dict.fromkeys([*watched, *(key for task in tasks for key in task.keys)]))
    if len(keys) > REDIS_ARGUMENTS:
        raise CommandRefused(too_many("names", len(keys), REDIS_ARGUMENTS))
    return keys


def too_many(what: str, count: int, most: int) -> Failure:
    """Return the refusal of a command or a transaction of too many keys."""
    return Failure(
        f"ERR this {what} {count} keys, and at most {most} go into one step; nothing was done."
        " Send it in parts"
    )


def _times(
    context: CommandContext, timed: Sequence[str], states: dict[str, KeyState]
) -> Steps[dict[str, int]]:
    """Return the times that the leases of these keys have left. They are read after the states: a
    lease that ends or begins meanwhile is another one."""
    keys = [key for key in timed if states[key].lease]
    if not keys:
        return {}
    lines = [f"ttl {format_key(key, context.node.limits)}" for key in keys]
    replies = yield RedisAsk(lines, "timed", keys[0])
    return {
        states[key].lease: max(1, round(1000 * float(reply.partition(": ")[2])))
        for key, reply in zip(keys, replies, strict=True)
        if is_done(reply)
    }


def is_published(task: Task, value: Value) -> bool:
    """Whether a task has published a message, whose receivers this node counts."""
    return task.function.name == PUBLISH and not isinstance(value, Failure)


def read(
    context: CommandContext, tasks: Sequence[Task], watched: dict[str, KeyState]
) -> Steps[list[Value] | None]:
    """Return the replies to commands that change nothing, at one moment; None if a watched key has
    changed."""
    keys = _keys_of(tasks, list(watched))
    states, held = dict[str, KeyState](), dict[str, HeldKey]()
    if keys:
        # The value alone tells nothing about the last change of a key, and its time.
        known = {*watched, *(key for task in tasks if task.takes_times for key in task.keys)}
        lines = list[str]()
        for key in keys:
            formatted = format_key(key, context.node.limits)
            lines += [f"stat {formatted}"] * (key in known)
            lines.append(f"get {formatted}")
        replies = iter((yield RedisAsk(lines, "read", keys[0], is_canonical=True)))
        for key in keys:
            if key in known:
                states[key] = state_of(next(replies))
            got = next(replies)
            if got.startswith(_GOT):
                lease = states[key].lease if key in known else ""
                held[key] = held_of(got[len(_GOT) :], lease)
            else:
                held[key] = HeldKey()
    if any([states[key] != state for key, state in watched.items()]):
        return None
    timed = _keys_of([task for task in tasks if task.takes_times])
    left_ms = yield from _times(context, timed, states)
    view = View(
        held.__getitem__,
        lambda lease: left_ms.get(lease, 1),
        context.node.now_ms(),
        context.ledger,
        lambda: str(context.node.chance(_SEEDS)),
    )
    values: list[Value] = []
    for task in tasks:
        values.append(view.attempt(task.function.decide, task.words))
        context.ledger.returns(length_of(values[-1]))
    return values


def _sha_in(words: list[str]) -> str:
    """Return the SHA1 of the script that a command names."""
    return sha_of(words[1]) if in_capitals(words[0]) in BY_TEXT else words[1].lower()


def _takes_times(context: CommandContext, task: Task) -> bool:
    """Whether a command depends on the time that its keys have left, as far as this node knows."""
    if task.takes_times or not task.function.is_entry:
        return task.takes_times
    return context.node.script(_sha_in(task.words)) is True


def _entry_of(
    context: CommandContext,
    tasks: Sequence[Task],
    watched: dict[str, KeyState],
    timed: Sequence[str],
) -> Steps[str]:
    """Return the line of an entry with the times that these keys have left."""
    states = dict[str, KeyState]()
    if timed:
        lines = [f"stat {format_key(key, context.node.limits)}" for key in timed]
        replies = yield RedisAsk(lines, "read", timed[0])
        states = dict(zip(timed, map(state_of, replies), strict=True))
    left_ms = yield from _times(context, timed, states)
    return format_entry(
        context.node.now_ms(),
        [[task.function.name, *task.words[1:]] for task in tasks],
        [condition(*one) for one in watched.items()],
        left_ms,
    )


def write(
    context: CommandContext, tasks: Sequence[Task], watched: dict[str, KeyState]
) -> Steps[list[Value] | None]:
    """Carry out commands as one entry; return their replies, or None if a watched key has
    changed."""
    keys = _keys_of(tasks, list(watched))
    key = keys[0] if keys else ""
    timed = _keys_of([task for task in tasks if _takes_times(context, task)])
    full = ("no-room",) if any([task.function.is_entry for task in tasks]) else ()
    for _ in range(_TRIES):
        line = yield from _entry_of(context, tasks, watched, timed)
        (reply,) = yield RedisAsk([line], "write", key, is_canonical=True, takes_codes=full)
        if code_of(reply) in full:  # a script may still free something, as in Redis
            tasks, full = [Task(freeing(task.function), task.words) for task in tasks], ()
            continue
        lacking = lacking_in(reply)
        if not lacking:
            break
        timed = list(dict.fromkeys([*timed, *lacking]))
        for task in tasks:
            if task.function.is_entry:
                context.node.keep_script(_sha_in(task.words), takes_times=True)
    else:
        raise CommandRefused(
            f"TRYAGAIN the times of keys change too often: {shown(' '.join(lacking))}. Nothing was"
            " done"
        )
    values = answers_in(reply)
    if values is not None:
        done = list(zip(tasks, values, strict=True))
        channels = [task.words[1] for task, value in done if is_published(task, value)]
        counts = iter(context.node.receivers(channels) if channels else [])
        values = [next(counts) if is_published(*each) else each[1] for each in done]
    context.ledger.returns(length_of(values or []))
    return values
