"""ReadIndex: linearizable reads that leave nothing in the log. Thesis §6.4; paper §8."""

from __future__ import annotations

import pytest

from raftline.raft.effects import ReadReady
from raftline.raft.inputs import Propose, Read, Receive, Stop, Tick
from raftline.raft.log import SafetyError
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    ReadIndex,
    ReadIndexReply,
)
from raftline.raft.state import APPLY_MAX
from raftline_testing.doubles.cores import (
    TIMEOUT_MS,
    acknowledge,
    append,
    applied,
    established,
    leader_of,
    node_of,
    sync,
)


def test_a_read_waits_until_a_quorum_confirms_a_round_that_began_after_it() -> None:
    node = established("s1")
    before = node.view.round
    effects = node.step(Read(["get a"]), TIMEOUT_MS)
    assert [message.round for message in effects.send if isinstance(message, AppendEntries)] == [
        before + 1,
        before + 1,
    ]
    assert effects.reads == []
    # An answer to what was sent before the read proves nothing about now.
    assert acknowledge(node, "s2", number=before).reads == []
    assert acknowledge(node, "s3", number=before).reads == []
    assert acknowledge(node, "s2", number=before + 1).reads == [ReadReady("get a", 1)]


def test_a_read_is_served_once() -> None:
    node = established("s1")
    node.step(Read(["get a"]), TIMEOUT_MS)
    assert len(acknowledge(node, "s2").reads) == 1
    assert acknowledge(node, "s3").reads == []
    assert acknowledge(node, "s2").reads == []


def test_a_rejected_append_confirms_the_leader_as_well() -> None:
    node = established("s1")
    node.step(Read(["get a"]), TIMEOUT_MS)
    answer = AppendRejected("s2", "s1", 1, 0, node.view.round)
    assert node.step(Receive(answer), TIMEOUT_MS).reads == [ReadReady("get a", 1)]


def test_reads_of_one_input_share_one_round() -> None:
    node = established("s1")
    before = node.view.round
    effects = node.step(Read(["get a", "get b", "get c"]), TIMEOUT_MS)
    assert node.view.round == before + 1
    assert len(effects.send) == 2
    assert [ready.token for ready in acknowledge(node, "s3").reads] == ["get a", "get b", "get c"]


def test_reads_during_rounds_in_flight_share_the_next_round() -> None:
    node = established("s1")
    for number in range(10):
        node.step(Read([number]), TIMEOUT_MS)
    assert node.view.read_rounds == node.view.options.read_rounds
    served = [acknowledge(node, "s2").reads for _ in range(2)]
    assert [[ready.token for ready in reads] for reads in served] == [[0, 1], [*range(2, 10)]]


def test_a_new_leader_serves_no_read_before_its_no_op_is_committed() -> None:
    node = leader_of("s1", 1, 1)
    effects = node.step(Read(["get a"]), TIMEOUT_MS)
    assert (effects.send, effects.reads) == ([], [])
    effects = acknowledge(node, "s2")
    assert node.view.commit_index == 3
    assert effects.reads == []  # the round begins only now
    applied(node)
    assert acknowledge(node, "s2").reads == [ReadReady("get a", 3)]


def test_the_read_index_is_the_commit_index_when_the_round_began() -> None:
    node = established("s1")
    node.step(Propose(["set a 1"]), TIMEOUT_MS)
    sync(node)
    node.step(Read(["get a"]), TIMEOUT_MS)
    effects = acknowledge(node, "s2")
    assert node.view.commit_index == 2
    assert effects.reads == [ReadReady("get a", 1)]
    assert effects.apply[-1].index == 2  # the read sees it or not


def test_reads_wait_for_the_state_machine() -> None:
    last = 2 * APPLY_MAX + 10
    node = leader_of("s1", *[1] * (last - 1))
    node.step(Read(["get a"]), TIMEOUT_MS)
    acknowledge(node, "s2")  # commits the no-op; the round begins
    assert acknowledge(node, "s2").reads == []
    assert (node.view.commit_index, node.view.applying) == (last, 2 * APPLY_MAX)
    assert node.step(Tick(), TIMEOUT_MS).reads == []
    assert (node.view.applied, node.view.applying) == (0, last)
    assert applied(node, last - 1).reads == []
    assert node.view.reads_wait
    assert applied(node).reads == [ReadReady("get a", last)]
    assert not node.view.reads_wait
    assert applied(node).reads == []  # once


def test_a_read_that_waits_for_the_state_machine_is_refused_at_a_fall() -> None:
    node = established("s1")
    node.step(Propose(["set a 1"]), TIMEOUT_MS)
    sync(node)
    acknowledge(node, "s2")
    node.step(Read(["get a"]), TIMEOUT_MS)
    assert acknowledge(node, "s2").reads == []  # confirmed, and entry 2 is not applied
    effects = node.step(Receive(AppendRejected("s2", "s1", 7, 0, 0)), TIMEOUT_MS)
    assert effects.refused == ["get a"]
    assert applied(node).reads == []


def test_a_server_that_stops_gives_back_the_reads_that_wait_for_the_state_machine() -> None:
    node = established("s1", voters=("s1",))
    node.step(Propose(["set a 1"]), TIMEOUT_MS)
    sync(node)
    assert node.step(Read(["get a"]), TIMEOUT_MS).reads == []
    assert node.step(Stop(), TIMEOUT_MS).refused == ["get a"]


def test_a_follower_s_question_does_not_wait_for_the_leader_s_state_machine() -> None:
    node = leader_of("s1", 1, 1)
    acknowledge(node, "s2")
    node.step(Receive(ReadIndex("s2", "s1", node.view.term, 7)), TIMEOUT_MS)
    answers = acknowledge(node, "s3").messages()
    assert answers == [ReadIndexReply("s1", "s2", node.view.term, 3, 7)]
    assert node.view.applied == 0


@pytest.mark.parametrize("index", [0, 4])
def test_only_what_was_handed_out_can_be_applied_and_none_of_it_twice(index: int) -> None:
    node = node_of("s2", 1, 1, 1, 1)
    node.step(Receive(append(1, (4, 1), commit=3)), 0)
    applied(node, 1)
    with pytest.raises(SafetyError, match=f"entry {index} as applied, but had applied up to 1"):
        applied(node, index)
    applied(node, 3)
    assert (node.view.applied, node.view.applying) == (3, 3)


def test_a_leader_that_falls_refuses_every_read_that_waits() -> None:
    node = established("s1")
    for number in range(4):
        node.step(Read([number]), TIMEOUT_MS)
    effects = node.step(Receive(AppendRejected("s2", "s1", 7, 0, 0)), TIMEOUT_MS)
    assert sorted(effects.refused) == [0, 1, 2, 3]
    assert effects.reads == []


def test_a_follower_refuses_reads_at_once() -> None:
    node = node_of("s2")
    node.step(Receive(append(1, (0, 0))), 0)
    assert node.step(Read(["get a"]), 10).refused == ["get a"]


def test_a_single_node_serves_reads_at_once() -> None:
    node = established("s1", voters=("s1",))
    assert node.step(Read(["get a", "get b"]), TIMEOUT_MS).reads == [
        ReadReady("get a", 1),
        ReadReady("get b", 1),
    ]


def test_a_node_that_lost_its_log_confirms_no_leader() -> None:
    node = established("s1")
    node.step(Read(["get a"]), TIMEOUT_MS)
    answer = AppendAccepted("s2", "s1", 1, 0, node.view.round, without_vote=1)
    assert node.step(Receive(answer), TIMEOUT_MS).reads == []
    assert acknowledge(node, "s3").reads == [ReadReady("get a", 1)]
