"""A thread of a node that meets an error continues, or says what is lost, or stops the node."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from raftline.access.tls import Tls, TlsFiles
from raftline.common.address import Address
from raftline.common.process.guarded_thread import guarded_thread
from raftline.net.connections import listener as listener_module
from raftline.net.connections.connection import Connection
from raftline.net.connections.listener import Listener
from raftline.net.connections.outgoing import Outgoing
from raftline.net.peers.build_exchange import Foreigners
from raftline.net.peers.peers import Peer
from raftline.net.protocol.host import Batch
from raftline.node.loop.driver import Driver
from raftline.node.program import joining
from raftline.node.program.node_server import Server
from raftline.node.program.service import Reload
from raftline.raft.node import RawNode
from raftline_testing.doubles.driven_node import driver_of_s1
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.fake_rim import FakeRim, stepper_of
from raftline_testing.doubles.watched_store import WatchScene
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports

TROUBLES = [
    MemoryError("no room"),
    AttributeError("None has no write"),
    ValueError("descriptor -1"),
]
LINE = b"s1@RequestVote 1-0-0\n"


def test_an_error_that_ends_a_guarded_thread_is_handed_over() -> None:
    met: list[Exception] = []
    trouble = KeyError("gone")

    def run() -> None:
        raise trouble

    thread = guarded_thread(run, "s1 tests", met.append)
    assert (thread.name, thread.daemon) == ("s1 tests", True)
    thread.start()
    thread.join(DEADLINE_S)
    assert met == [trouble]


# --- the connection to a peer ---------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [BlockingIOError(11, "full"), *TROUBLES], ids=repr)
def test_sender_breaks_a_failed_connection_and_serves_the_next(trouble: Exception) -> None:
    """A sender closes a connection that fails, and serves the next one."""
    said: list[str] = []
    peer = Peer("s1", "s2", Address("s2", 1), lambda _: None, lambda _: None, said.append)
    broken, sent = threading.Event(), threading.Event()

    def fail(_: bytes) -> None:
        raise trouble

    def stub(sendall: Callable[[bytes], object]) -> Any:
        return SimpleNamespace(
            send=lambda *_: 3, sendall=sendall, shutdown=lambda _: broken.set(), close=lambda: None
        )

    bad, good = stub(fail), stub(lambda _: sent.set())
    sender = threading.Thread(target=peer._send_outbox, daemon=True)
    sender.start()
    peer._socket = bad
    peer.send(LINE)
    assert broken.wait(DEADLINE_S)
    peer._close(bad)  # as the reader does that finds it broken
    peer._socket = good
    peer.send(LINE)
    assert sent.wait(DEADLINE_S)
    peer.stop()
    sender.join(DEADLINE_S)
    is_expected = isinstance(trouble, OSError)
    words = f"[!] s2 at s2:1 can't be talked to: {type(trouble).__name__}: {trouble}"
    assert said == ([] if is_expected else [words])


@pytest.mark.pure
@pytest.mark.parametrize("place", ["_connect", "_prove", "_understand"])
def test_a_peer_is_dialed_again_after_any_error(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    said: list[str] = []

    def fail(*_: object) -> None:
        raise ValueError("nobody thought of it")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        address = Address("127.0.0.1", listener.getsockname()[1])
        peer = Peer("s1", "s2", address, lambda _: None, lambda _: None, said.append)
        as_it_was = getattr(peer, place)
        monkeypatch.setattr(peer, place, fail)
        peer.start()
        if place != "_connect":
            there, _ = listener.accept()
            there.sendall(b"s2@Count on me term 1\n")
            there.close()
        eventually(lambda: said, "a complaint")
        monkeypatch.setattr(peer, place, as_it_was)
        listener.accept()[0].close()
        peer.stop()
    assert said == [f"[!] s2 at {address} can't be talked to: ValueError: nobody thought of it"]


@pytest.mark.parametrize("name", ["s" + "2" * 63, "s..2"])
def test_member_with_an_uncertifiable_name_is_dialed_again(made: Tls, name: str) -> None:
    """Python can't put such a name in a handshake, and raises a UnicodeError."""
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        address = Address("127.0.0.1", listener.getsockname()[1])
        peer = Peer("s1", name, address, lambda _: None, lambda _: None, said.append, tls=made)
        peer.start()
        for _ in range(2):
            listener.accept()[0].close()
        peer.stop()
    assert said[0].startswith(f"[!] {name} at {address} can't be talked to: Unicode")
    assert len(said) == 1


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    from raftline.access import authority

    folder = tmp_path_factory.mktemp("certs")
    authority.make(folder, ["s1=localhost"], [])
    return Tls(TlsFiles(folder / "s1.pem", folder / "s1.key", folder / "ca.pem"))


