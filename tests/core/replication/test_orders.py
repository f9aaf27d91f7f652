"""The orders of a controller to the core: time and loss could bring about each of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.raft.effects import HardState
from raftline.raft.inputs import Receive, Tick
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    RequestVote,
)
from raftline.raft.roles import Role
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    candidate_of,
    leader_of,
    node_of,
)
from raftline_testing.orders import Campaign, OrderRefused, SetHeartbeat, StepDown, obey


def test_a_leader_ordered_to_follow_keeps_term_vote_and_log() -> None:
    node = leader_of("s1", 1)
    term, last = node.view.term, node.view.log.last_index
    effects = obey(node, StepDown(), TIMEOUT_MS)
    assert (node.view.role, node.view.term, node.view.vote) == (Role.FOLLOWER, term, "s1")
    assert node.view.log.last_index == last
    assert effects.save is None
    assert node.view.election_at_ms == TIMEOUT_MS + TIMEOUT_MS


def test_a_follower_refuses_the_order_to_follow() -> None:
    node = node_of("s1", 1, 1)
    before = node.view.election_at_ms
    with pytest.raises(OrderRefused, match="s1 follows already, in term 1"):
        obey(node, StepDown(), 10)
    assert node.view.election_at_ms == before


def test_timeout_saves_the_term_and_its_vote_before_asking() -> None:
    node = node_of("s1", 1, 1)
    effects = obey(node, Campaign(), 10)
    assert (node.view.role, node.view.term, node.view.vote) == (Role.CANDIDATE, 2, "s1")
    assert effects.save == HardState(2, "s1")
    assert effects.send == []
    asked = [one for one in effects.send_after_save if isinstance(one, RequestVote)]
    assert [(one.to, one.term, one.pre_vote, one.transfer) for one in asked] == [
        ("s2", 2, False, False),
        ("s3", 2, False, False),
    ]


def test_a_node_without_a_vote_refuses_the_order_to_stand() -> None:
    for node in (node_of("s1", 1, recovering=True), node_of("s4", 1)):
        with pytest.raises(OrderRefused):
            obey(node, Campaign(), 10)
        assert (node.view.role, node.view.term) == (Role.FOLLOWER, 1)


def test_a_timeout_is_refused_under_the_nodes_own_promise() -> None:
    # s1 may be reading under that promise, while s3, who hears s1 no more, would elect s2.
    node = node_of("s2", 1, options=replace(OPTIONS, lease=True))
    promised_ms = OPTIONS.election_timeout_ms  # as it was started
    node.step(Receive(AppendEntries("s1", "s2", 1, 1, 1, [], 0, 1)), promised_ms)
    with pytest.raises(OrderRefused, match="s2 has promised its vote to a leader for 140 ms more"):
        obey(node, Campaign(), promised_ms + 10)
    assert (node.view.role, node.view.term) == (Role.FOLLOWER, 1)
    obey(node, Campaign(), promised_ms + OPTIONS.election_timeout_ms)
    assert (node.view.role, node.view.term) == (Role.CANDIDATE, 2)


def test_a_newborn_ordered_to_stand_may_still_lose_its_vote() -> None:
    node = node_of("s3", newborn=True)
    effects = obey(node, Campaign(), 10)
    assert (effects.save, effects.recovered) == (HardState(1, "s3"), False)
    effects = node.step(
        Receive(RequestVote("s2", "s3", 5, 3, 4)), 20
    )  # it lacks what s3 acknowledged
    assert effects.forgot
    assert node.view.recovering
    [answer] = effects.send_after_save
    assert getattr(answer, "granted", None) is False


def test_heartbeats_are_slowed_from_the_next_on() -> None:
    node = leader_of("s1", 1)
    obey(node, SetHeartbeat(20_000), TIMEOUT_MS)
    effects = node.step(Tick(), TIMEOUT_MS + OPTIONS.heartbeat_ms)
    assert effects.send == []
    obey(node, SetHeartbeat(OPTIONS.heartbeat_ms), TIMEOUT_MS + 60)
    effects = node.step(Tick(), TIMEOUT_MS + 60 + OPTIONS.heartbeat_ms)
    assert [type(one) for one in effects.send] == [AppendEntries, AppendEntries]


def test_a_candidate_stays_one_for_a_leader_of_a_lower_term() -> None:
    node = candidate_of("s1", 1)
    assert (node.view.role, node.view.term) == (Role.CANDIDATE, 2)
    [answer] = node.step(Receive(AppendEntries("s2", "s1", 1, 1, 1)), TIMEOUT_MS).send_after_save
    assert (type(answer), answer.term) == (AppendRejected, 2)
    assert node.view.role is Role.CANDIDATE


def test_a_candidate_that_lost_follows_the_winner() -> None:
    node = candidate_of("s1", 1)
    [answer] = node.step(Receive(AppendEntries("s2", "s1", 2, 1, 1)), TIMEOUT_MS).send_after_save
    assert isinstance(answer, AppendAccepted)
    assert (node.view.role, node.view.leader, node.view.term) == (Role.FOLLOWER, "s2", 2)
