"""The replies of one connection leave in the order of its requests, whatever is slow."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

from raftline.net.connections import outgoing
from raftline.net.connections.outgoing import Outgoing
from raftline.net.protocol import outgoing_protocol
from raftline.net.protocol.host import Batch
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds
from raftline_testing.interleave.threads import pass_steps
from raftline_testing.interleave.wires import Wire, connected

LINES = (outgoing, outgoing_protocol)
REQUESTS = 4
CLOSES_IN = 100  # steps of threads, at most
ROOM = 24  # bytes that are on their way: some replies are longer than what is left


class Backlog:
    """A watch that lags, with some lines left."""

    def __init__(self, count: int) -> None:
        self._lines = [b"s1@EVENT %d\n" % number for number in range(count)]

    def next_piece(self) -> bytes:
        return self._lines.pop(0) if self._lines else b""


class Reads:
    def read(self, commands: Sequence[str], room: int = 0, *, waits: bool = True) -> list[str]:
        return [f"reply to {command}" for command in commands]


class Scene:
    """A connection that asks, a driver of two threads that answer, and a slow client."""

    def __init__(self, kind: type[Outgoing] = Outgoing) -> None:
        self.near: Any
        self.near, self.far = connected(ROOM)
        self.host = cast(Any, FakeHost())
        self.outgoing = kind(self.host, self.near)
        self.asked: list[Batch] = []
        self.received = b""

    def ask(self) -> None:
        self.add_all()
        with contextlib.suppress(OSError):  # the client has gone
            self.outgoing.send_bytes(b"s1@local\n")  # a reply that this thread makes itself
        self.outgoing.wait_until_empty()

    def add_all(self) -> None:
        for number in range(REQUESTS):
            is_read = number % 2 == 1
            batch = Batch(
                [f"{number}"], is_read=is_read, ids=[f"{number}"], reply_sink=self.outgoing
            )
            batch.asked_ms = 1
            self.outgoing.wait_for_room()
            self.outgoing.add(batch)
            self.asked.append(batch)

    def answer(self, mine: int) -> None:
        """Answer every other request, as the thread that took a step does."""
        for number in range(mine, REQUESTS, 2):
            while len(self.asked) <= number:
                threading.Event().wait(0.01)
            batch = self.asked[number]
            if batch.is_read:
                batch.reader = Reads()
                batch.wake()
            else:
                batch.answer_all(f"reply to {number}")
            self.flush()

    def flush(self) -> None:
        ready = self.host.ready_sinks
        while ready:
            try:
                sink = ready.popleft()
            except IndexError:
                return
            sink.flush()

    def receive(self, far: Wire) -> None:
        while data := far.recv(7):
            self.received += data


def replies_leave() -> None:
    """The replies arrive in the order of their requests, with a watch's lines between them."""
    scene = Scene()
    out = scene.outgoing

    def watch() -> None:
        out.push(b"s1@EVENT 100\n", lambda: [Backlog(1)])
        out.add_backlogs([Backlog(2)])
        out.pump()

    client = threading.Thread(target=scene.receive, args=(scene.far,), name="client")
    work = [
        threading.Thread(target=scene.ask, name="connection"),
        threading.Thread(target=scene.answer, args=(0,), name="driver"),
        threading.Thread(target=scene.answer, args=(1,), name="writer"),
        threading.Thread(target=watch, name="watch"),
    ]
    for thread in (client, *work):
        thread.start()
    for thread in work:
        thread.join()
    out.wait_until_empty()
    assert out.is_empty()
    scene.far.incoming.is_ended = True  # the rest that is on its way arrives
    client.join()
    lines = scene.received.decode().splitlines()
    replies = [line for line in lines if "EVENT" not in line]
    asked = [f"s1#{number}@reply to {number}" for number in range(REQUESTS)]
    assert replies == [*asked, "s1@local"], lines
    assert len(lines) - len(replies) == 3, lines


def it_is_broken_off() -> None:
    """The connection ends, and with it every wait, though its client takes nothing more."""
    scene = Scene()
    out = scene.outgoing

    work = [
        threading.Thread(target=scene.ask, name="connection"),
        threading.Thread(target=scene.answer, args=(0,), name="driver"),
        threading.Thread(target=scene.answer, args=(1,), name="writer"),
        threading.Thread(target=out.break_off, name="end"),
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()


def it_is_closed(kind: type[Outgoing] = Outgoing) -> None:
    """Its thread closes the connection while others send on it: each of them is out before."""
    scene = Scene(kind)
    out = scene.outgoing

    def watch() -> None:
        out.push(b"s1@EVENT 100\n" * 4, lambda: [Backlog(9)])

    def end_soon() -> None:
        pass_steps(CLOSES_IN)
        out.shut_down()

    client = threading.Thread(target=scene.receive, args=(scene.far,), name="client")
    work = [
        threading.Thread(target=scene.answer, args=(0,), name="driver"),
        threading.Thread(target=scene.answer, args=(1,), name="writer"),
        threading.Thread(target=watch, name="watch"),
        threading.Thread(target=end_soon, name="rights"),
    ]
    for thread in (client, *work):
        thread.start()
    scene.add_all()
    pass_steps(CLOSES_IN)
    out.close()
    assert scene.near.is_closed
    for thread in work:
        thread.join()


class ClosesAtOnce(Outgoing):
    """Closes the connection during any sends on it."""

    def close(self) -> None:
        self.break_off()
        self._socket.close()


@seeds(100, 30_000)
def test_replies_leave_in_order_and_none_is_left(seeds: range) -> None:
    check_interleavings(replies_leave, seeds, LINES)


@seeds(70, 30_000)
def test_a_connection_that_ends_holds_nobody(seeds: range) -> None:
    check_interleavings(it_is_broken_off, seeds, LINES)


@seeds(70, 30_000)
def test_a_connection_is_closed_once_nobody_sends_on_it(seeds: range) -> None:
    check_interleavings(it_is_closed, seeds, LINES)


@pytest.mark.slow
def test_a_connection_that_is_closed_amid_a_send_is_found() -> None:
    failure = first_failure(lambda: it_is_closed(ClosesAtOnce), range(100), LINES)
    assert failure is not None
    assert "closed while a thread" in str(failure)