# --- connections from outside ---------------------------------------------------------------------


class BreaksAmidReplies:
    """A state that is read for a slow reader, and breaks."""

    def read(self, commands: Sequence[str], room: int = 0, *, waits: bool = True) -> list[str]:
        if waits:  # a thread of its own sends by now
            raise KeyError("changed meanwhile")
        return [f"GET response: {'v' * 100_000}" for _ in commands]


def test_slow_reader_with_broken_replies_is_cut_and_frees_room() -> None:
    """If the replies for a slow reader fail, it is disconnected and its memory is released."""
    near, far = socket.socketpair()
    with near, far:
        host: Any = FakeHost()
        outgoing = Outgoing(host, near)
        batch = Batch(["get a"] * 1000, is_read=True, ids=[""] * 1000, reply_sink=outgoing)
        batch.asked_ms, batch.reader = 1, BreaksAmidReplies()
        outgoing.add(batch)
        batch.wake()
        host.flush()
        far.settimeout(DEADLINE_S)
        while far.recv(1 << 20):
            pass
        outgoing.wait_until_empty()
        eventually(lambda: host.reply_room.used == 0)
    line = "replies can't be sent, and their connection ends: KeyError('changed meanwhile')"
    assert host.reports == [line]


def test_a_backlog_that_breaks_ends_its_connection_alone() -> None:
    near, far = socket.socketpair()
    with near, far:
        host: Any = FakeHost()
        outgoing = Outgoing(host, near)
        outgoing.resume([cast(Any, SimpleNamespace(next_piece=lambda: 1 // 0))])
        assert outgoing.is_empty()
        far.settimeout(DEADLINE_S)
        assert far.recv(1) == b""
    assert "ZeroDivisionError" in host.reports[0]


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener("127.0.0.1", next(free_ports), 10)
    yield made
    made.close()
    made.end_connections()


def asks(listener: Listener) -> socket.socket:
    made = socket.create_connection(listener._socket.getsockname(), timeout=DEADLINE_S)
    made.sendall(b"nonsense\n")
    return made


def is_ended(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1)
    except ConnectionResetError:  # its line was not read
        return True


@pytest.mark.pure
@pytest.mark.parametrize("trouble", TROUBLES, ids=repr)
def test_failed_accept_keeps_no_other_connection_out(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    """If one connection cannot be accepted, later ones still are."""
    host: Any = FakeHost()
    troubles = [trouble]

    def connection(*given: Any, **named: Any) -> Connection:
        if troubles:
            raise troubles.pop()
        return Connection(*given, **named)

    monkeypatch.setattr(listener_module, "Connection", connection)
    listener.open(host)
    with asks(listener) as first, asks(listener) as second:
        assert is_ended(first)
        assert second.recv(1)
    assert host.reports == [f"can't take a connection: {trouble}; the open ones continue"]


def fail_for_a_user() -> None:
    raise KeyError("a user")


def test_failed_errand_of_the_listener_delays_no_later_one(listener: Listener) -> None:
    host: Any = FakeHost()
    done = threading.Event()
    listener.run_soon(fail_for_a_user)  # before it accepts
    listener.open(host)
    eventually(lambda: host.reports)
    listener.run_soon(fail_for_a_user)
    listener.run_soon(done.set)
    assert done.wait(DEADLINE_S)
    line = "a change of users or of the leader did not reach every client: KeyError('a user')"
    assert host.reports == [line, line]
    with asks(listener) as another:
        assert another.recv(1)


@pytest.mark.pure
def test_a_connection_that_meets_an_error_ends_alone(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    host: Any = FakeHost()

    def serve(_: Connection) -> None:
        raise KeyError("a request")

    with monkeypatch.context() as patched:
        patched.setattr(Connection, "serve", serve)
        listener.open(host)
        with asks(listener) as one:
            assert is_ended(one)
        eventually(lambda: listener.traffic()[0] == 0, "its place is free")
    with asks(listener) as another:
        assert another.recv(1)
    assert host.reports == ["a connection ends, and the others continue: KeyError('a request')"]


# --- what a node can't go on without --------------------------------------------------------------


def failed(rim: FakeRim, driver: Driver, trouble: Exception) -> bool:
    """Whether a driver that runs stops the node by this error."""
    assert rim.has_failed.wait(DEADLINE_S)
    driver.stop(DEADLINE_S)
    return rim.failed[0] is trouble


@pytest.mark.pure
@pytest.mark.parametrize("what", ["begin_sleep", "settle"])
def test_owner_with_an_error_between_steps_stops_the_node(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """An error of the owner between two steps stops the node."""
    rim = FakeRim()
    driver, trouble = driver_of_s1(rim), TypeError("no number")

    def fail(*_: object) -> None:
        raise trouble

    part = driver._arrivals if what == "settle" else stepper_of(driver)
    monkeypatch.setattr(part, what, fail)
    assert failed(rim, driver, trouble)


@pytest.mark.pure
def test_a_node_stops_though_it_can_not_turn_its_clients_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rim = FakeRim()
    driver, trouble = driver_of_s1(rim), MemoryError()

    def fail(*_: object, **__: object) -> None:
        raise trouble

    monkeypatch.setattr(stepper_of(driver), "turn_all_away", fail)
    driver.fail(trouble)
    assert rim.failed[0] is trouble
    driver.stop(DEADLINE_S)


@pytest.mark.pure  # a compiled node takes no other console
def test_a_node_stops_though_its_console_fails() -> None:
    def say(_: str) -> None:
        raise ValueError("a filter")

    startup: Any = SimpleNamespace(name="s1", is_private=False, is_at_floor=False)
    console: Any = SimpleNamespace(say=say)
    pace: Any = SimpleNamespace(election_timeout_ms=1, election_spread_ms=1)
    server = Server(startup, pace, console, readings=cast(Any, None))
    with pytest.raises(ValueError, match="a filter"):
        server.fail(KeyError())
    assert server._end.wait(0)
    assert server.exit_status


@pytest.mark.pure
def test_watches_that_can_not_begin_again_stop_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, met = WatchScene(), threading.Event()
    scene.watch("a")
    monkeypatch.setattr(scene.watchers, "on_failure", lambda _: met.set())

    def fail(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(scene.lister, "take", fail)
    scene.install(9, a="1")
    assert met.wait(DEADLINE_S)


# --- what a node goes on without ------------------------------------------------------------------


def test_a_joiner_asks_again_after_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    troubles = [RuntimeError("can't start new thread")] * 2  # before it serves, and once it does

    def ask(there: Address, line: str, *_: object) -> str:
        if troubles:
            raise troubles.pop()
        return "Level 1 version 9" if "@Level " in line else "s4 was added"

    view = SimpleNamespace(is_member=False, membership=SimpleNamespace(electors=()))
    monkeypatch.setattr(joining, "ask", ask)
    monkeypatch.setattr(joining, "ask_leader", ask)
    monkeypatch.setattr(joining, "PAUSES_S", (0.0, 0.0))
    node = cast(RawNode, SimpleNamespace(view=view))
    there, foreigners = Address("h", 1), Foreigners("s4")
    joining.begin_to_join("s4", Address("h", 4), there, None, node, foreigners, said.append)
    eventually(lambda: "[*] s4 was added" in said)
    assert said[1:-1] == ["[!] s4 is not added yet: RuntimeError: can't start new thread"]


def test_a_reload_that_meets_any_error_is_not_an_end_of_reloads() -> None:
    said: list[str] = []
    reload = Reload("s1", said.append)
    troubles = [KeyError("a user")]

    def read() -> str:
        if troubles:
            raise troubles.pop()
        return "2 in all"

    reload.add("users", read)
    reload.add("secret", lambda: "")
    reload.begin()
    reload.ask()
    eventually(lambda: len(said) == 2)
    reload.ask()
    eventually(lambda: len(said) == 3)
    assert said == [
        "[!] s1 reloaded users only in part: KeyError('a user')",
        "[*] s1 has reloaded: secret",
        "[*] s1 has reloaded: users (2 in all), secret",
    ]
