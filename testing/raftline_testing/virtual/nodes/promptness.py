"""The invariants of a node's driver: no request is lost or left unserved, and no wake-up is missed.

A real node answers each request or ends its connection, and its owner thread sleeps while there is
nothing to do. Otherwise a client that retries, and an owner that wakes each second, would hide an
error.
"""

from __future__ import annotations

from collections.abc import Collection

from raftline.net.protocol.host import Batch
from raftline.node.loop import writer
from raftline.node.loop.queue import RequestQueue
from raftline.node.loop.stepper import LATE_CHECK_MS
from raftline.raft.node_view import NodeView
from raftline.wire.done_reply import is_done

from ...invariants import InvariantError, Invariants
from ..world.virtual_clock import Clock

LIES_MS = 15  # batching takes 5
WAKES_MS = 60  # an owner that applies pauses for 50


class Promptness:
    """The requests of one incarnation of a node, and since when it has each."""

    def __init__(
        self, name: str, queue: RequestQueue, view: NodeView, clock: Clock, *, is_own: bool
    ) -> None:
        """Create the check; `is_own`: the core is raftline's, so its changes of members can be
        inspected."""
        self._name = name
        self._is_own = is_own
        self._clock = clock
        self._jumps = clock.jumps
        self._queue = queue
        self._view = view
        self._changes: list[Batch] = []  # of members
        # with the target and the time of the request
        self._transfers: list[tuple[Batch, str | None, int]] = []
        # The first batch of each queue, and since when it is the first; for held batches the time
        # of the batch.
        self.first_in: dict[str, tuple[Batch | int, int]] = {}

    def asked_to_change(self, batch: Batch) -> None:
        """Record a request for a change of members."""
        self._changes.append(batch)

    def asked_to_transfer(self, batch: Batch, to: str | None) -> None:
        """Record a request for a transfer of the leadership."""
        self._transfers.append((batch, to, self._clock.now_ms()))

    def stood_still(self) -> None:
        """Restart the times of waiting requests at the next look: the node was paused, or its clock
        jumped."""
        self.first_in.clear()

    # --- after each input -------------------------------------------------------------------------

    def look(self, *, is_full: bool) -> None:
        """Check that no batch is the first of its queue for longer than LIES_MS.

        Raises:
            InvariantError: a request that could be served is left there.
        """
        queue, view = self._queue, self._view
        held = queue.held[0].hold_until_ms if queue.held else None
        now_ms = self._clock.now_ms()
        is_reading = view.read_rounds >= view.options.read_rounds
        has_leader = view.leader is not None and view.transfer is None
        first_in = self.first_in
        for kind, waiting in (
            ("writes", () if is_full else queue.writes),
            ("reads", () if is_reading else queue.reads),
            ("others", queue.others),
            ("held", (held,) if held and has_leader else ()),
        ):
            if not waiting:
                first_in.pop(kind, None)
                continue
            first, since_ms = first_in.get(kind, (None, now_ms))
            if first != waiting[0]:
                first_in[kind] = waiting[0], now_ms
            elif now_ms - since_ms > LIES_MS:
                raise InvariantError(
                    f"{self._name} leaves {kind} in the queue for {now_ms - since_ms} ms"
                )

    def bound_steps(self, count: int) -> None:
        """Check that the number of steps without a new term that wait for a disk stays within the
        bound, and within half as many again for promises.

        Raises:
            InvariantError: more steps wait, and fill the memory.
        """
        if 2 * count > 3 * writer.WAITING_MAX:
            raise InvariantError(f"{self._name} keeps {count} steps for a disk that hangs")

    def alarm(self, due_ms: int) -> None:
        """Check a wake-up of the owner by itself for the core's work due at `due_ms`.

        Raises:
            InvariantError: it was not woken in time.
        """
        now_ms = self._clock.now_ms()
        if self._clock.jumps != self._jumps:
            self._jumps = self._clock.jumps
            self.stood_still()
            return
        held_until_ms = self._queue.held[0].hold_until_ms if self._queue.held else None
        if now_ms > due_ms + WAKES_MS:
            raise InvariantError(f"{self._name}'s owner wakes {now_ms - due_ms} ms too late")
        if held_until_ms is not None and now_ms > held_until_ms + WAKES_MS:
            late_ms = now_ms - held_until_ms
            raise InvariantError(f"{self._name} holds a request for {late_ms} ms too long")

    # --- about each second ------------------------------------------------------------------------

    def count(self, waiting: int, reading: Collection[object], kept_apart: int) -> None:
        """Compare the number of unanswered requests, `waiting`, with the requests that the queue,
        the core or the waiters for the applier still have.

        Raises:
            InvariantError: some are lost or occur twice.
        """
        self._changes = [batch for batch in self._changes if not batch.is_answered]
        leading = self._view._state.leading
        tokens: list[object] = []
        if leading is not None:
            tokens = [token for _, token in leading.waiting]
            if leading.pending_change is not None:
                tokens.append(leading.pending_change.token)
        queued = self._queue.waiting()
        kept = sum(queued.values()) + len(reading) + len(tokens) + kept_apart
        missing = waiting + len(self._changes) - kept
        if not 0 <= missing <= (0 if self._is_own else len(self._changes)):
            raise InvariantError(
                f"{self._name} has {waiting} requests and {len(self._changes)} changes to answer, "
                f"and keeps {kept}: {queued}, reads {len(reading)}, changes {len(tokens)}"
            )

    def look_at_transfers(self, invariants: Invariants) -> None:
        """Check the answers of transfers, and the unanswered ones.

        Raises:
            InvariantError: an answer names a leadership that did not exist, or a server other than
                the requested one. Or it is missing, though no transfer is in progress here and a
                leader is known.
        """
        now_ms = self._clock.now_ms()
        left: list[tuple[Batch, str | None, int]] = []
        for batch, to, asked_ms in self._transfers:
            if not batch.is_answered:
                left.append((batch, to, asked_ms))
            elif is_done(reply := batch.replies[0]):
                name, _, term = reply.partition(": ")[2].partition(" leads term ")
                if invariants.leaders.get(int(term), name) != name or to not in (name, None):
                    raise InvariantError(f"{self._name} answers {reply!r}")
        self._transfers = left
        view = self._view
        if view.leader is not None and view.transfer is None:
            late = [batch for batch, _, asked_ms in left if now_ms > asked_ms + LATE_CHECK_MS]
            if late:
                raise InvariantError(f"{self._name} leaves {len(late)} transfers without an answer")
