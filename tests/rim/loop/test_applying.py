"""The moment at which an entry is applied: after a follower's answer, a slice at a time, and before
anybody hears so."""

from __future__ import annotations

import io
import itertools
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from raftline.common.process.wakeup import PAUSE_S, PauseFunction, give_way, no_pause
from raftline.logmanager import LogManager
from raftline.net.protocol.host import Batch
from raftline.node.loop import applying, arrivals
from raftline.node.loop.applying import PAUSE_S_MAX, SLICE_S
from raftline.node.loop.driver import Driver
from raftline.raft.effects import Effects, HardState
from raftline.raft.inputs import SnapshotChecked
from raftline.raft.log import Entry
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    Message,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.node import RawNode
from raftline.state.commands.machines import Machines, UnknownMachine
from raftline.storage.snapshot_lines import LoadedSnapshot, SnapshotReader, format_snapshot
from raftline.wire.commands.parsing import Reading
from raftline.wire.refusal import STOPPING
from raftline_testing.doubles.cores import established, node_of
from raftline_testing.doubles.driven_node import (
    DEADLINE_S,
    Answers,
    HeldManager,
    driver_of_s1,
    manager_of,
)
from raftline_testing.doubles.fake_rim import FakeRim, elect, stepper_of
from raftline_testing.doubles.set_clock import SetClock
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS
from raftline_testing.nodes.processes import eventually
from raftline_testing.runner.at_night import at_night

HEAVY = 700  # entries, each of which takes a slice's time


def following_with_a_held_disk(
    command: str = "set a 1",
) -> tuple[Driver, Any, FakeRim, Answers]:
    """Return a follower of s2 that applies `command` once a write of its disk is over."""
    rim, answers = FakeRim(), Answers()
    driver = driver_of_s1(rim, HeldManager)
    manager: Any = manager_of(driver)
    first = AppendEntries("s2", "s1", 1, 0, 0, [Entry(1, 1, command)], 0, 1)
    then = AppendEntries("s2", "s1", 1, 1, 1, [Entry(2, 1, "set a 2")], 1, 2)
    driver.receive([first], answers)
    assert manager.stands.wait(DEADLINE_S)
    driver.receive([then], answers)
    assert (driver.node.view.applied, driver.node.view.applying) == (0, 1)
    assert manager.applied.index == 0
    return driver, manager, rim, answers


def test_a_follower_answers_its_leader_before_it_applies() -> None:
    driver, manager, rim, answers = following_with_a_held_disk()
    apply, seen, given = manager.apply, [], answers.given

    def note(*entries_and_end: Any, answers: bool) -> list[str]:
        seen.append((entries_and_end[0][0].index, len(given)))
        return list(apply(*entries_and_end, answers=answers))

    manager.apply = note
    manager.goes_on.set()
    assert rim.has_applied.wait(DEADLINE_S)
    assert seen == [(1, 1)]  # after the answer to the entry that was written
    driver.stop(DEADLINE_S)


def test_a_follower_with_a_stalled_disk_applies_at_its_next_step() -> None:
    driver, manager, _, _ = following_with_a_held_disk()
    assert driver.status()["last_applied"] == 0  # which it has not applied
    driver.receive([AppendEntries("s2", "s1", 1, 2, 1, [], 1, 3)], Answers())
    assert driver.status()["last_applied"] == manager.applied.index == 1
    assert manager.read(["get a"]) == ["GET response: 1"]
    manager.goes_on.set()
    driver.stop(DEADLINE_S)


def test_failing_entry_stops_the_node_despite_other_threads() -> None:
    """Other threads look at the node while the entry is executed."""
    driver, manager, rim, _ = following_with_a_held_disk("machine counter {}")
    assert driver.status()["last_applied"] == 0
    manager.goes_on.set()
    assert rim.has_failed.wait(DEADLINE_S)
    assert [type(error) for error in rim.failed] == [UnknownMachine]
    third = AppendEntries("s2", "s1", 1, 2, 1, [Entry(3, 1, "set b 2")], 3, 3)
    driver.receive([third], Answers())
    assert driver.status()["last_applied"] == manager.applied.index == 0
    assert manager.read(["get a", "get b"]) == [STOPPING, STOPPING]
    driver.stop(DEADLINE_S)


