"""Commands that read keys and then decide, carried out as one entry. Pure.

A command is a function of a `View`: the keys that it names, as they are at one moment. Its changes
become one transaction on the condition that these keys have not changed since. If they have, the
command runs again on their new state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from sys import getsizeof
from typing import Final, NamedTuple

from ....wire.commands.lease_operands import NO_LEASE
from ....wire.commands.operands import Limits
from ....wire.commands.transaction_line import spell_word
from ....wire.limits import TRANSACTION_ITEMS
from ....wire.protocol import real, size_of
from ....wire.request_ledger import RequestLedger
from .limits import REDIS_ARGUMENTS, REDIS_TRIES
from .programs import Ask, Context, Refused, Steps, bounded, seconds_text, spell_key
from .replies import Failure, Value, length_of

_READ_PART: Final = 64  # of a value that is read, not copied: it counts as a part of one made
BUSY: Final = Failure("TRYAGAIN other clients change these keys all the time; nothing was done")


class KeyState(NamedTuple):
    """What a condition says about a key: its last change, 0 if it is absent, and its lease, which
    changes with its time. None: any lease. `since` is an entry since which an absent key was not
    even set and removed; 0: it may have been."""

    changed: int = 0
    lease: str | None = ""
    since: int = 0


@dataclass(slots=True)
class Held:
    """A key as it is: its value, its last change, and the time that it has left."""

    value: str | None = None
    index: int = 0
    lease: str = ""  # that it is under
    left_ms: int | None = None  # None: it stays

    @property
    def state(self) -> KeyState:
        return KeyState(self.index, self.lease)


class View:
    """The keys of a command, with the changes that it makes."""

    def __init__(
        self, held: dict[str, Held], now_ms: int, limits: Limits, ledger: RequestLedger
    ) -> None:
        self.now_ms = now_ms
        self.limits = limits
        self._ledger = ledger
        self._held = held
        self._now = {key: replace(one) for key, one in held.items()}
        self._written: dict[str, None] = {}  # keys whose value was set or removed
        self._timed: dict[str, None] = {}  # keys whose time was set or removed
        self._read: set[str] = set()
        self._read_times: set[str] = set()

    def get(self, key: str) -> str | None:
        """Return the value of a key, None if it is absent."""
        self._read.add(key)
        value = self._now[key].value
        self._ledger.works(getsizeof(value or "") // _READ_PART)
        return value

    def set(self, key: str, value: str, left_ms: int | None = None) -> None:
        """Set a key, which ends after this time.

        Raises:
            Refused: the value or the time is too long.
        """
        self._ledger.works(getsizeof(value))  # a wide text takes four bytes a character
        bounded("value", value, self.limits.value_bytes)
        seconds_text(left_ms or 0)
        self._now[key] = Held(value, left_ms=left_ms)
        self._written[key] = None

    def works(self, size: int) -> None:
        """Count the bytes of a long text that a command makes on the way to a value."""
        self._ledger.works(size)

    def amend(self, key: str, value: str) -> None:
        """Set the value of a key, and leave it its time."""
        self.set(key, value, self.left_ms(key))

    def delete(self, key: str) -> bool:
        """Remove a key; return whether it existed."""
        existed = self.get(key) is not None
        if existed:
            self._now[key] = Held()
            self._written[key] = None
        return existed

    def left_ms(self, key: str) -> int | None:
        """Return the time that a key has left, None if it stays."""
        self._read.add(key)
        self._read_times.add(key)
        return self._now[key].left_ms

    def expire(self, key: str, left_ms: int | None) -> None:
        """Set or remove the time of a key that exists; a time that is over removes the key."""
        if left_ms is not None and left_ms <= 0:
            self.delete(key)
            return
        seconds_text(left_ms or 0)
        self._now[key].left_ms = left_ms
        self._timed[key] = None

    def states(self) -> dict[str, KeyState]:
        """Return what the commands have read: the keys must still be so when they are changed."""
        held, timed = self._held, self._read_times
        return {
            key: held[key].state if key in timed else KeyState(held[key].index, None)
            for key in sorted(self._read)
        }

    def operations(self, context: Context) -> list[str]:
        """Return the operations of a transaction that make the changes."""
        changed = dict.fromkeys([*self._written, *self._timed])
        for key in self._written:  # before the first one is spelled
            context.ledger.changes(size_of(key) + size_of(self._now[key].value or ""))
        return [line for key in changed if (line := self._operation(key, context))]

    def _operation(self, key: str, context: Context) -> str:
        before, now = self._held[key], self._now[key]
        spell_key(key, context.node.limits)
        word = spell_word(key)
        if now.value is None:
            return f"delete {word}" if before.value is not None else ""
        time = "" if now.left_ms is None else seconds_text(now.left_ms)
        if key in self._written:
            verb = f"setex {word} {time}" if time else f"set {word}"
            return f"{verb} {spell_word(now.value)}"
        return f"expire {word} {time}" if time else f"persist {word}"


Decide = Callable[[View, list[str]], Value]


@dataclass(slots=True)
class Task:
    """A command on a view, with the keys that it names."""

    decide: Decide
    words: list[str]
    keys: list[str]
    takes_times: bool = False  # it depends on the time that a key has left


def unchanged(key: str, state: KeyState) -> str:
    """Return the condition that a key has still this state."""
    word = spell_word(key)
    if not state.changed:
        return f"{word} absent since {state.since}" if state.since else f"{word} absent"
    lease = "" if state.lease is None else f" under {state.lease or NO_LEASE}"
    return f"{word} unchanged since {state.changed}{lease}"


def load(context: Context, keys: Sequence[str], *, with_times: bool) -> Steps[list[Held]]:
    """Return keys as they are at one moment."""
    limits = context.node.limits
    spelled = [spell_key(key, limits) for key in keys]
    lines = [f"{verb} {key}" for key in spelled for verb in ("stat", "get")]
    replies = yield Ask(lines, "read", keys[0] if keys else "")
    held: list[Held] = []
    timed: list[int] = []
    for place in range(len(keys)):
        stat, got = replies[2 * place : 2 * place + 2]
        index, lease, _ = state_of(stat)
        held.append(Held(real(got.partition(": ")[2]), index, lease or "") if index else Held())
        if lease:
            timed.append(place)
    if with_times and timed:
        times = yield Ask([f"ttl {spelled[place]}" for place in timed], "timed", keys[timed[0]])
        for place, reply in zip(timed, times, strict=True):
            if reply.startswith("TTL response: "):
                held[place].left_ms = max(1, round(1000 * float(reply.partition(": ")[2])))
    return held


def state_of(stat: str) -> KeyState:
    """Return the state in the reply to a `stat`."""
    if not stat.startswith("STAT response: "):
        return KeyState()
    facts = json.loads(stat.partition(": ")[2])
    return KeyState(facts["index"], facts["lease"] or "")


def carry_out(
    context: Context, tasks: Sequence[Task], watched: dict[str, KeyState]
) -> Steps[list[Value] | Failure | None]:
    """Carry out commands as one entry, unless a watched key has changed: then the result is None.
    Otherwise it is the list of their replies."""
    keys = list(dict.fromkeys([*watched, *(key for task in tasks for key in task.keys)]))
    if len(keys) > REDIS_ARGUMENTS:
        return too_many("names", len(keys), REDIS_ARGUMENTS)
    with_times = any([task.takes_times for task in tasks])
    were_absent = [key for key, state in watched.items() if state.since]
    for attempts in range(REDIS_TRIES):
        if attempts == 1:  # others change these keys: wait for the commands of this node that do
            yield Ask([], "turn", keys[0])
        context.open_ledger()
        held: dict[str, Held] = {}
        if keys:
            loaded = yield from load(context, keys, with_times=with_times)
            held = dict(zip(keys, loaded, strict=True))
        if _have_changed(held, watched):
            return None
        view = View(held, context.node.now_ms(), context.node.limits, context.ledger)
        values = _attempts(context, tasks, view)
        operations = view.operations(context)
        # Only an entry tells whether such a key was set and removed.
        operations = operations or [f"get {spell_word(key)}" for key in were_absent[:1]]
        if not operations:
            return values
        states = view.states() | watched
        if (count := max(len(operations), len(states))) > TRANSACTION_ITEMS:
            return too_many("changes or depends on", count, TRANSACTION_ITEMS)
        conditions = [unchanged(*one) for one in states.items()]
        if (yield from commit(conditions, operations, keys[0])):
            return values
        if were_absent:  # perhaps one of these
            return None
    return BUSY


def _attempts(context: Context, tasks: Sequence[Task], view: View) -> list[Value]:
    """Return the replies to commands, as far as the ledger has room for them."""
    values: list[Value] = []
    for task in tasks:
        values.append(attempt(task, view))
        context.ledger.returns(length_of(values[-1]))
    return values


def _have_changed(held: dict[str, Held], watched: dict[str, KeyState]) -> bool:
    """Whether one of the watched keys is not as it was."""
    return any([held[key].state != state._replace(since=0) for key, state in watched.items()])


def too_many(what: str, count: int, most: int) -> Failure:
    """Return the refusal of a command or a transaction of too many keys."""
    return Failure(
        f"ERR this {what} {count} keys, and at most {most} go into one step; nothing was done."
        " Send it in parts"
    )


def commit(conditions: Sequence[str], operations: Sequence[str], key: str) -> Steps[bool]:
    """Make changes in one entry; return whether the conditions held."""
    line = f"txn if {' ; '.join(conditions)} then " if conditions else "txn "
    (reply,) = yield Ask([line + " ; ".join(operations)], "write", key, is_canonical=True)
    return reply.startswith("TXN response, then")


def attempt(task: Task, view: View) -> Value:
    """Return the reply to one command, which may be an error."""
    try:
        return task.decide(view, task.words)
    except Refused as refused:
        return refused.failure
