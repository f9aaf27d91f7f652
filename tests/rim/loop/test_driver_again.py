"""A driver whose node falls and leads again, or stops meanwhile: who waits is answered once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

import raftline.node.loop.stepper
from raftline.logmanager import LogManager
from raftline.net.protocol.host import Batch, RequestRoom
from raftline.node.loop.driver import Driver
from raftline.node.loop.handover import Handover
from raftline.node.loop.queue import RequestQueue
from raftline.raft.effects import Effects
from raftline.raft.log import Entry, Snapshot
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    ReadIndexReply,
)
from raftline.raft.roles import ForwardedReads
from raftline.wire.commands.parsing import Reading
from raftline.wire.refusal import NO_LEADER, TOO_MUCH_WAITS
from raftline_testing.doubles.cores import established
from raftline_testing.doubles.driven_node import DEADLINE_S, batching_of, driver_of_s1
from raftline_testing.doubles.fake_rim import FakeRim, elect
from raftline_testing.nodes.processes import eventually
from raftline_testing.orders import StepDown, obey

STOPPING = "Sorry, this server is stopping. Nothing was done; try another."


@pytest.fixture(autouse=True)
def nobody_looks_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the owner sleep until it is woken: else it would find within a second what it misses."""
    monkeypatch.setattr(raftline.node.loop.stepper, "LATE_CHECK_MS", 10**9)


def acknowledge(driver: Driver) -> None:
    """Make s2 hold all of the leader's log, and answer its latest round."""
    state = driver.node.view
    eventually(lambda: state.durable_index == state.log.last_index)
    answer = AppendAccepted("s2", "s1", state.term, state.log.last_index, state.round)
    assert driver.receive([answer], None) == []


def lead(driver: Driver) -> None:
    """Elect s1, and have its no-op committed."""
    elect(driver)
    acknowledge(driver)
    assert driver.node.view.commit_index == driver.node.view.log.last_index


def fall(driver: Driver, *, in_its_term: bool = False) -> None:
    if in_its_term:
        driver.step_by(lambda node, now_ms: obey(node, StepDown(), now_ms))
    else:
        later = AppendRejected("s2", "s1", driver.node.view.term + 1, 0, 0)
        assert driver.receive([later], None) == []
    assert not driver.node.view.is_leader
    assert not batching_of(driver).leads


@pytest.mark.parametrize("in_its_term", [False, True])
def test_reads_of_a_fallen_leader_are_served_when_it_leads_again(*, in_its_term: bool) -> None:
    driver = driver_of_s1(FakeRim(), heartbeat_ms=50_000)
    lead(driver)
    state = driver.node.view
    batches = [Batch([f"get {key}"], is_read=True) for key in "abcd"]
    for batch in batches:
        driver.submit(batch)
    eventually(lambda: bool(state.read_rounds))
    fall(driver, in_its_term=in_its_term)
    eventually(lambda: driver.waiting()["leader"] == len(batches))
    assert not any(batch.is_answered for batch in batches)
    elect(driver)
    eventually(lambda: len(driver.node._state.as_leader.reads_waiting) == len(batches))
    assert not any(batch.is_answered for batch in batches)
    acknowledge(driver)  # commits the no-op: their round begins
    acknowledge(driver)
    assert all(batch.is_answered for batch in batches)
    assert not state.read_rounds
    driver.stop(DEADLINE_S)


@pytest.mark.parametrize("in_its_term", [False, True])
def test_each_leadership_answers_only_its_own_writes(*, in_its_term: bool) -> None:
    driver = driver_of_s1(FakeRim(), heartbeat_ms=50_000)
    for _ in range(3):
        lead(driver)
        done, unknown = Batch(["set a 1"], is_read=False), Batch(["set b 2"], is_read=False)
        driver.submit(done)
        eventually(lambda: driver.waiting()["commit"] > 0)
        acknowledge(driver)
        assert done.is_answered
        assert done.replies == ["SET response: a set to 1"]
        driver.submit(unknown)
        eventually(lambda: driver.waiting()["commit"] > 0)
        fall(driver, in_its_term=in_its_term)
        assert unknown.is_answered
        assert unknown.replies[0].startswith("Sorry, outcome unknown: ")
        assert not batching_of(driver).in_flight
    driver.stop(DEADLINE_S)


