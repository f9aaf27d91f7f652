"""A single thread that reads for the connections of many busy clients.

Each connection has its own thread, which waits for the next line. Waking a thread, and giving it
the interpreter, costs more than reading and parsing a line. So while many connections send at the
same time, their threads park here, and one thread takes the lines of all that are ready. At 64
connections a set then takes 0.57 of the processor time, and a get even less
(docs/develop/speed.md). When few connections are busy, each thread reads again.

Only one thread at a time reads a connection, so its lines stay in order. The shared reader serves
only reads and writes, and never waits for a client. A connection that would make it wait gets its
thread back, with the lines that are not served yet. If a connection is full, since it sends
without reading its replies, the shared reader pauses it until it has room; its own thread would
only compete for the interpreter. The connections take turns, a batch at a time. If there are users,
a turn reads a bounded number of requests of each user, so that the others need not wait for more.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from functools import partial
from typing import Final, Protocol

from ...common.process.guarded_thread import begin_thread
from ..protocol.host import Batch

CROWD = 8  # connections that sent lines within one window; from there on the thread is used
CROWDS = {"auto": CROWD, "shared": 0}
IO_MODES = (*CROWDS, "threads")
WINDOW_S: Final = 0.02
CALM_WINDOWS: Final = 5  # idle windows after which every connection gets its thread back
PRIVATE_WINDOWS: Final = 50  # windows in which a returned connection is read by its own thread
PIECE: Final = 32  # batches of writes that are submitted at once, while more are being read
USER_TURN: Final = 256  # requests of a user, before its other connections wait for a turn
CHECK_S: Final = 0.5  # between two checks of whether the crowd is gone, while nothing arrives


class AfterTurn(Enum):
    """The state of a connection after its turn."""

    WAITS = auto()  # it waits for bytes
    HAS_MORE = auto()  # it has lines, or bytes that the kernel does not know: it gets another turn
    IS_FULL = auto()  # it gets another turn once there is room
    NEEDS_THREAD = auto()  # its own thread has to continue: a step may wait, or ends it


class Shareable(Protocol):
    """A connection as the shared reader sees it."""

    last_window: int  # in which it sent lines
    private_until: int  # the window up to which its own thread reads
    resume: threading.Lock  # its thread acquires this to park; releasing it lets the thread run

    @property
    def user(self) -> str | None:
        """The user that is logged in, or "" if nobody is; None if the node has no users."""

    def fileno(self) -> int: ...

    def take_ready(self, batches: list[Batch], now_s: float) -> AfterTurn:
        """Add a batch of lines to `batches`, reading new bytes only if no lines are left."""

    def notify_of_room(self, tell: Callable[[], None]) -> bool:
        """Call `tell` once this connection has room; return False if it has room now."""


class SharedReader:
    """Counts the busy connections, and reads for them while there is a crowd.

    The counts are estimates: threads change them without a lock.
    """

    def __init__(
        self,
        submit: Callable[..., None],
        crowd: int = CROWD,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`submit(*batches, more_come=…)` serves requests; with a `crowd` of 0 there is always a
        crowd. `warn` prints a line on the console."""
        self._submit = submit
        self._warn = warn
        self._crowd = crowd
        self._epoll = select.epoll()
        self._bell, self._bell_end = socket.socketpair()  # rung by a thread that adds a turn
        self._epoll.register(self._bell.fileno(), select.EPOLLIN)
        self._is_asleep = False  # or about to be
        self._parked: dict[int, Shareable] = {}
        self._full: set[int] = set()  # parked connections that are full; epoll ignores them
        self._again: deque[int] = deque()  # these get a turn without an event of the kernel
        self._of_user: dict[str | None, int] = {}  # requests that were read in this turn
        self._lock = threading.Lock()  # for `_parked`, and for the thread's start and end
        self._runs = False  # the shared thread, perhaps soon
        self._is_closed = False
        self._window = 1  # the number of the present window
        self._window_end_s = 0.0
        self._senders = 0  # connections that sent lines in this window …
        self._senders_before = 0  # … and in the window before
        self._calm = 0  # windows in a row

    # --- a connection's own thread -----------------------------------------------------------

    def park(self, connection: Shareable, *, has_read: bool = False) -> bool:
        """Read for a connection until its thread, which calls this, has to continue itself.

        Returns False at once if there is no crowd. No part of a line may have been read yet, unless
        `has_read`: then the lines that were read are served first. So when a crowd arrives at the
        same moment, only a few threads serve their own lines, and the others sleep.
        """
        self._note(connection, time.monotonic())
        crowd = max(self._senders, self._senders_before) if has_read else self._senders_before
        if crowd < self._crowd or connection.private_until > self._window:
            return False
        with self._lock:
            if self._is_closed or not self._begin() or not self._register(connection):
                return False
        if has_read:
            self._has_room(connection.fileno())
        return connection.resume.acquire()

    def _register(self, connection: Shareable) -> bool:
        """Add a connection, with the lock held, so that `_give_all_back` finds it both in `_parked`
        and in the epoll set, or in neither. Return whether there was room."""
        descriptor = connection.fileno()
        self._parked[descriptor] = connection
        try:
            self._epoll.register(descriptor, select.EPOLLIN)
        except (OSError, ValueError):  # the set is closed, or there is no memory
            del self._parked[descriptor]
            return False
        return True

    def _begin(self) -> bool:
        """Start the thread if there is none; return whether there is one now."""
        if not self._runs:
            try:
                begin_thread(self._run, "shared reader", self._lost)
            except RuntimeError:  # no thread can be started
                return False
            self._runs = True
        return True

    def close(self) -> None:
        """Return every connection to its own thread, soon, and accept no more connections."""
        with self._lock:
            self._is_closed = True
            if not self._runs:
                self._close_files()

    def _close_files(self) -> None:
        self._epoll.close()
        self._bell.close()
        self._bell_end.close()

    def _lost(self, error: Exception) -> None:
        """Continue without the thread, which died before it began."""
        self._leave()
        self._ended_by(error)

    def _ended_by(self, error: Exception) -> None:
        self._warn(f"the shared reader ended: {error!r}; each connection reads for itself")

    # --- the shared thread ---------------------------------------------------------------------

    def _run(self) -> None:
        """Read until `close`. However this thread ends, it returns all connections."""
        try:
            while not self._is_closed:
                self._is_asleep = True  # set before the check of `_again`
                ready = self._epoll.poll(0 if self._again else CHECK_S)
                self._is_asleep = False
                self._serve(ready)
        except Exception as error:
            self._ended_by(error)
        finally:
            self._leave()

    def _leave(self) -> None:
        """Return all connections, as the shared thread ends."""
        with self._lock:  # atomic, as the next connection that parks starts another thread
            parked = [self._take_out(descriptor) for descriptor in list(self._parked)]
            self._runs = False
        for connection in parked:
            connection.resume.release()
        if self._is_closed:
            self._close_files()

    def _serve(self, ready: Sequence[tuple[int, int]]) -> None:
        """Take the lines of the connections that are ready, and submit them."""
        now_s = time.monotonic()
        batches: list[Batch] = []
        leaving: list[int] = []  # returned after their earlier lines are submitted, to keep order
        owes_submit = False  # batches were submitted with `more_come`
        turns = self._turns(ready)
        if turns and now_s >= self._window_end_s:
            self._end_window(now_s)
        self._of_user.clear()
        late: list[int] = []  # these are first in the next turn
        for descriptor in turns:
            users = self._of_user
            if users and users.get(self._parked[descriptor].user, 0) >= USER_TURN:
                late.append(descriptor)
            elif not self._takes(descriptor, batches, now_s):
                leaving.append(descriptor)
            if len(batches) >= PIECE and not batches[0].is_read:
                self._hand_over(batches, more_come=True)
                batches.clear()
                owes_submit = True
        self._again.extendleft(reversed(late))
        if batches or owes_submit:
            self._hand_over(batches, more_come=False)
        for descriptor in leaving:
            self._give_back(descriptor)
        if not turns:
            self._end_window(now_s)
        if self._calm >= CALM_WINDOWS:
            self._give_all_back()

    def _turns(self, ready: Sequence[tuple[int, int]]) -> Sequence[int]:
        """Return the connections whose turn it is, each once."""
        if not self._again and all([descriptor in self._parked for descriptor, _ in ready]):
            return [descriptor for descriptor, _ in ready]  # the usual case
        turns = {self._again.popleft(): None for _ in range(len(self._again))}
        turns |= dict.fromkeys([descriptor for descriptor, _ in ready])
        bell = self._bell.fileno()
        if bell in turns:
            del turns[bell]
            self._bell.recv(1 << 10, socket.MSG_DONTWAIT)
        return [descriptor for descriptor in turns if descriptor in self._parked]

    def _takes(self, descriptor: int, batches: list[Batch], now_s: float) -> bool:
        """Give a connection its turn; return whether it stays with this reader."""
        connection = self._parked[descriptor]
        if connection.last_window != self._window:
            connection.last_window = self._window
            self._senders += 1
        count = len(batches)
        state = connection.take_ready(batches, now_s)
        if len(batches) > count and (sink := batches[-1].reply_sink) and sink.user is not None:
            size = len(batches[-1].commands)
            self._of_user[sink.user] = self._of_user.get(sink.user, 0) + size
        if state is AfterTurn.WAITS and not self._full:
            return True  # the usual case
        if state is AfterTurn.NEEDS_THREAD:
            connection.private_until = self._window + PRIVATE_WINDOWS
            return False
        if state is AfterTurn.IS_FULL:
            if descriptor not in self._full:
                self._full.add(descriptor)
                self._epoll.modify(descriptor, 0)
            if not connection.notify_of_room(partial(self._has_room, descriptor)):
                self._again.append(descriptor)
        elif state is AfterTurn.HAS_MORE:
            self._again.append(descriptor)
        elif descriptor in self._full:
            self._full.remove(descriptor)
            self._epoll.modify(descriptor, select.EPOLLIN)
        return True

    def _has_room(self, descriptor: int) -> None:
        """Give a connection another turn; any thread may call this."""
        self._again.append(descriptor)
        if self._is_asleep:
            self._is_asleep = False
            with contextlib.suppress(OSError):  # the bell is closed
                self._bell_end.send(b"1", socket.MSG_DONTWAIT)

    def _hand_over(self, batches: Sequence[Batch], *, more_come: bool) -> None:
        """Submit batches. After an error it is unknown which of them were served, so their
        connections end; all others continue."""
        try:
            self._submit(*batches, more_come=more_come)
        except Exception as error:
            self._warn(f"requests of {len(batches)} connections failed, so these end: {error!r}")
            for batch in batches:
                if batch.reply_sink is not None:
                    batch.reply_sink.break_off()

    def _give_all_back(self) -> None:
        with self._lock:
            parked = list(self._parked)
        for descriptor in parked:
            self._give_back(descriptor)

    def _give_back(self, descriptor: int) -> None:
        with self._lock:
            connection = self._take_out(descriptor)
        connection.resume.release()

    def _take_out(self, descriptor: int) -> Shareable:
        """Stop reading a connection; the caller holds the lock, and then resumes its thread."""
        self._full.discard(descriptor)
        with contextlib.suppress(OSError):
            self._epoll.unregister(descriptor)
        return self._parked.pop(descriptor)

    # --- the number of busy connections ----------------------------------------------------------

    def _note(self, connection: Shareable, now_s: float) -> None:
        """Count a connection that sent lines."""
        if now_s >= self._window_end_s:
            self._end_window(now_s)
        if connection.last_window != self._window:
            connection.last_window = self._window
            self._senders += 1

    def _end_window(self, now_s: float) -> None:
        """Begin another window."""
        self._window_end_s = now_s + WINDOW_S
        self._window += 1
        busy = self._senders + len(self._full)
        self._calm = self._calm + 1 if 2 * busy < self._crowd else 0
        self._senders_before, self._senders = busy, 0
