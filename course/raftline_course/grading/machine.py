"""The state machine of a hand-in: its replies must equal raftline's."""

from __future__ import annotations

import random
from collections.abc import Iterator

from raftline.logmanager import LogManager
from raftline.raft.log import Entry
from raftline_course.grading.isolation.servers import HandInRun
from raftline_testing.files.faulty_folder import MemoryFolder

COMMANDS = 300


class TriedMachine:
    """A run of the state machine alone."""

    def __init__(self, servers: HandInRun, seed: int) -> None:
        self._servers, self._chance = servers, random.Random(seed)

    def events(self) -> Iterator[None]:
        """Execute commands on the hand-in's state machine; its replies must equal raftline's.

        Raises:
            AssertionError: a reply differs.
        """
        yield
        _try(self._servers, self._chance)


def _try(servers: HandInRun, chance: random.Random) -> None:
    commands = machine_commands(chance)
    replies = servers.begin("s1").ask({"machine": commands}).get("replies")
    manager = LogManager("s1", MemoryFolder(), {"s1": "localhost:1"})
    manager.recover()
    entries = [Entry(index, 1, command) for index, command in enumerate(commands, start=1)]
    expected = manager.apply(entries)
    if not isinstance(replies, list) or len(replies) != len(expected):
        raise AssertionError("the state machine gives one reply to each command (§8)")
    for command, reply, right in zip(commands, replies, expected, strict=True):
        if reply != right:
            raise AssertionError(
                f"a numbered request is done once, and answered as then (§8): {command!r} is "
                f"answered {reply!r:.80}, not {right!r}"
            )


def machine_commands(chance: random.Random) -> list[str]:
    """Return commands of clients, some of them repeated, with a late one among later ones."""
    made: list[str] = []
    numbers = dict.fromkeys(("client1", "client2"), 0)
    for _ in range(COMMANDS):
        key = chance.choice("abc")
        command = chance.choice([f"set {key} {len(made)}", f"delete {key}", "incr n"])
        if chance.random() < 0.3:
            made.append(command)
        elif chance.random() < 0.3 and any("#" in one for one in made[-40:]):
            made.append(chance.choice([one for one in made[-40:] if "#" in one]))
        else:
            client = chance.choice(list(numbers))
            numbers[client] += 1
            made.append(f"{client}#{numbers[client]}@{command}")
    return made
