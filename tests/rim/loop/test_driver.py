"""The driver: who is sent what, and that nothing is stepped after a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

import raftline.node.loop.stepper
from raftline.logmanager import LogManager
from raftline.net.protocol.host import Batch
from raftline.node.loop.driver import Driver
from raftline.node.loop.queue import RequestQueue
from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.inputs import Receive
from raftline.raft.log import Entry
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    Message,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.roles import Leading
from raftline.wire.commands.parsing import Reading
from raftline.wire.limits import (
    LONG_UNDER_WAY_BYTES,
    READS_TOGETHER,
    WRITES_TOGETHER,
    WRITES_UNDER_WAY,
)
from raftline.wire.refusal import NO_LEADER, REMOVED
from raftline_testing.doubles.cores import OPTIONS, TIMEOUT_MS, established, node_of
from raftline_testing.doubles.driven_node import (
    DEADLINE_S,
    Answers,
    HeldManager,
    answer,
    batching_of,
    driver_of_s1,
    manager_of,
)
from raftline_testing.doubles.fake_rim import FakeRim, elect, stepper_of
from raftline_testing.doubles.set_clock import SetClock
from raftline_testing.doubles.silent_sink import SilentSink
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS
from raftline_testing.nodes.processes import eventually


class FailingManager(LogManager):
    """Its disk fails at the first write."""

    def write(self, works: Sequence[Effects]) -> tuple[int, int] | None:
        raise RuntimeError("a bug that no test has met")


def leading(driver: Driver) -> Leading:
    """Return what the core keeps as the leader."""
    return driver.node._state.as_leader


def wake_owner(driver: Driver) -> None:
    driver._sleep.wake()


def test_new_leader_wakes_its_owner_for_heartbeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Else it would look by itself.
    monkeypatch.setattr(raftline.node.loop.stepper, "LATE_CHECK_MS", 60_000)
    rim = FakeRim()
    driver = driver_of_s1(rim)
    elect(driver)
    assert rim.heartbeat.wait(DEADLINE_S)
    driver.stop(DEADLINE_S)


def test_writes_wait_in_the_queue_while_very_many_are_under_way() -> None:
    """Connections take turns in the queue, but an entry of the log waits for all before it."""
    rim = FakeRim()
    driver = driver_of_s1(rim)
    elect(driver)
    state = driver.node.view
    some = WRITES_TOGETHER // 8
    many = [Batch(["set a 1"] * some, is_read=False) for _ in range(WRITES_UNDER_WAY // some)]
    for batch in many:
        batch.may_be_long = 0
    driver.submit(*many)
    assert eventually(lambda: state.log.last_index > WRITES_UNDER_WAY, "proposals")
    last = Batch(["set b 1"], is_read=False)
    driver.submit(last)
    rim.heartbeat.clear()
    assert rim.heartbeat.wait(DEADLINE_S)
    assert driver.waiting()["writes"] == 1

    def is_answered() -> bool:
        given = AppendAccepted("s2", "s1", state.term, state.log.last_index, state.round)
        driver.receive([given], None)
        return last.is_answered

    assert eventually(is_answered, "the reply")
    assert all(batch.is_answered for batch in many)
    driver.stop(DEADLINE_S)


@pytest.mark.pure  # the core's step is replaced
def test_follower_sends_messages_that_waited_for_a_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """raftline's core has nothing to send then, but another one, such as a student's, may answer
    its leader."""
    node, rim = node_of("s1"), FakeRim()
    driver = Driver(node, LogManager("s1", MemoryFolder(), MEMBERS), rim, 60_000, SetClock(0))
    late = RequestVote("s1", "s2", 1, 0, 0)
    monkeypatch.setattr(node, "step", lambda event, now: Effects(send=[late]))
    stepper_of(driver).written([], (1, 1))
    assert rim.sent == [late]


def test_write_goes_once_to_each_peer_and_to_the_disk() -> None:
    node, rim = established("s1"), FakeRim()
    manager, clock = LogManager("s1", MemoryFolder(), MEMBERS), SetClock(node.view.now_ms)
    driver = Driver(node, manager, rim, 60_000, clock)
    driver.submit(Batch(["set a 1"], is_read=False))
    written = [entry.command for effects, _ in driver.writes.waiting for entry in effects.append]
    sent = [
        [entry.command for entry in one.entries]
        for one in rim.sent
        if isinstance(one, AppendEntries)
    ]
    assert written == ["set a 1"]
    assert sent == [["set a 1"]] * 2
    assert node.view.log.last_index == 2


def test_entry_of_another_term_answers_no_request() -> None:
    driver = driver_of_s1(FakeRim())
    elect(driver)
    batch = Batch(["set a 1"], is_read=False)
    driver.submit(batch)
    eventually(lambda: driver.node.view.log.last_index >= 2)
    stolen = [Entry(1, 2, "noop"), Entry(2, 2, "set stolen 9")]
    assert driver.receive([AppendEntries("s2", "s1", 2, 0, 0, stolen, 2, 1)], Answers()) == []
    assert batch.wait(DEADLINE_S)
    assert batch.replies == [
        "Sorry, outcome unknown: this server lost the leadership before the entry was committed"
    ]
    driver.stop(DEADLINE_S)


def test_waiting_write_is_unknown_when_the_server_stops() -> None:
    driver = driver_of_s1(FakeRim())
    elect(driver)
    batch = Batch(["set a 1"], is_read=False)
    driver.submit(batch)
    eventually(lambda: driver.node.view.log.last_index >= 2)
    driver.stop(DEADLINE_S)
    assert batch.wait(DEADLINE_S)
    assert batch.replies == ["Sorry, outcome unknown: this server is stopping"]


def test_a_batch_is_answered_once_all_of_it_is_applied() -> None:
    queue, batch = RequestQueue(hold_ms=100), Batch(["incr a", "incr b"], is_read=False)
    queue.enter([batch], 5, 1)
    queue.answer_applied(["4: noop", "5: a"], 4, 5)
    assert not batch.wait(0)
    queue.answer_applied(["6: b", "7: another's"], 6, 7)
    assert batch.wait(0)
    assert batch.replies == ["5: a", "6: b"]


def test_read_is_not_answered_before_a_quorum_confirms_it() -> None:
    driver = driver_of_s1(FakeRim(), heartbeat_ms=50_000)
    elect(driver)
    state = driver.node.view

    eventually(lambda: state.durable_index >= 1)
    answer(driver)
    batch = Batch(["get a"], is_read=True)
    driver.submit(batch)
    eventually(lambda: state.read_rounds)
    assert (batch.is_answered, batch.reader) == (False, None)
    answer(driver)
    assert batch.is_answered
    assert batch.reader is not None
    driver.stop(DEADLINE_S)


def test_users_take_turns_from_one_round_of_reads_to_the_next() -> None:
    """Also if a single run of each user fills half of a round, so that one of them has to wait."""
    driver = driver_of_s1(FakeRim())
    elect(driver)
    state, packet = driver.node.view, ["get k"] * (READS_TOGETHER // 2)
    *many, one = [
        Batch(packet, is_read=True, reply_sink=SilentSink(user)) for user in (*["bob"] * 9, "ann")
    ]
    for batch in (*many, one):
        batch.may_be_long = 0
    # Rounds of reads begin once an entry of the term is committed.
    assert eventually(lambda: answer(driver) or state.knows_committed, "its first entry")
    driver.submit(*many, one)
    assert eventually(lambda: answer(driver) or one.is_answered, "the reads of ann")
    assert not all(batch.is_answered for batch in many)
    driver.stop(DEADLINE_S)


def test_a_follower_refuses_long_writes_without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are refused make room for the next at once, before the next look at the time."""
    monkeypatch.setattr(raftline.node.loop.stepper, "LATE_CHECK_MS", 3_600_000)
    driver = driver_of_s1(FakeRim())
    driver.receive([AppendEntries("s2", "s1", 1, 0, 0, [], 0, 1)], Answers())
    asked = [
        Batch(["x" * LONG_UNDER_WAY_BYTES], is_read=False, reply_sink=SilentSink())
        for _ in range(3)
    ]
    driver.submit(*asked)
    assert eventually(lambda: all(batch.is_answered for batch in asked), "three refusals")
    driver.stop(DEADLINE_S)


