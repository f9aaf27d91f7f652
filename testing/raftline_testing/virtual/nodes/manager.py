"""The state machine of a simulated node, which reports its actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from tempfile import gettempdir
from typing import Protocol

from raftline.logmanager import LogManager
from raftline.raft.log import Entry
from raftline.state.key_events import TakenEvents
from raftline.storage.snapshot_lines import MachineState

from ...invariants import InvariantError


class Looker(Protocol):
    """A listener to a node's applied entries."""

    def applied(self, entries: Sequence[Entry], replies: Sequence[str]) -> None: ...


class MachineFailed(Exception):
    """An entry that can't be executed here, as if a program's own machine raised an error."""


class Manager(LogManager):
    """A manager that reports entries with their replies as they are applied, and keeps their
    events."""

    fails = False  # at the next entry
    errs: Callable[[LogManager], None] | None = None  # spoils the state after entries
    spend: Callable[[], None] | None = None  # called for each entry, which then takes long

    # Whether a long entry is being applied; None: there are no long entries.
    changes_offloaded: Callable[[], bool] | None = None
    looker: Looker | None = None
    taken: TakenEvents | None = None  # the last taken events

    @property
    def folder_path(self) -> str:
        """The folder for the copy of a backup: a file without a name, on the real disk."""
        return gettempdir()

    def look_at(self, looker: Looker) -> None:
        """Add a listener to the entries applied from now on."""
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
        if self.errs is not None:
            self.errs(self)
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

    def freeze(self, *, even_differing: bool = False) -> MachineState:
        """Freeze the present state.

        Raises:
            InvariantError: it may then hold an entry that the core doesn't know to be applied.
        """
        if self.changes_offloaded is not None and self.changes_offloaded():
            raise InvariantError(f"{self.name} freezes its state during a long entry")
        return super().freeze(even_differing=even_differing)

    def take_events(self) -> TakenEvents:
        self.taken = super().take_events()
        return self.taken
