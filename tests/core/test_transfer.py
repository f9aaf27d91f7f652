"""Leadership transfer in the core. Thesis §3.10."""

from __future__ import annotations

import pytest

from raftline.raft.effects import Effects
from raftline.raft.inputs import PeerDisconnected, Propose, Receive, Tick, Transfer
from raftline.raft.log import SafetyError
from raftline.raft.messages import (
    AppendEntries,
    AppendRejected,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from raftline.raft.node import RawNode
from raftline.raft.roles import Role
from raftline.raft.transfer import TransferRefused
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    established,
    node_of,
    sync,
)


def asked_to_stand(effects: Effects) -> list[str]:
    """Return who is asked to stand."""
    return [m.to for m in effects.messages() if isinstance(m, TimeoutNow)]


def follower(name: str = "s2", **more: object) -> RawNode:
    """Return a follower that hears from s1, leader of term 1."""
    node = node_of(name, **more)  # type: ignore[arg-type]
    node.step(Receive(append(1, (0, 0), 1, to=name)), 0)
    sync(node)
    return node


def test_a_follower_that_holds_everything_gets_timeout_now_at_once() -> None:
    node = established("s1")
    assert asked_to_stand(node.step(Transfer("s3"), TIMEOUT_MS)) == ["s3"]


def test_a_follower_that_lacks_an_entry_gets_timeout_now_once_it_has_it() -> None:
    node = established("s1")
    node.step(Propose(["set a 1"]), TIMEOUT_MS)
    sync(node)
    assert asked_to_stand(node.step(Transfer("s3"), TIMEOUT_MS)) == []
    assert asked_to_stand(acknowledge(node, "s2")) == []  # committed, but s3 has not got it
    assert asked_to_stand(acknowledge(node, "s3")) == ["s3"]
    assert asked_to_stand(acknowledge(node, "s3")) == []  # once


def test_no_timeout_now_is_sent_before_all_proposals_are_committed() -> None:
    node = established("s1", voters=("s1", "s2", "s3", "s4", "s5"))
    node.step(Propose(["set a 1"]), TIMEOUT_MS)
    sync(node)
    assert asked_to_stand(node.step(Transfer("s3"), TIMEOUT_MS)) == []
    assert asked_to_stand(acknowledge(node, "s3")) == []  # on two of five disks
    assert asked_to_stand(acknowledge(node, "s2")) == ["s3"]


def test_a_leader_takes_no_proposals_during_a_transfer() -> None:
    node = established("s1")
    node.step(Transfer("s3"), TIMEOUT_MS)
    assert not node.takes_proposals
    with pytest.raises(SafetyError):
        node.step(Propose(["set a 1"]), TIMEOUT_MS)
    acknowledge(node, "s2")
    node.step(Tick(), TIMEOUT_MS + OPTIONS.election_timeout_ms - 1)
    assert not node.takes_proposals
    assert node.wake_at_ms <= TIMEOUT_MS + OPTIONS.election_timeout_ms
    effects = node.step(Tick(), TIMEOUT_MS + OPTIONS.election_timeout_ms)
    assert "[*] s3 did not take over: s1 leads on" in effects.notes
    assert node.takes_proposals


def test_a_broken_connection_to_the_transfer_target_ends_the_transfer() -> None:
    node = established("s1")
    node.step(Transfer("s3"), TIMEOUT_MS)
    node.step(PeerDisconnected("s2"), TIMEOUT_MS)
    assert not node.takes_proposals
    node.step(PeerDisconnected("s3"), TIMEOUT_MS)
    assert node.takes_proposals


def test_a_transfer_without_a_name_chooses_the_longest_log() -> None:
    node = established("s1", voters=("s1", "s2", "s3", "s4"))
    node.step(Propose(["set a 1"]), TIMEOUT_MS)
    sync(node)
    acknowledge(node, "s3")
    node.step(Transfer(None), TIMEOUT_MS)
    assert node.view.transfer is not None
    assert node.view.transfer.to == "s3"


def test_a_disconnected_follower_is_not_chosen_until_it_answers() -> None:
    node = established("s1")
    node.step(PeerDisconnected("s2"), TIMEOUT_MS)
    node.step(PeerDisconnected("s3"), TIMEOUT_MS)
    with pytest.raises(TransferRefused, match="no follower can take over"):
        node.step(Transfer(None), TIMEOUT_MS)
    acknowledge(node, "s2")
    assert asked_to_stand(node.step(Transfer(None), TIMEOUT_MS)) == ["s2"]


