"""Leftovers of a peer's first connection neither go out on the second nor hold it up."""

from __future__ import annotations

import contextlib
import io
import random
import socket
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
HELLO = b"s1@hello\n"


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
        """Return the next connection, once a line that the peer sends comes through it."""
        connection, _ = self._listener.accept()
        connection.settimeout(0.05)
        for _ in range(600):
            self.peer.send(HELLO)  # dropped until the peer knows that it is connected
            with contextlib.suppress(TimeoutError):
                if connection.recv(len(HELLO), socket.MSG_PEEK):
                    break
        connection.settimeout(DEADLINE_S)
        return connection

    def fill(self) -> None:
        """Send until a part of a line waits in the outbox."""
        sent = self.peer.bytes_sent
        while self.peer.bytes_sent == sent:
            self.peer.send(LINE)
            sent += len(LINE)


@pytest.fixture
def dialled(listener: socket.socket) -> Iterator[Dialled]:
    one = Dialled(listener)
    yield one
    one.peer.stop()


def lines_until(reader: io.BufferedReader, last: bytes) -> list[bytes]:
    """Return the lines before `last`."""
    lines: list[bytes] = []
    while (line := reader.readline()) != last:
        assert line.endswith(b"\n"), "the end of the connection"
        lines.append(line)
    return lines


def test_new_connection_begins_with_whole_lines_of_its_own(dialled: Dialled) -> None:
    """A new connection starts with a whole line, without the rest of the previous one."""
    for number in range(3):
        with dialled.accept() as connection, connection.makefile("rb") as reader:
            dialled.peer.send(b"s1@first %d\n" % number)
            assert set(lines_until(reader, b"s1@first %d\n" % number)) <= {HELLO}
            dialled.fill()
        eventually(lambda: len(dialled.lost) == number + 1)  # noqa: B023
    assert dialled.lost == ["s2"] * 3


def test_messages_to_an_absent_peer_are_dropped(dialled: Dialled) -> None:
    dialled.accept().close()
    eventually(lambda: bool(dialled.lost))
    for _ in range(100):
        dialled.peer.send(LINE)
    with dialled.accept() as connection, connection.makefile("rb") as reader:
        dialled.peer.send(b"s1@now\n")
        # Some came when the peer was back.
        assert set(lines_until(reader, b"s1@now\n")) <= {LINE, HELLO}


def test_the_outbox_has_room_again_once_a_slow_peer_has_taken_it(
    dialled: Dialled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "OUTBOX_BYTES", 310_000)  # three lines, and the last word
    with dialled.accept() as connection, connection.makefile("rb") as reader:
        for _ in range(3):
            before = dialled.peer.bytes_sent
            dialled.fill()
            for _ in range(5):
                dialled.peer.send(LINE)
            taken: list[bytes] = []
            while not taken or dialled.peer.bytes_sent - before > sum(map(len, taken)):
                taken += [line for line in [reader.readline()] if line != HELLO]
            assert set(taken) == {LINE}
            dialled.peer.send(b"s1@end\n")
            more = lines_until(reader, b"s1@end\n")
            assert set(more) <= {LINE}
            assert len(more) <= 4  # what the outbox holds


def undialled() -> Peer:
    return Peer("s1", "s2", Address("s2", 1), lambda _: None, lambda _: None, lambda _: None)


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
