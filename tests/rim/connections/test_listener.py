"""The listeners of a node: how they open, take connections, and close."""

from __future__ import annotations

import socket
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from raftline.common.config import PortRefused
from raftline.net.connections import listener as listener_module
from raftline.net.connections.listener import USUAL_SWITCH_S, Listener, switch_interval_s
from raftline.net.line_connection import LineConnection
from raftline.net.protocol.host import Batch
from raftline.wire.limits import PLACES_FOR_PEERS
from raftline_course.controller.udp import UdpListener
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports


class Watched:
    """A listening socket that says when it is closed."""

    def __init__(self, listener: socket.socket, close: Callable[[], None]) -> None:
        self.accept, self.shutdown = listener.accept, listener.shutdown
        self.fileno, self.close = listener.fileno, close


def test_a_listener_closes_its_socket_after_its_thread_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise, its thread would accept on the next file that gets the same descriptor."""
    listener = Listener("127.0.0.1", next(free_ports), 10)
    order: list[str] = []
    take, close = listener._accept, listener._socket.close

    def slow_to_end() -> None:
        take()
        threading.Event().wait(0.1)
        order.append("nobody takes any more")

    def note_close() -> None:
        order.append("closed")
        close()

    monkeypatch.setattr(listener, "_accept", slow_to_end)
    monkeypatch.setattr(listener, "_socket", Watched(listener._socket, note_close))
    listener.open(cast(Any, FakeHost()))
    listener.close()
    assert order == ["nobody takes any more", "closed"]


def test_a_listener_whose_port_is_taken_leaves_no_socket_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A program may try again and again, and may turn a ResourceWarning into an error."""
    made: list[socket.socket] = []

    class Kept(socket.socket):
        def __init__(self, *operands: Any) -> None:
            super().__init__(*operands)
            made.append(self)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(socket, "socket", Kept)
        with pytest.raises(PortRefused, match="is in use"):
            Listener("127.0.0.1", taken.getsockname()[1], 10)
    assert [each.fileno() for each in made] == [-1]


def test_closed_datagram_listener_frees_port_and_thread() -> None:
    """A datagram listener that is closed releases its port and its thread."""
    port, before = next(free_ports), {*threading.enumerate()}
    ignored: list[str] = []
    listener = UdpListener("127.0.0.1", port)
    listener.open("s1", cast(Any, None), lambda: 1, lambda source, why: ignored.append(why))
    listener.close()
    assert {*threading.enumerate()} <= before
    UdpListener("127.0.0.1", port).close()
    assert ignored == []


def queue_of(listener: Listener) -> tuple[int, int]:
    """Return how many connections wait at a listener, and how many may."""
    info = listener._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    waiting, longest = struct.unpack_from("2I", info, 24)  # tcpi_unacked, tcpi_sacked
    return waiting, longest


