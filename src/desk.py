"""The requests that wait: for the owner thread, for the disk, for a leader, for their entries."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from raftline.batch import Batch
from raftline.protocol import NO_LEADER, STOPPING, outcome_unknown

__all__ = ["STOPPING", "Desk"]

WAITING_MAX = 10_000  # batches that may wait for a leader; more are told to try again


class Desk:
    """Keeps every batch in one place until it was answered or handed out again.

    Anybody may `put`; whoever calls the rest holds the driver's `core` lock.
    """

    def __init__(self, hold_ms: int) -> None:
        self._hold_ms = hold_ms
        self._waiting: deque[Batch] = deque()  # not yet seen by the owner
        self._gathered: list[Batch] = []  # writes that wait to share the next write of the disk
        self._held: list[Batch] = []  # no leader known: kept until one is, or for `hold_ms`
        self._pending: deque[Batch] = deque()  # proposed in `_pending_term`, in index order
        self._pending_term = 0

    def put(self, batch: Batch) -> None:
        """Leave a batch for the owner thread."""
        self._waiting.append(batch)

    @property
    def has_new(self) -> bool:
        """Whether anything is there that the owner has not seen."""
        return bool(self._waiting)

    @property
    def has_gathered(self) -> bool:
        """Whether writes wait to share the next write of the disk."""
        return bool(self._gathered)

    @property
    def held_until_ms(self) -> int | None:
        """When the first batch is given up that waits for a leader; None where none waits."""
        return self._held[0].hold_until_ms if self._held else None

    def take_new(self) -> list[Batch]:
        """Hand out what the owner has not seen."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def take_back(self) -> list[Batch]:
        """Hand out what was gathered or held, in this order: it came before what is new."""
        batches = self._gathered + self._held
        self._gathered, self._held = [], []
        return batches

    def gather(self, batches: Sequence[Batch]) -> None:
        """Keep writes until the disk is free."""
        self._gathered += batches

    def hold(self, batches: Sequence[Batch], now: int) -> None:
        """Keep batches until somebody leads and takes them; tell those that waited too long."""
        for batch in batches:
            if batch.hold_until_ms == 0:
                batch.hold_until_ms = now + self._hold_ms
            if now >= batch.hold_until_ms or len(self._held) >= WAITING_MAX:
                batch.answer_all(NO_LEADER)
            else:
                self._held.append(batch)

    def enter(self, batches: Sequence[Batch], first_index: int, term: int) -> list[str]:
        """Note that these get the entries from `first_index` on, in `term`; return their commands
        in that order."""
        commands: list[str] = []
        for batch in batches:
            batch.first_index = first_index + len(commands)
            commands += batch.commands
        self._pending_term = term
        self._pending.extend(batches)
        return commands

    def are_pending_beside(self, term: int | None) -> bool:
        """Whether batches wait for entries of another term than the one this server leads; None:
        it leads none."""
        return bool(self._pending) and self._pending_term != term

    def answer_applied(self, replies: Sequence[str], first: int, last: int) -> None:
        """Give the replies to the entries `first` to `last` to those whose requests are among
        them. What is pending lies in index order, so nobody is searched for."""
        while self._pending and self._pending[0].first_index <= last:
            batch = self._pending[0]
            start = batch.first_index + len(batch.replies) - first
            batch.replies += replies[start : start + len(batch.commands) - len(batch.replies)]
            if len(batch.replies) < len(batch.commands):
                return
            self._pending.popleft()
            batch.wake()

    def give_up_pending(self, why: str) -> None:
        """Nobody here can know what becomes of these entries: say just that."""
        while self._pending:
            self._pending.popleft().answer_rest(outcome_unknown(why))

    def turn_all_away(self, why: str) -> None:
        """Answer everybody: what was proposed has an unknown outcome, of the rest nothing was
        done."""
        self.give_up_pending(why)
        for batch in [*self.take_new(), *self.take_back()]:
            batch.answer_all(STOPPING)
