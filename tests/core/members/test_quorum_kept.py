"""A change of members that would leave too few answering voters for a majority: paper §6."""

from __future__ import annotations

import pytest

from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.inputs import ChangeMembers, PeerDisconnected
from raftline.raft.membership import Membership
from raftline.raft.node import RawNode
from raftline.raft.reconfiguration import PATIENCE
from raftline_testing.doubles.cores import (
    OPTIONS,
    acknowledge,
    beat,
    established,
    leader_of,
    sync,
)

THREE = ("s1", "s2", "s3")
FIVE = (*THREE, "s4", "s5")


def members(*voters: str, learners: tuple[str, ...] = ()) -> Membership:
    names = (*voters, *learners)
    return Membership(voters, learners, (), {name: f"{name}:1" for name in names})


def change(node: RawNode, *words: str, force: bool = False) -> Effects:
    asked = Change(*words, force=force)  # type: ignore[misc, arg-type]
    return node.step(ChangeMembers(asked, "t"), node.view.now_ms)


def outcomes(effects: Effects) -> list[tuple[str, str]]:
    return [(outcome, text) for _, outcome, text in effects.settled]


def hold(node: RawNode, *names: str) -> list[tuple[str, str]]:
    """Make the leader's disk and these followers hold all that there is, and what follows on it;
    return the outcomes of changes."""
    settled = []
    for _ in range(3):
        settled += outcomes(sync(node))
        for name in names:
            if name in node.view.progress:
                settled += outcomes(acknowledge(node, name))
    return settled


def pass_time(node: RawNode, timeouts: float, *answering: str) -> list[tuple[str, str]]:
    """Pass time in which only these followers answer; return the outcomes of changes."""
    settled = []
    until_ms = node.view.now_ms + timeouts * OPTIONS.election_timeout_ms
    while node.view.is_leader and node.view.now_ms <= until_ms:
        settled += outcomes(beat(node)) + hold(node, *answering)
    return settled


def without(absent: str, *voters: str, learners: tuple[str, ...] = ()) -> RawNode:
    """Return a leader s1 whose other followers answer, while `absent` has been silent for more
    than an election timeout."""
    node = established("s1", voters=members(*voters, learners=learners))
    pass_time(node, 1.5, *(name for name in node.view.peers if name not in absent.split()))
    return node


@pytest.mark.parametrize(
    ("verb", "name", "left"),
    [
        ("remove", "s2", "s1 s3"),
        ("remove", "s1", "s2 s3"),
        ("demote", "s2", "s1 s3"),
        ("demote", "s1", "s2 s3"),
    ],
)
def test_change_that_takes_the_quorum_is_refused(verb: str, name: str, left: str) -> None:
    """s3 is down, and the other follower, or the leader, is the wrong one to remove."""
    node = without("s3", *THREE)
    last = node.view.log.last_index
    assert outcomes(change(node, verb, name)) == [
        (
            "refused",
            f"s3 does not answer: without it, the voters {left} would have no majority, and no "
            "write could be committed. Start or remove it first; to do this all the same: "
            f"{verb} {name} force. Nothing was changed",
        )
    ]
    assert node.view.log.last_index == last
    pass_time(node, 1, "s2", "s3")
    change(node, verb, name)
    assert [outcome for outcome, _ in hold(node, "s2", "s3")] == ["done"]


def test_forced_change_begins_all_the_same() -> None:
    node = without("s3", *THREE)
    assert outcomes(change(node, "remove", "s2", force=True)) == []
    assert node.view.membership == members(*THREE).joint_to(members("s1", "s3"))
    hold(node, "s2")
    assert node.view.commit_index < node.view.log.last_index
    assert [outcome for outcome, _ in hold(node, "s2", "s3")] == ["done"]


def test_absent_voter_itself_can_be_removed() -> None:
    node = without("s3", *THREE)
    change(node, "remove", "s3")
    assert [outcome for outcome, _ in hold(node, "s2")] == ["done"]
    assert node.view.membership == members("s1", "s2")


@pytest.mark.parametrize("name", ["s2", "s4"])
def test_change_that_leaves_a_majority_begins(name: str) -> None:
    """One of five is down, so that four are left, or a living one is removed from four."""
    node = without("s5", *FIVE)
    change(node, "remove", name)
    assert [outcome for outcome, _ in hold(node, *FIVE[1:4])] == ["done"]


def test_old_voters_without_a_majority_change_nothing() -> None:
    """The leader has not stepped down yet; force is not offered, as it could not help."""
    node = established("s1", voters=members("s1", "s2"))
    node.step(PeerDisconnected("s2"), node.view.now_ms)
    assert outcomes(change(node, "remove", "s2")) == [
        (
            "refused",
            "s2 does not answer: without it, the voters s1 s2 have no majority to commit a "
            "change. Start it again; if that is impossible, see docs/repair.md. Nothing was "
            "changed",
        )
    ]


