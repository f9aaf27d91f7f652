"""The functions that apply commands, by their verbs. Deterministic and total.

Every node executes the same commands in the same order, so no function may depend on a clock, on
chance or on a node. None may raise: an error is a reply (paper §2). Keys and values are in their
canonical spelling, as they stand in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from raftline.raft.levels import FIRST
from raftline.state.store import Store
from raftline.wire.commands import COMMANDS
from raftline.wire.operands import not_understood
from raftline.wire.protocol import error

Apply = Callable[[Store, str], str | None]
APPLIED: Final[dict[str, tuple[int, Apply]]] = {}  # by verb: the lowest level, the function


def applies(verb: str, level: int = FIRST) -> Callable[[Apply], Apply]:
    """Register the function that applies a command to the Store; it gets the operands.

    It returns the reply, or None if the operands are not those of the command's row. A command
    that is a read changes no pair. The level is that of the row. An entry that only
    a leader makes has no row, and gives it here.
    """

    def register(apply: Apply) -> Apply:
        APPLIED[verb] = (COMMANDS[verb].level if verb in COMMANDS else level, apply)
        return apply

    return register


def execute(store: Store, command: str) -> str:
    """Carry out one command and return its reply, without the server's name. Below its
    level the command is unknown, as in an older build."""
    verb, _, operands = command.partition(" ")
    found = APPLIED.get(verb)
    if found is not None and found[0] <= store.level:
        reply = found[1](store, operands)
        if reply is not None:
            return reply
    return error(not_understood(command))