def test_a_request_without_a_leader_is_kept_for_a_bounded_time() -> None:
    queue, batch = RequestQueue(hold_ms=100), Batch(["get a"], is_read=True)
    queue.hold([batch], 1000)
    assert queue.held_until_ms == 1100
    queue.hold(queue.take(writes=False, reads=False), 1099)
    assert not batch.wait(0)
    queue.hold(queue.take(writes=False, reads=False), 1100)
    assert batch.wait(0)
    assert batch.replies == [NO_LEADER]


def test_a_failed_driver_steps_and_answers_nothing() -> None:
    rim, answers = FakeRim(), Answers()
    driver = driver_of_s1(rim, FailingManager)
    heartbeat = AppendEntries("s2", "s1", 1, 0, 0, [Entry(1, 1, "noop")], 0, 1)
    driver.receive([heartbeat], answers)
    assert rim.has_failed.wait(DEADLINE_S)
    driver.receive([AppendEntries("s2", "s1", 1, 0, 0, [], 0, 2)], answers)
    assert answers.given == []
    batch = Batch(["set a 1"], is_read=False)
    driver.submit(batch)
    assert batch.wait(DEADLINE_S)
    assert batch.replies == ["Sorry, this server is stopping. Nothing was done; try another."]
    driver.stop(DEADLINE_S)
    assert [str(error) for error in rim.failed] == ["a bug that no test has met"]


