"""A node's own disk: how long a leader's may hang, and what need not wait for it."""

from __future__ import annotations

import pytest

from raftline.raft.effects import Effects
from raftline.raft.inputs import Propose, Read, Receive, Synced, Tick, Transfer
from raftline.raft.messages import (
    AppendAccepted,
    AppendRejected,
    ReadIndex,
    ReadIndexReply,
    TimeoutNow,
)
from raftline.raft.node import RawNode
from raftline.raft.progress import Mode
from raftline.raft.state import DISK_TIMEOUTS
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    applied,
    established,
    node_of,
    request,
    sync,
)

STALL_MS = DISK_TIMEOUTS * OPTIONS.election_timeout_ms


def lead_on(leader: RawNode, for_ms: int, *followers: str) -> list[Effects]:
    """Pass time by heartbeats that these followers answer at once; they hold the whole log."""
    steps, end_ms = [], leader.view.now_ms + for_ms
    while leader.view.is_leader and leader.view.now_ms < end_ms:
        steps.append(leader.step(Tick(), leader.view.now_ms + OPTIONS.heartbeat_ms))
        for name in followers:
            if leader.view.is_leader:
                steps.append(acknowledge(leader, name))
        if leader.view.applying > leader.view.applied:
            applied(leader)
    return steps


def successors(steps: list[Effects]) -> list[str]:
    """Return those who were asked, ahead of the leader's disk, to stand at once."""
    return [one.to for step in steps for one in step.send if isinstance(one, TimeoutNow)]


def warnings(steps: list[Effects]) -> list[str]:
    return [note for step in steps for note in step.notes if note.startswith("[!]")]


def test_leader_with_hung_disk_transfers_to_a_complete_follower() -> None:
    leader = established("s1")
    leader.step(Propose(["set a 4"]), TIMEOUT_MS)
    assert successors(lead_on(leader, STALL_MS - OPTIONS.election_timeout_ms, "s2", "s3")) == []
    steps = lead_on(leader, 2 * OPTIONS.election_timeout_ms, "s2", "s3")
    assert successors(steps)[0] in ("s2", "s3")
    (warning,) = warnings(steps)
    assert "disk" in warning
    assert "s1" in warning


def test_leader_with_hung_disk_steps_down_if_nobody_takes_over() -> None:
    leader = established("s1")
    leader.step(Propose(["set a 4"]), TIMEOUT_MS)
    lead_on(leader, STALL_MS + 3 * OPTIONS.election_timeout_ms, "s2", "s3")
    assert not leader.view.is_leader


def answered(leader: RawNode, for_ms: int, **held: int) -> list[Effects]:
    """Pass time by heartbeats, which each follower answers with the entry that it holds."""
    steps, end_ms = [], leader.view.now_ms + for_ms
    while leader.view.is_leader and leader.view.now_ms < end_ms:
        steps.append(leader.step(Tick(), leader.view.now_ms + OPTIONS.heartbeat_ms))
        for name, index in held.items():
            if leader.view.is_leader:
                acknowledge(leader, name, index)
    return steps


def test_leader_with_hung_disk_needs_no_complete_follower() -> None:
    """It steps down without a leadership transfer."""
    leader = established("s1")
    leader.step(Propose(["set a 4", "set a 5"]), TIMEOUT_MS)
    steps = answered(leader, STALL_MS + 3 * OPTIONS.election_timeout_ms, s2=2, s3=2)
    assert not leader.view.is_leader
    assert successors(steps) == []


