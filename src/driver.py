"""Who may call the consensus core, and in what order its Effects are carried out.

Two locks and no hand-over on the way back (docs/architecture.md): `core` for a step of the core,
`disk` for writing what steps have left in `_unsaved`. The owner thread gathers requests; answers
are stepped by the thread that received them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from raftline.batch import Batch
from raftline.logmanager import LogManager
from raftline.protocol import NO_LEADER, outcome_unknown
from raftline.raft.effects import Effects, Entry, Snapshot
from raftline.raft.messages import Answer, Message, PeerError
from raftline.raft.node import Node
from raftline.storage.rewrite import LogRewrite

WAITING_MAX = 10_000  # batches that may wait for a leader; more are told to try again


class Origin(Protocol):
    """Where a peer's message came from; its answer goes back there."""

    def answer(self, messages: Sequence[Message]) -> None: ...


class Rim(Protocol):
    """What the driver needs of the world around it."""

    def send(self, message: Message) -> None: ...
    def not_leader(self, leader: str) -> str: ...
    def report(self, effects: Effects) -> None: ...
    def wrote(self, arrived: Snapshot | None) -> None: ...
    def fail(self, error: BaseException) -> None: ...


def now_ms() -> int:
    """The only clock: it never goes back, and wall-clock jumps don't move it."""
    return int(time.monotonic() * 1000)


