"""Replies leave in pieces of bounded bytes, and a node holds a bounded sum of what nobody takes."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from raftline.net import reply_budget
from raftline.net.protocol.outgoing_protocol import (
    AT_ONCE,
    NOT_KEPT,
    PIECE,
    UNDER_WAY_MAX,
    OutgoingProtocol,
)
from raftline.net.protocol.waits import Replies, SendBytes
from raftline.net.reply_budget import MAKERS, ReplyRoom
from raftline.wire.commands.parsing import ReadSettings
from raftline.wire.limits import LONG_REPLY_BYTES
from raftline.wire.refusal import NOT_REACHED
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.long_replies import DEADLINE_S, LONG, Line, LongState
from raftline_testing.doubles.served_connection import ServedConnection
from raftline_testing.nodes.processes import eventually

HEAD = len("s1@GET response: \n")


@pytest.fixture
def host() -> Any:
    return FakeHost()


@pytest.fixture
def line(host: Any) -> Iterator[Line]:
    one = Line(host)
    yield one
    one.close()


def test_a_long_reply_is_made_by_no_thread_that_steps_the_core(line: Line) -> None:
    """The thread that answers keeps the time of the node, or reads the answers of a peer."""
    line.gets(64)
    eventually(lambda: line.state.read_later == 1, "the first reply")
    assert line.state.read_by_others <= len(line.state.value) + HEAD  # one look at its length
    assert line.host.reply_room.used == LONG + HEAD
    line.receive(64 * (LONG + HEAD))
    line.outgoing.wait_until_empty()
    assert line.host.reply_room.used == 0
    assert line.state.read_later == 64


@pytest.mark.parametrize("is_read", [True, False])
def test_a_reply_that_is_not_very_long_is_made_without_a_thread(line: Line, is_read: bool) -> None:
    """To begin a thread takes longer than to encode it."""
    line.state.value = "v" * (AT_ONCE - HEAD)
    batch = line.ask(*["get a"] * 3, is_read=is_read)
    if is_read:
        batch.wake()
    else:
        batch.answer_all(f"GET response: {line.state.value}")
    line.outgoing.flush()
    assert (line.state.read_later, batch.sent) == (0, 1)
    assert line.receive(3 * AT_ONCE).count(b"\n") == 3


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize("length", [10, PIECE // 3, LONG])
def test_replies_leave_in_pieces_of_bounded_bytes(line: Line, is_read: bool, length: int) -> None:
    line.state.value = "v" * length
    count = 4 * PIECE // length if length < PIECE else 4
    batch = line.ask(*["get a"] * count, is_read=is_read)
    if is_read:
        batch.wake()
    else:
        batch.answer_all(f"GET response: {line.state.value}")
    line.host.flush()
    assert line.receive(count * (length + HEAD)).count(b"\n") == count
    line.outgoing.wait_until_empty()
    line_bytes = length + HEAD
    longest = max(PIECE + PIECE // 14 * len("s1@\n"), line_bytes)
    assert max(line.near.sizes) <= longest


def test_a_sent_reply_is_not_kept_until_the_others_have_left(line: Line) -> None:
    batch = line.ask(*["get a read log"] * 5, is_read=False)
    batch.replies = ["x" * LONG + str(number) for number in range(5)]
    batch.wake()
    line.host.flush()
    line.receive(3 * (LONG + 5))
    eventually(lambda: batch.sent >= 3, "three replies")
    assert [len(reply) for reply in batch.replies[:3]] == [0, 0, 0]
    said = line.receive(2 * (LONG + 5))
    assert said.splitlines()[1][-1:] == b"4"


def test_untaken_replies_are_bounded_over_all_connections(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replies that nobody takes are bounded for all connections."""
    monkeypatch.setattr(reply_budget, "LONG_REPLY_BYTES", LONG + HEAD)
    most = 3 * (LONG + HEAD)
    host.reply_room = ReplyRoom(most, check_s=0.01)
    lines = [Line(host) for _ in range(8)]
    for one in lines:
        one.gets(4)

    def made() -> int:
        return sum(one.state.read_later for one in lines)

    eventually(lambda: made() == 3 and host.reply_room.used == most, "three replies")
    taken = 0
    for one in lines:  # the first ones may have to wait for the room of those who were faster
        threading.Thread(target=one.receive, args=(4 * (LONG + HEAD),), daemon=True).start()
        taken += 4
    eventually(lambda: made() == taken, "all replies")
    for one in lines:
        one.outgoing.wait_until_empty()
        one.close()
    assert host.reply_room.used == 0


