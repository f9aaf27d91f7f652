"""The lines that leave on one connection: replies, in the order of the requests, and what watches
tell."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from raftline.common.wakeup import Wakeup
from raftline.net.host import Backlog, Batch, Host, ReplySink
from raftline.wire import limits
from raftline.wire.protocol import NO_LEADER, error, outcome_unknown, reply_line

PIECE: Final = limits.PIECE_CHARACTERS
READS_AT_ONCE: Final = 16
BATCHES_MAX: Final = limits.BATCHES
UNDER_WAY_MAX: Final = limits.UNDER_WAY_CHARACTERS
SHORT: Final = 4096  # characters of a batch's replies that are not counted
NOT_KEPT: Final = outcome_unknown("the replies that wait for this client are too long already")


class Outgoing(ReplySink):
    """The replies of one connection.

    Whoever answers the last request that a reply waits for sends it, without waiting: to wake the
    connection's own thread for that would cost more than all the rest of a request (1.3 times as
    many sets at 64 connections without it: docs/develop/speed.md). A reply that is longer than a
    piece, and what a reader does not take at once, goes out by a thread that lives until it has.
    That thread makes one piece at a time, once the node has room for it (`ReplyRoom`). So a reader
    that is slow holds nobody up, and takes no memory beyond a piece or one long reply.

    A watch that follows closely is pushed its lines, without waiting. One that lags is a
    backlog: it is asked for a piece whenever the reader has taken the one before.

    While `_is_stuck`, one thread alone sends, makes what it sends without the lock, and goes on
    until nothing is left: everybody else leaves it to that one.
    """

    def __init__(self, host: Host, connection: socket.socket) -> None:
        self._host = host
        self._socket = connection
        self._lock = threading.Lock()  # nobody waits, computes for long or reads a file under it
        self._batches: deque[Batch] = deque()  # in the order of their lines; the head is sent first
        self._added = self._settled = 0  # characters of the requests of batches, each in all
        self._backlogs: deque[Backlog] = deque()  # in turn
        self._coming: list[Backlog] = []  # that are asked from the next `pump` on
        self._kept = 0  # characters of the replies to entries that wait with their batches
        self._is_over = False  # nothing leaves any more
        self._is_stuck = False
        self._has_waiter = False  # the connection's thread sleeps on …
        self._moved = Wakeup()
        self.bytes_sent = 0

    # --- the thread that reads: the connection's own, or the shared reader ---------------------

    def add(self, batch: Batch) -> None:
        """Take a batch whose replies leave after all that were added before."""
        self._added += _size(batch)
        self._batches.append(batch)

    def wait_until_empty(self) -> None:
        """Return once every reply has left, or the reader has."""
        self._has_waiter = True
        while not self.is_empty():
            self._moved.wait()
        self._has_waiter = False

    def is_empty(self) -> bool:
        """Whether every reply has left."""
        with self._lock:  # else what is no longer in `_batches` may not be in the socket yet
            return not (self._batches or self._is_stuck)

    def is_full(self) -> bool:
        """Whether a client that sends without reading must wait before it may send more."""
        if self._is_stuck or len(self._batches) >= BATCHES_MAX:
            return True
        return self._added - self._settled >= UNDER_WAY_MAX

    def wait_for_room(self) -> None:
        """Return once a client that sends without reading may send more."""
        if self.is_full():
            self._has_waiter = True
            while self.is_full():
                self._moved.wait()
            self._has_waiter = False

    def send(self, replies: list[str]) -> None:
        """Send lines, all of which have been made, and wait until they have been taken.

        Raises:
            OSError: as of `send_bytes`.
        """
        self.send_bytes(("\n".join(replies) + "\n").encode("utf-8", "replace"))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes that stand between lines, or are some, and wait until they have been taken.

        Raises:
            OSError: the reader is gone, or took nothing for too long.
        """
        while not self._is_taken():
            self.wait_until_empty()
        try:
            self._socket.sendall(data)
            self.bytes_sent += len(data)
        finally:
            with self._lock:
                self._is_stuck = False
        self._pump()

    def _is_taken(self) -> bool:
        """Keep all others from sending, if every reply has left; return whether it is so now."""
        with self._lock:
            if self._batches or self._is_stuck:
                return False
            self._is_stuck = True
            return True

    # --- any thread ----------------------------------------------------------------------------

    def add_backlogs(self, backlogs: Sequence[Backlog]) -> None:
        """Take watches that have something to send; `pump` sends it, and nobody before: the first
        line of a watch is the reply to its request."""
        with self._lock:
            self._coming.extend(backlogs)

    def pump(self) -> None:
        """Send what the backlogs have, by this thread while the reader takes all at once, else by
        one that waits for the reader. Others may send in between the pieces."""
        with self._lock:
            self._backlogs.extend(self._coming)
            self._coming.clear()
        self._pump()

    def _pump(self) -> None:
        with self._lock:
            if self._is_stuck or not self._backlogs:
                return
            self._is_stuck = True
        try:
            while self._pumped():
                pass
        except (OSError, MemoryError):  # a file that can't be read, for example
            with self._lock:
                self._cut_off()
        if self._has_waiter:
            self._moved.set()

    def _pumped(self) -> bool:
        """Send one piece of a backlog, and the replies that came meanwhile; return whether there is
        more for this thread, which alone sends."""
        data = self._next_of_sources()
        with self._lock:
            self._is_stuck = False
            sent = self._send(data)
            if sent < len(data):
                self._send_later(data[sent:])
                return False
            if not self._sent_replies():
                return False
            self._is_stuck = bool(self._backlogs)
            return self._is_stuck

    def mark_ready(self) -> None:
        """Note that replies can leave; see `ReplySink`."""
        self._host.mark_ready(self)

    def send_now(self, data: bytes) -> bool:
        """Send without waiting; return whether all was taken. After a part of it nothing leaves
        any more: what follows would be read as the rest of its line."""
        with self._lock:
            sent = 0 if self._is_stuck else self._send(data)
            if 0 < sent < len(data):
                self._cut_off()
            return sent == len(data)

    def flush(self) -> None:
        """Send the replies that are complete, up to the first request that has none yet."""
        with self._lock:
            if self._is_stuck or not self._sent_replies():
                return
        if self._has_waiter:
            self._moved.set()

    def push(self, data: bytes, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        """Send lines of watches without waiting. If the reader is slow nothing is sent:
        `to_backlogs` makes the watches backlogs, which send the same later."""
        with self._lock:
            if self._is_stuck or self._backlogs or self._coming:  # whoever sends asks these then
                (self._coming or self._backlogs).extend(to_backlogs())
            else:
                sent = self._send(data)
                if sent < len(data):
                    self._send_later(data[sent:])

    def keep(self, batch: Batch, replies: list[str]) -> list[str]:
        """Return the replies to entries as they may wait here; see `ReplySink`."""
        if sum(map(len, replies)) <= SHORT:
            return replies
        with self._lock:
            return [self._as_kept(batch, reply) for reply in replies]

    def _as_kept(self, batch: Batch, reply: str) -> str:
        size, room = len(reply), self._host.reply_room
        if self._is_over or size <= len(NOT_KEPT):
            return reply
        # A reply to a set repeats its value; the requests under way have a bound of their own.
        longest = UNDER_WAY_MAX + self._added - self._settled
        if self._kept + size > longest or not room.keep(size):
            return NOT_KEPT
        batch.kept += size
        self._kept += size
        return reply

    def push_later(self, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        """Make watches backlogs whose lines are too long to be pushed."""
        with self._lock:
            is_asked = self._is_stuck or bool(self._backlogs)
            self._backlogs.extend(to_backlogs())
            if not is_asked:
                self._send_later(b"")

    def break_off(self) -> None:
        """End the connection; see `ReplySink` and `Holder`. The thread that sends, if there is one,
        ends by that."""
        with self._lock:
            if self._is_stuck:
                self._shut_down()
            else:
                self._cut_off()
        self._moved.set()

    def give_up_late(self, before_ms: int) -> None:
        """Answer what was asked before then and has no answer; with the driver's `core` held."""
        with self._lock:  # `add` may put more after these meanwhile: an iterator would not have it
            batches = [self._batches[place] for place in range(len(self._batches))]
        for batch in batches:
            if batch.asked_ms >= before_ms or not batch.asked_ms:  # 0: about to be handed over
                return
            if not batch.is_answered:
                late = "no quorum answered in time"
                batch.answer_rest(NO_LEADER if batch.is_read else outcome_unknown(late))

    # --- what leaves next, by the thread that alone sends, or with the lock held -----------------

    def _is_ready(self) -> bool:
        """Whether the first reply that has not left is there, or can be made."""
        if not self._batches:
            return False
        batch = self._batches[0]
        return batch.is_answered and (bool(batch.replies) or batch.reader is not None)

    def _next(self, *, or_one_long: bool) -> bytes:
        """Return the next replies that are complete, spelled: a piece of them. A longer reply is
        one by itself, if that is wanted; b"" if there is none. `_settle` is called then."""
        lines: list[str] = []
        place, room = 0, PIECE
        while place < len(self._batches) and room > 0:
            batch = self._batches[place]
            if not batch.is_answered:
                break
            room = self._spell(batch, lines, room, or_one_long=or_one_long)
            if batch.sent < len(batch.commands):
                break
            place += 1
        return ("\n".join(lines) + "\n").encode("utf-8", "replace") if lines else b""

    def _spell(self, batch: Batch, lines: list[str], room: int, *, or_one_long: bool) -> int:
        """Spell the replies of a batch that there is room for; return what is left of it."""
        begin = batch.sent
        replies = batch.replies[begin : begin + room]
        if not replies:
            if batch.reader is None:  # confirmed by nobody
                return 0
            asked = batch.commands[begin : begin + READS_AT_ONCE]
            replies = batch.reader.read(asked, room, waits=or_one_long)
        for reply in replies:
            if len(reply) > room and (lines or not or_one_long):
                return 0
            lines.append(reply_line(self._host.name, batch.ids[batch.sent], reply))
            if len(reply) > PIECE and batch.replies:
                batch.replies[batch.sent] = ""  # it may be long until the others have left
            batch.sent += 1
            room -= len(reply)
        return max(room, 0)

    def _settle(self) -> None:
        """Forget the batches whose replies are all spelled; with the lock held."""
        while self._batches and self._batches[0].sent == len(self._batches[0].commands):
            batch = self._batches.popleft()
            self._settled += _size(batch)
            self._let_go(batch.kept)

    def _let_go(self, kept: int) -> None:
        if kept:
            self._kept -= kept
            self._host.reply_room.let_go(kept)

    def _next_of_sources(self) -> bytes:
        """Return the next piece of the backlog whose turn it is; those that have none go."""
        while self._backlogs:
            backlog = self._backlogs.popleft()
            data = backlog.next_piece()
            if data:
                self._backlogs.append(backlog)
                return data
        return b""

    # --- sending, with the lock held -------------------------------------------------------------

    def _sent_replies(self) -> bool:
        """Send the replies that are complete and no longer than a piece, without waiting; return
        False if a thread goes on with the rest."""
        while data := self._next(or_one_long=False):
            self._settle()
            sent = self._send(data)
            if sent < len(data) and self._send_later(data[sent:]):
                return False
        return not (self._is_ready() and self._send_later(b""))

    def _send(self, data: bytes) -> int:
        try:
            sent = self._socket.send(data, socket.MSG_DONTWAIT) if data else 0
            self.bytes_sent += sent
            return sent
        except BlockingIOError:
            return 0
        except OSError:
            self._forget()
            return len(data)

    def _send_later(self, data: bytes) -> bool:
        """Have its own thread send this and all that follows; return whether there is one."""
        self._is_stuck = True
        drain = threading.Thread(target=self._drain, args=(data,), name="slow reader", daemon=True)
        try:
            drain.start()
        except RuntimeError:  # no thread to be had
            self._cut_off()
            return False
        return True

    def _cut_off(self) -> None:
        """Take nothing more from a reader who can't be sent to."""
        self._shut_down()
        self._forget()
        self._is_stuck = False

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _forget(self) -> None:
        self._batches.clear()
        self._backlogs.clear()
        self._coming.clear()
        self._settled, self._is_over = self._added, True
        self._let_go(self._kept)

    # --- the thread of a slow reader -------------------------------------------------------------

    def _drain(self, data: bytes) -> None:
        """Send to a reader that is slow, until it has all; SO_SNDTIMEO bounds each wait."""
        room = self._host.reply_room
        if data:
            room.hold(self, len(data))
            room.relieve()
        try:
            while self._drained(data):
                room.reserve(self, in_turn=self._is_ready())  # a backlog may wait for its disk
                data = self._next(or_one_long=True) or self._next_of_sources()
                room.hold(self, len(data))
        except (OSError, MemoryError):
            with self._lock:
                self._cut_off()
        room.give(self)
        self._moved.set()

    def _drained(self, data: bytes) -> bool:
        """Send a piece, all of it; return whether there is more to send."""
        if data:
            self._socket.sendall(data)
            self._host.reply_room.give(self)
        with self._lock:
            self.bytes_sent += len(data)
            self._settle()
            self._is_stuck = self._is_ready() or bool(self._backlogs)
            return self._is_stuck


def _size(batch: Batch) -> int:
    """Return the characters of the requests of a batch: a reply to a set repeats its value."""
    return sum(map(len, batch.commands))


class Replies:
    """Replies that the thread of a connection makes itself, and sends together."""

    def __init__(self, name: str, outgoing: Outgoing) -> None:
        self._name = name
        self._outgoing = outgoing
        self._lines: list[str] = []
        self._size = 0

    def add(self, request_id: str, text: str) -> None:
        """Add the reply to a request; a piece of them is sent at once, as by `flush`."""
        self._lines.append(reply_line(self._name, request_id, text))
        self._size += len(text)
        if self._size >= PIECE:
            self.flush()

    def flush(self) -> None:
        """Send the replies that have gathered; SO_SNDTIMEO ends it for a reader that takes none.

        Raises:
            OSError: the reader is gone, or took nothing for too long.
        """
        if self._lines:
            lines, self._lines, self._size = self._lines, [], 0
            self._outgoing.send(lines)

    def complain(self, problem: str) -> None:
        """Send a complaint after them, if the reader is still there."""
        with contextlib.suppress(OSError):
            self.add("", error(problem))
            self.flush()
