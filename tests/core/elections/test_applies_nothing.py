"""A leader that applies nothing gives way to a follower that applies."""

from __future__ import annotations

import pytest

from raftline.raft.effects import Effects
from raftline.raft.inputs import Applied, PeerDisconnected, Propose, Receive, Tick, Transfer
from raftline.raft.messages import AppendAccepted, Sums, TimeoutNow
from raftline.raft.node import RawNode
from raftline.raft.state import DISK_TIMEOUTS
from raftline_testing.doubles.cores import OPTIONS, append, established, node_of, sync

TIMEOUT_MS = OPTIONS.election_timeout_ms
LONG_MS = DISK_TIMEOUTS * TIMEOUT_MS


def answer(leader: RawNode, name: str, applied: int | None) -> Effects:
    """Make a follower answer that it holds the whole log, and has applied it up to an entry."""
    view = leader.view
    round_now = leader._state.as_leader.round
    sums = None if applied is None else Sums(applied, 0, 0, 0, 0)
    message = AppendAccepted(name, view.name, view.term, view.log.last_index, round_now, sums=sums)
    return leader.step(Receive(message), view.now_ms)


def pass_time(leader: RawNode, for_ms: int, **applied: int) -> list[Effects]:
    """Pass heartbeats that the followers answer, each with what it applied."""
    steps, end_ms = [], leader.view.now_ms + for_ms
    while leader.view.is_leader and leader.view.now_ms < end_ms:
        steps.append(leader.step(Tick(), leader.view.now_ms + OPTIONS.heartbeat_ms))
        for name, index in applied.items():
            if leader.view.is_leader:
                steps.append(answer(leader, name, index))
    return steps


def successors(steps: list[Effects]) -> list[str]:
    return [one.to for step in steps for one in step.send if isinstance(one, TimeoutNow)]


def warnings(steps: list[Effects]) -> list[str]:
    return [note for step in steps for note in step.notes if note.startswith("[!]")]


@pytest.fixture
def leader() -> RawNode:
    """A leader that has committed three entries and applied one."""
    leader = established("s1")
    leader.step(Propose(["set a 4", "set a 5"]), leader.view.now_ms)
    sync(leader)
    answer(leader, "s2", 1)
    answer(leader, "s3", 1)
    assert (leader.view.applied, leader.view.commit_index) == (1, 3)
    return leader


def test_a_leader_that_applies_nothing_hands_over(leader: RawNode) -> None:
    """It chooses a follower that applies."""
    assert warnings(pass_time(leader, LONG_MS - TIMEOUT_MS, s2=1, s3=3)) == []
    assert not leader.view.applies_nothing(leader.view.now_ms)
    steps = pass_time(leader, 2 * TIMEOUT_MS, s2=1, s3=3)
    assert set(successors(steps)) == {"s3"}
    (warning,) = warnings(steps)
    assert "s1 has not applied entry 2 for" in warning


def test_it_steps_down_if_its_successor_does_not_stand(leader: RawNode) -> None:
    """Then it lets the others stand first."""
    pass_time(leader, LONG_MS + 3 * TIMEOUT_MS, s2=3, s3=3)
    assert not leader.view.is_leader
    assert leader.view.election_at_ms - leader.view.now_ms >= 5 * TIMEOUT_MS


def test_it_stays_while_nobody_has_applied_more(leader: RawNode) -> None:
    """An entry may take as long on every server."""
    steps = pass_time(leader, 3 * LONG_MS, s2=1, s3=1)
    assert leader.view.is_leader
    assert warnings(steps) == []
    assert leader.view.applies_nothing(leader.view.now_ms)


def test_each_applied_entry_begins_the_time_again(leader: RawNode) -> None:
    for index in (2, 3):
        pass_time(leader, LONG_MS - TIMEOUT_MS, s2=3, s3=3)
        leader.step(Applied(index), leader.view.now_ms)
        assert not leader.view.applies_nothing(leader.view.now_ms)
    pass_time(leader, 3 * LONG_MS, s2=3, s3=3)
    assert leader.view.is_leader
    assert not leader.view.applies_nothing(leader.view.now_ms)