def forwarded_by(driver: Driver) -> ForwardedReads:
    """Return the reads for which a follower asks its leader."""
    return driver.node._state.forwarded_reads


def following() -> Driver:
    """Return a driver whose node follows s2."""
    driver = driver_of_s1(FakeRim())
    word = AppendEntries("s2", "s1", 1, 0, 0, [Entry(1, 1, "noop")], 0, 1)
    assert driver.receive([word], None) == []
    return driver


@pytest.mark.parametrize("answered", [False, True])
def test_reads_that_wait_at_a_follower_are_refused_at_a_stop(*, answered: bool) -> None:
    driver = following()
    forwarded = forwarded_by(driver)
    batches = [Batch(["get a"], is_read=True, reading=Reading(may_ask=True)) for _ in range(3)]
    for batch in batches:
        driver.submit(batch)
    eventually(lambda: len(forwarded.asked) + len(forwarded.waiting) == 3)
    if answered:  # and not applied up to there
        driver.receive([ReadIndexReply("s2", "s1", 1, 1, forwarded.round)], None)
        assert driver.node._state.confirmed_reads
    driver.stop(DEADLINE_S)
    assert all(batch.is_answered for batch in batches)
    assert [batch.replies for batch in batches] == [[STOPPING]] * 3


def test_forwarded_reads_find_the_next_leader() -> None:
    driver = following()
    batch = Batch(["get a"], is_read=True, reading=Reading(may_ask=True))
    driver.submit(batch)
    eventually(lambda: bool(forwarded_by(driver).asked))
    driver.peer_disconnected("s2")
    eventually(lambda: driver.waiting()["leader"] > 0)
    word = AppendEntries("s3", "s1", 2, 1, 1, [Entry(2, 2, "noop")], 2, 1)
    assert driver.receive([word], None) == []
    forwarded = forwarded_by(driver)
    eventually(lambda: bool(forwarded.asked))
    driver.receive([ReadIndexReply("s3", "s1", 2, 2, forwarded.round)], None)
    assert batch.is_answered
    assert batch.reader is not None
    driver.stop(DEADLINE_S)


def test_a_kept_request_is_served_as_soon_as_a_leader_is_known() -> None:
    driver = driver_of_s1(FakeRim())  # whose own election is a minute away
    batch = Batch(["set a 1"], is_read=False)
    driver.submit(batch)
    eventually(lambda: driver.waiting()["leader"] > 0)
    word = AppendEntries("s2", "s1", 1, 0, 0, [Entry(1, 1, "noop")], 0, 1)
    assert driver.receive([word], None) == []
    eventually(lambda: batch.is_answered)
    assert batch.replies == ["Sorry, I am not the leader: s2"]
    driver.stop(DEADLINE_S)


def test_a_readmitted_member_keeps_requests_for_the_next_leader() -> None:
    driver = driver_of_s1(FakeRim())
    driver.node._state.removed_by = 1  # and a later entry has it back
    assert driver.node.view.is_member
    batch = Batch(["set a 1"], is_read=False)
    driver.submit(batch)
    eventually(lambda: batch.is_answered or driver.waiting()["leader"] > 0)
    assert not batch.is_answered
    driver.stop(DEADLINE_S)


class StandingManager(LogManager):
    """Its first write takes until it is asked to continue."""

    may_end: threading.Event

    def write(self, works: Sequence[Effects]) -> tuple[int, int] | None:
        assert self.may_end.wait(DEADLINE_S)
        return super().write(works)


