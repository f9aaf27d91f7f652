"""A hundred clients at once on one key."""

from __future__ import annotations

from raftline_testing.nodes.cluster import Cluster


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