def test_a_change_of_members_waits_for_a_transfer() -> None:
    driver = driver_of_s1(FakeRim())
    elect(driver)
    handing_over = driver.transfer("s2")  # its no-op is not committed: it waits for that
    batch = Batch(["remove s3"], is_read=False, change=Change("remove", "s3"))
    driver.submit(batch)
    eventually(lambda: driver.waiting()["leader"] > 0)
    driver.peer_disconnected("s2")
    assert handing_over.wait(DEADLINE_S)
    assert handing_over.replies == ["Sorry, s2 did not take over: s1 leads term 1."]
    eventually(lambda: leading(driver).waiting)  # for the no-op, now
    assert driver.receive([AppendAccepted("s2", "s1", 1, 1, 1)], None) == []
    eventually(lambda: leading(driver).pending_change)  # and for the disk
    driver.stop(DEADLINE_S)
    assert batch.wait(DEADLINE_S)
    assert batch.replies == ["Sorry, outcome unknown: this server is stopping; see: members"]


def test_waiting_change_is_refused_when_the_server_stops() -> None:
    driver = driver_of_s1(FakeRim())
    elect(driver)
    batch = Batch(["remove s3"], is_read=False, change=Change("remove", "s3"))
    driver.submit(batch)
    eventually(lambda: leading(driver).waiting)
    driver.stop(DEADLINE_S)
    assert batch.wait(DEADLINE_S)
    assert batch.replies == ["Sorry, this server is stopping. Nothing was done; try another."]


def test_a_change_under_way_is_answered_when_the_server_stops() -> None:
    driver = driver_of_s1(FakeRim())
    elect(driver)
    assert driver.receive([AppendAccepted("s2", "s1", 1, 1, 1)], None) == []
    eventually(lambda: driver.node.view.commit_index >= 1)
    batch = Batch(["remove s3"], is_read=False, change=Change("remove", "s3"))
    driver.submit(batch)
    eventually(lambda: leading(driver).pending_change)
    driver.stop(DEADLINE_S)
    assert batch.wait(DEADLINE_S)
    assert batch.replies == ["Sorry, outcome unknown: this server is stopping; see: members"]


