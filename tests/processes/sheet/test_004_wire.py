"""The messages of a node to its peers, heard by peers that the test plays."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.common.config import CLASS
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.played import PlayedPeer, has_counted_down
from raftline_testing.nodes.processes import eventually


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[NodeProcess, PlayedPeer, PlayedPeer]]:
    """A real s1, and s2 and s3 played by the test. At its pace a test that stands still for a
    second answers in time all the same."""
    options = ("--pace", "class", "--floor")
    with Cluster(tmp_path, 3, *options) as cluster, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(PlayedPeer(cluster[name])) for name in ("s2", "s3")]
        cluster["s1"].start("--new")
        yield cluster["s1"], peers[0], peers[1]


Stage = tuple[NodeProcess, PlayedPeer, PlayedPeer]


def test_candidate_votes_for_itself_in_the_next_term(stage: Stage) -> None:
    """A candidate votes for itself in the next term and requests the votes of all others."""
    node, s2, s3 = stage
    assert s2.hear() == "s1@PreVote 1-0-0"
    assert s3.hear() == "s1@PreVote 1-0-0"
    s2.answer("Count on me term 1 prevote")
    assert s2.let_stand() == "s1@RequestVote 1-0-0"
    assert s3.hear("RequestVote") == "s1@RequestVote 1-0-0"
    promised = (node.folder / "s1.storage").read_text()
    assert promised.startswith("name s1 term 1 vote s1 ")


def test_majority_makes_a_leader_that_sends_heartbeats(stage: Stage) -> None:
    """With a majority of votes, a node leads and sends heartbeats from then on."""
    node, s2, _ = stage
    s2.vote()
    first = s2.hear("AppendEntries")
    assert first == (
        's1@AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": "noop"}] commit 0 round 1'
    )
    s2.acknowledge(first)
    beat = s2.hear("AppendEntries")
    while beat.startswith("s1@AppendEntries 1-0-0-"):  # it left before that answer came
        beat = s2.hear("AppendEntries")
    for _ in range(5):
        assert re.fullmatch(r"s1@AppendEntries 1-1-1-\[\] commit \d round \d+", beat)
        s2.acknowledge(beat)
        beat = s2.hear("AppendEntries")
    assert node.status()["role"] == "leader"


def test_a_client_s_request_is_broadcast_before_it_is_answered(stage: Stage) -> None:
    node, s2, s3 = stage
    s2.vote()
    s2.acknowledge(s2.hear("AppendEntries"))
    with node.connect() as client:
        client.send("client4@set b 5")
        for peer in (s2, s3):
            while '"set b 5"' not in (line := peer.hear("AppendEntries")):
                if '"index"' not in line or peer is s2:
                    peer.acknowledge(line)
            entry = json.loads(re.findall(r"\[.*\]", line)[0])[-1]
            assert entry == {"index": 2, "term": 1, "command": "set b 5"}
            if peer is s3:
                peer.acknowledge(line)
        assert client.read_line() == "s1@SET response: b set to 5"


FIGURE_2 = [
    "1 set a 4", "2 set b 30", "3 get b", "3 set b 5", "3 get b", "4 get ana", "5 get ana",
    "5 set d 8", "5 get d",
]  # fmt: skip


def test_figure_2_follower_asks_for_entries_after_1(tmp_path: Path) -> None:
    """As in Figure 2, a follower asks for the entries after 1 and receives them."""
    with (
        Cluster(tmp_path, 3, "--pace", "class", "--floor") as cluster,
        PlayedPeer(cluster["s2"]) as s2,
        PlayedPeer(cluster["s3"]) as s3,
    ):
        node = cluster["s1"]
        lines = [f"{number} {entry}\n" for number, entry in enumerate(FIGURE_2, start=1)]
        node.log.write_text("".join(lines))
        node.start("--new")
        s2.vote()
        s2.follow()
        line = s3.hear("AppendEntries")
        assert line.startswith(
            's1@AppendEntries 6-9-5-[{"index": 10, "term": 6, "command": "noop"}]'
        )
        s3.answer("GiveEntriesAfterIndex 1 term 6 round 1")
        while not line.startswith("s1@AppendEntries 6-1-1-[{"):
            line = s3.hear("AppendEntries")
        entries = json.loads(re.findall(r"\[.*\]", line)[0])
        assert [f"{entry['term']} {entry['command']}" for entry in entries[:8]] == FIGURE_2[1:]
        assert [entry["index"] for entry in entries] == list(range(2, 11))


def test_each_append_entries_resets_the_election_timer(stage: Stage) -> None:
    node, _, _ = stage
    with node.connect() as s2:
        assert s2.ask("s2@RequestVote 1-0-0") == "s1@Count on me term 1"
        eventually(
            lambda: not has_counted_down(node, s2, "s2", 1, CLASS), "beats without a long pause", 60
        )
    node.wait_for_line("[*] Heard from no leader: asking for PreVotes for term 2")


def test_a_higher_term_makes_a_candidate_a_follower(stage: Stage) -> None:
    node, s2, _ = stage
    s2.let_stand()
    with node.connect() as other:
        assert other.ask("s3@AppendEntries 7-0-0-[] commit 0 round 1") == (
            "s1@I am up to date term 7 index 0 round 1"
        )
        assert node.wait_for_line("of s3") == "[*] I am Follower of s3 in term 7"
        status = node.status()
    assert (status["role"], status["term"], status["leader"]) == ("follower", 7, "s3")


def test_a_split_vote_leads_to_an_election_in_a_new_term(stage: Stage) -> None:
    _, s2, s3 = stage
    for term in (1, 2):
        assert s2.let_stand() == f"s1@RequestVote {term}-0-0"
        assert s3.hear("RequestVote") == f"s1@RequestVote {term}-0-0"
        for peer in (s2, s3):
            peer.answer(
                f"Not this time term {term} voted: already voted for {peer.name} in term {term}"
            )


def test_leader_retries_until_the_follower_stored_the_entry(stage: Stage) -> None:
    """The leader retries until the follower has stored the entry."""
    node, s2, s3 = stage
    s2.vote()
    s2.follow()
    assert node.ask("client4@set b 5") == "s1@SET response: b set to 5"
    for _ in range(3):  # it hears s1, says nothing, and hangs up
        assert s3.hear("AppendEntries").startswith("s1@AppendEntries 1-")
        s3.hang_up()
    while '"set b 5"' not in (line := s3.hear("AppendEntries")):
        if line.startswith("s1@AppendEntries 1-0-0-"):
            s3.acknowledge(line)
        else:
            s3.answer("GiveEntriesAfterIndex 0 term 1 round " + re.findall(r"round (\d+)", line)[0])
    assert json.loads(re.findall(r"\[.*\]", line)[0])[-1]["command"] == "set b 5"


def test_the_course_form_of_entries_is_accepted(stage: Stage) -> None:
    node, _, _ = stage
    entries = json.dumps([{"index": "1", "term": "3", "command": "get b"}])
    assert node.ask("s2@RequestVote 6-0-0") == "s1@Count on me term 6"
    reply = node.ask_as_peer(f"s2@AppendEntries 6-0-0-{entries}")
    assert reply == "s1@I am up to date term 6 index 1 round 0"
    assert node.wait_for_line("Last log") == "Last log: 1 3 get b"
    eventually(lambda: "1 3 get b\n" in node.log.read_text())


def test_two_votes_of_four_make_no_leader(tmp_path: Path) -> None:
    with Cluster(tmp_path, 4, "--floor") as cluster, PlayedPeer(cluster["s2"]) as s2:
        node = cluster["s1"].start("--new")
        for _ in range(3):  # its own and one of four: the seed's Figure 3, not to be had here
            s2.hear("PreVote 1-0-0")
            s2.answer("Count on me term 1 prevote")
        assert node.status()["role"] == "pre-candidate"
        assert "[*] I am Leader" not in node.said