def test_a_read_that_a_step_serves_sees_what_that_step_applies() -> None:
    driver = driver_of_s1(FakeRim())
    entries = [Entry(1, 1, "set a 1")]
    driver.receive([AppendEntries("s2", "s1", 1, 0, 0, entries, 0, 1)], Answers())
    batch = Batch(["get a"], is_read=True, reading=Reading(may_ask=True))
    driver.submit(batch)
    forwarded = driver.node._state.forwarded_reads
    driver.receive([ReadIndexReply("s2", "s1", 1, 1, forwarded.round)], None)
    assert batch.reader is None  # entry 1 is not applied
    then = AppendEntries("s2", "s1", 1, 1, 1, [Entry(2, 1, "set a 2")], 1, 2)
    driver.receive([then], Answers())
    assert batch.reader is not None
    assert batch.reader.read(["get a"]) == ["GET response: 1"]
    driver.stop(DEADLINE_S)


class Slow:
    """A node without threads, at which each entry takes a slice: a test does what its owner and
    its writer would do."""

    def __init__(self, node: RawNode, now_s: float | None = None) -> None:
        self.node, self.rim, self.answers = node, FakeRim(), Answers()
        self.heavy = Batch([f"c@set a {number}" for number in range(HEAVY)], is_read=False)
        self.manager = LogManager(node.view.name, MemoryFolder(), MEMBERS)
        self.manager.recover()
        if done := node.committed(1, node.view.applying):
            self.manager.persist([Effects(save=HardState(node.view.term, None), append=done)])
            self.manager.apply(done)
        self.clock = SetClock(node.view.now_ms, now_s)
        self.driver = Driver(node, self.manager, self.rim, 60_000, self.clock)
        self.stepper = stepper_of(self.driver)
        self.stepper.applying._now_s = itertools.count(0.0, SLICE_S).__next__

    @property
    def index(self) -> int:
        """The index of the last entry applied."""
        assert self.manager.applied.index == self.node.view.applied
        return self.node.view.applied

    def receive(self, message: Message) -> None:
        assert self.driver.receive([message], self.answers) == []

    def propose(self, batch: Batch) -> None:
        """Propose a write, though those before it are still on their way."""
        self.driver.submit(batch)
        self.stepper.arrivals.batching._proposed_s = 0.0
        self.driver._check()

    def write(self) -> None:
        """Do what the writer does."""
        while self.driver._writer._write_once():
            pass

    def keep_time(self) -> None:
        """Do what the owner thread does when it is awake."""
        self.driver._step(lambda stepper: stepper.keep_time())

    def acknowledge(self) -> None:
        """Make s2 hold the leader's whole log, and answer its latest round."""
        self.write()
        view = self.node.view
        answer = AppendAccepted("s2", "s1", view.term, view.log.last_index, view.round)
        self.receive(answer)

    def apply_all(self) -> None:
        while self.stepper.applying.lags:
            assert self.stepper.begin_sleep() <= 0  # the owner does not sleep
            self.keep_time()


