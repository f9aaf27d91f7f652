"""Reads at a follower, by the leader's read index. Thesis §6.4."""

from __future__ import annotations

from typing import Any

import pytest

from raftline.raft.effects import Effects, ReadReady
from raftline.raft.inputs import AskLeader, PeerDisconnected, Read, Receive, Tick
from raftline.raft.messages import AppendRejected, ReadIndex, ReadIndexReply
from raftline.raft.node import RawNode
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


def follower(commit: int = 1) -> RawNode:
    """Return a follower of s1 with three entries, `commit` of them committed."""
    node = node_of("s2")
    node.step(Receive(append(1, (0, 0), 1, 1, 1, commit=commit)), 100)
    sync(node)
    applied(node)
    return node


def asked(effects: Effects) -> list[ReadIndex]:
    return [m for m in effects.messages() if isinstance(m, ReadIndex)]


def answers(effects: Effects) -> list[ReadIndexReply]:
    return [m for m in effects.messages() if isinstance(m, ReadIndexReply)]


def answer(node: RawNode, index: int, question: ReadIndex, now_ms: int = 110) -> Effects:
    return node.step(
        Receive(ReadIndexReply("s1", "s2", question.term, index, question.round)), now_ms
    )


def test_a_follower_serves_a_read_once_it_has_applied_the_leaders_read_index() -> None:
    node = follower()
    effects = node.step(AskLeader(["get a"]), 100)
    assert asked(effects) == [ReadIndex("s2", "s1", 1, 100)]
    assert answer(node, 3, asked(effects)[0]).reads == []  # only entry 1 is applied here
    assert node.step(Receive(append(1, (3, 1), commit=2)), 120).reads == []
    assert applied(node).reads == []
    assert node.step(Receive(append(1, (3, 1), commit=3)), 120).reads == []
    assert applied(node).reads == [ReadReady("get a", 3)]


def test_a_follower_serves_a_read_at_once_if_it_has_applied_the_index() -> None:
    node = follower(commit=3)
    question = asked(node.step(AskLeader(["get a", "get b"]), 100))[0]
    assert answer(node, 3, question).reads == [ReadReady("get a", 3), ReadReady("get b", 3)]
    assert answer(node, 3, question).reads == []  # once


def test_reads_after_a_read_index_request_wait_for_the_next_one() -> None:
    node = follower(commit=3)
    first = asked(node.step(AskLeader(["get a"]), 100))[0]
    assert asked(node.step(AskLeader(["get b"]), 100)) == []
    effects = answer(node, 3, first)
    assert effects.reads == [ReadReady("get a", 3)]
    second = asked(effects)[0]
    assert second.round > first.round
    assert answer(node, 3, second).reads == [ReadReady("get b", 3)]


@pytest.mark.parametrize(
    "late",
    [
        ReadIndexReply("s1", "s2", 1, 3, 99),
        ReadIndexReply("s3", "s2", 1, 3, 100),
        ReadIndexReply("s1", "s2", 0, 3, 100),
    ],
)
def test_an_answer_to_another_read_index_request_serves_no_read(late: ReadIndexReply) -> None:
    node = follower(commit=3)
    node.step(AskLeader(["get a"]), 100)
    assert node.step(Receive(late), 110).reads == []


def test_a_lost_read_index_request_is_repeated_after_a_heartbeat_interval() -> None:
    node = follower(commit=3)
    question = asked(node.step(AskLeader(["get a"]), 100))
    for number in (1, 2, 3):
        again_at = 100 + number * OPTIONS.heartbeat_ms
        assert node.wake_at_ms == again_at
        node._state.election_at_ms = again_at + TIMEOUT_MS
        assert asked(node.step(Tick(), again_at)) == question
    assert answer(node, 3, question[0]).reads == [ReadReady("get a", 3)]
    assert answer(node, 3, question[0]).reads == []  # to the one that was sent again


def test_reads_before_a_repeated_read_index_request_wait_for_the_next_one() -> None:
    node = follower(commit=3)
    (first,) = asked(node.step(AskLeader(["get a"]), 100))
    node.step(AskLeader(["get b"]), 110)
    assert asked(node.step(Tick(), 100 + OPTIONS.heartbeat_ms)) == [first]
    effects = answer(node, 3, first, 160)  # the leader may have made it before `get b` came
    assert effects.reads == [ReadReady("get a", 3)]
    (second,) = asked(effects)
    assert second.round > first.round
    assert answer(node, 3, second, 170).reads == [ReadReady("get b", 3)]


