"""Replies leave in the order of their lines, and a reader that takes none holds nobody up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from raftline.net.connections.outgoing import Outgoing
from raftline.net.protocol.host import SHORT, Batch
from raftline.net.protocol.outgoing_protocol import BATCHES_MAX
from raftline.wire.limits import CROWDED_BYTES
from raftline.wire.refusal import NOT_REACHED
from raftline.wire.replies.replies import RequestOutcome, outcome_of
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.nodes.processes import eventually

DEADLINE_S = 60.0


class Manager:
    """A state machine of large values."""

    def __init__(self) -> None:
        self.most_at_once = 0

    def read(self, commands: Sequence[str], room: int = 0, *, waits: bool = True) -> list[str]:
        self.most_at_once = max(self.most_at_once, len(commands))
        return [f"GET response: {'v' * 100_000}" for _ in commands]


class Line:
    """A connection's two ends, and what is to be flushed."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.far.settimeout(DEADLINE_S)
        self.manager = Manager()
        self.host = cast(Any, FakeHost())
        self.outgoing = Outgoing(self.host, self.near)

    def ask(self, *commands: str, is_read: bool = False, ids: list[str] | None = None) -> Batch:
        batch = Batch(
            commands, is_read=is_read, ids=ids or [""] * len(commands), reply_sink=self.outgoing
        )
        batch.asked_ms = 1
        batch.reader = self.manager if is_read else None
        self.outgoing.add(batch)
        return batch

    def receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            data += self.far.recv(min(size - len(data), 1 << 20))
        return bytes(data)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    with line.near, line.far:
        yield line


def test_replies_leave_in_the_order_of_their_lines(line: Line) -> None:
    first, second = line.ask("set a 1", "set a 2", ids=["", "7"]), line.ask("set b 1")
    second.answer_all("B")
    line.host.flush()
    line.far.setblocking(False)
    with pytest.raises(BlockingIOError):
        line.far.recv(1)
    line.far.settimeout(DEADLINE_S)
    first.answer_all("A")
    line.host.flush()
    assert line.far.recv(100) == b"s1@A\ns1#7@A\ns1@B\n"
    line.outgoing.wait_until_empty()


def test_client_that_never_reads_blocks_no_sender(line: Line) -> None:
    """A client that never reads neither blocks a sender nor fills the memory."""
    reads = line.ask(*["get a"] * 1000, is_read=True)
    reads.wake()
    line.host.flush()  # returns, though a hundred megabytes can't leave
    assert reads.sent < 100
    assert line.manager.most_at_once <= 16
    assert not line.outgoing.send_now(b"for a peer")
    reply = len(b"s1@GET response: \n") + 100_000
    assert line.receive(1000 * reply).count(b"\n") == 1000
    line.outgoing.wait_until_empty()


def test_replies_to_a_slow_reader_follow_in_order(line: Line) -> None:
    line.ask(*["get a"] * 100, is_read=True).wake()
    line.host.flush()
    line.ask("set a 1").answer_all("A")
    line.host.flush()
    reply = len(b"s1@GET response: \n") + 100_000
    line.receive(100 * reply)
    assert line.receive(5) == b"s1@A\n"
    line.ask("set a 1").answer_all("B")
    eventually(lambda: not line.outgoing._is_stuck)
    line.host.flush()
    assert line.receive(5) == b"s1@B\n"


def test_a_client_that_sends_without_reading_waits_for_room(line: Line) -> None:
    batches = [line.ask("set a 1") for _ in range(BATCHES_MAX)]
    has_room = threading.Event()

    def wait() -> None:
        line.outgoing.wait_for_room()
        has_room.set()

    threading.Thread(target=wait, daemon=True).start()
    eventually(lambda: line.outgoing._has_waiter)
    assert not has_room.is_set()
    batches[0].answer_all("A")
    line.host.flush()
    assert has_room.wait(DEADLINE_S)


def test_reads_of_a_state_that_is_busy_hold_nobody_up(line: Line) -> None:
    goes_on = threading.Event()

    class Busy:
        def read(self, commands: Sequence[str], room: int = 0, *, waits: bool = True) -> list[str]:
            return ["GET response: 1"] * len(commands) if waits and goes_on.wait(DEADLINE_S) else []

    reads = line.ask("get a", "get a", is_read=True)
    reads.reader = Busy()
    reads.wake()
    line.host.flush()  # returns
    write = line.ask("set a 2")
    write.answer_all("A")
    line.host.flush()
    goes_on.set()
    assert line.receive(43) == b"s1@GET response: 1\n" * 2 + b"s1@A\n"
    line.outgoing.wait_until_empty()