def test_last_of_two_snapshots_in_one_write_is_checked() -> None:
    StandingManager.may_end = threading.Event()
    rim, arrived = FakeRim(), []
    rim.wrote = lambda snapshot: arrived.append(snapshot) if snapshot else None  # type: ignore
    driver = driver_of_s1(rim, StandingManager)
    word = AppendEntries("s2", "s1", 1, 0, 0, [Entry(1, 1, "noop")], 0, 1)
    assert driver.receive([word], None) == []
    eventually(lambda: bool(driver.writes.writing))
    earlier, later = Snapshot(5, 1, 4, 4), Snapshot(7, 1, 4, 5)
    for snapshot in (earlier, later):
        piece = InstallSnapshot("s2", "s1", 1, snapshot, 0, 4, 2, "a 4\n")
        assert driver.receive([piece], None) == []
    StandingManager.may_end.set()
    eventually(lambda: bool(arrived))
    assert arrived == [later]
    driver.stop(DEADLINE_S)


# --- the queue, and transfers ---------------------------------------------------------------


def test_request_without_a_leader_has_its_own_deadline() -> None:
    queue = RequestQueue(hold_ms=100)
    first, second = Batch(["get a"], is_read=True), Batch(["get b"], is_read=True)
    queue.hold([first], 1000)
    queue.hold([*queue.take(writes=False, reads=False), second], 1050)
    assert queue.held_until_ms == 1100
    queue.hold(queue.take(writes=False, reads=False), 1100)
    assert (first.replies, second.replies) == ([NO_LEADER], [])
    assert queue.held_until_ms == 1150
    assert queue.take(writes=False, reads=False) == [second]
    assert queue.take(writes=False, reads=False) == []


def test_request_without_room_is_answered_at_once() -> None:
    driver = driver_of_s1(FakeRim())
    driver._queue.room = RequestRoom(0)
    flushed: list[list[str]] = []

    class Sink:
        user: str | None = None

        def mark_ready(self) -> None:
            driver.ready_sinks.append(cast(Any, self))

        def flush(self) -> None:
            flushed.append(batch.replies)

    batch = Batch(["set a 1", "set b 2"], is_read=False, reply_sink=cast(Any, Sink()))
    driver.submit(batch)
    assert flushed == [[TOO_MUCH_WAITS] * 2]
    driver.stop(DEADLINE_S)


def test_batches_applied_together_each_get_their_own_replies() -> None:
    queue = RequestQueue(hold_ms=100)
    batches = [Batch(["set a", "set b"], is_read=False) for _ in range(3)]
    queue.enter(batches, 5, 2)
    queue.answer_applied(["5", "6", "7"], 5, 7)
    assert [batch.replies for batch in batches] == [["5", "6"], ["7"], []]
    queue.give_up_pending("it fell")
    late = "Sorry, outcome unknown: it fell"
    assert [batch.replies for batch in batches] == [["5", "6"], ["7", late], [late, late]]
    assert not queue.are_pending_beside(None)


def test_transfer_of_an_earlier_term_is_not_answered_by_a_later() -> None:
    node = established("s1")
    handover = Handover(node, lambda _: "")
    first, second = (Batch(["transfer"], is_read=False) for _ in "12")
    handover.begin(first, "s3", node.view.now_ms)
    state = node._state
    state.term += 2  # it fell and was elected anew, and gives way once more
    state.as_leader.transfer = None
    node.view.progress["s2"].heard_at_ms = node.view.now_ms
    handover.begin(second, "s2", node.view.now_ms)
    handover.look()
    assert first.replies == ["Sorry, s3 did not take over: s1 leads term 3."]
    assert second.replies == []
    handover.end()
    state.as_leader.transfer = None
    handover.look()
    assert second.replies == ["Sorry, outcome unknown: s2 may take over yet, or not"]
    state.term += 1
    handover.look()
    assert first.replies == ["Sorry, s3 did not take over: s1 leads term 3."]  # it was answered


def test_a_transfer_is_answered_when_the_server_stops() -> None:
    driver = driver_of_s1(FakeRim(), heartbeat_ms=50_000)
    lead(driver)
    batch = driver.transfer("s2")
    assert not batch.is_answered
    driver.stop(DEADLINE_S)
    assert batch.replies == ["Sorry, outcome unknown: s2 may take over yet, or not"]