def test_voter_whose_connection_broke_counts_as_absent() -> None:
    """It counts as absent at once, until it answers again."""
    node = established("s1", voters=members(*THREE))
    node.step(PeerDisconnected("s3"), node.view.now_ms)
    ((outcome, text),) = outcomes(change(node, "remove", "s2"))
    assert (outcome, text[:18]) == ("refused", "s3 does not answer")
    acknowledge(node, "s3")
    assert outcomes(change(node, "remove", "s2")) == []


@pytest.mark.parametrize("wanted", ["remove s2", "demote s2", "remove s1"])
def test_new_leader_waits_to_hear_who_is_there(wanted: str) -> None:
    """The change begins with the first answer of s3, and not before."""
    node = leader_of("s1", voters=members(*THREE))
    acknowledge(node, "s2")
    assert node.view.commit_index == 1
    last = node.view.log.last_index
    assert outcomes(change(node, *wanted.split())) == []
    assert node.view.log.last_index == last
    acknowledge(node, "s3")
    assert node.view.membership.is_joint
    assert [outcome for outcome, _ in hold(node, "s2", "s3")] == ["done"]


def test_forced_change_awaits_no_answer_of_a_voter() -> None:
    node = leader_of("s1", voters=members(*THREE))
    acknowledge(node, "s2")
    assert outcomes(change(node, "remove", "s2", force=True)) == []
    assert node.view.membership.is_joint


def test_new_leader_refuses_once_a_voter_stayed_silent() -> None:
    """s3 voted for it and died. Its election was less than an election timeout ago."""
    node = leader_of("s1", voters=members(*THREE))
    acknowledge(node, "s2")
    assert outcomes(change(node, "remove", "s2")) == []
    assert pass_time(node, 0.5, "s2") == []
    ((outcome, text),) = pass_time(node, 1, "s2")
    assert (outcome, text[:18]) == ("refused", "s3 does not answer")
    assert not node.view.membership.is_joint


def test_new_leader_removes_a_silent_voter_at_once() -> None:
    node = leader_of("s1", voters=members(*THREE))
    acknowledge(node, "s2")
    change(node, "remove", "s3")
    assert [outcome for outcome, _ in hold(node, "s2")] == ["done"]
    assert node.view.membership == members("s1", "s2")


def test_recovering_and_absent_voters_are_both_named() -> None:
    node = without("s4 s5", *FIVE)
    node.view.progress["s5"].is_counted = False
    ((outcome, text),) = outcomes(change(node, "remove", "s3"))
    assert outcome == "refused"
    assert text.startswith("s4 does not answer and s5 lost its memory: without them, the voters")


@pytest.mark.parametrize("verb", ["promote", "add"])
def test_silent_learner_gets_no_vote(verb: str) -> None:
    """It holds all entries, so that nothing but its silence keeps it from being counted."""
    node = without("s2", "s1", learners=("s2",))
    assert node.view.progress["s2"].match_index == node.view.log.last_index
    asked = (verb, "s2", "s2:1") if verb == "add" else (verb, "s2")
    assert outcomes(change(node, *asked)) == []
    assert pass_time(node, PATIENCE - 1) == []
    ((_, text),) = pass_time(node, 3)
    assert text.startswith("s2 is a learner without a vote, since it does not answer.")
    assert node.view.membership == members("s1", learners=("s2",))
    change(node, *asked)
    assert [outcome for outcome, _ in pass_time(node, 2, "s2")] == ["done"]
    assert node.view.membership == members("s1", "s2")


def test_replacement_by_a_node_that_answers_begins() -> None:
    """s3 is down, and s2 is replaced: the voters s1 and s4 answer afterwards."""
    node = without("s3", *THREE)
    assert outcomes(change(node, "replace", "s4", "s4:1", "s2")) == []
    assert [outcome for outcome, _ in pass_time(node, 2, "s2", "s4")] == ["done"]
    assert node.view.membership == members("s1", "s3", "s4")


def test_replacement_that_takes_the_quorum_is_refused() -> None:
    """s3 votes already, so that the replacement only removes s2."""
    node = without("s4 s5", *FIVE)
    ((outcome, text),) = outcomes(change(node, "replace", "s3", "s3:1", "s2"))
    assert outcome == "refused"
    assert text.endswith(": replace s2 s3 s3 1 force. Nothing was changed")
    assert outcomes(change(node, "replace", "s3", "s3:1", "s2", force=True)) == []
    assert node.view.membership.is_joint


def test_change_of_learners_needs_no_further_voter() -> None:
    node = without("s3", *THREE, learners=("s4",))
    change(node, "remove", "s4")
    assert [outcome for outcome, _ in hold(node, "s2")] == ["done"]


def test_repeated_add_waits_for_silent_voters() -> None:
    """s3 lost its log and asks to be added, to learn the members, while s2 is away for a moment:
    no quorum changes, so that nothing is refused."""
    node = established("s1", voters=members(*THREE))
    node.view.progress["s3"].is_counted = False
    node.step(PeerDisconnected("s2"), node.view.now_ms)
    assert outcomes(change(node, "add", "s3", "s3:1")) == []
    assert [outcome for outcome, _ in hold(node, "s2")] == ["done"]
