"""Replies leave complete and in order, also with slow readers and broken connections."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from raftline.common.process.guarded_thread import report_lost
from raftline.net.connections.outgoing import Outgoing
from raftline.net.protocol.host import Batch
from raftline.wire.refusal import NOT_REACHED
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.nodes.refused_threads import lose, refuse

DEADLINE_S = 60.0


class Sockets:
    """The two ends of a connection, and what leaves on this one."""

    def __init__(self) -> None:
        self.here, self.there = socket.socketpair()
        self.here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.there.settimeout(DEADLINE_S)
        self.host = cast(Any, FakeHost())
        self.outgoing = Outgoing(self.host, self.here)

    def batch(self, *commands: str) -> Batch:
        """Return a batch of writes that waits for its replies."""
        batch = Batch(commands, is_read=False, ids=[""] * len(commands), reply_sink=self.outgoing)
        self.outgoing.add(batch)
        return batch

    def received(self, count: int) -> list[str]:
        """Return the next lines at the other end."""
        with self.there.makefile("r") as file:
            return [file.readline().removesuffix("\n") for _ in range(count)]


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    both = Sockets()
    yield both
    both.here.close()
    both.there.close()


@pytest.mark.pure
def test_a_reply_in_transmission_has_not_left_yet(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, the connection's thread may close the socket, or send its next reply in
    between."""
    outgoing, send = sockets.outgoing, sockets.outgoing._send
    at_it, go_on, is_empty = threading.Event(), threading.Event(), threading.Event()

    def slowly(data: bytes) -> int:
        at_it.set()
        assert go_on.wait(DEADLINE_S)
        return send(data)

    monkeypatch.setattr(outgoing, "_send", slowly)
    sockets.batch("set a 1").answer_all("x" * 60_000)
    flusher = threading.Thread(target=outgoing.flush)
    flusher.start()
    assert at_it.wait(DEADLINE_S)

    def speak() -> None:
        outgoing.wait_until_empty()
        is_empty.set()
        outgoing.send_bytes(b"s1@later\n")

    speaker = threading.Thread(target=speak)
    speaker.start()
    came_early = is_empty.wait(0.2)
    go_on.set()
    assert sockets.received(2) == ["s1@" + "x" * 60_000, "s1@later"]
    assert not came_early
    flusher.join(DEADLINE_S)
    speaker.join(DEADLINE_S)


def test_a_slow_reader_without_a_thread_is_disconnected_alone(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch)
    sockets.batch("set a 1").answer_all("x" * 60_000)
    sockets.batch("set b 2")  # and nobody waits for the answer to this
    sockets.outgoing.flush()
    assert not sockets.outgoing._batches
    sockets.outgoing.wait_until_empty()
    while sockets.there.recv(1 << 20):
        pass  # what had left, and then the end


@pytest.mark.pure
def test_a_connection_whose_slow_reader_is_lost_ends(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(monkeypatch, "slow reader")
    sockets.batch("set a 1").answer_all("x" * 60_000)
    sockets.outgoing.flush()  # never waits
    report_lost()
    while sockets.there.recv(1 << 20):
        pass  # what had left, and then the end


def test_nothing_is_sent_after_half_an_answer_to_a_peer(sockets: Sockets) -> None:
    """Otherwise, the peer reads the next reply as the rest of that line."""
    line = b"s1@" + b"x" * 1_000_000 + b"\n"
    assert not sockets.outgoing.send_now(line)
    sockets.batch("set a 1").answer_all("SET response: a set to 1")
    sockets.there.settimeout(0.2)
    received = bytearray()
    with contextlib.suppress(TimeoutError):
        while data := sockets.there.recv(1 << 20):
            received += data
            sockets.outgoing.flush()  # there is room again
    assert line.startswith(received)
    assert 0 < len(received) < len(line)
    sockets.outgoing.wait_until_empty()


def test_a_request_that_was_not_handed_over_yet_is_not_late(sockets: Sockets) -> None:
    batch = sockets.batch("set a 1")
    sockets.outgoing.give_up_late(before_ms=1_000_000)
    assert not batch.is_answered
    batch.asked_ms = 1
    sockets.outgoing.give_up_late(before_ms=1_000_000)
    assert batch.replies == [NOT_REACHED]


def test_a_read_is_served_from_the_state_that_confirmed_it(sockets: Sockets) -> None:
    """A controller's connection outlives a restart of the node, which may know less at first."""
    sockets.host.logmanager = SimpleNamespace(
        read=lambda some, room, **_: ["forgotten"] * len(some)
    )
    batch = Batch(["get a"], is_read=True, ids=[""], reply_sink=sockets.outgoing)
    batch.reader = SimpleNamespace(
        read=lambda commands, room, **_: ["GET response: 5"] * len(commands)
    )
    sockets.outgoing.add(batch)
    batch.wake()
    sockets.outgoing.flush()
    assert sockets.received(1) == ["s1@GET response: 5"]
