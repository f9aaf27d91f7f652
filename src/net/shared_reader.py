"""One thread that reads for the connections of many busy clients.

Each connection has its own thread, which waits for the next line. To wake a thread and to let
it have the interpreter costs more than to read and parse a line. So while many connections send at
once, their threads park here, and one thread takes the lines of all that are ready: at 64
connections 0.57 of the processor time of a set, and less of a get (docs/develop/speed.md).
When few are busy, each thread reads again.

A connection is read by one thread at any time, so its lines stay in order. The shared reader
serves reads and writes alone, and never waits for a client. A connection that would make it wait
gets its thread back, with the lines that are not served yet. One that is full, since it sends ahead
of its replies, is not read on until it has room; a thread of its own would be one more that wants
the interpreter. The connections take turns, a batch at a time. Where there are users, the requests
of one that are read in a turn are bounded: the others wait for no more of them.
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

from ..common.guarded_thread import guarded_thread
from .host import Batch

CROWD = 8  # connections that sent lines within one window: then they are read for
CROWDS = {"auto": CROWD, "shared": 0}
IO_MODES = (*CROWDS, "threads")
WINDOW_S: Final = 0.02
CALM_WINDOWS: Final = 5  # idle windows after which every connection gets its thread back
PRIVATE_WINDOWS: Final = 50  # for which a thread that was given back reads by itself
PIECE: Final = 32  # batches of writes that are handed over together: a group sees others come
USER_TURN: Final = 256  # requests of one user, after which its other connections wait for a turn
LOOK_S: Final = 0.5  # between two looks whether the crowd is gone, while nothing arrives


class Ready(Enum):
    """The state of a connection after its turn."""

    WAITS = auto()  # for bytes
    HAS_MORE = auto()  # lines, or bytes that the kernel does not know of: it has another turn
    IS_FULL = auto()  # it has another turn once there is room
    NEEDS_THREAD = auto()  # its own: something here may wait, or ends


class Shareable(Protocol):
    """A connection as the shared reader sees it."""

    last_window: int  # in which it sent lines
    private_until: int  # the window up to which its own thread reads
    resume: threading.Lock  # acquired by its thread to park, released to let it go on

    @property
    def user(self) -> str | None:
        """The user that is logged in, "" if nobody is; None: the node has no users."""

    def fileno(self) -> int: ...

    def take_ready(self, batches: list[Batch], now_s: float) -> Ready:
        """Read what has arrived, unless there is some left, and add a batch of it to `batches`."""

    def tell_of_room(self, tell: Callable[[], None]) -> bool:
        """Call `tell` once this connection has room; return False if it has room now."""


class SharedReader:
    """Knows how many connections are busy, and reads for them while that is a crowd.

    The counts are a guess: threads change them without a lock.
    """

    def __init__(
        self,
        submit: Callable[..., None],
        crowd: int = CROWD,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`submit(*batches, more_come=…)` has requests served; a crowd of 0 is always there. `warn`
        has a line for the console."""
        self._submit = submit
        self._warn = warn
        self._crowd = crowd
        self._epoll = select.epoll()
        self._bell, self._bell_end = socket.socketpair()  # rung by whoever has a turn for it
        self._epoll.register(self._bell.fileno(), select.EPOLLIN)
        self._is_asleep = False  # or about to be
        self._parked: dict[int, Shareable] = {}
        self._full: set[int] = set()  # of these; the kernel is not asked about them
        self._again: deque[int] = deque()  # whose turn comes without the kernel
        self._of_user: dict[str | None, int] = {}  # requests that were read in this turn
        self._lock = threading.Lock()  # for `_parked`, and the beginning and end of the thread
        self._runner: threading.Thread | None = None
        self._is_closed = False
        self._window = 1  # its number
        self._window_end_s = 0.0
        self._senders = 0  # connections that sent lines in this window …
        self._senders_before = 0  # … and in the one before
        self._calm = 0  # windows in a row

    # --- a connection's own thread -----------------------------------------------------------

    def park(self, connection: Shareable, *, has_read: bool = False) -> bool:
        """Read for a connection until its thread, which calls this, must go on by itself.

        Returns False at once if there is no crowd. Nothing of a line may have been read yet, unless
        `has_read`: then what was read is served first. So of a crowd that comes at once few threads
        serve what they read, and the others sleep.
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
        """Put a connection in the set, with the lock held: it is in both or in none when
        `_give_all_back` looks. Return whether there was room."""
        descriptor = connection.fileno()
        self._parked[descriptor] = connection
        try:
            self._epoll.register(descriptor, select.EPOLLIN)
        except (OSError, ValueError):  # it is closed, or there is no memory for it
            del self._parked[descriptor]
            return False
        return True

    def _begin(self) -> bool:
        """Begin the thread if there is none; return whether there is one now."""
        if self._runner is None:
            thread = guarded_thread(self._run, "shared reader", self._ended_by)
            try:
                thread.start()
            except RuntimeError:  # no thread to be had
                return False
            self._runner = thread
        return True

    def close(self) -> None:
        """Give every connection back to its thread, soon, and take none any more."""
        with self._lock:
            self._is_closed = True
            if self._runner is None:
                self._close_files()

    def _close_files(self) -> None:
        self._epoll.close()
        self._bell.close()
        self._bell_end.close()

    def _ended_by(self, error: Exception) -> None:
        self._warn(f"the shared reader ended: {error!r}; each connection reads for itself")

    # --- the shared thread ---------------------------------------------------------------------

    def _run(self) -> None:
        """Read until `close`. However this thread ends, no connection is left to it."""
        try:
            while not self._is_closed:
                self._is_asleep = True  # before the look at who rings
                ready = self._epoll.poll(0 if self._again else LOOK_S)
                self._is_asleep = False
                self._serve(ready)
        finally:
            with self._lock:  # in one step: the next connection that comes begins another thread
                parked = [self._take_out(descriptor) for descriptor in list(self._parked)]
                self._runner = None
            for connection in parked:
                connection.resume.release()
            if self._is_closed:
                self._close_files()

    def _serve(self, ready: Sequence[tuple[int, int]]) -> None:
        """Take the lines of the connections that are ready, and hand them over."""
        now_s = time.monotonic()
        batches: list[Batch] = []
        leaving: list[int] = []  # given back after the lines before are handed over, in order
        owes_submit = False  # batches were handed over, and nobody was asked to serve them
        turns = self._turns(ready)
        if turns and now_s >= self._window_end_s:
            self._end_window(now_s)
        self._of_user.clear()
        late: list[int] = []  # whose turn is the next one
        for descriptor in turns:
            if self._of_user.get(self._parked[descriptor].user, 0) >= USER_TURN:
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
            return [descriptor for descriptor, _ in ready]  # nearly always
        turns = {self._again.popleft(): None for _ in range(len(self._again))}
        turns |= dict.fromkeys([descriptor for descriptor, _ in ready])
        bell = self._bell.fileno()
        if bell in turns:
            del turns[bell]
            self._bell.recv(1 << 10, socket.MSG_DONTWAIT)
        return [descriptor for descriptor in turns if descriptor in self._parked]

    def _takes(self, descriptor: int, batches: list[Batch], now_s: float) -> bool:
        """Give a connection its turn; return whether it is read here from now on."""
        connection = self._parked[descriptor]
        if connection.last_window != self._window:
            connection.last_window = self._window
            self._senders += 1
        count = len(batches)
        state = connection.take_ready(batches, now_s)
        if connection.user is not None and len(batches) > count:
            size = len(batches[-1].commands)
            self._of_user[connection.user] = self._of_user.get(connection.user, 0) + size
        if state is Ready.WAITS and not self._full:
            return True  # nearly always
        if state is Ready.NEEDS_THREAD:
            connection.private_until = self._window + PRIVATE_WINDOWS
            return False
        if state is Ready.IS_FULL:
            if descriptor not in self._full:
                self._full.add(descriptor)
                self._epoll.modify(descriptor, 0)
            if not connection.tell_of_room(partial(self._has_room, descriptor)):
                self._again.append(descriptor)
        elif state is Ready.HAS_MORE:
            self._again.append(descriptor)
        elif descriptor in self._full:
            self._full.remove(descriptor)
            self._epoll.modify(descriptor, select.EPOLLIN)
        return True

    def _has_room(self, descriptor: int) -> None:
        """Give a connection another turn; any thread may call."""
        self._again.append(descriptor)
        if self._is_asleep:
            self._is_asleep = False
            with contextlib.suppress(OSError):  # it is closed
                self._bell_end.send(b"1", socket.MSG_DONTWAIT)

    def _hand_over(self, batches: Sequence[Batch], *, more_come: bool) -> None:
        """Have batches served. After an error nobody knows which of them are: their connections
        end, and those of the others go on."""
        try:
            self._submit(*batches, more_come=more_come)
        except Exception as error:
            self._warn(f"requests of {len(batches)} connections, which end, met {error!r}")
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
        """Read a connection no more; the caller holds the lock, and then resumes its thread."""
        self._full.discard(descriptor)
        with contextlib.suppress(OSError):
            self._epoll.unregister(descriptor)
        return self._parked.pop(descriptor)

    # --- how many are busy -----------------------------------------------------------------------

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
