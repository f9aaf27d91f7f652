"""Reads, batches and changes of a first leadership are gone in the second."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from raftline.raft.change import Change
from raftline.raft.effects import Effects, ReadReady
from raftline.raft.inputs import (
    AskLeader,
    ChangeMembers,
    PeerDisconnected,
    Propose,
    Read,
    Receive,
    Tick,
)
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Message,
    ReadIndex,
    ReadIndexReply,
    RequestVoteReply,
    TimeoutNow,
)
from raftline.raft.node import RawNode
from raftline.raft.roles import Role
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    applied,
    established,
    leader_of,
    node_of,
    sync,
)
from raftline_testing.orders import Campaign, StepDown, obey


def fall(node: RawNode) -> Effects:
    """Let a leader hear of a later term."""
    state = node.view
    later = state.term + 1
    return node.step(Receive(AppendRejected(state.peers[0], state.name, later, 0, 0)), state.now_ms)


def elect(node: RawNode) -> Effects:
    """Let a follower stand, and all others vote for it; return what it does as the leader."""
    state = node.view
    effects = node.step(Tick(), max(state.election_at_ms, state.now_ms))
    for pre_vote in (True, False):
        term = state.term + 1 if pre_vote else state.term
        for peer in state.peers:
            if state.role is (Role.PRE_CANDIDATE if pre_vote else Role.CANDIDATE):
                effects = node.step(
                    Receive(RequestVoteReply(peer, state.name, term, True, pre_vote)), state.now_ms
                )
    assert node.view.is_leader
    return effects


def tokens(effects: Effects) -> list[Any]:
    return [ready.token for ready in effects.reads]


def everybody_answers(node: RawNode) -> list[Any]:
    """Let all followers acknowledge three rounds; return the tokens of the reads served."""
    served: list[Any] = []
    for _ in range(3):
        sync(node)
        for peer in node.view.peers:
            served += tokens(acknowledge(node, peer)) + tokens(applied(node))
    return served


# --- reads ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_reads_refused_at_a_fall_are_not_served_in_the_next_leadership(count: int) -> None:
    node = established("s1")
    for number in range(count):
        node.step(Read([number]), TIMEOUT_MS)
    assert sorted(fall(node).refused) == [*range(count)]
    elect(node)
    node.step(Read(["new"]), node.view.now_ms)
    assert everybody_answers(node) == ["new"]
    assert fall(node).refused == []  # nor are they refused once more


def test_reads_that_wait_for_the_no_op_are_refused_once_in_each_leadership() -> None:
    node = leader_of("s1", 1)
    node.step(Read(["first"]), node.view.now_ms)
    assert fall(node).refused == ["first"]
    elect(node)
    node.step(Read(["second"]), node.view.now_ms)
    assert fall(node).refused == ["second"]
    elect(node)
    assert everybody_answers(node) == []


def test_a_read_index_request_of_one_leadership_is_not_answered_in_the_next() -> None:
    node = established("s1")
    for number in range(4):
        node.step(Receive(ReadIndex("s2", "s1", 1, number)), TIMEOUT_MS)
    fall(node)
    elect(node)
    sync(node)
    sent: list[Message] = []
    for _ in range(3):
        for peer in node.view.peers:
            sent += acknowledge(node, peer).send_after_save
    assert [message for message in sent if isinstance(message, ReadIndexReply)] == []


def asking_follower(*reads: str, ready: bool) -> RawNode:
    """Return a follower of s1 with three entries, one of them committed, that has asked for a
    read index; where it is `ready`, the answer was 3."""
    node = node_of("s2")
    node.step(Receive(append(1, (0, 0), 1, 1, 1, commit=1)), 100)
    sync(node)
    question = node.step(AskLeader(list(reads)), 100).send_after_save[0]
    if ready:
        assert isinstance(question, ReadIndex)
        node.step(Receive(ReadIndexReply("s1", "s2", 1, 3, question.round)), 110)
    return node


def test_a_read_that_waits_to_be_applied_is_served_once_by_a_new_leader() -> None:
    node = asking_follower("get a", ready=True)
    elect(node)
    assert everybody_answers(node) == ["get a"]
    assert fall(node).refused == []


def test_a_read_that_waits_to_be_applied_is_refused_when_its_new_leader_falls() -> None:
    node = asking_follower("get a", ready=True)
    elect(node)
    assert fall(node).refused == ["get a"]
    elect(node)
    assert everybody_answers(node) == []


def test_a_candidate_refuses_its_forwarded_reads_once() -> None:
    node = asking_follower("get a", "get b", ready=False)
    node.step(AskLeader(["get c"]), 110)
    node._state.forwarded_reads.again_at_ms = 10**6
    assert node.step(Tick(), node.view.election_at_ms).refused == ["get a", "get b", "get c"]
    elect(node)
    assert everybody_answers(node) == []
    assert fall(node).refused == []


# --- entries -------------------------------------------------------------------------------


# §5.3
def test_the_batch_of_an_earlier_leadership_is_never_sent_in_a_later_one() -> None:
    node = established("s1")
    node.step(Propose(["set a 2", "set b 3"]), TIMEOUT_MS)
    node.step(Propose(["set c 4"]), TIMEOUT_MS)
    # s2 leads term 2, and its no-op takes the place of entry 2 and of all after it.
    node.step(Receive(append(2, (1, 1), 2, 2, sender="s2", to="s1")), TIMEOUT_MS)
    assert node.view.log.last_index == 3
    effects = elect(node)
    sent = [message for message in effects.send if isinstance(message, AppendEntries)]
    sent += [m for m in effects.send_after_save if isinstance(m, AppendEntries)]
    assert [[*message.entries] for message in sent] == [[(4, 3, "noop")]] * 2


# --- members -------------------------------------------------------------------------------


def led_by_s1() -> RawNode:
    voters = ("s1", "s2", "s3", "s4")
    where = {name: f"{name}:1" for name in voters}
    return established("s1", voters=Membership(voters, addresses=where))


def without_s4() -> RawNode:
    """Return a leader that has taken s4 out; s4 has not heard of it."""
    node = led_by_s1()
    node.step(ChangeMembers(Change("remove", "s4"), "t"), TIMEOUT_MS)
    for _ in range(2):
        sync(node)
        for peer in ("s2", "s3"):
            acknowledge(node, peer)
    assert node.view.contacts["s4"] == "s4:1"
    return node


def test_a_leader_that_falls_forgets_removed_members() -> None:
    node = without_s4()
    assert "s4" in node.view.contacts
    assert fall(node).members_changed
    assert "s4" not in node.view.contacts
    elect(node)
    assert set(node.view.progress) == {"s2", "s3"}
    assert everybody_answers(node) == []
    assert "s4" not in node.view.contacts


def test_a_queued_change_is_refused_when_its_leader_steps_down() -> None:
    node = leader_of("s1", 1, voters=led_by_s1().view.membership)
    for name in ("s2", "s3"):
        node.step(ChangeMembers(Change("remove", name), name), node.view.now_ms)
    settled = fall(node).settled
    assert [(one.token, one.outcome) for one in settled] == [("s2", "refused"), ("s3", "refused")]
    elect(node)
    everybody_answers(node)
    assert node._state.as_leader.pending_change is None
    assert node.view.membership.voters == ("s1", "s2", "s3", "s4")
    assert fall(node).settled == []


def test_a_change_that_catches_up_is_unknown_when_its_leader_steps_down() -> None:
    node = led_by_s1()
    node.step(ChangeMembers(Change("add", "s5", "s5:1"), "t"), TIMEOUT_MS)
    sync(node)
    for peer in ("s2", "s3"):
        acknowledge(node, peer)
    assert node.view.membership.learners == ("s5",)
    assert [(one.token, one.outcome) for one in fall(node).settled] == [("t", "unknown")]
    elect(node)
    assert fall(node).settled == []


# --- elections -----------------------------------------------------------------------------


def test_a_second_candidacy_counts_no_answer_of_the_first() -> None:
    node = node_of("s1", voters=("s1", "s2", "s3", "s4", "s5"))
    for peer in ("s2", "s3"):
        node.step(Tick(), node.view.election_at_ms)
        node.step(Receive(RequestVoteReply(peer, "s1", 1, True, pre_vote=True)), node.view.now_ms)
        assert node.view.role is Role.PRE_CANDIDATE
    node.step(Receive(RequestVoteReply("s4", "s1", 1, True, pre_vote=True)), node.view.now_ms)
    assert node.view.role is Role.CANDIDATE


def test_a_leader_ordered_to_stand_keeps_no_leader_state() -> None:
    node = without_s4()
    node.step(Read(["get a"]), TIMEOUT_MS)
    node.step(ChangeMembers(Change("remove", "s3"), "t"), TIMEOUT_MS)
    effects = obey(node, Campaign(), TIMEOUT_MS)
    assert (node.view.role, node.view.term) == (Role.CANDIDATE, 2)
    assert effects.refused == ["get a"]
    assert [one.outcome for one in effects.settled] == ["unknown"]
    assert not node.view.is_leader


def test_a_candidate_ordered_to_follow_waits_for_a_whole_timeout() -> None:
    node = node_of("s1")
    node.step(Tick(), TIMEOUT_MS)
    obey(node, StepDown(), TIMEOUT_MS + 100)
    assert node.wake_at_ms == 2 * TIMEOUT_MS + 100


def asked_to_stand() -> RawNode:
    """Return a candidate of term 2 to which the leader s1 gave way; reads waited at it."""
    node = asking_follower("get a", ready=False)
    effects = node.step(Receive(TimeoutNow("s1", "s2", 1)), 110)
    assert effects.refused == ["get a"]
    assert (node.view.role, node.view.term) == (Role.CANDIDATE, 2)
    return node


# thesis §3.10
def test_a_transfer_target_that_stands_refuses_its_forwarded_reads() -> None:
    node = asked_to_stand()
    for peer in ("s1", "s3"):
        node.step(Receive(RequestVoteReply(peer, "s2", 2, True)), 110)
    assert everybody_answers(node) == []
    assert [m for m in node.step(Tick(), 400).send_after_save if isinstance(m, ReadIndex)] == []
    assert fall(node).refused == []


# thesis §3.10
def test_a_transfer_target_follows_another_winner() -> None:
    node = asked_to_stand()
    (answer,) = node.step(Receive(append(2, (3, 1), 2, sender="s3")), 120).send_after_save
    assert isinstance(answer, AppendAccepted)
    assert node.view.leader == "s3"


def test_a_leader_that_falls_forgets_that_the_one_before_it_was_lost() -> None:
    node = node_of("s1")
    node.step(Receive(append(1, (0, 0), 1, sender="s2", to="s1")), 0)
    node.step(PeerDisconnected("s2"), 10)  # so its next waits are short ones
    elect(node)
    fall(node)
    for _ in range(2):
        now_ms = node.view.election_at_ms
        node.step(Tick(), now_ms)
        assert node.view.election_at_ms == now_ms + TIMEOUT_MS


def test_a_lost_connection_puts_no_election_off() -> None:
    node = node_of("s1")
    node.step(Receive(append(1, (0, 0), 1, sender="s2", to="s1")), 0)
    node.step(PeerDisconnected("s2"), TIMEOUT_MS - 1)
    assert node.wake_at_ms == TIMEOUT_MS


def test_a_lone_voter_waits_for_the_disk_in_every_leadership() -> None:
    addresses = {"s1": "s1:1", "s2": "s2:1"}
    node = established("s1", voters=Membership(("s1",), ("s2",), (), addresses))
    for _ in range(2):
        sync(node)
        assert node.step(Propose(["set a 1"]), node.view.now_ms).send != []
        acknowledge(node, "s2")
        obey(node, Campaign(), node.view.now_ms)  # the next term is on its way to the disk
        acknowledge(node, "s2", node.view.log.last_index - 1)
        assert node.step(Propose(["set a 2"]), node.view.now_ms).send == []


def test_the_lease_of_a_second_leadership_is_as_long_as_that_of_the_first() -> None:
    node = established("s1", options=replace(OPTIONS, lease=True))
    for _ in range(2):
        began_ms = node.view.now_ms
        state = node.view
        index = state.log.last_index
        sync(node)
        for peer in ("s2", "s3"):
            answer = AppendAccepted(peer, "s1", state.term, index, state.round, lease_ms=150)
            node.step(Receive(answer), began_ms + 10)
        assert state.lease_until_ms == began_ms + 135
        for _ in range(3):
            node.step(Tick(), node.wake_at_ms)
        fall(node)
        elect(node)


def test_a_ready_read_is_served_at_its_own_index() -> None:
    node = asking_follower("get a", ready=True)
    assert node.step(Receive(append(1, (3, 1), commit=2, number=2)), 120).reads == []
    node.step(Receive(append(1, (3, 1), commit=3, number=3)), 130)
    assert applied(node).reads == [ReadReady("get a", 3)]
