"""The moment at which a follower applies an entry: behind its answer, before anybody looks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from raftline.net.host import Batch
from raftline.node.driver import Driver
from raftline.node.snapshots import Snapshots
from raftline.raft.entries import Entry
from raftline.raft.messages import AppendEntries, ReadIndexReply
from raftline.wire.parsing import Reading
from tests.rim.test_driver import DEADLINE_S, Answers, FakeRim, HeldManager, driver_of_s1


def following_with_a_held_disk() -> tuple[Driver, Answers]:
    """Return a follower of s2 that applies `set a 1` once a write of its disk is over."""
    driver, answers = driver_of_s1(FakeRim(), HeldManager), Answers()
    manager: Any = driver._logmanager
    first = AppendEntries("s2", "s1", 1, 0, 0, [Entry(1, 1, "set a 1")], 0, 1)
    then = AppendEntries("s2", "s1", 1, 1, 1, [Entry(2, 1, "set a 2")], 1, 2)
    driver.receive([first], answers)
    assert manager.stands.wait(DEADLINE_S)
    driver.receive([then], answers)
    assert driver.node.view.last_applied == 1
    assert manager.applied.index == 0
    return driver, answers


def test_a_follower_answers_its_leader_before_it_applies() -> None:
    driver, answers = following_with_a_held_disk()
    manager: Any = driver._logmanager
    apply, seen = manager.apply, []

    def note(entries: Sequence[Entry]) -> list[str]:
        seen.append((entries[0].index, len(answers.given)))
        return list(apply(entries))

    manager.apply = note
    manager.goes_on.set()
    pause = threading.Event()
    while manager.applied.index < 1:
        assert not pause.wait(0.001)
    assert seen == [(1, 1)]  # behind the answer to the entry that was written
    driver.stop(DEADLINE_S)


@pytest.mark.parametrize("by", ["status", "heartbeat"])
def test_a_follower_with_a_stalled_disk_applies_all_the_same(by: str) -> None:
    driver, _ = following_with_a_held_disk()
    manager: Any = driver._logmanager
    if by == "status":  # which tells that it is applied
        assert driver.status()["last_applied"] == 1
    else:
        driver.receive([AppendEntries("s2", "s1", 1, 2, 1, [], 1, 3)], Answers())
    assert manager.applied.index == 1
    assert manager.read(["get a"]) == ["GET response: 1"]
    manager.goes_on.set()
    driver.stop(DEADLINE_S)


def test_a_snapshot_that_is_asked_for_holds_what_the_core_takes_to_be_applied() -> None:
    driver, _ = following_with_a_held_disk()
    manager: Any = driver._logmanager
    said: list[str] = []
    snapshots = Snapshots(driver, manager, lambda _: None, said.append, compact_bytes=1 << 30)
    driver._rim.wrote = snapshots.wrote
    snapshots.ask()
    snapshots.start()  # whose thread waits for the disk, to give the file its name
    pause = threading.Event()
    while manager.applied.index < 1:
        assert not pause.wait(0.001)
    manager.goes_on.set()
    while not said:
        assert not pause.wait(0.001)
    assert said[0].startswith("[*] s1 took a snapshot: the state after entry 1, 1 key,")
    snapshots.stop()
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