def test_stalled_reader_is_cut_off_when_others_need_its_room(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that takes nothing is cut off while others wait for its room."""
    monkeypatch.setattr(reply_budget, "LONG_REPLY_BYTES", LONG + HEAD)
    host.reply_room = ReplyRoom(LONG + HEAD, held_s=0.0, check_s=0.01)
    silent, other = Line(host), Line(host)
    silent.gets(4)
    eventually(lambda: host.reply_room.used == LONG + HEAD, "a reply that nobody takes")
    other.gets(1)
    assert other.receive(LONG + HEAD)[-1:] == b"\n"
    said = silent.receive(4 * (LONG + HEAD))
    assert len(said) < LONG + HEAD
    assert silent.far.recv(1) == b""
    silent.outgoing.wait_until_empty()
    for one in (silent, other):
        one.close()


class Held:
    """A connection that holds some room."""

    def __init__(self, user: str | None = None) -> None:
        self.user = user
        self.is_ended = False

    def break_off(self) -> None:
        self.is_ended = True


def test_nobody_is_cut_off_while_there_is_room() -> None:
    room, first, second = ReplyRoom(held_s=0.0, check_s=0.01), Held(), Held()
    room.hold(first, 10)
    room.reserve(second)
    room.hold(second, 20)
    room.relieve()
    assert (first.is_ended, second.is_ended, room.used) == (False, False, 30)


def test_reply_in_the_making_ends_nobody_and_one_is_always_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However little room there is: a longer one than that has its turn, too."""
    room, maker, other = ReplyRoom(10, held_s=0.0, check_s=0.01), Held(), Held()
    room.reserve(maker)
    looked, looks = threading.Semaphore(0), room._end_late
    monkeypatch.setattr(room, "_end_late", lambda one: [looks(one), looked.release()])
    waiting = threading.Thread(target=room.reserve, args=(other,), daemon=True)
    waiting.start()
    for _ in range(3):
        assert looked.acquire(timeout=DEADLINE_S)
    assert not maker.is_ended
    room.give(maker)
    waiting.join(DEADLINE_S)
    assert not waiting.is_alive()


def test_few_long_replies_are_made_at_a_time() -> None:
    """The owner keeps time beside them."""
    room = ReplyRoom((MAKERS + 3) * LONG_REPLY_BYTES, held_s=0.0, check_s=0.01)
    holder, makers, last = Held(), [Held() for _ in range(MAKERS)], Held()
    room.hold(holder, 10)
    for one in makers:
        room.reserve(one, in_turn=True)
    room.reserve(Held())  # a listing: its disk may stall
    has_turn = threading.Event()

    def take_turn() -> None:
        room.reserve(last, in_turn=True)
        has_turn.set()

    waiting = threading.Thread(target=take_turn, daemon=True)
    waiting.start()
    assert not has_turn.wait(0.1)
    room.hold(makers[0], 20)  # made
    assert has_turn.wait(DEADLINE_S)
    assert not any(one.is_ended for one in (holder, *makers, last))
    room.give(makers[1])
    room.give(last)
    room.reserve(Held(), in_turn=True)
    room.reserve(Held(), in_turn=True)


def test_immediate_reply_ends_readers_that_are_late() -> None:
    """A reply that cannot wait is given room or none, and ends readers that are late."""
    now_s = 0.0
    room = ReplyRoom(LONG_REPLY_BYTES, held_s=10.0, now_s=lambda: now_s)
    first, second = Held(), Held()
    assert room.reserve_now(first)
    room.hold(first, 10)
    now_s = 9.0
    assert not room.reserve_now(second)
    assert not first.is_ended
    now_s = 10.0
    assert not room.reserve_now(second)
    assert first.is_ended
    room.give(first)
    assert room.reserve_now(second)


def test_a_user_that_takes_nothing_leaves_room_for_the_others() -> None:
    """However many connections it has, and however long its replies became."""
    room = ReplyRoom(3 * LONG_REPLY_BYTES)
    first, second = Held("mal"), Held("mal")
    assert room.reserve_now(first)
    assert room.reserve_now(second)
    room.hold(first, 5 * LONG_REPLY_BYTES)
    assert not room.reserve_now(Held("mal"))
    for _ in range(10):
        holder = Held("ann")
        assert room.reserve_now(holder)
        room.hold(holder, 10)
        room.give(holder)
    assert room.reserve_now(Held("ann"))
    assert not room.reserve_now(Held("eve"))


def test_a_backup_takes_no_room_while_it_waits_for_a_quorum() -> None:
    """Four of them would keep each long reply waiting where there is none."""
    scene = ServedConnection()
    scene.say("backup\n")
    scene.submitted(1)
    assert scene.host.reply_room.used == 0
    scene.answer(0, "Sorry, as one says")
    assert scene.line() == "s1@Sorry, as one says"
    scene.end()


def test_what_could_not_wait_for_room_is_bounded_as_well() -> None:
    """The connections that hold theirs longest end where there is twice as much as there may be."""
    room, held = ReplyRoom(100), [Held() for _ in range(6)]
    for one in held[:5]:
        room.hold(one, 40)
    room.relieve()
    assert [one.is_ended for one in held] == [False] * 6
    room.hold(held[5], 40)
    room.hold(held[0], 40)  # it has taken what it had, and got more
    room.relieve()
    assert [one.is_ended for one in held] == [False, True] + [False] * 4
    for one in held:
        room.give(one)
        room.give(one)
    assert room.used == 0


def test_client_with_many_bytes_under_way_is_not_read(line: Line) -> None:
    """A client is not read while many bytes of its requests are under way."""
    first = line.ask("set a " + "x" * (UNDER_WAY_MAX // 2), is_read=False)
    assert not line.outgoing.is_full()
    second = line.ask("set b " + "x" * (UNDER_WAY_MAX // 2), is_read=False)
    assert line.outgoing.is_full()
    first.answer_all("done")
    line.host.flush()
    assert not line.outgoing.is_full()
    second.answer_all("done")
    line.host.flush()
    assert line.receive(16) == b"s1@done\ns1@done\n"
    line.ask("set a " + "x" * UNDER_WAY_MAX, is_read=False)
    assert line.outgoing.is_full()
    line.outgoing.break_off()
    assert not line.outgoing.is_full()


class Stalled:
    """A backlog whose disk has stalled."""

    def __init__(self) -> None:
        self.is_asked, self.goes_on = threading.Event(), threading.Event()
        self.pieces = [b"a line of a listing\n"]

    def next_piece(self) -> bytes:
        self.is_asked.set()
        assert self.goes_on.wait(DEADLINE_S)
        return self.pieces.pop() if self.pieces else b""


@pytest.mark.parametrize("by_thread", [False, True])
def test_a_disk_that_stalls_holds_up_its_own_reader_alone(line: Line, by_thread: bool) -> None:
    """Every second the owner looks at each connection, and has to keep time in between."""
    backlog = Stalled()
    if by_thread:
        line.outgoing._send_later(b"")
    line.outgoing.add_backlogs([backlog])
    pumping = threading.Thread(target=line.outgoing.pump)
    pumping.start()
    assert backlog.is_asked.wait(DEADLINE_S)
    late = line.ask("set a 1", is_read=False)
    late.asked_ms = 1
    line.outgoing.give_up_late(before_ms=2)
    line.host.flush()
    line.outgoing.push(b"never sent so\n", lambda: [])
    assert not line.outgoing.send_now(b"for a peer\n")
    line.outgoing.add_backlogs([])
    backlog.goes_on.set()
    said = line.receive(len(b"a line of a listing\n")).decode()
    assert said == "a line of a listing\n"
    assert NOT_REACHED.encode() in line.far.recv(1000)
    pumping.join(DEADLINE_S)
    line.outgoing.wait_until_empty()


def test_a_listing_that_can_t_be_read_ends_its_connection(line: Line) -> None:
    class Broken:
        def next_piece(self) -> bytes:
            raise OSError("the disk is gone")

    line.outgoing.add_backlogs([Broken()])
    line.outgoing.pump()
    line.outgoing.wait_until_empty()
    assert line.far.recv(1) == b""


# --- what a connection's own thread answers -----------------------------------------------------


def local(state: LongState) -> ServedConnection:
    """Return a connection at a node that serves local reads of this state."""
    scene = ServedConnection()
    scene.here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    scene.host.readings = ReadSettings(at_followers=True)
    scene.host.logmanager = state
    return scene


def arrived(scene: ServedConnection) -> None:
    """Wait until the first bytes of a reply are there."""
    waiting = select.poll()
    waiting.register(scene.there, select.POLLIN)
    assert waiting.poll(DEADLINE_S * 1000)


def test_local_reads_of_one_packet_are_made_one_at_a_time() -> None:
    state = LongState()
    scene = local(state)
    scene.say("c@get a read local\n" * 200)
    arrived(scene)
    assert state.read_by_others == 2 * (LONG + HEAD - 4)  # one, and the look at its length before
    assert 0 < scene.host.reply_room.used < 2 * LONG
    for _ in range(200):
        assert len(scene.line_of(LONG + HEAD)) == LONG + HEAD
    eventually(lambda: scene.host.reply_room.used == 0, "all are taken")
    scene.end()


@pytest.mark.pure
def test_short_local_reads_leave_together() -> None:
    state = LongState(10)
    scene = local(state)
    sizes: list[int] = []
    send = scene.connection.outgoing.send_bytes

    def sent(data: bytes) -> None:
        sizes.append(data.count(b"\n"))
        send(data)

    scene.connection.outgoing.send_bytes = sent  # type: ignore[method-assign]
    scene.say("c@get a read local\n" * 100)
    assert len(scene.line_of(100 * (10 + HEAD))) == 100 * (10 + HEAD)
    assert sum(sizes) == 100
    assert len(sizes) <= 3
    scene.end()


def test_reader_leaving_amid_a_long_reply_returns_its_room() -> None:
    """A reader that goes away amid a long reply gives its room back."""
    scene = local(LongState())
    scene.say("c@get a read local\n" * 3)
    arrived(scene)
    assert scene.host.reply_room.used > 0
    scene.there.close()
    scene.thread.join(DEADLINE_S)
    assert not scene.thread.is_alive()
    assert scene.host.reply_room.used == 0


def test_pages_of_show_are_made_one_at_a_time() -> None:
    state = LongState()
    scene = local(state)
    scene.say("c@show\n" * 50)
    scene.submitted(1)
    [batch] = scene.batches
    batch.reader = state
    batch.wake()
    arrived(scene)
    assert state.read_by_others == LONG + HEAD - 4
    for _ in range(50):
        assert len(scene.line_of(LONG + HEAD)) == LONG + HEAD
    scene.end()


def test_replies_that_gather_beyond_a_piece_are_sent(host: Any) -> None:
    replies = Replies("s1", OutgoingProtocol(host))
    waits = [wait for _ in range(10) for wait in replies.add_in_pieces("", "x" * (PIECE // 4))]
    waits += replies.flush()
    assert [wait.data.count(b"\n") for wait in waits if isinstance(wait, SendBytes)] == [4, 4, 2]


# --- replies to entries, which are made when these are applied ----------------------------------


def test_long_replies_of_entries_are_kept_while_there_is_room(line: Line) -> None:
    """Else a packet of `get a read log` has a node make hundreds of megabytes at once."""
    count = UNDER_WAY_MAX // LONG + 3
    batch = line.ask(*["get a read log"] * count, is_read=False)
    first = line.outgoing.keep(batch, ["x" * LONG] * (count - 1))
    batch.replies = list(first)
    batch.replies += line.outgoing.keep(batch, ["x" * LONG])
    assert [len(reply) == LONG for reply in first] == [True] * (count - 3) + [False] * 2
    assert first[-1] == NOT_KEPT
    assert NOT_KEPT.startswith("Sorry, outcome unknown: ")
    assert line.host.reply_room.kept == (count - 3) * LONG
    batch.wake()
    line.host.flush()
    said = line.receive((count - 3) * (LONG + 4)).splitlines()
    assert len(said) == count - 3
    line.outgoing.wait_until_empty()
    assert line.host.reply_room.kept == 0
    after = line.ask("get a read log", is_read=False)
    assert line.outgoing.keep(after, ["x" * LONG]) == ["x" * LONG]


def test_only_waiting_reply_is_kept_at_any_length(line: Line) -> None:
    """Else no `txn get a ; delete a` could return a value of 1 MiB whose bytes JSON makes long."""
    batch = line.ask("txn get a ; delete a", is_read=False)
    reply = "x" * (2 * UNDER_WAY_MAX - PIECE)
    assert line.outgoing.keep(batch, [reply]) == [reply]
    assert line.outgoing.keep(batch, ["x" * LONG]) == [NOT_KEPT]
    line.outgoing.break_off()
    assert line.host.reply_room.kept == 0


def test_replies_that_repeat_their_requests_are_kept(line: Line) -> None:
    """Else a client that sends some long values at once can't know whether they were set."""
    values = ["x" * (UNDER_WAY_MAX // 4)] * 5
    batches = [line.ask(f"set a {value}", is_read=False) for value in values]
    replies = [f"SET response: a set to {value}" for value in values]
    kept = [
        line.outgoing.keep(batch, [reply]) for batch, reply in zip(batches, replies, strict=True)
    ]
    assert [one == [reply] for one, reply in zip(kept, replies, strict=True)] == [True] * 5
    line.outgoing.break_off()
    assert line.host.reply_room.kept == 0


def test_a_short_reply_is_kept_after_any_long_ones(line: Line) -> None:
    batch = line.ask(*["get a read log"] * 100, is_read=False)
    replies = ["x" * LONG, "DELETE response: a deleted"] * 50
    kept = line.outgoing.keep(batch, replies)
    assert kept[1::2] == replies[1::2]
    assert NOT_KEPT in kept


def test_the_replies_that_all_connections_keep_are_bounded(host: Any) -> None:
    host.reply_room = ReplyRoom(3 * LONG)
    lines = [Line(host) for _ in range(3)]
    batches = [one.ask("get a read log", "get b read log", is_read=False) for one in lines]
    kept = [
        one.outgoing.keep(batch, ["x" * LONG] * 2)
        for one, batch in zip(lines, batches, strict=True)
    ]
    assert [[len(reply) for reply in some] for some in kept] == [
        [LONG, LONG],
        [LONG, len(NOT_KEPT)],
        [len(NOT_KEPT)] * 2,
    ]
    lines[0].outgoing.break_off()
    assert host.reply_room.kept == LONG
    assert lines[0].outgoing.keep(batches[0], ["x" * LONG]) == [NOT_KEPT]  # nobody reads it
    assert host.reply_room.kept == LONG
    for one in lines:
        one.outgoing.break_off()
        one.close()
    assert host.reply_room.kept == 0