def test_writes_during_a_write_in_flight_share_the_next_proposal() -> None:
    driver = driver_of_s1(FakeRim())
    elect(driver)
    first = Batch(["set a 1"], is_read=False)
    driver.submit(first)
    state = driver.node.view
    in_flight = batching_of(driver).in_flight
    # By the thread that has the core just now.
    eventually(lambda: [one[0] for one in in_flight] == [2])
    others = [Batch([f"set b {number}"], is_read=False) for number in range(3)]
    with driver.core:  # whoever has the core looks at the queue once it lets go
        for batch in others:
            driver.submit(batch, more_come=True)
    driver.receive([AppendAccepted("s2", "s1", state.term, 2, state.round)], None)
    assert first.wait(DEADLINE_S)
    eventually(lambda: state.log.last_index >= 5)
    driver.receive([AppendAccepted("s2", "s1", state.term, 5, state.round)], None)
    assert [batch.wait(DEADLINE_S) for batch in others] == [True] * 3
    replies = [batch.replies[0] for batch in others]
    assert replies == [f"SET response: b set to {number}" for number in range(3)]
    driver.stop(DEADLINE_S)


def test_the_wait_for_missing_clients_is_short() -> None:
    driver = driver_of_s1(FakeRim())
    elect(driver)
    # As after 64 clients that then went away.
    batching_of(driver).writes.answered(64, time.monotonic())
    batch = Batch(["set a 1"], is_read=False)
    driver.submit(batch)
    # By the owner: nothing else happens here.
    eventually(lambda: driver.node.view.log.last_index >= 2)
    driver.stop(DEADLINE_S)
    assert batch.wait(DEADLINE_S)


def test_a_request_to_a_busy_core_is_served_by_its_holder() -> None:
    driver = driver_of_s1(FakeRim())
    batch = Batch(["set a 1"], is_read=False)
    with driver.core:
        driver.submit(batch)  # returns at once
    eventually(lambda: driver.waiting()["leader"] > 0)  # nobody leads: it is held
    driver.stop(DEADLINE_S)
    assert batch.wait(DEADLINE_S)


def test_a_request_to_a_stopped_driver_is_refused() -> None:
    driver = driver_of_s1(FakeRim())
    driver.stop(DEADLINE_S)
    batch = Batch(["set a 1"], is_read=False)
    driver.submit(batch)
    assert batch.wait(DEADLINE_S)
    assert batch.replies == ["Sorry, this server is stopping. Nothing was done; try another."]


@pytest.mark.pure
def test_a_request_during_the_owners_sleep_computation_wakes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(raftline.node.loop.stepper, "LATE_CHECK_MS", 3_600_000)
    driver = driver_of_s1(FakeRim())
    elect(driver)
    batch = Batch(["get a"], is_read=True)
    stepper, submitted = stepper_of(driver), threading.Event()
    reckon = stepper._pause_s

    def submit() -> None:
        # A hundred are expected: it waits for them.
        batching_of(driver).answered(100, 0, time.monotonic())
        driver.submit(batch)
        submitted.set()

    def reckon_too_soon() -> float:
        stepper._pause_s = reckon  # type: ignore[method-assign]
        reckon()
        threading.Thread(target=submit).start()
        assert submitted.wait(DEADLINE_S)
        return 3600.0

    stepper._pause_s = reckon_too_soon  # type: ignore[method-assign]
    wake_owner(driver)
    assert submitted.wait(DEADLINE_S)
    eventually(lambda: driver.waiting()["reads"] == 0, "a look at the queue")
    driver.stop(DEADLINE_S)


def test_read_left_by_a_round_needs_no_further_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(raftline.node.loop.stepper, "LATE_CHECK_MS", 3_600_000)
    rim = FakeRim()
    driver = driver_of_s1(rim, heartbeat_ms=50_000)
    elect(driver)
    state = driver.node.view

    answer(driver)
    eventually(lambda: state.durable_index >= 1)
    answer(driver)
    reads = [Batch(["get a"], is_read=True) for _ in range(state.options.read_rounds + 1)]
    for number, batch in enumerate(reads[:-1], 1):
        driver.submit(batch)
        eventually(lambda number=number: state.read_rounds >= number)
    eventually(lambda: driver._sleep.until_s >= time.monotonic() + 40)  # until a heartbeat is due
    driver.submit(reads[-1])
    assert driver.waiting()["reads"] == 1
    answer(driver)
    assert reads[0].is_answered
    eventually(lambda: driver.waiting()["reads"] == 0, "a look at the queue")
    driver.stop(DEADLINE_S)


