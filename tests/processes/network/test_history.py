"""A hundred clients at once while nodes are killed, paused and restarted: one history, judged."""

from __future__ import annotations

from raftline_testing.histories.linearizable import HistoryVerdict
from raftline_testing.nemesis.nemesis import torment
from raftline_testing.nodes.cluster import Cluster

SECONDS = 8.0


def test_history_of_100_clients_under_faults_is_linearizable(fast: Cluster) -> None:
    """A hundred clients run while faults happen."""
    report, outcomes, faults = torment(fast, SECONDS, seed=3, clients=100, say=print)
    assert report.verdict is HistoryVerdict.LINEARIZABLE, "\n".join(report.excerpt)
    assert outcomes["set answered"] > 100
    assert outcomes["get answered"] > 100
    assert outcomes["delete answered"] > 10
    for fault in ("kill", "pause", "stutter", "stop"):
        assert faults[fault] >= 1


def test_a_hundred_clients_on_one_key_each_get_their_own_answer(cluster: Cluster) -> None:
    leader = cluster.leader()
    conversations = [leader.connect() for _ in range(100)]
    for number, conversation in enumerate(conversations):
        conversation.send(f"client{number}#{number}@set k{number} {number}")
    for number, conversation in enumerate(conversations):
        assert conversation.read_line() == (
            f"{leader.name}#{number}@SET response: k{number} set to {number}"
        )
        conversation.send(f"client{number}#{number}@get k{number}")
    for number, conversation in enumerate(conversations):
        assert conversation.read_line() == f"{leader.name}#{number}@GET response: {number}"
        conversation.close()
