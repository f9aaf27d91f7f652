"""Requests of one connection that wait together, and how those who wait hear of the answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from raftline.raft.change import Change
from raftline.wire.parsing import BY_ROUND, Reading


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
