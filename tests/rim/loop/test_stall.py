"""A leader that commits nothing says so, and refuses writes that would only wait."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.net.protocol.host import Batch
from raftline.node.loop.driver import Driver
from raftline.node.loop.stall import CommitStall
from raftline.raft.state import DISK_TIMEOUTS
from raftline.wire.refusal import NO_QUORUM, RequestOutcome
from raftline_testing.doubles.driven_node import DEADLINE_S, answer, driver_of_s1
from raftline_testing.doubles.fake_rim import FakeRim, elect
from raftline_testing.nodes.processes import eventually

LONG_MS = 100 * DISK_TIMEOUTS  # of the view below


@pytest.fixture
def view() -> Any:
    """A leader with an entry that is not committed."""
    options = SimpleNamespace(election_timeout_ms=100)
    log = SimpleNamespace(last_index=6)
    return SimpleNamespace(led_term=2, commit_index=5, log=log, options=options)


def test_a_stall_begins_with_the_last_commit(view: Any) -> None:
    stall = CommitStall(view)
    assert [stall.look(now) for now in (7, 1007)] == [0, 1000]
    view.commit_index, view.log.last_index = 6, 9
    assert [stall.look(now) for now in (2000, 2500)] == [0, 500]


def test_a_leader_without_waiting_entries_does_not_stall(view: Any) -> None:
    stall = CommitStall(view)
    view.commit_index = view.log.last_index
    assert [stall.look(now) for now in (7, 5 * LONG_MS)] == [0, 0]


def test_a_stall_is_long_after_the_time_for_a_disk(view: Any) -> None:
    stall = CommitStall(view)
    looks = (0, LONG_MS, LONG_MS + 1)
    assert [stall.is_long(now) for now in looks] == [False, False, True]


def test_a_follower_does_not_stall(view: Any) -> None:
    stall = CommitStall(view)
    view.led_term = 0
    assert [stall.look(now) for now in (0, 5 * LONG_MS)] == [0, 0]


def last_too_long(driver: Driver) -> None:
    """Make the leader's stall have begun long ago."""
    with driver.core as stepper:
        stepper.stall.look(driver._clock.now_ms())
        stepper.stall._since_ms -= 1 << 40


@pytest.fixture
def leader() -> Iterator[Driver]:
    """s1 leads, and nobody has taken its first entry."""
    driver = driver_of_s1(FakeRim(), heartbeat_ms=50_000)
    elect(driver)
    eventually(lambda: driver.node.view.durable_index >= 1)
    yield driver
    driver.stop(DEADLINE_S)


def test_a_leader_that_commits_nothing_refuses_writes(leader: Driver) -> None:
    last_too_long(leader)
    assert leader.status()["commits_nothing"] is True
    before = leader.node.view.log.last_index
    batch = Batch(["set a 5"], is_read=False)
    leader.submit(batch)
    assert batch.wait(DEADLINE_S)
    assert batch.replies == [NO_QUORUM("s1")]
    assert leader.node.view.log.last_index == before
    assert NO_QUORUM("s1").outcome is RequestOutcome.NO_LEADER


def test_a_leader_takes_writes_again_after_a_commit(leader: Driver) -> None:
    last_too_long(leader)
    answer(leader)
    assert leader.status()["commits_nothing"] is False
    batch = Batch(["set a 5"], is_read=False)
    leader.submit(batch)
    eventually(lambda: leader.node.view.log.commands[-1].endswith("set a 5"))
    assert not batch.is_answered