@pytest.mark.parametrize(
    ("to", "reason"),
    [("s1", "s1 leads already"), ("s9", "s9 is not a member of this cluster"),
     ("s3", "s3 can't be reached at the moment")],
)  # fmt: skip
def test_a_transfer_to_an_unfit_node_is_refused_and_changes_nothing(to: str, reason: str) -> None:
    node = established("s1")
    node.view.progress["s3"].heard_at_ms = 0
    now = TIMEOUT_MS + OPTIONS.election_timeout_ms
    acknowledge(node, "s2")
    with pytest.raises(TransferRefused, match=f"^{reason}$"):
        node.step(Transfer(to), now)
    assert node.takes_proposals


def test_a_transfer_to_a_node_that_lost_its_log_is_refused_or_ended() -> None:
    node = established("s1")
    forgetful = AppendRejected("s3", "s1", 1, 0, node.view.round, without_vote=1)
    node._state.log.append(1, "set a 1")  # so that s3 is not sent it at once
    node.step(Transfer("s3"), TIMEOUT_MS)
    node.step(Receive(forgetful), TIMEOUT_MS)
    assert node.view.transfer is None
    with pytest.raises(TransferRefused, match="s3 lost its memory and catches up without a vote"):
        node.step(Transfer("s3"), TIMEOUT_MS)


def test_a_node_stands_at_once_upon_timeout_now_and_reports_why() -> None:
    node = follower()
    effects = node.step(Receive(TimeoutNow("s1", "s2", 1)), 10)
    assert node.view.role is Role.CANDIDATE
    assert [m for m in effects.send_after_save if isinstance(m, RequestVote)] == [
        RequestVote("s2", "s1", 2, 1, 1, transfer=True),
        RequestVote("s2", "s3", 2, 1, 1, transfer=True),
    ]


@pytest.mark.parametrize("message", [TimeoutNow("s3", "s2", 1), TimeoutNow("s1", "s2", 0)])
def test_timeout_now_is_taken_from_the_leader_of_the_term_only(message: TimeoutNow) -> None:
    node = follower()
    effects = node.step(Receive(message), 10)
    assert node.view.role is Role.FOLLOWER
    assert "ignored TimeoutNow" in effects.notes[0]


def test_a_node_without_a_vote_ignores_timeout_now() -> None:
    node = follower(recovering=True)
    node.step(Receive(TimeoutNow("s1", "s2", 1)), 10)
    assert node.view.role is Role.FOLLOWER
    assert node.view.term == 1


def test_a_follower_with_a_leader_votes_for_the_transfer_target() -> None:
    node = follower()
    effects = node.step(Receive(RequestVote("s3", "s2", 2, 1, 1, transfer=True)), 10)
    assert effects.send_after_save == [RequestVoteReply("s2", "s3", 2, True)]


@pytest.mark.parametrize(
    "message",
    [
        RequestVote("s3", "s2", 2, 1, 1),
        RequestVote("s3", "s2", 3, 1, 1, transfer=True),  # no leader of term 1 gave way for this
        RequestVote("s3", "s2", 2, 1, 1, pre_vote=True),
    ],
)
def test_without_a_transfer_no_candidate_deposes_a_heard_leader(message: RequestVote) -> None:
    node = follower()
    effects = node.step(Receive(message), 10)
    vote = effects.send_after_save[0]
    assert isinstance(vote, RequestVoteReply)
    assert not vote.granted
    assert node.view.term == 1


def test_a_log_that_lacks_entries_gets_no_vote_by_a_transfer_either() -> None:
    node = follower()
    node.step(Receive(append(1, (1, 1), 1)), 5)
    effects = node.step(Receive(RequestVote("s3", "s2", 2, 1, 1, transfer=True)), 10)
    vote = effects.send_after_save[0]
    assert isinstance(vote, RequestVoteReply)
    assert not vote.granted


def test_a_transfer_gives_no_second_vote_in_a_term() -> None:
    node = follower()
    node.step(Receive(RequestVote("s3", "s2", 2, 1, 1, transfer=True)), 10)
    effects = node.step(Receive(RequestVote("s1", "s2", 2, 1, 1, transfer=True)), 10)
    vote = effects.send_after_save[0]
    assert isinstance(vote, RequestVoteReply)
    assert not vote.granted


def test_a_leader_in_a_transfer_steps_down_and_votes_for_the_target() -> None:
    node = established("s1")
    node.step(Transfer("s3"), TIMEOUT_MS)
    effects = node.step(Receive(RequestVote("s3", "s1", 2, 1, 1, transfer=True)), TIMEOUT_MS + 1)
    assert effects.send_after_save == [RequestVoteReply("s1", "s3", 2, True)]
    assert node.view.transfer is None
    assert node.view.role is Role.FOLLOWER


def test_heartbeats_go_on_during_a_transfer() -> None:
    node = established("s1")
    node.step(Transfer("s3"), TIMEOUT_MS)
    effects = node.step(Tick(), TIMEOUT_MS + OPTIONS.heartbeat_ms)
    assert sum(isinstance(m, AppendEntries) for m in effects.send) == 2
