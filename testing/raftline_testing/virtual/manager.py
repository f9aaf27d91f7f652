"""The state machine of a simulated node, which reports what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from tempfile import gettempdir
from typing import Protocol

from raftline.logmanager import LogManager
from raftline.raft.log import Entry
from raftline.state.key_events import TakenEvents
from raftline.storage.snapshot_lines import MachineState

from ..invariants import InvariantError


class Looker(Protocol):
    """A listener to what a node applies."""

    def applied(self, entries: Sequence[Entry], replies: Sequence[str]) -> None: ...


class MachineFailed(Exception):
    """An entry can't be executed here, as where a program's own machine raises."""


class Manager(LogManager):
    """Reports entries with their replies as they are applied, and keeps their events."""

    fails = False  # at the next entry
    spend: Callable[[], None] | None = None  # each entry takes long

    # Whether an entry is being applied that takes long; None: none ever is.
    changes_apart: Callable[[], bool] | None = None
    looker: Looker | None = None
    taken: TakenEvents | None = None  # the events that were taken last

    @property
    def folder_path(self) -> str:
        """The folder for the copy that a backup is: a file without a name, of the real disk."""
        return gettempdir()

    def look_at(self, looker: Looker) -> None:
        """Let somebody look at what is applied from now on."""
        self.looker = looker

    def apply(
        self,
        entries: Sequence[Entry],
        now_s: Callable[[], float] | None = None,
        end_s: float = 0.0,
        *,
        answers: bool = True,
    ) -> list[str]:
        if self.fails:
            raise MachineFailed
        replies = super().apply(entries, self._slowly(now_s), end_s, answers=answers)
        if self.looker is not None:
            self.looker.applied(entries[: len(replies)], replies)
        return replies

    def _slowly(self, now_s: Callable[[], float] | None) -> Callable[[], float] | None:
        spend = self.spend
        if spend is None or now_s is None:
            return now_s

        def later_s() -> float:
            spend()
            return now_s()

        return later_s

    def freeze(self) -> MachineState:
        """Freeze the state as it is.

        Raises:
            InvariantError: it may hold an entry by then that the core does not know to be applied.
        """
        if self.changes_apart is not None and self.changes_apart():
            raise InvariantError(f"{self.name} freezes its state amid a long entry")
        return super().freeze()

    def take_events(self) -> TakenEvents:
        self.taken = super().take_events()
        return self.taken
