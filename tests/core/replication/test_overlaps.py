"""Two or three of a kind at once: rounds, windows, complaints, reads, snapshots, removals.

A rule that holds for one alone may fail if the next begins before the first has ended.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.node.loop.measures import node_facts
from raftline.raft.change import Change
from raftline.raft.effects import Effects, ReadReady
from raftline.raft.inputs import (
    AskLeader,
    ChangeMembers,
    Propose,
    Receive,
    SnapshotChecked,
    SnapshotGone,
    SnapshotRejected,
    SnapshotTaken,
    Tick,
)
from raftline.raft.log import Snapshot
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
    ReadIndex,
    ReadIndexReply,
    RequestVoteReply,
)
from raftline.raft.node import RawNode
from raftline_testing.doubles.compacted_leader import (
    MEMBERS,
    SMALL,
    fall_behind,
    leader_with_snapshot,
)
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    applied,
    beat,
    compact,
    established,
    log_of,
    node_of,
    sync,
)

FIVE = ("s1", "s2", "s3", "s4", "s5")
LEASES = replace(OPTIONS, lease=True)


def entries_to(effects: Effects, peer: str) -> list[list[int]]:
    return [
        [entry.index for entry in message.entries]
        for message in effects.send
        if isinstance(message, AppendEntries) and message.to == peer
    ]


def follower() -> RawNode:
    """Return a follower of s1 with three entries, one of which is committed."""
    node = node_of("s2")
    node.step(Receive(append(1, (0, 0), 1, 1, 1, commit=1)), 100)
    sync(node)
    applied(node)
    return node


def test_lease_promise_is_saved_before_it_grows() -> None:
    node = node_of("s2", lease_ms=100, options=LEASES)
    effects = node.step(Receive(append(1, (0, 0), 1)), 100)
    assert effects.save is not None
    assert effects.save.lease_ms == 150
    assert node.step(Receive(append(1, (1, 1), number=2)), 110).save is None


def test_answer_to_the_last_message_frees_the_window() -> None:
    node = established("s1")
    window = node.view.options.window
    for number in range(2 * window):
        node.step(Propose([f"set a {number}"]), TIMEOUT_MS)
    acknowledge(node, "s2", 1 + window)  # the answers to the others are lost
    assert len(node.view.progress["s2"].in_flight) == 1  # all that waited, in one
    sent = [node.step(Propose(["set b"]), TIMEOUT_MS) for _ in range(window)]
    assert [len(entries_to(effects, "s2")) for effects in sent] == [1] * (window - 1) + [0]


# §5.3, end
def test_a_lost_window_does_not_block_the_next_messages() -> None:
    node = established("s1")
    window = node.view.options.window
    for number in range(window):
        node.step(Propose([f"set a {number}"]), TIMEOUT_MS)
    effects = node.step(Receive(AppendRejected("s2", "s1", 1, 1, node.view.round)), TIMEOUT_MS)
    assert entries_to(effects, "s2") == [[*range(2, window + 2)]]
    acknowledge(node, "s2", window + 1)
    sent = [node.step(Propose(["set b"]), TIMEOUT_MS) for _ in range(window)]
    assert [len(entries_to(effects, "s2")) for effects in sent] == [1] * window


def test_at_most_one_probe_is_in_flight() -> None:
    node = established("s1")
    effects = node.step(Receive(AppendRejected("s2", "s1", 1, 1, node.view.round)), TIMEOUT_MS)
    assert entries_to(effects, "s2") == [[]]  # there is nothing after entry 1
    assert entries_to(node.step(Propose(["set a 1"]), TIMEOUT_MS), "s2") == []
    assert entries_to(acknowledge(node, "s2", 1), "s2") == [[2]]


EARLIER, LATER = Snapshot(5, 1, 8, 4), Snapshot(7, 2, 8, 5)


def taking(*pieces: InstallSnapshot, now_ms: int = 0) -> RawNode:
    node = node_of("s2", options=SMALL)
    for piece in pieces:
        node.step(Receive(piece), now_ms)
    return node


def piece(offset: int, of: Snapshot = LATER, term: int = 2, sender: str = "s1") -> InstallSnapshot:
    """Return four bytes of a snapshot."""
    return InstallSnapshot(sender, "s2", term, of, offset, 4, 3, "a 4\n")


def test_checked_snapshot_is_not_installed_over_a_newer_arrival() -> None:
    node = taking(piece(0, EARLIER), piece(4, EARLIER), piece(0), piece(4))
    assert node.step(SnapshotChecked(EARLIER, MEMBERS), 10).install is None
    assert node.step(SnapshotChecked(LATER, MEMBERS), 10).install == LATER
    assert node.step(SnapshotChecked(LATER, MEMBERS), 20).install is None  # once
    assert node_facts(node.view, 20)["arriving_bytes"] == 0


def test_failed_check_drops_no_snapshot_that_arrived_since() -> None:
    node = taking(piece(0, EARLIER), piece(4, EARLIER), piece(0))
    assert node.step(SnapshotRejected(EARLIER, "it is damaged"), 10).notes == []
    (answer,) = node.step(Receive(piece(4)), 10).send_after_save
    assert isinstance(answer, InstallSnapshotReply)
    assert answer.offset == 8


def test_a_node_that_became_leader_installs_no_snapshot() -> None:
    node = taking(piece(0), piece(4))
    node.step(Tick(), node.view.election_at_ms)
    for pre_vote in (True, False):
        node.step(Receive(RequestVoteReply("s3", "s2", 3, True, pre_vote)), node.view.now_ms)
    assert node.view.is_leader
    assert node.step(SnapshotChecked(LATER, MEMBERS), node.view.now_ms).install is None


def test_a_snapshot_that_the_log_has_overtaken_no_longer_arrives() -> None:
    node = taking(piece(0))
    node.step(Receive(append(2, (0, 0), 1, 1, 1, 1, 1, 2, 2, commit=7)), 10)
    node.step(Receive(piece(4)), 20)
    assert node_facts(node.view, 20)["arriving_bytes"] == 0


def sending() -> RawNode:
    """Return a leader whose follower s2 holds 10 of the 25 bytes of its snapshot."""
    node = leader_with_snapshot()
    fall_behind(node)
    held(node, 10)
    return node


def held(node: RawNode, offset: int, number: int | None = None, of: int = 3) -> list[int]:
    """Make s2 say how far it is with a snapshot; return the places of the pieces it is sent."""
    state = node.view
    number = state.round if number is None else number
    term = state.log.term_at(of) or 1
    answer = InstallSnapshotReply("s2", "s1", state.term, of, term, offset, number)
    return places(node.step(Receive(answer), state.now_ms))


def places(effects: Effects) -> list[int]:
    return [m.offset for m in effects.send_after_save if isinstance(m, InstallSnapshot)]


def test_a_late_answer_about_an_earlier_snapshot_is_ignored() -> None:
    node = sending()
    later = Snapshot(5, 3, 50, 8)
    applied(node)
    node.step(SnapshotTaken(later), node.view.now_ms)
    earlier = Snapshot(3, 1, 25, 7)
    assert places(node.step(SnapshotGone("s2", earlier), node.view.now_ms)) == [0, 10]
    assert held(node, 20, of=3) == []
    assert places(node.step(SnapshotGone("s2", earlier), node.view.now_ms)) == []
    assert places(node.step(SnapshotGone("s2", later), node.view.now_ms)) == []  # it is in force
    assert held(node, 10, of=5) == [20]


def test_silent_follower_of_a_snapshot_is_probed_once_a_timeout() -> None:
    """The timeout is the election timeout."""
    node = sending()
    asked = []
    for _ in range(10):
        acknowledge(node, "s3")
        asked.append(places(beat(node)))
    assert asked == [[], [], [10], [], [], [10], [], [], [10], []]


def test_an_answering_follower_amid_a_snapshot_is_not_probed() -> None:
    node = sending()
    for offset in (20, 25, 25):
        acknowledge(node, "s3")
        assert places(beat(node)) == []
        held(node, offset)


def test_entries_kept_after_a_snapshot_are_bounded_in_bytes() -> None:
    options = replace(OPTIONS, trailing_bytes=2500)
    node = established("s1", options=options)
    node.step(Propose(["x" * 1000] * 5), TIMEOUT_MS)
    sync(node)
    acknowledge(node, "s2")
    acknowledge(node, "s3")
    applied(node)
    node.step(SnapshotTaken(Snapshot(6, 1, 10, 0)), TIMEOUT_MS)
    assert node.view.compaction_index == 3


def test_entries_across_a_snapshots_end_are_taken_after_it() -> None:
    node = node_of("s2", *[1] * 4)
    node.step(Receive(append(1, (4, 1), commit=4)), 10)
    applied(node)
    node.step(SnapshotTaken(Snapshot(3, 1, 8, 4)), 10)
    while compact(node, 3):
        pass
    effects = node.step(Receive(append(1, (1, 1), 1, 1, 1, 1, number=2)), 20)
    assert [entry.index for entry in effects.append] == [5]
    assert effects.cut_after is None
    (answer,) = effects.send_after_save
    assert isinstance(answer, AppendAccepted)
    assert answer.index == 5


@pytest.mark.parametrize("base", range(10))
def test_a_log_compacted_over_several_terms_gives_the_same_terms(base: int) -> None:
    terms = (1, 2, 2, 4, 5, 5, 5, 6, 6)
    whole, compacted = log_of(*terms), log_of(*terms)
    compacted.compact(base)
    for index in range(base + 1, len(terms) + 1):
        first = max(whole.first_index_of_term_at(index), base + 1)
        assert compacted.first_index_of_term_at(index) == first
        assert compacted.entries(index, len(terms)) == whole.entries(index, len(terms))


def test_removed_member_is_told_again_when_its_removal_commits() -> None:
    where = {name: f"{name}:1" for name in FIVE}
    node = established("s1", voters=Membership(FIVE, addresses=where))
    node.step(ChangeMembers(Change("remove", "s5"), "t"), TIMEOUT_MS)
    sync(node)
    for peer in ("s2", "s3", "s4"):  # commits the joint configuration; C_new follows
        acknowledge(node, peer)
    sync(node)
    for _ in range(2):  # s5 answers first, and everything
        acknowledge(node, "s5")
        beat(node)
    assert "s5" in node.view.contacts
    for peer in ("s2", "s3"):
        acknowledge(node, peer)
    assert node.view.configurations.index <= node.view.commit_index
    acknowledge(node, "s5", number=node.view.round - 1)
    assert "s5" in node.view.contacts
    beat(node)
    acknowledge(node, "s5")
    assert "s5" not in node.view.contacts


def led_with(*voters: str, learner: str = "") -> RawNode:
    names = (*voters, learner) if learner else voters
    where = {name: f"{name}:1" for name in names}
    members = Membership(voters, (learner,) if learner else (), (), where)
    return established("s1", voters=members)


def test_learner_is_not_removed_before_its_addition_commits() -> None:
    node = led_with("s1", "s2", "s3")
    node.step(ChangeMembers(Change("add", "s4", "s4:1"), "add"), TIMEOUT_MS)
    (refused,) = node.step(ChangeMembers(Change("remove", "s4"), "remove"), TIMEOUT_MS).settled
    assert (refused.token, refused.outcome) == ("remove", "refused")
    sync(node)
    acknowledge(node, "s2")
    settled = node.step(ChangeMembers(Change("remove", "s4"), "remove"), TIMEOUT_MS).settled
    assert [(one.token, one.outcome) for one in settled] == [("add", "refused")]
    assert node.view.membership.learners == ()


def test_a_loss_reported_by_several_answers_counts_once() -> None:
    node = sending()
    before = node.view.round
    beat_at_ms = node._state.as_leader.heartbeat_at_ms
    node.step(Tick(), beat_at_ms)
    assert node.view.round == before + 1
    assert held(node, 0, before) == [0, 10]
    assert held(node, 0, before + 1) == []  # sent before the first word of the loss had come
    assert held(node, 20) == [20]


def test_reads_of_two_read_index_requests_wait_together() -> None:
    """They wait until their index is applied."""
    node = follower()
    effects = node.step(AskLeader(["get a"]), 100)
    for index, further in ((2, "get b"), (3, "get c"), (3, "")):
        (question,) = effects.send_after_save
        assert isinstance(question, ReadIndex)
        if further:
            assert node.step(AskLeader([further]), 100).send_after_save == []
        effects = node.step(Receive(ReadIndexReply("s1", "s2", 1, index, question.round)), 110)
        assert effects.reads == []
    node.step(Receive(append(1, (3, 1), commit=3, number=2)), 120)
    assert applied(node, 2).reads == [ReadReady("get a", 2)]
    assert applied(node, 3).reads == [ReadReady("get b", 3), ReadReady("get c", 3)]
