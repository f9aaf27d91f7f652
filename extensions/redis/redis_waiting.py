"""The connections that wait for an element of a list or a sorted set (`BLPOP` and others), or for
an entry of a stream (`XREAD`).

A waiter learns of each change of its keys by a watch, so nothing is asked again and again, and it
does not depend on who makes the change. The waiters of a key form a line: the first one is woken,
takes its element by an entry, leaves, and wakes the next. A mere reader is in no line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from raftline.net.protocol.host import Backlog, Batch, DoorHost
from raftline.net.protocol.outgoing_protocol import OutgoingProtocol
from raftline.net.protocol.waits import AwaitReplies, Waits
from raftline.wire.commands.watch_lines import WatchAsked
from raftline.wire.protocol import escape
from raftline.wire.refusal import is_refusal

from .redis_sink import RedisSink
from .resp.notifications import without_values

CHECK_S: Final = 5.0  # after this time a waiter looks whether its client is there, and who leads


class WaitingLines:
    """The lines of waiters, by key, in the order of their arrival. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[str, dict[Waiter, None]] = {}
        self.count = 0  # of the waiters that have found no element yet

    def join(self, waiter: Waiter) -> None:
        """Add a waiter to the line of each of its keys."""
        with self._lock:
            for key in waiter.in_lines:
                self._lines.setdefault(key, {})[waiter] = None

    def block(self, waiter: Waiter) -> None:
        """Count a waiter that has looked at its keys in vain."""
        with self._lock:
            if not waiter.is_blocked:
                waiter.is_blocked = True
                self.count += 1

    def is_first(self, waiter: Waiter) -> bool:
        """Whether a waiter is the first in the line of one of its keys, or in none."""
        if not waiter.in_lines:
            return True
        with self._lock:
            return any([next(iter(self._lines[key])) is waiter for key in waiter.in_lines])

    def leave(self, waiter: Waiter) -> None:
        """Remove a waiter, and wake those that are the first now."""
        firsts: dict[Waiter, None] = {}
        with self._lock:
            self.count -= waiter.is_blocked
            for key in waiter.in_lines:
                line = self._lines.get(key, {})
                line.pop(waiter, None)
                if line:
                    firsts[next(iter(line))] = None
                else:
                    self._lines.pop(key, None)
        for first in firsts:
            first.wake()


class Waiter(RedisSink):
    """A connection that waits for one of some keys. It is a sink of events, whose lines wake it."""

    def __init__(
        self,
        lines: WaitingLines,
        host: DoorHost,
        outgoing: OutgoingProtocol,
        keys: Sequence[str],
        within_s: float,
        *,
        in_line: bool,
    ) -> None:
        """It waits for so many seconds; 0: for any time."""
        super().__init__(outgoing)
        self.keys = tuple(dict.fromkeys(keys))
        self.in_lines = self.keys if in_line else ()
        self._lines = lines
        self._host = host
        self._until_s = host.calls.now_s() + within_s if within_s else 0.0
        self._formatted = [escape(key, key=True) for key in self.keys]
        self._names = frozenset(key.encode() for key in self._formatted)
        self._ticket = self._new_ticket()
        self.is_blocked = False
        self._is_new = True
        self._is_lost = False  # its watches, which began again

    def begin(self) -> str:
        """Join the lines, and watch the keys from now on; return a refusal, or ""."""
        self._lines.join(self)
        return self._watch()

    def _watch(self) -> str:
        watchers = self._host.watchers
        last = watchers.last
        asked = [(str(place), WatchAsked(key, last)) for place, key in enumerate(self._formatted)]
        first_lines = watchers.open(self, asked)
        refusals = [lines[0] for lines in first_lines if lines and is_refusal(lines[0])]
        return refusals[0] if refusals else ""

    def _new_ticket(self) -> Batch:
        return Batch([], is_read=True, asker=self._outgoing)

    def turn(self) -> Waits[bool]:
        """Wait until it is the first in a line whose key may have an element; return False if its
        time is over.

        Raises:
            OSError: the client is gone.
        """
        while True:
            left_s = self._until_s - self._host.calls.now_s() if self._until_s else CHECK_S
            if not self._is_new:
                if left_s <= 0:
                    return False
                self._lines.block(self)
                yield AwaitReplies(self._ticket, min(left_s, CHECK_S))
            self._is_new = False
            if self._outgoing.is_reader_gone():
                raise ConnectionAbortedError
            self._ticket = self._new_ticket()  # what changes from here on wakes it again
            if self._is_lost:
                self._is_lost = False
                self._host.watchers.drop(self)
                self._watch()
            if self._lines.is_first(self):
                return True

    def end(self) -> None:
        """Leave the lines."""
        self._host.watchers.drop(self)
        self._lines.leave(self)

    def wake(self) -> None:
        """Make it look at its keys again; any thread may call this."""
        self._ticket.wake()

    def announce_switch(self, text: str) -> None:
        """Look who leads: see `SwitchListener`."""
        self.wake()

    # --- a sink of events ------------------------------------------------------------------------

    def push(self, data: bytes, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        """See `EventSink`. Nothing is sent, so the watches never lag."""
        if any(map(self._concerns, without_values(data))):
            self.wake()

    def _concerns(self, head: bytes) -> bool:
        """Whether a line tells of a set of one of the keys, or of something about the watch."""
        words = head.split(b" ", 3)
        if not words[0].endswith(b"@EVENT"):
            return True
        return words[2:3] == [b"set"] and words[3] in self._names

    def push_later(self, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        self.wake()

    def add_backlogs(self, backlogs: Sequence[Backlog]) -> None:
        """Take the first lines of new watches, after which they are pushed."""
        for backlog in backlogs:
            while backlog.next_piece():
                pass

    def resume(self, backlogs: Sequence[Backlog]) -> None:
        """Begin the watches again: events were missed."""
        self._is_lost = True
        self.wake()

    def break_off(self) -> None:
        self._outgoing.break_off()
