"""Requests: a run of them is a batch, and the queue keeps each batch until it is answered."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from raftline.raft.change import Change
from raftline.wire.protocol import STOPPING, no_leader, outcome_unknown

WAITING_MAX = 10_000  # batches that may wait for a leader; more are told to try again


class Reading(NamedTuple):
    """One way to serve reads; a run of equal ones shares a confirmation."""

    by_lease: bool = False  # under the leader's lease while it has one (thesis §6.4.1)
    may_ask: bool = False  # a follower asks the leader for its read index instead of naming it


BY_ROUND = Reading()


class Readings(NamedTuple):
    """What a node was told about reads when it was started."""

    mode: str = "index"
    at_followers: bool = False

    def kind_of(self, verb: str, asked_for: str) -> tuple[str, Reading]:
        """Return whether a get or show is a "write" (an entry of its own), a "read" that is
        confirmed, or "local"; and how it is confirmed.

        `asked_for` is the mode behind `read` in the request, "" where there is none. A show is
        never an entry: its reply would be as long as the state machine.
        """
        mode = asked_for or self.mode
        if mode == "local":
            return "local", BY_ROUND
        if mode == "log" and verb == "get":
            return "write", BY_ROUND
        return "read", Reading(mode == "lease", self.at_followers or asked_for == "index")


class ReplySink(Protocol):
    """The connection that the replies of a batch leave from."""

    def mark_ready(self) -> None:
        """Note that replies can leave; `flush` is called after that step of the core."""

    def flush(self) -> None:
        """Send them."""


class Reader(Protocol):
    """The state that reads are served from."""

    def read(self, commands: Sequence[str]) -> list[str]: ...


class Batch:
    """A run of writes, or of reads, in the order of their lines.

    With a `reply_sink` no thread waits: the replies leave from there. Without one a thread waits on
    a bare lock of its own, acquired to wait and released to wake.
    """

    __slots__ = (
        "_done", "asked_ms", "change", "commands", "first_index", "hold_until_ms", "ids",
        "is_answered", "is_read", "reader", "reading", "replies", "reply_sink", "sent",
    )  # fmt: skip

    def __init__(
        self,
        commands: Sequence[str],
        *,
        is_read: bool,
        reading: Reading = BY_ROUND,
        change: Change | None = None,
        ids: Sequence[str] = (),
        reply_sink: ReplySink | None = None,
    ) -> None:
        self.commands = commands
        self.is_read = is_read
        self.reading = reading
        self.change = change  # a change of members: then it is the batch's one command
        self.ids = ids  # of the requests, "" where one has none; for `reply_sink`
        self.reply_sink = reply_sink
        self.replies: list[str] = []
        self.reader: Reader | None = None  # of confirmed reads: of the state that confirmed them
        self.sent = 0  # replies that have left
        self.first_index = 0
        self.asked_ms = 0
        self.hold_until_ms = 0  # 0: not held for want of a leader
        self.is_answered = False
        self._done: threading.Lock | None = None
        if reply_sink is None:
            self._done = threading.Lock()
            self._done.acquire()

    @property
    def asks_leader(self) -> bool:
        """Whether a follower may confirm these reads by asking its leader."""
        return self.is_read and self.reading.may_ask

    def wait(self, timeout_s: float) -> bool:
        """Wait for the answer; return whether it came in time. Not with a reply sink."""
        return self._done is not None and self._done.acquire(timeout=timeout_s)

    def wake(self) -> None:
        """Let the replies leave, or the thread go on that waits for them. Reads without replies
        are confirmed by that: they may be served from now on."""
        self.is_answered = True
        if self.reply_sink is not None:
            self.reply_sink.mark_ready()
        elif self._done is not None and self._done.locked():
            self._done.release()

    def answer_all(self, reply: str) -> None:
        """Give every request of the batch this reply."""
        self.replies = [reply] * len(self.commands)
        self.wake()

    def answer_rest(self, reply: str) -> None:
        """Give this reply to every request that has none yet."""
        self.replies += [reply] * (len(self.commands) - len(self.replies))
        self.wake()


class RequestQueue:
    """Keeps every batch in one place until it was answered or handed out again.

    Anybody may `put`; whoever calls the rest holds the driver's `core` lock.
    """

    def __init__(self, hold_ms: int) -> None:
        self._hold_ms = hold_ms
        # New ones, each kind in the order in which it came; only `put` and `take` change these.
        self.writes: deque[Batch] = deque()  # may share the next write of the disk
        self.reads: deque[Batch] = deque()  # may share the next round
        self.others: deque[Batch] = deque()  # wait for nothing
        self._held: list[Batch] = []  # no leader known: kept until one is, or for `hold_ms`
        self._pending: deque[Batch] = deque()  # proposed in `_pending_term`, in index order
        self._pending_term = 0

    def put(self, batch: Batch) -> None:
        """Leave a batch for whoever steps the core next."""
        if batch.change is not None or batch.reading.by_lease:
            self.others.append(batch)
        else:
            (self.reads if batch.is_read else self.writes).append(batch)

    @property
    def held_until_ms(self) -> int | None:
        """When the first batch is given up that waits for a leader; None where none waits."""
        return self._held[0].hold_until_ms if self._held else None

    def take(self, *, writes: bool, reads: bool) -> list[Batch]:
        """Hand out what is held, and what is new of these kinds; it came in this order."""
        batches, self._held = self._held, []
        for new in (self.others, *([self.writes] * writes), *([self.reads] * reads)):
            batches += [new.popleft() for _ in range(len(new))]
        return batches

    def hold(self, batches: Sequence[Batch], now: int, no_leader_because: str = "") -> None:
        """Keep batches until somebody leads and takes them; tell those that waited too long."""
        for batch in batches:
            if batch.hold_until_ms == 0:
                batch.hold_until_ms = now + self._hold_ms
            if now >= batch.hold_until_ms or len(self._held) >= WAITING_MAX:
                batch.answer_all(no_leader(no_leader_because))
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
        for batch in self.take(writes=True, reads=True):
            batch.answer_all(STOPPING)
