"""A thread that dies before it begins, as memory is short: what needed it ends or tries again."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from raftline.common.address import Address
from raftline.common.process import guarded_thread
from raftline.common.process.guarded_thread import begin_thread, report_lost
from raftline.net.connections.listener import Listener
from raftline.net.connections.shared_reader import SharedReader
from raftline.net.peers.peers import Peer
from raftline.node.program.node_server import Server
from raftline.state.user_table import Account, UserTable
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports
from raftline_testing.nodes.refused_threads import lose, refuse


def test_the_start_of_a_lost_thread_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loss is reported once, as an error."""
    lose(monkeypatch, "s1 tests")
    lost: list[Exception] = []
    begin_thread(lambda: None, "s1 tests", lost.append)
    report_lost()
    report_lost()
    assert [str(error) for error in lost] == ["the thread s1 tests could not begin"]


def test_a_refused_thread_is_not_reported_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[Exception] = []
    monkeypatch.setattr(guarded_thread, "LOST_S", 0.0)
    with monkeypatch.context() as patched:
        refuse(patched, "s1 tests")
        with pytest.raises(RuntimeError, match="can't start new thread"):
            begin_thread(lambda: None, "s1 tests", lost.append)
    report_lost()
    assert lost == []


def test_a_thread_that_runs_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    lose(monkeypatch, "another")
    lost: list[Exception] = []
    ran = threading.Event()
    begin_thread(ran.set, "s1 tests", lost.append)
    assert ran.wait(DEADLINE_S)
    report_lost()
    assert lost == []


def test_a_begun_thread_has_its_name_until_it_ends() -> None:
    seen, over = threading.Event(), threading.Event()
    begin_thread(lambda: (seen.set(), over.wait()), "s1 tests", lambda _: None)
    assert seen.wait(DEADLINE_S)
    assert "s1 tests" in [each.name for each in threading.enumerate()]
    over.set()
    eventually(lambda: "s1 tests" not in [each.name for each in threading.enumerate()])


@pytest.mark.pure
def test_connections_read_again_if_the_shared_reader_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lose(monkeypatch, "shared reader")
    said: list[str] = []
    reader = SharedReader(cast(Any, None), crowd=0, warn=said.append)
    wire = Wire()
    read = threading.Event()

    def serve() -> None:
        assert reader.park(cast(Any, wire))
        read.set()

    threading.Thread(target=serve, daemon=True).start()
    eventually(lambda: report_lost() or read.is_set())
    assert said == [
        "the shared reader ended: MemoryError('the thread shared reader could not begin'); "
        "each connection reads for itself"
    ]
    reader.close()


class Wire:
    """A connection that parks."""

    def __init__(self) -> None:
        self.last_window = self.private_until = 0
        self.resume = threading.Lock()
        self.resume.acquire()
        self._descriptor = os.pipe()[0]

    def fileno(self) -> int:
        return self._descriptor


@pytest.mark.pure
def test_a_peer_whose_thread_is_lost_is_dialed_at_the_next_send(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    dialed = threading.Event()
    peer = Peer("s1", "s2", Address("h", 2), lambda _: None, lambda _: None, said.append)
    monkeypatch.setattr(peer, "_dial_once", dialed.set)
    with monkeypatch.context() as patched:
        lose(patched, "s1 reader of s2")
        peer.start()
        report_lost()
    assert len(said) == 1
    assert not dialed.is_set()
    peer.send(b"x")
    assert dialed.wait(DEADLINE_S)
    peer.stop()


@pytest.mark.pure  # a compiled server takes no other console
def test_changed_rights_are_checked_without_a_new_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The step that applies the change does not fail, which would stop the node."""
    startup: Any = SimpleNamespace(name="s1", is_private=False, is_at_floor=False)
    pace: Any = SimpleNamespace(election_timeout_ms=1, election_spread_ms=1)
    console: Any = SimpleNamespace(say=print)
    server = Server(startup, pace, console, readings=cast(Any, None))
    server.access = None
    server.logmanager = cast(Any, SimpleNamespace(store=SimpleNamespace(is_at_floor=True)))
    server.logmanager.store.users = UserTable({"ann": Account(None, ())})
    server.listener = listener = Listener("127.0.0.1", next(free_ports), 10)
    checked = threading.Event()
    monkeypatch.setattr(listener, "_all_open", lambda: checked.set() or [])
    try:
        listener.open(cast(Any, FakeHost()))
        refuse(monkeypatch)
        server.applied()
        assert checked.wait(DEADLINE_S)
    finally:
        listener.close()