class Crowd:
    """Five connections that wait at a listener before it is opened, and what it does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at_once: int = 1024) -> None:
        self.order = ""  # T: one was taken; B: its thread was begun
        self.no_threads = 0  # so many can't be had, from the first on
        self.on_taken: Callable[[], None] = lambda: None
        self.host = FakeHost()
        self._begun = threading.Condition()
        monkeypatch.setattr(listener_module, "AT_ONCE", at_once)
        # None of these threads runs: whoever waits for one to run begins no second.
        threads = SimpleNamespace(start_new_thread=self._begin)
        monkeypatch.setattr(listener_module, "_thread", threads)
        monkeypatch.setattr(listener_module, "prepare", self._taken)
        port = next(free_ports)
        self.listener = Listener("127.0.0.1", port, 10)
        self.clients = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(5)]

    def open(self) -> None:
        assert eventually(lambda: queue_of(self.listener)[0] == len(self.clients))
        self.listener.open(cast(Any, self.host))

    def _taken(self, connection: object, patience_s: float) -> None:
        self.order += "T"
        self.on_taken()

    def _begin(self, serve: object, arguments: object) -> None:
        if self.no_threads:
            self.no_threads -= 1
            raise RuntimeError("can't start new thread")
        with self._begun:
            self.order += "B"
            self._begun.notify()

    def close_after(self, begun: int) -> str:
        """Return what happened, once that number of threads was begun."""
        with self._begun:
            assert self._begun.wait_for(lambda: self.order.count("B") >= begun, 30)
        self.listener.close()
        self.listener.end_connections()
        for client in self.clients:
            client.close()
        return self.order


@pytest.mark.parametrize(("at_once", "order"), [(1024, "TTTTTBBBBB"), (3, "TTTBBBTTBB")])
def test_waiting_connections_are_accepted_before_any_is_served(
    monkeypatch: pytest.MonkeyPatch, at_once: int, order: str
) -> None:
    """Otherwise, the connections that are served leave the listener little time of the
    interpreter."""
    crowd = Crowd(monkeypatch, at_once)
    crowd.open()
    assert crowd.close_after(5) == order


@pytest.mark.parametrize(("connections", "milliseconds"), [(0, 5), (250, 5), (1024, 20.48)])
def test_switch_interval_grows_with_connections(connections: int, milliseconds: float) -> None:
    """Otherwise, a thousand connections keep the interpreter from the thread that steps the core,
    and the leader loses its place."""
    assert switch_interval_s(connections) == pytest.approx(milliseconds / 1000)


def test_the_switch_interval_follows_the_number_of_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener_module, "SWITCH_S", 0.01)
    may_end = threading.Event()
    monkeypatch.setattr(listener_module.Connection, "serve", lambda self: may_end.wait(30))
    port = next(free_ports)
    listener = Listener("127.0.0.1", port, 10)
    listener.open(cast(Any, FakeHost()))
    clients = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(3)]
    assert eventually(lambda: sys.getswitchinterval() == pytest.approx(0.03))
    may_end.set()
    assert eventually(lambda: sys.getswitchinterval() == pytest.approx(USUAL_SWITCH_S))
    listener.close()
    for client in clients:
        client.close()


def test_connection_without_a_thread_is_closed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that gets no thread is closed, and later ones are served."""
    crowd = Crowd(monkeypatch)
    crowd.no_threads = 2
    crowd.open()
    assert [client.recv(1) for client in crowd.clients[:2]] == [b"", b""]
    assert crowd.close_after(3) == "TTTTTBBB"
    said = "can't take a connection: can't start new thread; the open ones continue"
    assert crowd.host.reports == [said]


def test_connection_taken_at_close_is_ended_by_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a connection is accepted while the listener closes, its thread ends it."""
    crowd = Crowd(monkeypatch)
    crowd.on_taken = crowd.listener._closing.set
    crowd.open()
    assert crowd.close_after(1) == "TB"


def test_listen_queue_is_as_long_as_the_connection_limit() -> None:
    """A connection that finds the queue full starts a second later, when the kernel retries."""
    listener = Listener("127.0.0.1", next(free_ports), 2000)
    most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    _, longest = queue_of(listener)
    listener.close()
    assert longest == min(2000 + PLACES_FOR_PEERS, most)


def test_the_shared_reader_serves_the_life_that_a_node_is_in() -> None:
    """A controller's orders stop a node and start it again in the same process."""
    readers: list[str] = []
    host = FakeHost()

    def life(number: int) -> Callable[..., None]:
        def submit(*batches: Batch, more_come: bool = False) -> None:
            readers.append(threading.current_thread().name)
            for batch in batches:
                batch.answer_all(f"life {number}")
            host.flush()

        return submit

    host.submit = life(1)
    port = next(free_ports)
    listener = Listener("127.0.0.1", port, 10, io="shared")
    listener.open(cast(Any, host))
    try:
        with LineConnection(port, DEADLINE_S) as client:

            def asked() -> bytes:
                client.send("client@get a")
                return client.read()

            eventually(lambda: asked() == b"s1@life 1" and readers[-1] == "shared reader")
            host.submit = life(2)
            assert asked() == b"s1@life 2"
            assert readers[-1] == "shared reader"
    finally:
        listener.close()
        listener.end_connections()
