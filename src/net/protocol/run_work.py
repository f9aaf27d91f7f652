"""How many requests that may take a long time to apply go into one run. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ...wire.commands.command_table import COMMANDS, Work
from ...wire.limits import LONG_TOGETHER, QUICK_TOGETHER
from .host import Batch

MAY_TAKE_LONG: Final = frozenset([verb for verb in COMMANDS if COMMANDS[verb].work != Work.SHORT])


class RunWork:
    """The requests of one run that may take a long time to apply. Requests of other connections go
    between this run and the next, so a run has few of them, or some more quick ones."""

    def __init__(self, is_quick: Callable[[Sequence[str]], bool]) -> None:
        self._is_quick = is_quick  # by the pairs of now
        self._count = self._used = 0
        self.is_full = False

    def add(self, command: str) -> None:
        """Count a request, whose verb is one of MAY_TAKE_LONG."""
        self._count += 1
        self._used += 1 if self._is_quick([command]) else QUICK_TOGETHER // LONG_TOGETHER
        self.is_full = self._used >= QUICK_TOGETHER

    def mark(self, batch: Batch) -> None:
        """Note in the batch of this run how many these are, and whether all of them are quick."""
        batch.may_be_long, batch.is_quick = self._count, self._used == self._count
