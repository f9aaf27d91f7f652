"""The processor time of each entry, held against the stated one.

The walk is over the table of commands: each alone, and as often as a transaction may have it, on
long values of every kind; and over the conditions of a transaction. Extensions bring the words of
their commands, and the states that these meet.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from types import ModuleType
from typing import Final

import pytest

from raftline.state.commands.key_commands import APPLIED, TRIALS, execute
from raftline.state.store import Store
from raftline.state.work import needs_trial
from raftline.wire.commands.command_table import COMMANDS, IN_TRANSACTIONS
from raftline.wire.commands.rights import UserRole
from raftline.wire.commands.transaction_line import CLEAR, CONDITIONS
from raftline.wire.limits import (
    ANSWER_BYTES,
    REQUEST_WORK_BYTES,
    REWORK_BYTES,
    TRANSACTION_ITEMS,
    TRANSACTION_SCANS,
    VALUE_BYTES,
)
from raftline.wire.operands.operands import Kind, Limits
from raftline.wire.refusal import TOO_MUCH, is_refusal
from raftline.wire.replies.refusals import code_of
from raftline_testing.extensions import joined
from raftline_testing.runner.at_night import at_night
from raftline_testing.work_unit import excess_of, took

State = Callable[[int], list[str]]  # the commands before, by the size of what they make

SHORT: Final = 32 << 10
LONG: Final = VALUE_BYTES - 200
LEASES: Final = ("lease 60", "lease 60", "lease 60")  # lease-1 to lease-3
STATES: Final[Mapping[str, State]] = {
    "text": lambda size: [f"set k {'x' * size}"],
    "wide text": lambda size: [f"set k {'é' * (size // 2)}"],
    "bytes": lambda size: ["set k " + r"\x01" * size],
    "digits": lambda size: [f"set k {'7' * size}"],
    "negative": lambda size: [f"set k -{'7' * (size - 1)}"],
    "typed": lambda size: [rf"set k \sset{' a' * (size // 2)}"],
    "under a lease": lambda size: [f"under lease-1 set k {'x' * size}"],
    "keys": lambda size: [f"under lease-1 set q/{each} x" for each in range(size // 50)],
}
# By the words of a form. What stands in brackets may be absent.
OPERANDS: Final = {
    "KEY": ("k", "absent"), "VALUE": ("x", r"\xc3"), "OLD": ("y",), "NEW": ("x",), "BY": ("1",),
    "SECONDS": ("9",), "LEASE": ("lease-1",), "PREFIX": ("k", "q/"), "NUMBER": ("5",),
    "INDEX": ("1",), "set|setnx|cas|incr|append": ("set", "setnx", "cas", "incr", "append"),
    "...": ("k x", "k x y", "k 1"),
}  # fmt: skip
OF_EXTENSIONS: Final = joined("entry_words")
OF_STATES: Final = [(module, name) for module in OF_EXTENSIONS for name in module.STATES]


def _worded(form: str) -> list[str]:
    choices = [
        (*OPERANDS.get(word.strip("[]"), (word,)), *(("",) if word.startswith("[") else ()))
        for word in form.split(" ")
    ]
    return [" ".join(filter(None, words)) for words in itertools.product(*choices)]


def _of_kernel(*kinds: Kind) -> Iterator[str]:
    """Yield the forms of users' commands without words of an extension, if they name one of these
    kinds. A command whose operands are lines has another walk."""
    others = {verb for module in OF_EXTENSIONS for verb in module.WORDS}
    for row in [COMMANDS[verb] for verb in APPLIED if verb in COMMANDS.keys() - others]:
        is_of_users = row.right.role is not UserRole.ADMIN
        if is_of_users and not (row.operands.is_line or row.operands.kinds.isdisjoint(kinds)):
            yield row.form


def _entries(commands: Iterable[str], *kinds: Kind) -> Iterator[str]:
    """Yield the entries of commands, and of the conditions on these kinds."""
    for command in commands:
        yield command
        verb = command.partition(" ")[0]
        if verb in IN_TRANSACTIONS:
            yield f"txn {_often(command, is_scan=verb == CLEAR)}"
    for form in re.split(", | or ", CONDITIONS):
        if Kind(form.partition(" ")[0]) in kinds:
            for condition in _worded(form):
                is_scan = form.startswith(Kind.PREFIX.value)
                yield f"txn if {_often(condition, is_scan=is_scan)} then get absent"


def _often(part: str, *, is_scan: bool) -> str:
    most = TRANSACTION_SCANS if is_scan else TRANSACTION_ITEMS
    return " ; ".join([part] * min(most, Limits().line_bytes // (len(part) + 3)))


def _prepared(state: State, size: int) -> Store:
    store = Store(is_at_floor=False)
    store.notes_events = True
    for command in [*LEASES, *state(size)]:
        store.number += 1
        reply = execute(store, command)
        assert not is_refusal(reply), reply
    store.take_events()
    store.number += 1
    store.reworked = 0
    return store


def _counted(store: Store, reply: str, size: int) -> float:
    """Return the part of the stated time that an entry counts. All operations of a transaction may
    look once at a value of the longest size; all bounds are the same work."""
    answered = str(ANSWER_BYTES) in reply  # the reply is that it has too many
    parts = [
        size / VALUE_BYTES,
        store.reworked / REWORK_BYTES,
        1.0 if answered else len(reply) / ANSWER_BYTES,
    ]
    return REQUEST_WORK_BYTES * min(1.0, max(parts))


def _walk(state: State, size: int, lines: Iterable[str]) -> None:
    wrong = {}
    for line in lines:
        replies = list[str]()

        def cost(line: str = line, replies: list[str] = replies) -> tuple[float, float]:
            store = _prepared(state, size)
            took_s = took(lambda: replies.append(execute(store, line)))
            return took_s, _counted(store, replies[-1], size) + len(line)

        if excess := excess_of(cost):
            wrong[line[:70]] = excess
        if code_of(replies[-1]) == TOO_MUCH and _trial_of(state, size, line) != replies[-1]:
            wrong[line[:70]] = "it becomes an entry, which each node refuses"
    assert not wrong


def _trial_of(state: State, size: int, line: str) -> str:
    """Return why a node refuses a line before it becomes an entry, or ""."""
    store = _prepared(state, size)
    store.number -= 1  # the last entry
    verb, _, operands = line.partition(" ")
    if not needs_trial(store, line):
        return ""
    return TRIALS[verb].why_refused(store, nullcontext(), operands, "")


def test_each_command_of_users_is_walked() -> None:
    """A new command has a form of known words, or its extension brings some."""
    words = {word.strip("[]") for form in _of_kernel(*Kind) for word in form.split(" ")[1:]}
    assert words <= OPERANDS.keys()


@pytest.mark.pure  # compiled code takes another time for the same work
@pytest.mark.parametrize("size", [SHORT, *at_night(LONG)])
@pytest.mark.parametrize("name", STATES)
def test_no_entry_takes_longer_than_stated(name: str, size: int) -> None:
    commands = [command for form in _of_kernel(*Kind) for command in _worded(form)]
    _walk(STATES[name], size, _entries(commands, *Kind))


@pytest.mark.pure
@pytest.mark.parametrize("size", [SHORT, *at_night(LONG)])
@pytest.mark.parametrize(("extension", "name"), OF_STATES)
def test_no_entry_of_an_extension_takes_longer(extension: ModuleType, name: str, size: int) -> None:
    """Commands on many keys meet its states, too."""
    own = [f"{verb} {each}" for verb, some in extension.WORDS.items() for each in some]
    others = [each for form in _of_kernel(Kind.PREFIX, Kind.LEASE) for each in _worded(form)]
    _walk(extension.STATES[name], size, _entries([*own, *others], Kind.PREFIX))