class Driver:
    """Steps the core, one caller at a time, and carries out what it asks."""

    def __init__(self, node: Node, logmanager: LogManager, rim: Rim, hold_ms: int) -> None:
        self.node = node
        self.logmanager = logmanager
        self._rim = rim
        self._hold_ms = hold_ms
        self._core = threading.Lock()
        self._disk = threading.Lock()
        self._unsaved: list[tuple[Effects, Origin | None]] = []
        self._writing = False
        self._waiting: deque[Batch] = deque()  # not yet seen by the owner
        self._held: list[Batch] = []  # no leader known: kept until one is, or for `hold_ms`
        self._pending: deque[Batch] = deque()  # proposed in `_pending_term`, in index order
        self._pending_term = 0
        self._wake = threading.Lock()
        self._wake.acquire()
        self._asleep_until_ms = 0
        self._stopping = False
        self._failure: BaseException | None = None
        self.syncs = 0

    # --- from any thread --------------------------------------------------------------

    def submit(self, batch: Batch) -> None:
        """Leave requests to the owner thread; `batch.wait()` gives their replies."""
        if self._stopping:
            batch.answer_all(outcome_unknown("this server is stopping. Nothing was proposed"))
            return
        self._waiting.append(batch)
        self._wake_owner()

    def receive(self, messages: Sequence[Message], origin: Origin | None) -> list[str]:
        """Step messages of a peer into the core; return a complaint for each that was refused."""
        refused = []
        try:
            with self._core:
                for message in messages:
                    try:
                        self._carry_out(self.node.receive(message, now_ms()), origin)
                    except PeerError as error:
                        refused.append(str(error))
            self._write_out()
        except Exception as error:
            self._fail(error)
        return refused

    def lost(self, peer: str) -> None:
        """Tell the core that a peer's connection broke."""
        self._step(lambda: self.node.lost(peer, now_ms()))

    def stop(self) -> None:
        """Stop the owner thread, and tell everybody who waits that the outcome is not known."""
        self._stopping = True
        self._wake_owner()

    def close(self) -> None:
        """Close the files, once nobody writes any more."""
        with self._disk:
            self.logmanager.close()

    def status(self) -> dict[str, object]:
        """Return what `status` tells: this server's own view, not confirmed by anybody."""
        with self._core:
            state = self.node.state
            return {
                "name": state.name,
                "role": state.role.value,
                "term": state.term,
                "leader": state.leader,
                "last_index": state.log.last_index,
                "synced_index": state.durable_index,
                "commit_index": state.commit_index,
                "last_applied": state.last_applied,
                "base_index": state.log.base_index,
                "snapshot_index": state.snapshot.index if state.snapshot else 0,
                "snapshot_bytes": state.snapshot.size if state.snapshot else 0,
                "recovering": state.amnesiac,
                "voters": list(state.membership.voters),
                "syncs": self.syncs,
            }

    # --- the owner thread --------------------------------------------------------------

    def run(self) -> None:
        """Gather what waits, step it, write; sleep until the next request or deadline."""
        try:
            while not self._stopping:
                wake_at = self.node.wake_at_ms
                if self._held:
                    wake_at = min(wake_at, self._held[0].hold_until_ms)
                self._asleep_until_ms = wake_at
                pause = wake_at - now_ms()
                if pause > 0 and not self._waiting:
                    self._wake.acquire(timeout=pause / 1000)
                self._asleep_until_ms = 0
                self._round()
                self._write_out()
        except Exception as error:
            self._fail(error)
        self._turn_all_away()

    def _round(self) -> None:
        batches = [self._waiting.popleft() for _ in range(len(self._waiting))]
        with self._core:
            now = now_ms()
            if now >= self.node.wake_at_ms:
                self._carry_out(self.node.pass_time(now), None)
            if self._held:
                batches = self._held + batches
                self._held = []
            if batches:
                self._serve(batches, now)

    def _serve(self, batches: list[Batch], now: int) -> None:
        """Propose and confirm as the leader, send on to another, or hold while there is none."""
        node = self.node
        if node.is_leader:
            writes = [batch for batch in batches if not batch.is_read]
            reads = [batch for batch in batches if batch.is_read]
            if writes:
                self._propose(writes, now)
            if reads:
                self._carry_out(node.read(reads, now), None)
        elif node.state.leader is not None:
            reply = self._rim.not_leader(node.state.leader)
            for batch in batches:
                batch.answer_all(reply)
        else:
            for batch in batches:
                self._hold(batch, now)

    def _hold(self, batch: Batch, now: int) -> None:
        if batch.hold_until_ms == 0:
            batch.hold_until_ms = now + self._hold_ms
        if now >= batch.hold_until_ms or len(self._held) >= WAITING_MAX:
            batch.answer_all(NO_LEADER)
        else:
            self._held.append(batch)

    def _propose(self, batches: list[Batch], now: int) -> None:
        index = self.node.state.log.last_index + 1
        commands: list[str] = []
        for batch in batches:
            batch.first_index = index + len(commands)
            commands += batch.commands
        self._pending_term = self.node.state.term
        self._pending.extend(batches)
        self._carry_out(self.node.propose(commands, now), None)

    # --- with `core` held ------------------------------------------------------------------

    def _carry_out(self, effects: Effects, origin: Origin | None) -> None:
        """Carry out one Effects: send, queue for the disk, apply, answer, tell."""
        for message in effects.send:
            self._rim.send(message)
        behind_disk = bool(self._unsaved) or self._writing
        if effects.wants_disk or (effects.send_after_save and behind_disk):
            self._unsaved.append((effects, origin))
        elif effects.send_after_save:
            self._deliver(effects.send_after_save, origin)
        if effects.install is not None:
            self.logmanager.take_over(effects.install)
        if effects.apply:
            self._apply(effects.apply)
        for ready in effects.reads:
            ready.token.confirm()
        for batch in effects.refused:  # its leadership ended: look for the new leader
            self._waiting.append(batch)
        if self._pending and not (
            self.node.is_leader and self.node.state.term == self._pending_term
        ):
            self._give_up_pending()
        self._rim.report(effects)
        leader_found = self._held and self.node.state.leader is not None
        if effects.refused or leader_found or self.node.wake_at_ms < self._asleep_until_ms:
            self._wake_owner()

    def _deliver(self, messages: Sequence[Message], origin: Origin | None) -> None:
        answers = [message for message in messages if isinstance(message, Answer)]
        if answers and origin is not None:
            origin.answer(answers)
        for message in messages:
            if not isinstance(message, Answer):
                self._rim.send(message)

    def _apply(self, entries: Sequence[Entry]) -> None:
        """Execute committed entries; wake those whose requests are among them.

        `_pending` lies in index order, so nobody is searched for.
        """
        replies = self.logmanager.apply(entries)
        first, last = entries[0].index, entries[-1].index
        while self._pending and self._pending[0].first_index <= last:
            batch = self._pending[0]
            start = batch.first_index + len(batch.replies) - first
            batch.replies += replies[start : start + len(batch.commands) - len(batch.replies)]
            if len(batch.replies) < len(batch.commands):
                return
            self._pending.popleft()
            batch.wake()

    def _give_up_pending(self) -> None:
        """A leader that lost its place can't know what becomes of its entries: say just that."""
        while self._pending:
            self._pending.popleft().answer_rest(
                outcome_unknown("this server lost the leadership before the entry was committed")
            )

    # --- the disk --------------------------------------------------------------------------

    def _write_out(self) -> None:
        """Write and sync all that waits, then let go what waited for it.

        Whoever holds `disk` takes everybody's work along: one fdatasync serves all of it. Who
        does not get it goes on; the holder looks again before it leaves.
        """
        while self._unsaved:
            if not self._disk.acquire(blocking=False):
                return
            try:
                self._write_once()
            finally:
                self._disk.release()

    def _write_once(self) -> None:
        with self._core:
            work, self._unsaved = self._unsaved, []
            self._writing = True
        if self._failure is not None:
            raise self._failure
        durable = self.logmanager.persist([effects for effects, _ in work])
        if durable is not None:
            self.syncs += 1
        arrived = [effects.check for effects, _ in work if effects.check is not None]
        with self._core:
            self._writing = False
            for effects, origin in work:
                if effects.send_after_save:
                    self._deliver(effects.send_after_save, origin)
            if durable is not None:
                self._carry_out(self.node.synced(*durable, now_ms()), None)
        self._rim.wrote(arrived[-1] if arrived else None)

    # --- for snapshots: see docs/snapshots.md -----------------------------------------------

    def step(self, step: Callable[[Node, int], Effects]) -> None:
        """Let the core take an input from any thread."""
        self._step(lambda: step(self.node, now_ms()))

    def publish(self, snapshot: Snapshot) -> bool:
        """Put a snapshot of this node's own in force; False where a later one arrived."""
        try:
            with self._disk:
                published = self.logmanager.snapshots.publish(snapshot)
            self._write_out()
        except Exception as error:
            self._fail(error)
            return False
        return published

    def committed_entries(self, first: int, count: int) -> list[Entry]:
        """Return entries from `first` on that are committed and on this node's disk."""
        with self._core:
            state = self.node.state
            last = min(state.commit_index, state.durable_index, first + count - 1)
            return [] if first <= state.log.base_index else state.log.entries(first, last)

    def finish_rewrite(self, rewrite: LogRewrite) -> bool:
        """Let the log written anew take the old one's place; False where a snapshot arrived
        meanwhile, which the new log knows nothing of.

        The log in memory may be ahead of the disk, or have cut what the disk still has: what
        waits is written first, until no cut is among it.
        """
        old = None
        try:
            with self._disk:
                rest = self._rest_of_log(rewrite)
                if rest is not None:
                    old = self.logmanager.finish_rewrite(rewrite, rest)
            self._write_out()
            if old is not None:
                old.close()
        except Exception as error:
            self._fail(error)
            return False
        return rest is not None

    def _rest_of_log(self, rewrite: LogRewrite) -> list[Entry] | None:
        """Return what NAME.log holds behind what was copied, from memory; `disk` is held."""
        while True:
            with self._core:
                state, last = self.node.state, self.logmanager.last_written
                if state.snapshot != rewrite.snapshot:
                    return None
                differs = any(work.cut_after is not None for work, _ in self._unsaved)
                if last + 1 >= rewrite.next_index and not differs:
                    return state.log.entries(rewrite.next_index, last)
            self._write_once()

    def compaction_index(self) -> int:
        """Return up to where the log may be dropped from memory."""
        with self._core:
            return self.node.compaction_index()

    def compact(self, index: int) -> bool:
        """Drop some thousand entries from memory, `index` the last; return whether more remain.
        Who asks again pauses before, since a lock that is taken anew at once lets nobody in."""
        with self._core:
            return self.node.compact(index)

    def fail(self, error: Exception) -> None:
        """Stop the node: an invariant broke in a thread beside this one."""
        self._fail(error)

    # --- the end ---------------------------------------------------------------------------

    def _step(self, step: Callable[[], Effects]) -> None:
        try:
            with self._core:
                self._carry_out(step(), None)
            self._write_out()
        except Exception as error:
            self._fail(error)

    def _wake_owner(self) -> None:
        try:
            self._wake.release()
        except RuntimeError:  # it is awake already
            return

    def _fail(self, error: Exception) -> None:
        """Stop for good: after a failed write or a broken invariant nothing here can be trusted."""
        self._failure = self._failure or error
        self._stopping = True
        self._wake_owner()
        self._rim.fail(error)

    def _turn_all_away(self) -> None:
        with self._core:
            self._give_up_pending()
            reads = self.node.state.drop_reads()
        for batch in [*self._waiting, *self._held, *reads]:
            batch.answer_all("Sorry, this server is stopping. Nothing was done; try another.")