@pytest.mark.parametrize("delay_ms", [1, 30, 60])
def test_follower_reads_are_served_over_round_trips_of_many_heartbeats(delay_ms: int) -> None:
    leader, node = established("s1"), follower()
    leader._state.now_ms = now_ms = 100
    on_the_way: list[tuple[int, Any]]
    on_the_way = [(now_ms + delay_ms, asked(node.step(AskLeader(["get a"]), now_ms))[0])]
    served: list[ReadReady] = []
    for now_ms in range(101, 600):
        node._state.election_at_ms = now_ms + TIMEOUT_MS  # its leader is heard
        arriving = [message for at_ms, message in on_the_way if at_ms == now_ms]
        for message in arriving:
            if message.to == "s2":
                served += node.step(Receive(message), now_ms).reads
            else:
                leader.step(Receive(message), now_ms)
                confirmed = answers(acknowledge(leader, "s3"))
                on_the_way += [(now_ms + delay_ms, answer) for answer in confirmed]
        again = asked(node.step(Tick(), now_ms))
        on_the_way += [(now_ms + delay_ms, question) for question in again]
    assert served == [ReadReady("get a", 1)]


def test_a_number_is_not_used_again_after_a_restart() -> None:
    before = asked(follower().step(AskLeader(["get a"]), 100))[0]
    after = node_of("s2", 1, 1, 1)
    after.step(Receive(append(1, (3, 1), commit=1)), 105)
    assert asked(after.step(AskLeader(["get a"]), 105))[0].round > before.round


def test_reads_are_refused_if_another_node_leads() -> None:
    node = follower()
    node.step(AskLeader(["get a"]), 100)
    node.step(AskLeader(["get b"]), 100)
    effects = node.step(Receive(append(2, (3, 1), sender="s3")), 110)
    assert effects.refused == ["get a", "get b"]


@pytest.mark.parametrize("how", ["silence", "broken connection"])
def test_reads_are_refused_if_the_leader_is_lost(how: str) -> None:
    node = follower()
    node.step(AskLeader(["get a"]), 100)
    if how == "silence":
        node._state.forwarded_reads.again_at_ms = 10**6
        effects = node.step(Tick(), 100 + TIMEOUT_MS)
    else:
        effects = node.step(PeerDisconnected("s1"), 100)
    assert effects.refused == ["get a"]


def test_without_a_leader_follower_reads_are_refused() -> None:
    assert node_of("s2").step(AskLeader(["get a"]), 0).refused == ["get a"]


def test_a_leader_names_its_read_index_only_after_a_round() -> None:
    node = established("s1")
    effects = node.step(Receive(ReadIndex("s2", "s1", 1, 7)), TIMEOUT_MS)
    assert answers(effects) == []
    assert answers(acknowledge(node, "s3")) == [ReadIndexReply("s1", "s2", 1, 1, 7)]


def test_a_new_leader_names_no_read_index_before_its_no_op_commits() -> None:
    node = leader_of("s1", 1, 1)
    node.step(Receive(ReadIndex("s2", "s1", node.view.term, 7)), TIMEOUT_MS)
    assert answers(acknowledge(node, "s3")) == []
    assert answers(acknowledge(node, "s3")) == [ReadIndexReply("s1", "s2", node.view.term, 3, 7)]


def test_a_leader_that_falls_answers_no_follower() -> None:
    node = established("s1")
    node.step(Receive(ReadIndex("s2", "s1", 1, 7)), TIMEOUT_MS)
    node.step(Read(["get a"]), TIMEOUT_MS)
    effects = node.step(Receive(AppendRejected("s2", "s1", 7, 0, 0)), TIMEOUT_MS)
    assert effects.refused == ["get a"]  # the follower's is not the rim's to answer
    assert answers(effects) == []


def test_a_node_that_does_not_lead_the_term_answers_no_read_index_request() -> None:
    node = follower()
    effects = node.step(Receive(ReadIndex("s3", "s2", 1, 7)), 100)
    assert effects.send_after_save == []
    assert "ignored ReadIndex from s3" in effects.notes[0]
    leader = established("s1", 1, 1)
    assert leader.step(Receive(ReadIndex("s2", "s1", 1, 7)), TIMEOUT_MS).send == []


def test_reads_neither_put_off_nor_bring_forward_an_election() -> None:
    """Only a leader's entries and a vote given restart the timeout (paper §5.2): a leader that
    answers reads and sends no heartbeats is no leader for its followers."""
    node = follower()
    until_ms = node.view.election_at_ms
    now_ms, questions = 100, list[ReadIndex]()
    while node.view.role.value == "follower":
        questions += asked(node.step(AskLeader([f"read {now_ms}"]), now_ms))
        if len(questions) % 3 == 0:  # the others get no answer, and are asked again
            answer(node, 1, questions[-1], now_ms)
        assert node.view.election_at_ms == until_ms
        assert now_ms < node.wake_at_ms <= until_ms
        now_ms = min(now_ms + 10, node.wake_at_ms)
        questions += asked(node.step(Tick(), now_ms))
    assert now_ms == until_ms
    assert len(questions) > 4


def test_a_read_that_waits_wakes_a_follower_for_its_question_alone() -> None:
    node = follower()
    until_ms = node.view.election_at_ms
    assert node.wake_at_ms == until_ms
    question = asked(node.step(AskLeader(["get a"]), 100))[0]
    assert node.wake_at_ms == 100 + OPTIONS.heartbeat_ms < until_ms
    answer(node, 1, question)
    assert node.wake_at_ms == until_ms
    node.step(AskLeader(["get b"]), until_ms - 10)
    assert node.wake_at_ms == until_ms
