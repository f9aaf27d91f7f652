"""The outgoing lines of one connection, as a machine: replies, in the order of the requests, and
the lines of watches. It decides which line is sent next, how much may wait, and which thread sends.

It has no socket and no thread. Those belong to the wire, which is a subclass: `Outgoing`
(net/connections/outgoing.py) has a socket; a schedule has a wire in memory. A wire with threads
sets two locks. `_lock` is held while a thread sends, and guards all methods except `_next` and
`_next_of_sources`. Methods that are called with the driver's `core` held never take `_lock`: the
leader would wait for a sending thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from ...common.mypyc_compat import mypyc_attr
from ...state.user_table import UserTable
from ...wire import limits
from ...wire.commands.identity import EVERYWHERE
from ...wire.protocol import reply_line
from ...wire.refusal import REFUSALS, outcome_unknown
from ...wire.replies.refusals import code_of, coded_line
from .host import EVERY, Backlog, Batch, ReplyHost, ReplySink

PIECE: Final = limits.PIECE_CHARACTERS
AT_ONCE: Final = limits.AT_ONCE_CHARACTERS
READS_AT_ONCE: Final = 16
BATCHES_MAX: Final = limits.BATCHES
UNDER_WAY_MAX: Final = limits.UNDER_WAY_CHARACTERS
WIDE: Final = 4  # bytes for each character, at most, if any of them is not ASCII
NOT_IN_TIME: Final = outcome_unknown("no quorum answered in time")
NOT_KEPT: Final = outcome_unknown("the replies that wait for this client are too long already")


@mypyc_attr(allow_interpreted_subclasses=True)
class OutgoingProtocol(ReplySink):
    """The replies of one connection, and the backlogs of its watches.

    While `_is_stuck`, a single thread sends until nothing is left. It writes the lines without
    holding the lock; other threads only add to the queues.
    """

    def __init__(self, host: ReplyHost) -> None:
        self._host = host
        self._lock: AbstractContextManager[Any] = nullcontext()
        self._counting: AbstractContextManager[Any] = nullcontext()  # guards `_kept`; no sends
        self._batches: deque[Batch] = deque()  # in the order of their lines; the head is sent first
        self._added = self._settled = 0  # total characters of requests: added, and answered
        self._backlogs: deque[Backlog] = deque()  # they take turns
        self._coming: list[Backlog] = []  # new ones, which join at the next `pump`
        self._kept = 0  # characters of the replies to entries that wait with their batches
        self._is_over = False  # no more lines are sent
        self._is_stuck = False
        self.bytes_sent = 0
        self.user: str | None = None  # see `Holder`
        # Returns why the rights of now refuse a command, or "".
        self.denial_by_now: Callable[[str], str] = lambda command: ""
        # Returns the prefixes of the keys that may be read by these users.
        self.reads_by: Callable[[UserTable], tuple[str, ...]] = lambda users: EVERYWHERE
        self.puts_codes = False
        self.uses_positions = True  # see `EventSink`
        self.formatted: Callable[[str, str, str], str] = reply_line  # returns the line of a reply
        self.errors = "replace"  # of the encoding of these lines

    # --- the wire --------------------------------------------------------------------------------

    def _send(self, data: bytes) -> int:
        """Send without waiting; return how many bytes were taken: all, if the wire is broken."""
        raise NotImplementedError

    def _send_later(self, data: bytes) -> bool:
        """Become stuck. Start sending this, and then the results of `_next` and
        `_next_of_sources`, as fast as the reader takes them, until `_drained` returns False. Return
        whether this has started."""
        raise NotImplementedError

    def _shut_down(self) -> None:
        """End the connection."""
        raise NotImplementedError

    def read_no_more(self) -> None:
        """End the input of the connection, so that it ends after its replies."""

    def put_codes(self) -> None:
        """Put a code before each refusal from now on; every earlier reply has been sent."""
        self.puts_codes, self.formatted = True, coded_line

    def put_format(self, formatted: Callable[[str, str, str], str], errors: str) -> None:
        """Set how replies are written. Call this before the first reply."""
        self.formatted, self.errors = formatted, errors

    def format(self, request_id: str, reply: str) -> str:
        """Return the line of a reply, and count it if it is a refusal."""
        if reply.startswith(REFUSALS):
            self._host.refusals.add(code_of(reply))
        return self.formatted(self._host.name, request_id, reply)

    # --- requests --------------------------------------------------------------------------------

    def add(self, batch: Batch) -> None:
        """Add a batch. Its replies are sent after the replies to all earlier batches."""
        batch.size = sum(map(len, batch.commands))  # a reply to a set repeats its value
        self._added += batch.size
        self._batches.append(batch)

    @property
    def under_way(self) -> int:
        """The characters of the requests that are not answered."""
        return self._added - self._settled

    def is_empty(self) -> bool:
        """Whether every reply has been sent."""
        with self._lock:  # or replies that are no longer in `_batches` may not have been sent yet
            return not (self._batches or self._is_stuck)

    def is_reader_gone(self) -> bool:
        """Whether the other side has closed the connection, as far as this is known. A waiting
        connection reads nothing, and asks this before it takes what only one reader gets."""
        return False

    def is_full(self) -> bool:
        """Whether a client that sends without reading must wait before it may send more."""
        if self._is_stuck or len(self._batches) >= BATCHES_MAX:
            return True
        if self._batches and self._host.request_room.is_crowded:
            return True
        return self._added - self._settled >= UNDER_WAY_MAX

    def mark_ready(self) -> None:
        """Note that replies can be sent; see `ReplySink`."""
        self._host.mark_ready(self)

    def keep(self, batch: Batch, replies: list[str]) -> list[str]:
        """Return the replies to entries, to be stored here; see `ReplySink`."""
        with self._counting:
            return [self._as_kept(batch, reply) for reply in replies]

    def _as_kept(self, batch: Batch, reply: str) -> str:
        size, room = len(reply) if reply.isascii() else WIDE * len(reply), self._host.reply_room
        if size <= len(NOT_KEPT):
            return reply
        if self._is_over:  # nobody reads it
            return NOT_KEPT
        # A reply to a set repeats its value, and the requests in flight have their own bound.
        # A single reply may exceed it: a `get` in a transaction, whose value is longer as JSON.
        longest = UNDER_WAY_MAX + self._added - self._settled
        if (self._kept and self._kept + size > longest) or not room.keep(size):
            return NOT_KEPT
        batch.kept += size
        self._kept += size
        return reply

    def give_up_late(self, before_ms: int) -> None:
        """Answer unanswered requests from before this time; with the driver's `core` held."""
        for batch in list(self._batches):  # an atomic copy: other threads add and send meanwhile
            if batch.asked_ms >= before_ms or not batch.asked_ms:  # 0: about to be handed over
                return
            if batch.is_answered:
                continue
            if batch.is_read or not batch.first_index:  # it is not in a log, and never will be
                batch.answer_rest(self._host.why_late())
            else:
                batch.answer_rest(NOT_IN_TIME)

    # --- sending, without waiting for the reader ------------------------------------------------

    def flush(self) -> None:
        """Send the complete replies, up to the first request that has none yet."""
        with self._lock:
            if not self._is_stuck:
                self._sent_replies()

    def _sent_replies(self) -> bool:
        """Send the complete replies that are not very long, without waiting; return False if the
        rest is sent later: the reader did not take all, or there are so many replies that they
        would keep this thread from other work."""
        size = 0
        while self._batches and (data := self._next(or_one_long=False)):
            self._settle()
            sent = self._send(data)
            rest, size = data[sent:], size + len(data)
            is_much = size >= AT_ONCE and self._is_ready()
            if (rest or is_much) and self._send_later(rest):
                return False
        return not (self._batches and self._is_ready() and self._send_later(b""))

    def send_now(self, data: bytes) -> bool:
        """Send without waiting; return whether all bytes were taken. If only a part was, end the
        connection: the next bytes would be read as the rest of that line."""
        with self._lock:
            sent = 0 if self._is_stuck else self._send(data)
            if 0 < sent < len(data):
                self._cut_off()
        return sent == len(data)

    def take_turn(self) -> bool:
        """Take the exclusive right to send, if every reply has been sent; return whether it was
        taken. The caller then calls `end_turn`."""
        with self._lock:
            if self._batches or self._is_stuck:
                return False
            self._is_stuck = True
        return True

    def end_turn(self) -> None:
        """Allow other threads to send again."""
        with self._lock:
            self._is_stuck = False

    # --- watches ---------------------------------------------------------------------------------

    def add_backlogs(self, backlogs: Sequence[Backlog]) -> None:
        """Add watches that have lines to send. The lines are sent only from the next `pump` on: the
        first line of a watch is the reply to its request."""
        with self._lock:
            self._coming.extend(backlogs)

    def pump(self) -> None:
        """Send the lines of the backlogs while the reader takes them at once, the rest later. Other
        threads may send between the pieces."""
        with self._lock:
            self._backlogs.extend(self._coming)
            self._coming.clear()
        self._pump()

    def resume(self, backlogs: Sequence[Backlog]) -> None:
        """Send the lines of these backlogs and of the others, except new ones."""
        with self._lock:
            self._backlogs.extend(backlogs)
        self._pump()

    def _pump(self) -> bool:
        """Send the lines of the backlogs, except new ones, unless another thread is sending; return
        whether this thread has sent any."""
        with self._lock:
            if self._is_stuck or not self._backlogs:
                return False
            self._is_stuck = True
        is_more = True
        while is_more:
            data = self._next_of_sources()
            with self._lock:
                is_more = self._pumped(data)
        return True

    def _pumped(self, data: bytes) -> bool:
        """Send one piece of a backlog, and the replies that are complete; return whether
        this thread, the only one that sends, has to send more."""
        self._is_stuck = False
        sent = self._send(data)
        if sent < len(data):
            self._send_later(data[sent:])
            return False
        if not self._sent_replies():
            return False
        self._is_stuck = bool(self._backlogs)
        return self._is_stuck

    def push(self, data: bytes, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        """Send lines of watches without waiting. If the reader is slow, send nothing: `to_backlogs`
        turns the watches into backlogs, which send the same lines later."""
        with self._lock:
            if self._is_stuck or self._backlogs or self._coming:  # the sending thread will ask them
                (self._coming or self._backlogs).extend(to_backlogs())
            else:
                sent = self._send(data)
                if sent < len(data):
                    self._send_later(data[sent:])

    def push_later(
        self, to_backlogs: Callable[[], Sequence[Backlog]], idle: Backlog | None = None
    ) -> None:
        """Turn watches into backlogs: their lines are too long to be pushed, or only the sending
        thread may make them. If nothing waits to be sent, `idle` has the same lines."""
        with self._lock:
            is_asked = self._is_stuck or bool(self._backlogs or self._coming)
            added = to_backlogs() if is_asked or idle is None else [idle]
            (self._coming or self._backlogs).extend(added)
            if not is_asked:
                self._send_later(b"")

    # --- the end ---------------------------------------------------------------------------------

    def break_off(self) -> None:
        """End the connection; see `ReplySink` and `Holder`. This also ends the sends of a thread
        while `_is_stuck`."""
        with self._lock:
            if self._is_stuck:
                self._shut_down()
            else:
                self._cut_off()

    def _cut_off(self) -> None:
        """Shut down a connection on which nothing more can be sent, and forget its lines."""
        self._shut_down()
        self._forget()
        self._is_stuck = False

    def _forget(self) -> None:
        self._batches.clear()
        self._backlogs.clear()
        self._coming.clear()
        self._settled = self._added
        with self._counting:
            self._is_over = True
        self._release(self._kept)

    # --- the next lines --------------------------------------------------------------------------

    def _is_ready(self) -> bool:
        """Whether the next reply to send exists, or can be made."""
        if not self._batches:
            return False
        batch = self._batches[0]
        return batch.is_answered and (bool(batch.replies) or batch.reader is not None)

    def _next(self, *, or_one_long: bool) -> bytes:
        """Return a piece of the next complete replies, encoded; b"" if there is none. A long reply
        is a piece of its own; a very long reply is returned only if `or_one_long`. The caller then
        calls `_settle`."""
        lines: list[str] = []
        place, room = 0, PIECE
        longest = EVERY if or_one_long else AT_ONCE
        while place < len(self._batches) and room > 0:
            batch = self._batches[place]
            if not batch.is_answered:
                break
            begin = batch.sent
            replies = batch.replies[begin : begin + room]
            if not replies and batch.reader is not None:  # without a reader it is not confirmed
                commands = batch.commands[begin : begin + READS_AT_ONCE]
                replies = batch.reader.read(commands, room, waits=or_one_long)
            access = self._host.access
            if batch.is_read and access is not None and batch.rights is not access.users:
                replies = self._judged_again(batch, replies)  # after the state was read
            for reply in replies:
                if len(reply) > (room if lines else longest):
                    break
                lines.append(self.format(batch.ids[batch.sent], reply))
                if len(reply) > PIECE and batch.replies:
                    batch.replies[batch.sent] = ""  # free it: others may be sent much later
                batch.sent += 1
                room -= len(reply)
            if batch.sent < len(batch.commands):
                break
            place += 1
        return "".join(lines).encode("utf-8", self.errors)

    def _judged_again(self, batch: Batch, replies: list[str]) -> list[str]:
        """Return the next replies of reads that were admitted by the rights of earlier users. A
        right that has ended since may have ended before the state that was read."""
        commands = batch.commands[batch.sent : batch.sent + len(replies)]
        return [
            self.denial_by_now(command) or reply
            for command, reply in zip(commands, replies, strict=True)
        ]

    def _settle(self) -> None:
        """Forget the batches whose replies are all encoded."""
        while self._batches and self._batches[0].sent == len(self._batches[0].commands):
            batch = self._batches.popleft()
            self._settled += batch.size
            if batch.kept:
                self._release(batch.kept)

    def _release(self, size: int) -> None:
        if size:
            with self._counting:
                self._kept -= size
            self._host.reply_room.release(size)

    def _next_of_sources(self) -> bytes:
        """Return the next piece of the backlog whose turn it is; drop backlogs without one."""
        while self._backlogs:
            backlog = self._backlogs.popleft()
            data = backlog.next_piece()
            if data:
                self._backlogs.append(backlog)
                return data
        return b""

    def _next_to_drain(self) -> bytes:
        """Return the next piece for a slow reader: of replies, if there are any."""
        return self._next(or_one_long=True) or self._next_of_sources()

    def _drained(self, size: int) -> bool:
        """Note that a piece was taken by the reader; return whether there is more to send."""
        self.bytes_sent += size
        self._settle()
        self._is_stuck = self._is_ready() or bool(self._backlogs)
        return self._is_stuck
