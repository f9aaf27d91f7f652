"""A state machine whose entries grant and use leases."""

from __future__ import annotations

from raftline.logmanager import LogManager
from raftline.state.commands.key_commands import execute
from raftline.state.lease_table import format_granted
from raftline.state.store import Store

TERM = 4


class LeaseMachine:
    """A store above the floor whose entries are numbered from 57 on, all of one term."""

    def __init__(self) -> None:
        self.store = Store(is_at_floor=False)
        self.number = 56

    def apply(self, command: str, term: int = TERM) -> str:
        self.number += 1
        self.store.number, self.store.term = self.number, term
        return execute(self.store, command)

    def talk(self, *commands: str) -> list[str]:
        return [self.apply(command) for command in commands]


def first_leases(manager: LogManager) -> list[str]:
    return format_granted(manager.store.leases.copy())
