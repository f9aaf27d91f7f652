"""Leftovers of a peer's first connection neither go out on the second nor hold it up."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.common.address import Address
from raftline.net.peers import peers
from raftline.net.peers.peers import Peer
from raftline_testing.nodes.processes import eventually

DEADLINE_S = 30.0
LINE = b"s1@" + b"x" * 99_996 + b"\n"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(DEADLINE_S)
        yield listening


class Dialled:
    """A peer that dials the listener, and what it tells of that."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.lost: list[str] = []
        address = Address("127.0.0.1", listener.getsockname()[1])
        self.peer = Peer("s1", "s2", address, lambda _: None, self.lost.append, lambda _: None)
        self.peer.start()

    def accept(self) -> socket.socket:
        """Return the next connection once the peer sends on it."""
        connection, _ = self._listener.accept()
        connection.settimeout(DEADLINE_S)
        eventually(lambda: self._sends_on(connection))
        return connection

    def _sends_on(self, connection: socket.socket) -> bool:
        with self.peer._lock:
            known = self.peer._socket
            return known is not None and known.getsockname() == connection.getpeername()

    def fill(self) -> None:
        """Send until a part of a line waits in the outbox."""
        while not self.peer._outbox_bytes:
            self.peer.send(LINE)


@pytest.fixture
def dialled(listener: socket.socket) -> Iterator[Dialled]:
    one = Dialled(listener)
    yield one
    one.peer.stop()


def first_line(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as reader:
        return reader.readline()


def test_each_new_connection_begins_with_a_whole_line_and_an_empty_outbox(
    dialled: Dialled,
) -> None:
    for number in range(3):
        connection = dialled.accept()
        dialled.peer.send(b"s1@first %d\n" % number)
        assert first_line(connection) == b"s1@first %d\n" % number
        dialled.fill()
        connection.close()  # half a line has left at the most, the rest waits
        eventually(lambda: len(dialled.lost) == number + 1)  # noqa: B023
        assert dialled.peer._outbox_bytes == 0
        assert dialled.peer._outbox == []
    assert dialled.lost == ["s2"] * 3


def test_messages_to_an_absent_peer_are_dropped(dialled: Dialled) -> None:
    dialled.accept().close()
    eventually(lambda: bool(dialled.lost))
    for _ in range(100):
        dialled.peer.send(LINE)
        if dialled.peer._socket is None:
            assert dialled.peer._outbox == []
    connection = dialled.accept()
    with contextlib.closing(connection), connection.makefile("rb") as reader:
        dialled.peer.send(b"s1@now\n")
        while (line := reader.readline()) != b"s1@now\n":
            assert line == LINE  # one that came when the peer was back


def test_the_outbox_has_room_again_once_a_slow_peer_has_taken_it(
    dialled: Dialled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "OUTBOX_BYTES", 300_000)
    connection = dialled.accept()
    with contextlib.closing(connection), connection.makefile("rb") as reader:
        for _ in range(3):
            dialled.fill()
            for _ in range(5):
                dialled.peer.send(LINE)
            assert dialled.peer._outbox_bytes <= 400_000
            ended = threading.Event()

            def read(ended: threading.Event = ended) -> None:
                while (line := reader.readline()) == LINE:
                    pass
                assert line == b"s1@end\n"
                ended.set()

            thread = threading.Thread(target=read, daemon=True)
            thread.start()
            eventually(lambda: dialled.peer._outbox_bytes == 0)
            dialled.peer.send(b"s1@end\n")
            assert ended.wait(DEADLINE_S)
            thread.join(DEADLINE_S)


def undialled() -> Peer:
    return Peer("s1", "s2", Address("s2", 1), lambda _: None, lambda _: None, lambda _: None)


class Busy:
    """A socket whose reader takes nothing at once; while one line leaves, the next one comes."""

    def __init__(self, peer: Peer, lines: list[bytes]) -> None:
        self._peer = peer
        self._lines = lines
        self.at_once: list[bytes] = []
        self.in_turn: list[bytes] = []

    def send(self, data: bytes, flags: int) -> int:
        self.at_once.append(data)
        raise BlockingIOError

    def sendall(self, data: bytes) -> None:
        self.in_turn.append(data)
        if self._lines:
            self._peer.send(self._lines.pop(0))
        else:
            self._peer._stopping.set()


def test_no_line_overtakes_waiting_lines() -> None:
    peer = undialled()
    lines = [b"s1@%d\n" % number for number in range(5)]
    busy: Any = Busy(peer, lines[1:])
    peer._socket = busy
    peer.send(lines[0])
    peer._send_outbox()
    assert (busy.at_once, busy.in_turn) == (lines[:1], lines)


def test_nothing_is_sent_after_half_a_line_on_its_connection() -> None:
    peer = undialled()
    shut: list[int] = []

    def sendall(data: bytes) -> None:
        peer._stopping.set()
        raise TimeoutError

    connection: Any = SimpleNamespace(sendall=sendall, shutdown=shut.append)
    peer._socket = connection
    peer._put(b"s1@half a line\n")
    peer._more.set()
    peer._send_outbox()
    assert shut == [socket.SHUT_RDWR]


@pytest.mark.pure
def test_pauses_between_dials_grow_until_the_peer_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = undialled()
    pauses: list[float] = []
    dials = [None, None, False, None, True, None, False, False]  # no connection, no answer, one
    monkeypatch.setattr(random, "random", lambda: 0.5)
    monkeypatch.setattr(peers, "BACK_OFF_S", (1, 8))
    connection: Any = SimpleNamespace(close=lambda: None, shutdown=lambda _: None)

    def connect() -> socket.socket:
        if dials[len(pauses)] is None:
            raise ConnectionRefusedError
        return connection

    def rest(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == len(dials):
            peer._stopping.set()

    monkeypatch.setattr(peer, "_connect", connect)
    monkeypatch.setattr(peer, "_talk", lambda _: dials[len(pauses)])
    monkeypatch.setattr(peer, "_rest", rest)
    peer._dial()
    assert pauses == [1, 2, 4, 8, 1, 2, 4, 8]


def test_earlier_messages_do_not_shorten_a_later_pause() -> None:
    peer = undialled()
    for _ in range(2):
        peer.send(LINE)
        assert peer._wanted.is_set()
        peer._rest(0)
        assert not peer._wanted.is_set()