def test_a_report_without_progress_begins_no_time(leader: RawNode) -> None:
    pass_time(leader, LONG_MS - TIMEOUT_MS, s2=1, s3=1)
    leader.step(Applied(1), leader.view.now_ms)
    pass_time(leader, 2 * TIMEOUT_MS, s2=1, s3=1)
    assert leader.view.applies_nothing(leader.view.now_ms)


def test_a_follower_that_applies_nothing_knows_it() -> None:
    follower = node_of("s2")
    now_ms = 0
    while now_ms < LONG_MS + TIMEOUT_MS:
        message = append(1, (0, 0), 1, commit=1)
        follower.step(Receive(message), now_ms)
        now_ms += OPTIONS.heartbeat_ms
    assert follower.view.applies_nothing(now_ms)
    follower.step(Applied(1), now_ms)
    assert not follower.view.applies_nothing(now_ms)


def test_a_late_follower_lets_the_others_stand_first() -> None:
    """It applies all the time, as after a restart with a long log, and falls no further behind."""
    follower, now_ms = node_of("s2"), TIMEOUT_MS
    for index in range(1, 60):
        terms, prev = [1] * (100 if index == 1 else 1), (0, 0) if index == 1 else (98 + index, 1)
        follower.step(Receive(append(1, prev, *terms, commit=99 + index)), now_ms)
        sync(follower)
        now_ms += OPTIONS.heartbeat_ms
        follower.step(Applied(index), now_ms)
    assert not follower.view.applies_nothing(now_ms)
    follower.step(Receive(append(1, (157, 1), commit=157)), now_ms)
    assert follower.view.election_at_ms - now_ms >= 4 * TIMEOUT_MS
    follower.step(PeerDisconnected("s1"), now_ms)  # the process of the leader is gone
    assert follower.view.election_at_ms - now_ms >= 4 * TIMEOUT_MS
    follower.step(Applied(100), now_ms)  # all that was committed when the time began
    follower.step(Receive(append(1, (158, 1), commit=158)), now_ms)
    assert follower.view.election_at_ms - now_ms < 2 * TIMEOUT_MS
    follower.step(PeerDisconnected("s1"), now_ms)
    assert follower.view.election_at_ms - now_ms < TIMEOUT_MS


def test_a_follower_of_a_busy_cluster_is_never_late() -> None:
    """It always has entries to apply, and each waits briefly."""
    follower, now_ms = node_of("s2"), 0
    for index in range(1, 60):
        prev = (0, 0) if index == 1 else (index - 1, 1)
        follower.step(Receive(append(1, prev, 1, commit=index)), now_ms)
        sync(follower)
        now_ms += OPTIONS.heartbeat_ms
        follower.step(Applied(index - 1), now_ms)
        assert follower.view.election_at_ms - now_ms < 2 * TIMEOUT_MS


def test_a_transfer_goes_to_the_follower_that_has_applied_most(leader: RawNode) -> None:
    """The other one has answered last."""
    answer(leader, "s2", 3)
    leader.step(Tick(), leader.view.now_ms + 1)
    answer(leader, "s3", 2)
    assert successor_of(leader) == "s2"


def test_a_follower_that_restarted_has_applied_nothing(leader: RawNode) -> None:
    """It applies its log again, and tells nothing before the first of these entries."""
    answer(leader, "s3", 2)
    answer(leader, "s2", 3)
    leader.step(PeerDisconnected("s2"), leader.view.now_ms)
    answer(leader, "s2", None)
    assert successor_of(leader) == "s3"


def successor_of(leader: RawNode) -> str:
    leader.step(Transfer(None), leader.view.now_ms)
    transfer = leader._state.as_leader.transfer
    assert transfer is not None
    return transfer.to