def test_a_reader_that_has_gone_is_not_waited_for(line: Line) -> None:
    batch = line.ask("set a 1")
    line.ask("set b 1")
    line.far.close()
    batch.answer_all("A")
    line.host.flush()
    line.outgoing.wait_until_empty()
    assert not line.host.ready_sinks


def test_late_request_is_refused_as_not_done_unless_logged(line: Line) -> None:
    """A request that times out is refused as not done, unless it is in the log."""
    write, waiting, read = line.ask("set a 1"), line.ask("set c 1"), line.ask("get a", is_read=True)
    young = line.ask("set b 1")
    write.first_index = 7
    write.asked_ms, waiting.asked_ms, read.asked_ms, young.asked_ms = 1000, 1000, 2000, 3000
    line.outgoing.give_up_late(before_ms=2500)
    line.host.flush()
    unknown, *refused = line.far.recv(1000).decode().splitlines()
    assert unknown == "s1@Sorry, outcome unknown: no quorum answered in time"
    assert refused == [f"s1@{NOT_REACHED}"] * 2
    assert outcome_of(NOT_REACHED) is RequestOutcome.NO_LEADER  # clients send it again
    write.answer_rest("too late")  # it comes after all: nobody hears it
    line.host.flush()
    young.answer_all("B")
    line.host.flush()
    assert line.far.recv(1000) == b"s1@B\n"


def test_who_holds_the_core_never_waits_for_a_sender(line: Line) -> None:
    """Otherwise, many senders would delay heartbeats and votes by seconds."""
    late = line.ask("set a 1")
    entry = line.ask("get a", "get b")

    def with_core_held() -> None:
        line.outgoing.give_up_late(before_ms=2)
        entry.replies = line.outgoing.keep(entry, ["x" * SHORT] * 2)
        entry.wake()

    holder = threading.Thread(target=with_core_held, daemon=True)
    with line.outgoing._lock:  # a thread sends
        holder.start()
        holder.join(DEADLINE_S)
        assert not holder.is_alive()
    assert late.replies == [NOT_REACHED]


def test_client_with_much_waiting_output_is_not_read(line: Line) -> None:
    """Nothing more is read from a client while much of its output waits."""
    assert line.host.request_room.take(CROWDED_BYTES + 1)
    assert not line.outgoing.is_full()  # however much others send
    batch = line.ask("set a 1")
    assert line.outgoing.is_full()
    batch.answer_all("A")
    line.host.flush()
    assert not line.outgoing.is_full()


class Pieces:
    """A backlog with so many pieces of a kilobyte."""

    def __init__(self, count: int, mark: str) -> None:
        self.left = [f"{mark} {number:0>1020}\n".encode() for number in range(count)]

    def next_piece(self) -> bytes:
        return self.left.pop(0) if self.left else b""


def test_watch_lines_leave_at_once_if_the_reader_takes_them(line: Line) -> None:
    """The lines of a watch are sent at once if its reader takes them."""
    line.outgoing.push(b"one\ntwo\n", lambda: pytest.fail("nobody is slow"))
    assert line.receive(8) == b"one\ntwo\n"


def test_a_source_is_asked_for_no_more_than_its_reader_takes(line: Line) -> None:
    backlog = Pieces(20_000, "a")
    line.outgoing.add_backlogs([backlog])
    line.outgoing.pump()  # returns, though 20 megabytes can't leave
    left = len(backlog.left)
    assert left > 15_000
    line.ask("set a 1").answer_all("A")
    line.host.flush()
    said = line.receive(20_000 * 1023 + 5)
    assert said.count(b"s1@A\n") == 1
    assert [one for one in said.splitlines() if one[:1] == b"a"] == [
        one.rstrip() for one in Pieces(20_000, "a").left
    ]
    line.outgoing.wait_until_empty()