def test_a_lease_that_ends_during_a_long_step_serves_no_read() -> None:
    node = established("s1", options=replace(OPTIONS, lease=True))
    answer = AppendAccepted("s2", "s1", 1, 1, node.view.round, lease_ms=OPTIONS.election_timeout_ms)
    node.step(Receive(answer), TIMEOUT_MS)
    clock = SetClock(TIMEOUT_MS)
    batch = Batch(["get a"], is_read=True, reading=Reading(by_lease=True))

    class SlowRim(FakeRim):
        def give_up_late(self, now: int) -> None:
            """Stand for all that a step does before it looks at the queue: others are elected, they
            acknowledge a write, and who knows of it comes to read."""
            clock.ms += 10 * OPTIONS.election_timeout_ms
            driver.submit(batch, more_come=True)

    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    driver = Driver(node, manager, SlowRim(), 60_000, clock)
    assert node.view.now_ms < node.view.lease_until_ms
    stepper = stepper_of(driver)
    stepper._late_check_ms = 0
    stepper.do_round()
    assert batch.reader is None
    assert [waiting.tokens for waiting in node._state.as_leader.read_rounds] == [[batch]]


def test_answer_waits_for_every_earlier_write() -> None:
    rim, first, then = FakeRim(), Answers(), Answers()
    driver = driver_of_s1(rim, HeldManager)
    manager = manager_of(driver)
    driver.receive([RequestVote("s2", "s1", 5, 0, 0)], first)
    assert manager.stands.wait(DEADLINE_S)  # the vote is on its way to the disk
    driver.receive([RequestVote("s3", "s1", 5, 0, 0)], then)
    assert (first.given, then.given) == ([], [])  # a denial tells of the vote, and writes nothing
    manager.goes_on.set()
    eventually(lambda: then.given)
    assert first.given == [RequestVoteReply("s1", "s2", 5, True)]
    (denied,) = then.given
    assert isinstance(denied, RequestVoteReply)
    assert (denied.to, denied.term, denied.granted) == ("s3", 5, False)
    driver.stop(DEADLINE_S)


