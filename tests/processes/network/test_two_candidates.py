"""A candidate that waits for its votes answers other candidates meanwhile: no lock is held."""

from __future__ import annotations

from pathlib import Path

from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.played import PlayedPeer


def test_two_candidates_asking_each_other_both_get_answers(tmp_path: Path) -> None:
    """Both candidates of a pair that ask each other at the same time get an answer."""
    with (
        Cluster(tmp_path, 3, "--pace", "class", "--floor") as cluster,
        PlayedPeer(cluster["s2"]) as s2,
        PlayedPeer(cluster["s3"]) as s3,
    ):
        node = cluster["s1"].start("--new")
        assert s2.let_stand() == "s1@RequestVote 1-0-0"
        assert s3.hear("RequestVote") == "s1@RequestVote 1-0-0"  # s1 waits, and neither answers
        for name in ("s2", "s3"):
            assert node.ask(f"{name}@RequestVote 1-0-0") == (
                "s1@Not this time term 1 voted: already voted for s1 in term 1"
            )
        s3.answer("Count on me term 1")
        assert s3.hear("AppendEntries").startswith("s1@AppendEntries 1-0-0-[")
