"""Connections with their threads, the shared reader and two threads that answer: replies in order.

The connections are the real ones, on the wires of a schedule. Their lines are of several kinds, so
that each parks and gets its own thread back again and again.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from raftline.net.connections import connection as connections
from raftline.net.connections import outgoing, shared_reader
from raftline.net.connections.connection import Connection
from raftline.net.connections.outgoing import Outgoing
from raftline.net.connections.shared_reader import SharedReader
from raftline.net.protocol import outgoing_protocol, server_protocol
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds
from raftline_testing.interleave.threads import Thread
from raftline_testing.interleave.wires import Wire, connected
from tests.interleave.connection_scene import PIECES, ROOM, ConnectionScene

LINES = (connections, shared_reader, outgoing, outgoing_protocol, server_protocol)
CLIENTS = 2
COMMANDS = ("set a 1", "get a", "get b", "nonsense", "set b 2", "set c 3", "get c")


class Client:
    def __init__(self, scene: ConnectionScene, near: Any, far: Wire) -> None:
        connection = Connection(scene.host, near, for_peers_only=False, shared_reader=scene.reader)
        self._far, self._received = far, b""
        names = (("serve", connection.serve), ("send", self._send), ("read", self._read))
        self.threads = [threading.Thread(target=run, name=name) for name, run in names]

    def _send(self) -> None:
        data = "".join(f"c#{n}@{command}\n" for n, command in enumerate(COMMANDS)).encode()
        while data:
            size = Thread.schedule.random.choice(PIECES)
            self._far.sendall(data[:size])
            data = data[size:]
        self._far.shutdown(socket.SHUT_WR)

    def _read(self) -> None:
        while data := self._far.recv(50):
            self._received += data

    def check(self) -> None:
        lines = self._received.decode().splitlines()
        assert [line.partition("@")[0] for line in lines] == [
            f"s1#{number}" for number in range(len(COMMANDS))
        ], lines
        for line, command in zip(lines, COMMANDS, strict=True):
            assert line.endswith(f"@answer to {command}") or command == "nonsense", lines


def clients_ask(kind: type[SharedReader] = SharedReader) -> None:
    ends = [connected(ROOM) for _ in range(CLIENTS)]
    scene = ConnectionScene(kind, [near for near, _ in ends])
    with mock.patch.object(connections, "asks_only_status", return_value=True):
        clients = [Client(scene, near, far) for near, far in ends]
        drivers = [threading.Thread(target=scene.answer, name=one) for one in ("driver", "writer")]
        for thread in (*drivers, *(thread for client in clients for thread in client.threads)):
            thread.start()
        for client in clients:
            for thread in client.threads:
                thread.join()
            client.check()
    scene.reader.close()


def clients_send_far_ahead() -> None:
    """A client sends without reading, and is read again after each reply that makes room."""
    with mock.patch.object(outgoing_protocol, "BATCHES_MAX", 1):
        clients_ask()


def look_before_the_note(out: Outgoing, tell: Callable[[], None]) -> bool:
    """Miss the room that comes in between."""
    is_full = out.is_full()
    out._tell = tell
    return is_full


class TwoReaders(SharedReader):
    """Gives a connection its thread back and keeps reading for it."""

    def _give_back(self, descriptor: int) -> None:
        self._parked[descriptor].resume.release()


@seeds(40, 6_000)
def test_replies_are_in_order_for_any_reader(seeds: range) -> None:
    check_interleavings(clients_ask, seeds, LINES)


@seeds(150, 20_000)
def test_a_client_far_ahead_is_read_again_after_replies(seeds: range) -> None:
    """The reader that waits for space and the thread that frees it are the real ones."""
    check_interleavings(clients_send_far_ahead, seeds, LINES)


@pytest.mark.slow
@pytest.mark.pure
def test_room_between_the_look_and_the_note_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outgoing, "notify_of_room", look_before_the_note)
    assert first_failure(clients_send_far_ahead, range(1_000), LINES) is not None


@pytest.mark.slow
def test_a_reader_that_keeps_what_it_gave_back_is_found() -> None:
    assert first_failure(lambda: clients_ask(TwoReaders), range(30), LINES) is not None
