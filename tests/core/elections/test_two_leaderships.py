"""Reads, batches and changes of a first leadership are gone in the second."""

from __future__ import annotations

from typing import Any

from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.inputs import (
    AskLeader,
    ChangeMembers,
    PeerDisconnected,
    Propose,
    Receive,
    Tick,
)
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    AppendAccepted,
    AppendRejected,
    ReadIndex,
    ReadIndexReply,
    RequestVoteReply,
    TimeoutNow,
)
from raftline.raft.node import RawNode
from raftline.raft.roles import Role
from raftline_testing.doubles.cores import (
    TIMEOUT_MS,
    acknowledge,
    append,
    applied,
    established,
    node_of,
    sync,
)
from raftline_testing.orders import Campaign, StepDown, obey


def fall(node: RawNode) -> Effects:
    """Make a leader hear of a later term."""
    state = node.view
    later = state.term + 1
    return node.step(Receive(AppendRejected(state.peers[0], state.name, later, 0, 0)), state.now_ms)


def elect(node: RawNode) -> Effects:
    """Make a follower stand, and all others vote for it; return what it does as the leader."""
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
    """Make all followers acknowledge three rounds; return the tokens of the reads served."""
    served: list[Any] = []
    for _ in range(3):
        sync(node)
        for peer in node.view.peers:
            served += tokens(acknowledge(node, peer)) + tokens(applied(node))
    return served


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


def test_waiting_read_is_refused_when_the_new_leader_falls() -> None:
    """The node was a follower when the read arrived; its index is known but not yet applied."""
    node = asking_follower("get a", ready=True)
    elect(node)
    assert fall(node).refused == ["get a"]
    elect(node)
    assert everybody_answers(node) == []


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
def test_a_transfer_target_follows_another_winner() -> None:
    node = asked_to_stand()
    (answer,) = node.step(Receive(append(2, (3, 1), 2, sender="s3")), 120).send_after_save
    assert isinstance(answer, AppendAccepted)
    assert node.view.leader == "s3"


def test_fallen_leader_waits_a_full_election_timeout() -> None:
    """Its previous timeout was shorter, since it had just lost a leader."""
    node = node_of("s1")
    node.step(Receive(append(1, (0, 0), 1, sender="s2", to="s1")), 0)
    node.step(PeerDisconnected("s2"), 10)  # so its next waits are short ones
    elect(node)
    fall(node)
    for _ in range(2):
        now_ms = node.view.election_at_ms
        node.step(Tick(), now_ms)
        assert node.view.election_at_ms == now_ms + TIMEOUT_MS


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


def test_change_amid_catching_up_is_unknown_after_stepping_down() -> None:
    node = led_by_s1()
    node.step(ChangeMembers(Change("add", "s5", "s5:1"), "t"), TIMEOUT_MS)
    sync(node)
    for peer in ("s2", "s3"):
        acknowledge(node, peer)
    assert node.view.membership.learners == ("s5",)
    assert [(one.token, one.outcome) for one in fall(node).settled] == [("t", "unknown")]
    elect(node)
    assert fall(node).settled == []