@pytest.fixture
def leader(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """A leader whose followers hold many heavy entries, and that has applied the first."""
    monkeypatch.setattr(arrivals, "WRITES_UNDER_WAY", 2 * HEAVY)  # else the next ones wait
    slow = Slow(established("s1"))
    slow.driver.submit(slow.heavy)
    first = slow.index
    slow.acknowledge()
    assert slow.node.view.applying == first + HEAVY
    assert slow.index == first + 1
    return slow


def test_heartbeats_and_acknowledgements_pass_between_slices(leader: Slow) -> None:
    before = leader.index
    assert leader.driver._wakeup.wait(0)  # the owner has been woken
    leader.clock.ms = leader.node.wake_at_ms  # a heartbeat is due
    leader.rim.sent.clear()
    leader.keep_time()
    assert {one.to for one in leader.rim.sent} == {"s2", "s3"}
    assert leader.index == before + 1
    more = Batch(["set b 1"], is_read=False)
    leader.propose(more)
    leader.acknowledge()
    assert leader.node.view.commit_index == leader.node.view.log.last_index
    assert leader.index == before + 1  # who receives leaves the rest to the owner
    assert not more.is_answered
    leader.apply_all()
    assert more.replies == ["SET response: b set to 1"]
    assert leader.heavy.replies == [f"SET response: a set to {number}" for number in range(HEAVY)]


def test_between_two_slices_a_follower_votes_and_acknowledges() -> None:
    slow = Slow(node_of("s1", term=1))
    entries = [Entry(index, 1, f"c@set a {index}") for index in range(1, HEAVY + 1)]
    slow.receive(AppendEntries("s2", "s1", 1, 0, 0, entries, HEAVY, 1))
    assert slow.index == 0
    slow.write()
    assert (slow.index, slow.node.view.applying) == (1, HEAVY)
    assert [type(one) for one in slow.answers.given] == [AppendAccepted]
    more = [Entry(HEAVY + 1, 1, "set b 1")]
    slow.receive(AppendEntries("s2", "s1", 1, HEAVY, 1, more, HEAVY, 2))
    slow.write()
    slow.clock.ms += 10_000  # no leader spoke for long
    slow.receive(RequestVote("s3", "s1", 2, HEAVY + 1, 1))
    slow.write()
    assert slow.index == 1  # the rest is left to the owner
    assert [type(one) for one in slow.answers.given[1:]] == [AppendAccepted, RequestVoteReply]
    assert slow.node.view.vote == "s3"
    slow.apply_all()
    assert slow.index == HEAVY


@pytest.mark.pure  # a function of a compiled module can't be replaced
def test_work_of_an_entry_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice ends before the entries that were judged with its first one."""
    slow, judged = Slow(node_of("s1", term=1)), list[int]()

    def all_short(_: object, entries: Sequence[Entry]) -> int:
        judged.extend([entry.index for entry in entries])
        return len(entries)

    monkeypatch.setattr(applying, "count_short", all_short)
    slow.stepper.applying.on_long = lambda: None
    entries = [Entry(index, 1, f"c@set a {index}") for index in range(1, HEAVY + 1)]
    slow.receive(AppendEntries("s2", "s1", 1, 0, 0, entries, HEAVY, 1))
    slow.write()
    slow.apply_all()
    assert judged == list(range(1, HEAVY + 1))


@pytest.mark.pure
@pytest.mark.parametrize(
    ("entry_s", "pause_s"), [(SLICE_S / 2, PAUSE_S), (3 * SLICE_S, SLICE_S), (60.0, PAUSE_S_MAX)]
)
def test_pause_after_a_slice_grows_with_its_last_entry(
    leader: Slow, entry_s: float, pause_s: float
) -> None:
    """A slice lasts until an entry ends, and a thread that waited as long needs time to wake up."""
    applied = leader.index

    def now_s() -> float:
        return (leader.manager.applied.index - applied) * entry_s

    def apply(
        entries: Sequence[Entry], now_s: Callable[[], float], end_s: float, *, answers: bool
    ) -> list[str]:
        replies: list[str] = []
        for count in range(1, len(entries) + 1):
            replies += leader_apply(entries[count - 1 : count], answers=answers)
            if now_s() >= end_s:
                break
        return replies

    leader_apply = leader.manager.apply
    leader.manager.apply = apply  # type: ignore[method-assign, assignment]
    leader.stepper.applying._now_s = now_s
    leader.keep_time()
    assert leader.stepper.applying.pause_s == pytest.approx(pause_s)


def test_write_committed_by_a_deposed_leader_is_answered(leader: Slow) -> None:
    """The reply comes once the write is applied."""
    late = Batch(["set b 1"], is_read=False)
    leader.propose(late)  # which nobody else has
    leader.receive(AppendRejected("s2", "s1", leader.node.view.term + 1, 0, 0))
    assert late.replies == [
        "Sorry, outcome unknown: this server lost the leadership before the entry was committed"
    ]
    assert not leader.heavy.is_answered
    leader.apply_all()
    assert leader.heavy.replies == [f"SET response: a set to {number}" for number in range(HEAVY)]


def test_overwritten_write_is_not_answered_by_its_successor(
    leader: Slow,
) -> None:
    """The next leader commits another entry at the same index."""
    leader.apply_all()
    late = Batch(["set b 1"], is_read=False)
    leader.propose(late)  # which nobody else has
    view = leader.node.view
    last, term = view.log.last_index, view.term
    other = [Entry(last, term + 1, "set b 2")]
    leader.receive(AppendEntries("s2", "s1", term + 1, last - 1, term, other, last, 1))
    leader.write()
    assert leader.index == last
    assert late.replies == [
        "Sorry, outcome unknown: this server lost the leadership before the entry was committed"
    ]


def test_renewal_waits_for_the_next_leader_amid_slices(leader: Slow) -> None:
    renewal = Batch(["renew lease-1"], is_read=True, reading=Reading(by_clock=True))
    leader.driver.submit(renewal)
    leader.acknowledge()
    leader.receive(AppendRejected("s2", "s1", leader.node.view.term + 1, 0, 0))
    leader.apply_all()
    assert not renewal.is_answered  # it waits for the next leader
    assert leader.driver._queue.held_until_ms is not None


def test_request_amid_slices_is_answered_when_the_node_stops(leader: Slow) -> None:
    read = Batch(["get a"], is_read=True)
    leader.driver.submit(read)
    leader.acknowledge()
    leader.stepper.turn_all_away(failed=False)
    assert read.replies == ["Sorry, this server is stopping. Nothing was done; try another."]
    assert leader.heavy.replies[0] == "SET response: a set to 0"
    assert leader.heavy.replies[-1] == "Sorry, outcome unknown: this server is stopping"


def following_by_slices(*commands: str) -> tuple[Driver, FakeRim]:
    """Return a follower with its threads, at which each entry takes a slice; these are committed,
    and it hears nothing after them."""
    rim = FakeRim()
    driver = driver_of_s1(rim)
    slice_s = iter(range(1 << 30))
    stepper_of(driver).applying._now_s = lambda: next(slice_s)
    entries = [Entry(index, 1, command) for index, command in enumerate(commands, start=1)]
    driver.receive([AppendEntries("s2", "s1", 1, 0, 0, entries, len(entries), 1)], Answers())
    return driver, rim


def test_the_owner_thread_applies_what_a_slice_leaves() -> None:
    driver, _ = following_by_slices(*(f"c@set a {number}" for number in range(10)))
    eventually(lambda: driver.status()["last_applied"] == 10)
    assert manager_of(driver).read(["get a"]) == ["GET response: 9"]
    driver.stop(DEADLINE_S)


def test_failing_entry_stops_the_node_in_any_slice() -> None:
    driver, rim = following_by_slices("set a 1", "set b 1", "machine counter {}", "set c 1")
    assert rim.has_failed.wait(DEADLINE_S)
    assert driver.status()["last_applied"] == manager_of(driver).applied.index == 2
    driver.stop(DEADLINE_S)


# --- entries that take long, applied without the core -------------------------------------------


class HeldMachine:
    """A program's state machine: each command takes until the test lets it continue."""

    def __init__(self) -> None:
        self.begun, self.goes_on = threading.Event(), threading.Event()
        self.count = 0

    def apply(self, command: Any) -> Any:
        self.begun.set()
        assert self.goes_on.wait(DEADLINE_S)
        self.count += 1
        return self.count

    def snapshot(self) -> Any:
        return self.count

    def restore(self, state: Any) -> None:
        self.count = state


def with_a_held_machine(driver: Driver) -> HeldMachine:
    machine = HeldMachine()
    manager_of(driver).state.machines = Machines({"m": machine})
    return machine


def test_a_leader_amid_a_long_entry_sends_heartbeats_and_commits() -> None:
    rim = FakeRim()
    driver = driver_of_s1(rim)
    machine, view = with_a_held_machine(driver), driver.node.view
    elect(driver)
    long, after = Batch(["machine m 1"], is_read=False), Batch(["set a 1"], is_read=False)
    for batch in (long, after):
        driver.submit(batch)
        eventually(lambda: view.durable_index == view.log.last_index and not driver._queue.writes)
        last = view.log.last_index
        driver.receive([AppendAccepted("s2", "s1", view.term, last, view.round)], None)
    assert machine.begun.wait(DEADLINE_S)
    rim.heartbeat.clear()
    assert rim.heartbeat.wait(DEADLINE_S)
    eventually(lambda: view.commit_index == view.log.last_index == view.applying)
    assert driver.status()["last_applied"] == last - 2
    assert not long.is_answered
    assert not after.is_answered
    machine.goes_on.set()
    assert long.wait(DEADLINE_S)
    assert after.wait(DEADLINE_S)
    assert long.replies + after.replies == ["MACHINE response: 1", "SET response: a set to 1"]
    assert driver.status()["last_applied"] == last
    driver.stop(DEADLINE_S)


def following_amid_a_long_entry() -> tuple[Driver, FakeRim, Answers, HeldMachine]:
    rim, answers = FakeRim(), Answers()
    driver = driver_of_s1(rim)
    machine = with_a_held_machine(driver)
    entries = [Entry(1, 1, "set a 1"), Entry(2, 1, "machine m 1"), Entry(3, 1, "set a 2")]
    driver.receive([AppendEntries("s2", "s1", 1, 0, 0, entries, 3, 1)], answers)
    assert machine.begun.wait(DEADLINE_S)
    return driver, rim, answers, machine


def test_follower_amid_a_long_entry_answers_and_votes() -> None:
    driver, _, answers, machine = following_amid_a_long_entry()
    driver.receive([AppendEntries("s2", "s1", 1, 3, 1, [], 3, 2)], answers)
    eventually(lambda: len(answers.given) == 2)
    driver.node._state.leader_heard_at_ms = None  # no leader spoke for long
    driver.receive([RequestVote("s3", "s1", 2, 3, 1)], answers)
    eventually(lambda: len(answers.given) == 3)
    assert [type(one) for one in answers.given] == [
        AppendAccepted,
        AppendAccepted,
        RequestVoteReply,
    ]
    assert driver.status()["last_applied"] == 1
    machine.goes_on.set()
    eventually(lambda: driver.status()["last_applied"] == 3)
    assert manager_of(driver).read(["get m", "get a"]) == ["GET response: 1", "GET response: 2"]
    driver.stop(DEADLINE_S)


def test_who_must_not_wait_reads_nothing_amid_a_long_entry() -> None:
    driver, _, _, machine = following_amid_a_long_entry()
    manager = manager_of(driver)
    assert manager.read(["get a"], waits=False) == []
    machine.goes_on.set()
    eventually(lambda: driver.status()["last_applied"] == 3)
    assert manager.read(["get a"], waits=False) == ["GET response: 2"]
    driver.stop(DEADLINE_S)


def test_long_work_pauses_where_nobody_waits_for_it() -> None:
    """With `core` held, a pause would stop the whole node."""
    manager, seen = LogManager("s1", MemoryFolder(), MEMBERS), list[PauseFunction]()

    class Noting(HeldMachine):
        def apply(self, command: Any) -> Any:
            seen.append(manager.store.pause)

    manager.state.machines = Machines({"m": Noting()})
    manager.apply([Entry(1, 1, "machine m 1")])
    manager.apply_offloaded([Entry(2, 1, "machine m 2")])
    manager.apply([Entry(3, 1, "machine m 3")])
    assert seen == [no_pause, give_way, no_pause]


def test_a_server_that_stops_amid_a_long_entry_waits_for_its_end() -> None:
    driver, rim, _, machine = following_amid_a_long_entry()
    stopping = threading.Thread(target=driver.stop, args=(DEADLINE_S,))
    stopping.start()
    eventually(lambda: driver.has_written)
    machine.goes_on.set()
    stopping.join(DEADLINE_S)
    assert machine.count == 1
    assert not rim.failed
    assert not any(thread.is_alive() for thread in driver._threads)


class Offloaded:
    """A leader without threads that has handed out a long entry; a test does the applier's work.

    `renewal` was asked before that entry, and its round is not over.
    """

    def __init__(self) -> None:
        self.slow = Slow(established("s1"))
        self.woken = 0
        machine = with_a_held_machine(self.slow.driver)
        machine.goes_on.set()
        self.stepper = self.slow.stepper
        self.stepper.applying._now_s = lambda: 0.0
        self.stepper.applying.on_long = self.wake
        self.slow.manager.store.is_at_floor = False
        self.propose("lease 5", "set a 1", "set b 2")
        (self.lease,) = self.slow.manager.store.leases.granted
        self.renewal = Batch([f"renew {self.lease}"], is_read=True, reading=Reading(by_clock=True))
        self.slow.driver.submit(self.renewal)
        self.long = Batch(["machine m 1", "machine m 2", "set a 3"], is_read=False)
        self.slow.propose(self.long)
        self.slow.write()
        view = self.slow.node.view
        early = AppendAccepted("s2", "s1", view.term, view.log.last_index, view.round - 1)
        self.slow.receive(early)
        assert self.woken == 1
        self.entries = self.stepper.applying.begin_offload()
        assert [entry.command for entry in self.entries] == ["machine m 1", "machine m 2"]
        assert not self.stepper.applying.begin_offload()

    def wake(self) -> None:
        self.woken += 1

    def propose(self, *commands: str) -> Batch:
        batch = Batch(commands, is_read=False)
        self.slow.propose(batch)
        self.slow.acknowledge()
        return batch

    def read(self, command: str) -> Batch:
        batch = Batch([command], is_read=True)
        self.slow.driver.submit(batch)
        self.slow.acknowledge()
        return batch

    def end(self) -> None:
        self.stepper.end_offload(self.entries, self.stepper.applying.apply_offloaded(self.entries))


def test_the_time_of_leases_stands_still_amid_a_long_entry() -> None:
    offloaded = Offloaded()
    renewal = offloaded.renewal
    for _ in range(100):  # twice the lease's time
        offloaded.slow.clock.ms += 100
        offloaded.slow.keep_time()
        offloaded.slow.acknowledge()
    assert not renewal.is_answered
    offloaded.end()
    assert "expired" not in " ".join(offloaded.slow.node.view.log.commands)
    assert renewal.replies == [f"RENEW response: {offloaded.lease} for 5 s"]


def test_renewal_waits_for_the_next_leader_amid_a_long_entry() -> None:
    offloaded = Offloaded()
    renewal, view = offloaded.renewal, offloaded.slow.node.view
    offloaded.slow.acknowledge()  # its round is over
    assert not renewal.is_answered
    offloaded.slow.receive(AppendRejected("s2", "s1", view.term + 1, 0, 0))
    offloaded.end()
    offloaded.slow.keep_time()
    assert not renewal.is_answered  # it waits for the next leader
    assert offloaded.slow.driver._queue.held_until_ms is not None


def test_request_amid_a_long_entry_is_answered_at_a_stop() -> None:
    offloaded = Offloaded()
    read = offloaded.read("get m")
    offloaded.stepper.turn_all_away(failed=False)
    assert read.replies == ["Sorry, this server is stopping. Nothing was done; try another."]
    assert offloaded.long.replies == ["Sorry, outcome unknown: this server is stopping"] * 3
    offloaded.end()


# --- any order ------------------------------------------------------------------------------------


class AnyOrder:
    """A leader whose requests, writes, acknowledgements, slices and long entries come in any order.
    Its replies are those of a state machine that applies its log at once."""

    def __init__(self, seed: int) -> None:
        self.chance, self.slow = random.Random(seed), Slow(established("s1"), 1000.0)
        self.view, self.stepper = self.slow.node.view, self.slow.stepper
        self.applying = self.stepper.applying
        with_a_held_machine(self.slow.driver).goes_on.set()
        slice_s = self.chance.choice([SLICE_S, SLICE_S / 3, 0.0])
        self.applying._now_s = itertools.count(0.0, slice_s).__next__
        self.applying.on_long = lambda: None
        self.long: Sequence[Entry] = ()  # handed out to the applier
        self.writes: list[Batch] = []
        self.reads: list[tuple[Batch, int]] = []  # with the count that was known before
        self.first = self.slow.index

    def known(self) -> int:
        """The count that a client knows: the highest that was replied."""
        said = [reply for batch in self.writes if batch.is_answered for reply in batch.replies]
        return max([int(one[15:]) for one in said if one.startswith("INCR response")], default=0)

    def act(self) -> None:
        match self.chance.choice(["ask", "ask", "read", "write", "hold", "time", "begin", "end"]):
            case "ask":
                commands = ["incr n", "incr n", "machine m 1", "append l x"]
                batch = Batch(self.chance.choices(commands, k=self.chance.randint(1, 3)), False)
                self.writes.append(batch)
                self.slow.propose(batch)
            case "read":
                batch = Batch(["get n"], is_read=True)
                self.reads.append((batch, self.known()))
                self.slow.driver.submit(batch)
            case "write":
                self.slow.write()
            case "hold":
                self.hold(self.chance.randint(self.view.commit_index, self.view.log.last_index))
            case "time":
                self.pass_time(self.chance.choice([0, 1, 50]))
            case "begin" if not self.long:
                self.long = self.applying.begin_offload()
            case "end" if self.long:
                some = self.long[: self.chance.randint(1, len(self.long))]
                self.long = ()
                self.stepper.end_offload(some, self.applying.apply_offloaded(some))
        self.look()

    def pass_time(self, ms: int) -> None:
        self.slow.clock.ms += ms
        self.slow.clock.s = 1000.0 + self.slow.clock.ms / 1000
        self.slow.keep_time()

    def hold(self, index: int) -> None:
        """Make s2 hold the log up to an entry, and answer the latest round."""
        accepted = AppendAccepted("s2", "s1", self.view.term, index, self.view.round)
        self.slow.receive(accepted)

    def look(self) -> None:
        assert self.slow.index <= self.view.applying <= self.view.commit_index
        assert not self.long or self.slow.index < self.long[0].index
        for batch, least in self.reads:
            if batch.reader is not None:
                (said,) = batch.reader.read(["get n"])
                assert int(said.rpartition(" ")[2].replace("n", "0")) >= least

    def end(self) -> None:
        for _ in range(200):
            if self.long:
                done = self.applying.apply_offloaded(self.long)
                self.stepper.end_offload(self.long, done)
            self.pass_time(20)
            self.slow.acknowledge()
            self.long = self.applying.begin_offload()
            if all(batch.is_answered for batch in self.writes) and not self.long:
                break


def snapshot_after(index: int, term: int) -> tuple[LoadedSnapshot, str]:
    """Return the state of another leader after this entry, and the text of its snapshot."""
    other = LogManager("s2", MemoryFolder(), MEMBERS)
    other.apply([Entry(each, term, f"set z {each}") for each in range(1, index + 1)])
    content = b"".join(format_snapshot(other.freeze()))
    return SnapshotReader(io.BytesIO(content), lambda: None).read(), content.decode()


@pytest.mark.parametrize(("first", "count"), [(0, 25), *at_night((25, 2000))])
def test_snapshot_amid_slices_answers_all_and_goes_on(first: int, count: int) -> None:
    """A leader is deposed while it applies, and the next one sends a snapshot."""
    for seed in range(first, first + count):
        leader = AnyOrder(seed)
        for _ in range(leader.chance.randint(10, 60)):
            leader.act()
        if leader.long:
            leader.stepper.end_offload(leader.long, leader.applying.apply_offloaded(leader.long))
        slow, term = leader.slow, leader.view.term + 1
        slow.write()
        loaded, text = snapshot_after(leader.view.log.last_index + 3, term)
        snapshot = loaded.snapshot
        slow.receive(AppendRejected("s2", "s1", term, 0, 0))
        sent = InstallSnapshot("s2", "s1", term, snapshot, 0, len(text), 1, text)
        slow.receive(sent)
        slow.write()
        slow.manager.arrived(loaded)
        slow.driver.step(SnapshotChecked(snapshot, loaded.members, loaded.cluster))
        slow.write()
        assert slow.index == snapshot.index
        last = Entry(snapshot.index + 1, term, "set z last")
        then = AppendEntries("s2", "s1", term, snapshot.index, term, [last], last.index, 2)
        slow.receive(then)
        slow.write()
        while not all(batch.is_answered for batch in leader.writes):
            leader.pass_time(1000)
            slow.write()
        assert slow.index == last.index, seed
        assert slow.manager.read(["get z"]) == ["GET response: last"]


@pytest.mark.parametrize(("first", "count"), [(0, 25), *at_night((25, 2000))])
def test_any_order_of_slices_applies_each_entry_once(first: int, count: int) -> None:
    for seed in range(first, first + count):
        leader = AnyOrder(seed)
        for _ in range(60):
            leader.act()
        leader.end()
        same = Slow(established("s1"))
        with_a_held_machine(same.driver).goes_on.set()
        entries = leader.slow.node.committed(leader.first + 1, leader.view.log.last_index)
        replies = same.manager.apply(entries)
        assert leader.slow.manager.store == same.manager.store, seed
        said = [reply for batch in leader.writes for reply in batch.replies]
        assert sorted(said) == sorted(replies), seed  # each has its own number
        asked = [command for batch in leader.writes for command in batch.commands]
        verbs = [command.partition(" ")[0].upper() for command in asked]
        assert [reply.partition(" ")[0] for reply in said] == verbs, seed
        assert all(batch.reader is not None for batch, _ in leader.reads), seed
