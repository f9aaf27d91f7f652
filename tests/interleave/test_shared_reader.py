"""The shared reader: each connection is read by one thread at a time, and gets its own back."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from raftline.net.connections import shared_reader
from raftline.net.connections.shared_reader import CHECK_S, AfterTurn, SharedReader
from raftline.net.protocol.host import Batch
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds
from raftline_testing.interleave.threads import Stuck
from raftline_testing.interleave.wires import Wire, connected, reader_for

LINES = (shared_reader,)
CONNECTIONS = 3
LINES_SENT = 4
END = b"."  # a line that the connection's own thread has to serve


class Connection:
    """A connection whose thread parks with the shared reader between two lines."""

    def __init__(self, reader: SharedReader, near: Wire, served: list[bytes]) -> None:
        self.last_window = self.private_until = 0
        self.user: str | None = None
        self.resume = threading.Lock()
        self.resume.acquire()
        self._reader, self._near = reader, near
        self.served = served
        self._is_read = False
        self.fills = False  # one line at a time
        self._is_full = False
        self._tell: Callable[[], None] | None = None
        self.is_broken = False
        self.thread = threading.Thread(target=self._serve, name=f"connection {near.fileno()}")

    def fileno(self) -> int:
        return self._near.fileno()

    def _read(self, flags: int = 0) -> bytes:
        """Read one line of one byte; one thread at a time does."""
        assert not self._is_read, "two threads read one connection"
        self._is_read = True
        try:
            data = self._near.recv(1, flags)
        finally:
            self._is_read = False
        return data

    def _serve(self) -> None:
        while not self.is_broken:
            self._reader.park(self)
            if self.is_broken:
                return
            line = self._read()
            self.served.append(line)
            if line in (END, b""):
                return

    # --- by the shared reader, as `Shareable` and as the sink of its batches --------------------

    def take_ready(self, batches: list[Batch], now_s: float) -> AfterTurn:
        if self._is_full:
            return AfterTurn.IS_FULL
        if self._near.incoming.data[:1] in (END, b""):
            return AfterTurn.NEEDS_THREAD
        line = self._read(socket.MSG_DONTWAIT)
        self.served.append(line)
        sink: Any = self
        batches.append(Batch([line.decode()], is_read=False, reply_sink=sink))
        self._is_full = self.fills
        return AfterTurn.HAS_MORE if self._near.incoming.data else AfterTurn.WAITS

    def notify_of_room(self, tell: Callable[[], None]) -> bool:
        self._tell = tell
        return self._is_full

    def answer(self) -> None:
        """Make room, as the thread does that sends the replies."""
        self._is_full, tell = False, self._tell
        if tell is not None:
            tell()

    def mark_ready(self) -> None:
        pass

    def break_off(self) -> None:
        self.is_broken = True
        self._near.shutdown(socket.SHUT_RDWR)


class WithoutHandlers(SharedReader):
    """An error in serving ends the thread, and what is parked stays parked."""

    def _run(self) -> None:
        with contextlib.suppress(MemoryError):  # a thread ends by it, and prints it
            while not self._is_closed:
                self._serve(self._epoll.poll(CHECK_S))
            self._give_all_back()

    def _hand_over(self, batches: Sequence[Batch], *, more_come: bool) -> None:
        self._submit(*batches, more_come=more_come)


def send(far: Wire) -> None:
    with contextlib.suppress(OSError):  # it has ended
        for number in range(LINES_SENT):
            far.send(b"%d" % number)
        far.send(END)


def answer(asked: deque[Batch], connections: Sequence[Connection]) -> None:
    """Make room for each batch, until all threads have ended."""
    while any(one.thread.is_alive() for one in connections):
        if asked:
            sink: Any = asked.popleft().reply_sink
            sink.answer()
        else:
            threading.Event().wait(0.01)


def clients_send(
    kind: type[SharedReader] = SharedReader, fails_at: int = -1, *, far_ahead: bool = False
) -> None:
    """Clients send lines. Each is served in order, once, or its connection has ended. Of those that
    send `far_ahead` one line at a time is read, and another thread answers it."""
    pairs = [connected() for _ in range(CONNECTIONS)]
    asked: deque[Batch] = deque()
    count = 0

    def submit(*batches: Batch, more_come: bool = False) -> None:
        nonlocal count
        count += 1
        if count == fails_at:
            raise MemoryError
        asked.extend(batches)

    reader = reader_for([near for near, _ in pairs], partial(kind, submit, crowd=0))
    served: list[list[bytes]] = [[] for _ in pairs]
    connections = [
        Connection(reader, near, lines) for (near, _), lines in zip(pairs, served, strict=True)
    ]
    clients = [
        threading.Thread(target=send, args=(far,), name=f"client {number}")
        for number, (_, far) in enumerate(pairs)
    ]
    driver = threading.Thread(target=answer, args=(asked, connections), name="driver")
    for one in connections:
        one.fills = far_ahead
    for thread in (*clients, *(one.thread for one in connections), *[driver] * far_ahead):
        thread.start()
    for one in connections:
        one.thread.join()
    reader.close()
    expected = [b"%d" % number for number in range(LINES_SENT)]
    for one in connections:
        if one.is_broken:
            assert fails_at >= 0
            assert one.served == expected[: len(one.served)]
        else:
            assert one.served == [*expected, END], one.served


def it_fails_once(kind: type[SharedReader] = SharedReader) -> None:
    """Requests that are handed over meet an error: their connections end, the others continue."""
    clients_send(kind, fails_at=2)


@seeds(100, 30_000)
def test_lines_are_served_in_order_and_each_thread_comes_back(seeds: range) -> None:
    check_interleavings(clients_send, seeds, LINES)


def they_send_far_ahead() -> None:
    clients_send(far_ahead=True)


@seeds(100, 30_000)
def test_who_sends_far_ahead_is_read_again_once_there_is_room(seeds: range) -> None:
    check_interleavings(they_send_far_ahead, seeds, LINES)


@seeds(100, 30_000)
def test_an_error_ends_the_connections_that_it_concerns_alone(seeds: range) -> None:
    check_interleavings(it_fails_once, seeds, LINES)


@pytest.mark.slow
@pytest.mark.pure
def test_a_reader_that_dies_of_an_error_is_found() -> None:
    failure = first_failure(lambda: it_fails_once(WithoutHandlers), range(20), LINES)
    assert failure is not None
    assert isinstance(failure.error, Stuck)
    assert "park" in str(failure.error)
