"""Lines in a peer's name that no server of a sound cluster sends."""

from __future__ import annotations

import json

import pytest

from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually

# The line that is sent by a silent peer's name, and its answer.
FROM_A_PEER = [
    ("AppendEntries", "malformed AppendEntries."),
    ("AppendEntries one-two-three", "malformed AppendEntries."),
    ("AppendEntries 1-0-0-[]x", "malformed AppendEntries."),
    ("AppendEntries 1-0-0-{}", "malformed AppendEntries."),
    ("AppendEntries 1_0-0-0-[]", "malformed AppendEntries."),
    ("AppendEntries -1-0-0-[]", "malformed AppendEntries."),
    ("AppendEntries ١-0-0-[]", "malformed AppendEntries."),
    ("AppendEntries 0-0-0-[]", "no log of term 0 has index 0 of term 0"),
    ("AppendEntries 9223372036854775808-0-0-[]", "9223372036854775808 is beyond 2^63-1"),
    ("AppendEntries 99999999999999999999999-0-0-[]", "malformed AppendEntries."),
    ("AppendEntries 5-0-3-[]", "no log of term 5 has index 0 of term 3"),
    ("AppendEntries 5-0-0-[1]", 'an entry is {"index": I, "term": T, "command": "…"}'),
    ("AppendEntries 5-0-0-" + "[" * 5000 + "]" * 5000, ""),
    ('AppendEntries 5-0-0-[{"index": 2, "term": 5, "command": "noop"}]', "entry 2 where 1 must"),
    ('AppendEntries 5-0-0-[{"index": 1, "term": 6, "command": "noop"}]', "entry 1 has term 6, not"),
    (
        'AppendEntries 5-0-0-[{"index": 1, "term": 5, "command": 7}]',
        "the command of entry 1 is not",
    ),
    ('AppendEntries 5-0-0-[{"index": 1, "term": 5, "command": "a\\nb"}]', "the command of entry 1"),
    ('AppendEntries 5-0-0-[{"index": 1, "term": 5, "command": "\\ud800"}]', "the command of entr"),
    ('AppendEntries 5-0-0-[{"index": 1e0, "term": 5, "command": "noop"}]', "not a number: '1.0'"),
    ('AppendEntries 5-0-0-[{"index": true, "term": 5, "command": "noop"}]', "not a number: 'True'"),
    ("RequestVote", "malformed RequestVote."),
    ("RequestVote 9-9", "malformed RequestVote."),
    ("RequestVote 9223372036854775808-0-0", "9223372036854775808 is beyond 2^63-1"),
    ("RequestVote 5-3-7", "a log can't end at index 3 of term 7 in term 5"),
    ("PreVote 5-3-0", "a log can't end at index 3 of term 0 in term 5"),
    ("Count on me term 5", "an answer is only taken on the connection that asked"),
    ("I am up to date term 1 index 999 round 1", "an answer is only taken on the connection that"),
    ("GiveEntriesAfterIndex 0 term 999 round 1", "an answer is only taken on the connection that"),
    ("GiveEntriesAfterIndex", "malformed GiveEntriesAfterIndex."),
]


@pytest.mark.parametrize(("text", "reply"), FROM_A_PEER, ids=lambda part: str(part)[:40])
def test_malformed_peer_line_is_answered_and_changes_nothing(
    shared: Cluster, text: str, reply: str
) -> None:
    """A malformed line under a peer's name is answered, and changes nothing."""
    leader = shared.leader()
    name = shared.followers()[0].name
    with leader.connect() as peer:

        def facts() -> list[object]:
            found = json.loads(peer.ask("status").partition(": ")[2])
            return [found[fact] for fact in ("term", "role", "last_index")]

        def changes_nothing() -> bool:
            before = facts()
            answer = leader.ask_as_peer(f"{name}@{text}")
            assert answer.startswith(f"{leader.name}@Sorry, {reply}")
            return facts() == before

        eventually(changes_nothing, "no step of the leader, unless of an election")


def test_a_forged_huge_term_leaves_no_lasting_harm(cluster: Cluster) -> None:
    leader = cluster.leader()
    name = cluster.followers()[0].name
    cluster.ask("client4@set a 4")
    for text in ("RequestVote {}-0-0", "AppendEntries {}-0-0-[] commit 0 round 1"):
        assert "Sorry" not in leader.ask_as_peer(f"{name}@" + text.format(1099511627776))
    assert cluster.ask("client4@get a") == "GET response: 4"
    assert cluster.ask("client4@set a 5") == "SET response: a set to 5"


@pytest.mark.parametrize("form", ["AppendEntries {}-0-0-[] commit 0 round 1", "RequestVote {}-0-0",
                                  "PreVote {}-0-0"])  # fmt: skip
def test_a_term_near_the_last_there_is_can_not_end_all_elections(
    cluster: Cluster, form: str
) -> None:
    cluster.ask("client4@set a 4")
    silent = cluster.followers()[0].name

    def is_refused(node: NodeProcess) -> bool:
        """Whether it was, in the term that the node has: a stall may begin another."""
        reply = node.ask_as_peer(f"{silent}@" + form.format(9223372036854775807))
        said = f"{node.name}@Sorry, term 9223372036854775807 is too far ahead of mine"
        return reply == f"{said}, {node.status()['term']}"

    for node in cluster.nodes:
        if node.name != silent:
            eventually(lambda node=node: is_refused(node), f"{node.name} refuses it")
    cluster.leader().kill()
    assert cluster.ask("client4@get a") == "GET response: 4"
