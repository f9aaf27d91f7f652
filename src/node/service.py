"""Which requests are served when: what waits in the queue, and how a leader has it gather."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from raftline.net.batch import Batch
from raftline.node.gathering import Gathering, Sharing
from raftline.node.queue import RequestQueue
from raftline.node.reading import read_as_leader
from raftline.node.writer import Writer
from raftline.raft.effects import Effects
from raftline.raft.node import Node
from raftline.wire.protocol import REMOVED


class Rim(Protocol):
    """What this needs of the world around the driver."""

    def not_leader(self, leader: str) -> str: ...


class Service:
    """Takes requests from the queue and steps them into the core.

    Writes wait while others are under way, and until as many are there as before, so that they
    share one append, one fdatasync and one AppendEntries line; reads in the same way share one
    round of heartbeats. The caller holds the driver's `core` lock, but for `enqueue`, `is_wanted`
    and `until_s`: they may be a moment behind, and the thread that steps the core asks again.
    """

    def __init__(
        self,
        node: Node,
        queue: RequestQueue,
        writer: Writer,
        rim: Rim,
        carry_out: Callable[[Effects], None],
        wake_owner: Callable[[], None],
    ) -> None:
        self._node = node
        self._queue = queue
        self._writer = writer
        self._rim = rim
        self._carry_out = carry_out
        self._wake_owner = wake_owner
        self._writes, self._reads = Gathering(), Gathering()
        self._sharing = Sharing()
        # Of each proposal under way: its last index, its batches, when it was made.
        self._in_flight: deque[tuple[int, int, float]] = deque()
        self._proposed_s = 0.0  # when the last one was made
        self.leads = False  # as of the last step

    # --- without `core` ------------------------------------------------------------------------

    def enqueue(self, batch: Batch) -> None:
        """Put a batch in the queue."""
        queue = self._queue
        queue.put(batch)
        if batch.is_read:
            self._reads.arrived(len(queue.reads))
        else:
            self._writes.arrived(len(queue.writes))

    def is_wanted(self) -> bool:
        """Whether anything is there that need not wait."""
        queue = self._queue
        if queue.writes and not (self.leads and self._writes_gather()):
            return True
        if queue.reads and not (self.leads and self._reads_gather()):
            return True
        return bool(queue.others)

    def until_s(self) -> float:
        """When those who gather are to be served at the latest, by time.monotonic."""
        until_s = math.inf
        if self.leads:
            if self._queue.writes and not self._writer.is_full:
                wait_s = self._sharing.wait_s
                is_busy = self._in_flight or self._writer.is_busy
                until_s = self._proposed_s + wait_s if is_busy else self._writes.ripe_at_s
            if self._queue.reads and not self._reads_in_flight():
                until_s = min(until_s, self._reads.ripe_at_s)
        return until_s

    def _writes_gather(self) -> bool:
        if self._writer.is_full:
            return True
        if self._in_flight or self._writer.is_busy:
            return time.monotonic() - self._proposed_s < self._sharing.wait_s
        return not self._writes.is_ripe(len(self._queue.writes))

    def _reads_gather(self) -> bool:
        return self._reads_in_flight() or not self._reads.is_ripe(len(self._queue.reads))

    def _reads_in_flight(self) -> bool:
        state = self._node.state
        return len(state.read_rounds) >= state.options.read_rounds

    # --- with `core` held ----------------------------------------------------------------------

    def committed(self, index: int) -> bool:
        """Take note that what was proposed up to `index` was answered; return whether anything
        was."""
        answered, proposed_s = 0, 0.0
        while self._in_flight and self._in_flight[0][0] <= index:
            _, batches, proposed_s = self._in_flight.popleft()
            answered += batches
        if answered:
            self._sharing.committed(time.monotonic() - proposed_s)
            self._writes.answered(answered + len(self._queue.writes))
        return answered > 0

    def confirmed(self, count: int) -> None:
        """Take note that so many reads were answered."""
        self._reads.answered(count + len(self._queue.reads))

    def lost_leadership(self) -> None:
        """Take note that this server's proposals are no longer its own."""
        self._in_flight.clear()

    def serve(self, clock: Callable[[], int]) -> None:
        """Serve what is held and what is new, but for what had better gather: propose and confirm
        as the leader, send on to another, or hold while there is none.

        The clock is read behind the queue: a lease that ran before a read came, and ran out since,
        says nothing about that read.
        """
        batches = self._queue.take(
            writes=not (self.leads and self._writes_gather()),
            reads=not (self.leads and self._reads_gather()),
        )
        if not batches:
            return
        now, node = clock(), self._node
        if node.is_leader:
            self._serve_as_leader(batches, now)
        elif node.state.leader is not None:
            reply = self._rim.not_leader(node.state.leader)
            for batch in batches:
                if not batch.asks_leader:
                    batch.answer_all(reply)
            asking = [batch for batch in batches if batch.asks_leader]
            if asking:
                self._carry_out(node.ask_leader(asking, now))
        elif node.state.removed_by and not node.state.is_member:
            for batch in batches:
                batch.answer_all(REMOVED)
        else:
            self._queue.hold(batches, now, node.state.no_leader_because)

    def _serve_as_leader(self, batches: list[Batch], now: int) -> None:
        if not self._node.takes_proposals:
            self._queue.hold([batch for batch in batches if not batch.is_read], now)
        else:
            writes = [one for one in batches if not one.is_read and one.change is None]
            if writes:
                self._propose(writes, now)
            for batch in batches:
                if batch.change is not None:
                    self._change(batch, now)
        for effects in read_as_leader(self._node, batches, now):
            self._carry_out(effects)

    def _change(self, batch: Batch, now: int) -> None:
        if batch.change is not None and self._node.takes_proposals:
            self._carry_out(self._node.change(batch.change, batch, now))
        else:  # a step before ended this leadership: look for the new leader
            self._queue.put(batch)
            self._wake_owner()

    def _propose(self, batches: list[Batch], now: int) -> None:
        state = self._node.state
        commands = self._queue.enter(batches, state.log.last_index + 1, state.term)
        self._proposed_s = time.monotonic()
        last_index = state.log.last_index + len(commands)
        self._in_flight.append((last_index, len(batches), self._proposed_s))
        self._carry_out(self._node.propose(commands, now))