@pytest.mark.parametrize(
    "held", [{"s2": 1, "s3": 1}, {"s2": 2, "s3": 1}, {"s2": 1, "s3": 2}], ids=str
)
def test_leader_with_hung_disk_stays_among_hung_disks(held: dict[str, int]) -> None:
    """Followers answer heartbeats without waiting for their disks, so an answer does not prove that
    a disk works. If two disks of three hang, nobody else can be elected, and this leader still
    serves reads."""
    leader = established("s1")
    leader.step(Propose(["set a 4"]), TIMEOUT_MS)
    steps = answered(leader, 3 * STALL_MS, **held)
    assert leader.view.is_leader
    assert (successors(steps), warnings(steps)) == ([], [])
    leader.step(Read(["get a"]), leader.view.now_ms)
    effects = acknowledge(leader, "s3", held["s3"])
    assert [read.token for read in effects.reads] == ["get a"]


def test_a_leader_among_slow_disks_keeps_its_place() -> None:
    """The disk of s2 is as slow as the leader's, and occasionally a little ahead of it."""
    leader = established("s1")
    for number in range(2, 6):
        leader.step(Propose([f"set a {number}"]), leader.view.now_ms)
        answered(leader, STALL_MS, s2=number - 1, s3=number)
        answered(leader, 2 * OPTIONS.election_timeout_ms, s2=number, s3=number)
        sync(leader)
    assert leader.view.is_leader


def test_leader_with_hung_disk_yields_once_another_disk_responds() -> None:
    leader = established("s1")
    leader.step(Propose(["set a 4"]), TIMEOUT_MS)
    answered(leader, 2 * STALL_MS, s2=1, s3=2)
    assert leader.view.is_leader
    steps = answered(leader, STALL_MS, s2=2, s3=2)
    assert successors(steps)
    assert len(warnings(steps)) == 1


