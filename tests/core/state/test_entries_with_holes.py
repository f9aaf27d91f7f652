"""Each committed entry is executed or answered with `Sorry`, also one that no parser lets pass.

Doors parse each line first, so only a member can bring such an entry: a person who types a leader's
line, or a later build whose parser accepts more. An entry that raises would stop each node that
applies it, at each of its starts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from raftline.wire.commands.command_table import COMMANDS
from raftline_testing.doubles.user_machine import BOB, UserMachine
from raftline_testing.grammar_dealers import DEALERS, GRAMMAR

# Nobody, a session of nobody, a user with few rights and his session, an admin, and strangers.
SENDERS = ("", "x-9#1@", "bob@", f"{BOB}#{{number}}@", "root@", "ann@", "-@", "bob#@")
TAILS = (
    "",
    " ",
    " app/a",
    " app/a ",
    "  app/a",
    " app/a b",
    " app/a  b",
    " lease-1",
    " lease-1 ",
    " lease-1 bogus app/a",
    " lease-1 set",
    " lease-1 under lease-1 set app/a b",
    " lease-1 txn then set app/a b",
    " \\",
    " if",
    " then",
    " then set app/a 1 ; ",
    " then under lease-1",
    " then under under set app/a b",
    " get app/a ; read",
    " app/a read log",
    " read log",
    " 1.5 app/a",
    " app/ lease-1",
    " app/ alone lease-1",
    " app/ alone now lease-1 x",
    " app alone lease-1 x",
    " / 0 lease-1 x",
    " app/ 1 0 lease-1 ",
    " app/ 1 0 now lease-1 1:1:back 0:0",
    " app/ 257 0 lease-1 99999999999999999999:1",
    " app/ 0",
)
MACHINE = "machine"  # a program's own command, which may raise


def entries_with_holes(chance: random.Random, count: int) -> Iterator[str]:
    """Yield commands of the grammar in which words are missing, twice there, or others' words."""
    words = ["under", "lease-1", "txn", "if", "then", "else", ";", "read", "log", "", "app/a", "0"]
    while count:
        command = GRAMMAR.derive("command", chance, DEALERS).split(" ")
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(command))
            ways = [
                [],
                [command[place]] * 2,
                [chance.choice(words)],
                [*words[: chance.randint(1, 6)]],
            ]
            command[place : place + 1] = chance.choice(ways)
            command = command or [""]
        if command[0].rpartition("@")[2] != MACHINE:
            count -= 1
            yield " ".join(command)


def raised(sender: str, commands: Iterator[str]) -> list[str]:
    """Return the entries that raise, each at a state of its own and after the others."""
    machine, wrong = UserMachine(), []
    for number, command in enumerate(commands, start=1):
        entry = sender.format(number=number) + command
        try:
            machine.do(entry)
        except Exception as error:
            wrong.append(f"{entry}: {type(error).__name__}")
            machine = UserMachine()
        if number % 50 == 0:
            machine = UserMachine()  # a command may have removed the user
    return wrong


@pytest.mark.parametrize("sender", SENDERS)
def test_an_entry_without_its_operands_never_raises(sender: str) -> None:
    verbs = (*COMMANDS, "expired", "members", "cluster", "noop", "bogus", "")
    lines = (verb + tail for verb in verbs for tail in TAILS if verb != MACHINE)
    assert raised(sender, lines) == []


@pytest.mark.slow  # to read the grammar takes ten seconds
@pytest.mark.parametrize("sender", SENDERS)
def test_an_entry_with_holes_never_raises(sender: str) -> None:
    assert raised(sender, entries_with_holes(random.Random(sender), 400)) == []


@pytest.mark.parametrize("sender", SENDERS)
def test_commands_nested_without_end_never_raise(sender: str) -> None:
    """The recursion limit of Python depends on the thread, so no reply may depend on it."""
    nested = ("under lease-1 " * depth + "set app/a b" for depth in (2, 100, 20_000))
    assert raised(sender, nested) == []