class Looks(Answers):
    """A peer's connection, and a quota: it keeps in which order answers and looks were made."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []
        self.is_disk_low = False

    def answer(self, messages: Sequence[Message]) -> None:
        super().answer(messages)
        self.order.append("answer")

    def check_disk(self) -> None:
        self.order.append("look")


def test_answers_leave_before_the_disk_check_unless_room_is_low() -> None:
    clock, looks = SetClock(s=0.0), Looks()
    manager = LogManager("s2", MemoryFolder(), MEMBERS)
    manager.recover()
    quota: Any = looks
    driver = Driver(node_of("s2"), manager, FakeRim(), 60_000, clock, quota)
    orders = []
    for index, now_s, is_low in ((1, 0.0, False), (2, 0.0, False), (3, 0.0, True), (4, 1.0, False)):
        clock.s, looks.is_disk_low = now_s, is_low
        entry = Entry(index, 1, f"set a {index}")
        append = AppendEntries("s1", "s2", 1, index - 1, min(index - 1, 1), [entry], 0, 1)
        assert driver.receive([append], looks) == []
        driver._writer._write_once()
        orders.append(looks.order[:])
        looks.order.clear()
    assert orders == [["answer", "look"], ["answer"], ["look", "answer"], ["answer", "look"]]


def test_a_stalled_disk_does_not_block_the_core() -> None:
    driver = driver_of_s1(FakeRim(), HeldManager)
    manager = manager_of(driver)
    driver.receive([RequestVote("s2", "s1", 5, 0, 0)], Answers())
    assert manager.stands.wait(DEADLINE_S)
    answers: list[dict[str, object]] = []
    asking = threading.Thread(target=lambda: answers.append(driver.status()), daemon=True)
    asking.start()
    asking.join(DEADLINE_S / 3)
    manager.goes_on.set()
    assert [facts["term"] for facts in answers] == [5]
    driver.stop(DEADLINE_S)


@pytest.mark.parametrize(("is_member", "said"), [(False, REMOVED), (True, "")])
def test_a_removed_node_refuses_its_clients_unless_added_again(is_member: bool, said: str) -> None:
    node = node_of("s1", 1, 1)
    node._state.removed_by = 2
    if not is_member:
        node.view.configurations.append(2, "members s2=localhost:10001,voter")
    driver = Driver(node, LogManager("s1", MemoryFolder(), MEMBERS), FakeRim(), hold_ms=60_000)
    batches = [Batch(["set a 1"], is_read=False), Batch(["get a"], is_read=True)]
    for batch in batches:
        driver.submit(batch)
    assert [batch.replies for batch in batches] == [[said] if said else []] * 2
    assert (driver.waiting()["leader"] == 0) is not is_member


class Sink:
    """A connection whose replies are ready; there may be no memory for them."""

    user: str | None = None

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.done: list[str] = []
        self.is_done = threading.Event()

    def mark_ready(self) -> None:
        pass

    def flush(self) -> None:
        if self.error is not None:
            raise self.error
        self.done.append("flush")
        self.is_done.set()

    def break_off(self) -> None:
        self.done.append("break off")

    def keep(self, batch: Batch, replies: list[str]) -> list[str]:
        return replies


def test_replies_without_memory_end_their_connection_alone() -> None:
    """The owner keeps time: other clients are served, and heartbeats continue."""
    rim = FakeRim()
    driver = driver_of_s1(rim)
    elect(driver)
    poor, other = Sink(MemoryError()), Sink()
    driver.ready_sinks.extend([poor, other])
    wake_owner(driver)
    assert other.is_done.wait(DEADLINE_S)
    rim.heartbeat.clear()
    assert rim.heartbeat.wait(DEADLINE_S)
    assert (poor.done, other.done, rim.failed) == (["break off"], ["flush"], [])
    driver.stop(DEADLINE_S)


def test_events_that_find_no_memory_stop_the_node() -> None:
    """Otherwise, a watch would continue with later events as if none were missing."""
    rim = FakeRim()
    driver = driver_of_s1(rim)
    driver.watchers.are_used = True

    def hand_out() -> None:
        driver.watchers.feed._is_late, driver.watchers.hand_out = False, lambda: None
        raise MemoryError

    driver.watchers.hand_out = hand_out
    driver.watchers.feed._is_late = True  # there are events
    wake_owner(driver)
    assert rim.has_failed.wait(DEADLINE_S)
    assert [type(error) for error in rim.failed] == [MemoryError]
    driver.stop(DEADLINE_S)


def test_thread_of_an_answer_sends_few_replies() -> None:
    """Otherwise, many clients delay the acknowledgements of a follower."""
    driver = driver_of_s1(FakeRim(), heartbeat_ms=50_000)
    senders: list[str] = []
    left = 120

    class Sink:
        user: str | None = None

        def flush(self) -> None:
            """Send, and have more to send, as long as the crowd asks."""
            nonlocal left
            senders.append(threading.current_thread().name)
            time.sleep(0.001)
            left -= 1
            if left > 0:
                driver.ready_sinks.append(sink)

    sink: Any = Sink()
    driver.ready_sinks.extend([sink, sink])
    driver._arrivals.flush_replies()
    eventually(lambda: not driver.ready_sinks and left <= 0, "all replies")
    assert "s1 owner" in senders
    assert senders.count(threading.current_thread().name) < len(senders)
    driver.stop(DEADLINE_S)