def test_nothing_overtakes_a_watch_that_fell_behind(line: Line) -> None:
    first, second = Pieces(5_000, "a"), Pieces(1, "b")
    line.outgoing.add_backlogs([first])
    line.outgoing.pump()
    line.outgoing.push(b"never sent so\n", lambda: [second])
    said = line.receive(5_001 * 1023)
    assert b"never sent" not in said
    assert sorted({one[:1] for one in said.splitlines()}) == [b"a", b"b"]
    line.outgoing.wait_until_empty()
    line.outgoing.push(b"live\n", lambda: pytest.fail("nobody is slow"))
    assert line.receive(5) == b"live\n"


def test_no_watch_line_precedes_the_reply_to_its_request(line: Line) -> None:
    """A watch sends nothing before the reply to its request."""
    line.outgoing.add_backlogs([Pieces(5_000, "a")])
    line.outgoing.pump()  # a thread goes on with it
    line.outgoing.add_backlogs([Pieces(1, "b")])
    assert b"b" not in {one[:1] for one in line.receive(5_000 * 1023).splitlines()}
    line.outgoing.send_bytes(b"its first line\n")
    line.outgoing.pump()
    assert line.receive(15 + 1023).startswith(b"its first line\nb ")


def test_a_watch_that_continues_takes_none_along_that_begins(line: Line) -> None:
    line.outgoing.add_backlogs([Pieces(1, "a")])
    line.outgoing.resume([Pieces(1, "b")])
    assert line.receive(1023)[:1] == b"b"
    line.outgoing.send_bytes(b"its first line\n")
    line.outgoing.pump()
    assert line.receive(15 + 1023).startswith(b"its first line\na ")


def test_nothing_overtakes_a_source_that_nobody_has_asked_yet(line: Line) -> None:
    line.outgoing.add_backlogs([Pieces(1, "a")])
    line.outgoing.push(b"never sent so\n", lambda: [Pieces(1, "b")])
    line.outgoing.push_later(lambda: [Pieces(1, "c")])
    line.outgoing.send_bytes(b"their first lines\n")
    line.outgoing.pump()
    said = line.receive(18 + 3 * 1023).splitlines()
    assert [one[:1] for one in said] == [b"t", b"a", b"b", b"c"]


def test_more_than_is_pushed_at_once_is_taken_in_pieces(line: Line) -> None:
    line.outgoing.push_later(lambda: [Pieces(3, "a")])
    assert line.receive(3 * 1023).count(b"\n") == 3
    line.outgoing.wait_until_empty()


def test_replies_and_pushed_lines_never_mix(line: Line) -> None:
    """The bytes of a reply and of pushed lines never interleave."""
    fallen: list[Pieces] = []

    def to_backlogs() -> list[Pieces]:
        fallen.append(Pieces(1, "b"))
        return fallen[-1:]

    def push() -> None:
        for _ in range(200):
            line.outgoing.push(b"p" * 5000 + b"\n", to_backlogs)

    pusher = threading.Thread(target=push, daemon=True)
    sender = threading.Thread(
        target=lambda: [line.outgoing.send_bytes(b"r" * 200_000 + b"\n") for _ in range(20)],
        daemon=True,
    )
    data = bytearray()
    pusher.start()
    sender.start()
    while data.count(b"\n") < 220:
        data += line.far.recv(1 << 20)
    for one in bytes(data).splitlines():
        assert one in (b"p" * 5000, b"r" * 200_000, Pieces(1, "b").left[0].rstrip())
    assert data.count(b"r\n") == 20


def test_one_flush_sends_a_bounded_part_of_many_replies(line: Line) -> None:
    """The flushing thread may also read from a member, so a client that reads as fast must not hold
    it."""
    threads: list[str] = []

    class Taker(socket.socket):
        """A reader that takes everything at once."""

        def send(self, data: Any, flags: int = 0) -> int:
            threads.append(threading.current_thread().name)
            return len(data)

        def sendall(self, data: Any, flags: int = 0) -> None:
            threads.append(threading.current_thread().name)

    with Taker(fileno=line.near.detach()) as near:
        line.outgoing._socket = near
        reads = line.ask(*["get a"] * 1000, is_read=True)
        reads.wake()
        line.host.flush()
        line.outgoing.wait_until_empty()
    assert reads.sent == 1000
    assert threads.count(threading.current_thread().name) <= 4