@pytest.mark.parametrize(("held", "leads"), [(1, True), (2, False)])
def test_a_follower_that_lags_lets_a_hung_leader_step_down(held: int, leads: bool) -> None:
    """A lagging follower cannot help to commit until it catches up, which may need the leader's
    disk. So no commit shows that the other disks work."""
    leader = established("s1")
    leader.step(Propose(["set a 4"]), TIMEOUT_MS)
    progress = leader._state.progress["s3"]
    for _ in range(STALL_MS // OPTIONS.heartbeat_ms + 30):
        answered(leader, OPTIONS.heartbeat_ms, s2=held)
        progress.mode, progress.heard_at_ms = Mode.PROBE, leader.view.now_ms
    assert leader.view.is_leader == leads


def test_a_leader_whose_disk_moves_in_time_leads_on() -> None:
    leader = established("s1")
    for number in range(4):
        leader.step(Propose([f"set a {number}"]), leader.view.now_ms)
        steps = lead_on(leader, STALL_MS - OPTIONS.election_timeout_ms, "s2", "s3")
        assert (successors(steps), warnings(steps)) == ([], [])
        sync(leader)
    assert leader.view.is_leader


def test_a_leader_that_writes_nothing_for_long_leads_on() -> None:
    leader = established("s1")
    leader.step(Propose(["set a 4"]), leader.view.now_ms)
    lead_on(leader, OPTIONS.election_timeout_ms, "s2", "s3")
    sync(leader)
    lead_on(leader, 3 * STALL_MS, "s2", "s3")
    leader.step(Propose(["set a 4"]), leader.view.now_ms)
    lead_on(leader, STALL_MS - OPTIONS.election_timeout_ms, "s2", "s3")
    assert leader.view.is_leader


@pytest.mark.parametrize(
    ("voters", "answering"),
    [
        (("s1",), ()),
        (("s1", "s2"), ("s2",)),
        (("s1", "s2", "s3", "s4", "s5"), ("s2", "s3")),
    ],
)
def test_leader_with_hung_disk_stays_if_the_quorum_needs_it(
    voters: tuple[str, ...], answering: tuple[str, ...]
) -> None:
    leader = established("s1", voters=voters)
    leader.step(Propose(["set a 4"]), leader.view.now_ms)
    steps = lead_on(leader, 2 * STALL_MS, *answering)
    assert leader.view.is_leader
    assert (successors(steps), warnings(steps)) == ([], [])


def test_requested_transfer_does_not_wait_for_the_leaders_disk() -> None:
    leader = established("s1")
    leader.step(Propose(["set a 4"]), TIMEOUT_MS)
    steps = [leader.step(Transfer("s3"), TIMEOUT_MS)]
    steps += [acknowledge(leader, "s2"), acknowledge(leader, "s3")]
    assert successors(steps) == ["s3"]


# thesis §6.4
def test_a_followers_read_does_not_wait_for_the_leaders_disk() -> None:
    leader = established("s1")
    leader.step(Propose(["set a 4"]), TIMEOUT_MS)
    leader.step(Receive(ReadIndex("s2", "s1", 1, 7)), TIMEOUT_MS)
    effects = acknowledge(leader, "s3", 1)
    assert [one for one in effects.send if isinstance(one, ReadIndexReply)] == [
        ReadIndexReply("s1", "s2", 1, 1, 7)
    ]


# --- a follower: the leader's reads and its place rest on answers to heartbeats -------------------


def following(*, commit: int = 1) -> RawNode:
    """Return a follower with entry 1 on its disk, and entries 2 and 3 on their way there."""
    node = node_of("s2", 1)
    node.step(Receive(append(1, (1, 1), commit=commit)), 10)
    node.step(Receive(append(1, (1, 1), 1, 1, number=2)), 20)
    return node


def test_heartbeat_is_answered_during_a_write() -> None:
    effects = following().step(Receive(append(1, (3, 1), commit=1, number=3)), 30)
    assert effects.send_past_entries == [AppendAccepted("s2", "s1", 1, 1, 3)]
    assert effects.send_after_save == []


def test_answer_during_a_write_acknowledges_only_synced_entries() -> None:
    node = following()
    effects = node.step(Receive(append(1, (3, 1), commit=3, number=3)), 30)
    assert node.view.commit_index == 3
    assert effects.send_past_entries == [AppendAccepted("s2", "s1", 1, 1, 3)]
    node.step(Synced(2, 1), 40)
    effects = node.step(Receive(append(1, (3, 1), commit=3, number=4)), 50)
    assert effects.send_past_entries == [AppendAccepted("s2", "s1", 1, 2, 4)]
    node.step(Synced(3, 1), 60)
    effects = node.step(Receive(append(1, (3, 1), commit=3, number=5)), 70)
    assert effects.send_after_save == [AppendAccepted("s2", "s1", 1, 3, 5)]


def test_entries_are_acknowledged_behind_their_own_write() -> None:
    effects = following().step(Receive(append(1, (3, 1), 1, number=3)), 30)
    assert effects.send_after_save == [AppendAccepted("s2", "s1", 1, 4, 3)]
    assert effects.send_past_entries == []


def test_missing_entry_is_reported_during_a_write() -> None:
    effects = following().step(Receive(append(1, (9, 1), number=3)), 30)
    assert effects.send_past_entries == [AppendRejected("s2", "s1", 1, 3, 3)]


def test_a_new_term_is_not_confirmed_before_it_is_on_the_disk() -> None:
    effects = following().step(Receive(append(2, (3, 1), number=1, sender="s3")), 30)
    assert effects.save is not None
    assert effects.send_past_entries == []
    assert [type(one) for one in effects.send_after_save] == [AppendAccepted]


def test_vote_waits_for_the_write_under_way() -> None:
    node = following()
    effects = node.step(Receive(request(2, (3, 1), sender="s3")), 3 * TIMEOUT_MS)
    assert (effects.send_past_entries, len(effects.send_after_save)) == ([], 1)


def test_answer_that_acknowledges_nothing_confirms_reads() -> None:
    leader = established("s1")
    leader.step(Propose(["set a 4"]), TIMEOUT_MS)
    leader.step(Read(["get a"]), TIMEOUT_MS)
    effects = acknowledge(leader, "s2", 1)
    assert [read.token for read in effects.reads] == ["get a"]
    assert leader.view.commit_index == 1
