"""The transcripts of docs/use/protocol.md, sent to real servers and compared byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_testing.nodes.cluster import Cluster, NodeProcess

PAGE = Path(__file__).resolve().parents[3] / "docs" / "use" / "protocol.md"
BLOCK = re.compile(r"^```transcript (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPEAKERS = {"leader": "s1", "follower": "s2", "alone": "s1", "lone": "s1"}


def blocks(kind: str) -> list[list[str]]:
    return [found[2].splitlines() for found in BLOCK.finditer(PAGE.read_text()) if found[1] == kind]


def played(node: NodeProcess, transcript: list[str], cluster: Cluster) -> list[str]:
    """Send the lines of others to `node`; return the transcript with its own replies in it."""
    own = re.compile(rf"{node.name}(#[0-9]+)?@")
    lines = []
    with node.connect() as conversation:
        for line in transcript:
            if not own.match(line):
                lines += [line, conversation.ask(line)]
    return [as_on_the_page(line, cluster) for line in lines]


def as_on_the_page(line: str, cluster: Cluster) -> str:
    for number, node in enumerate(cluster.nodes):
        line = line.replace(f"localhost:{node.port}", f"localhost:{10000 + number}")
    return line


@pytest.fixture(scope="module")
def led_by_s1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes led by s1: the others are too slow to stand. It may stand still for a
    second as well; would it lose its place, they gave it no vote for ten."""
    with Cluster(tmp_path_factory.mktemp("page"), 3, "--pace", "class") as cluster:
        for node in cluster.nodes[1:]:
            node.options += ["--pace", "human"]
        cluster.start("--new")
        assert cluster.leader().name == "s1"
        cluster.wait_until_equal()  # so that s2, too, has heard from s1
        yield cluster


def test_every_transcript_on_the_page_is_tested() -> None:
    """Each transcript on the page is of a kind that a test reads."""
    kinds = {found[1] for found in BLOCK.finditer(PAGE.read_text())}
    assert kinds == set(SPEAKERS)


@pytest.mark.parametrize("kind", ["leader", "follower"])
def test_a_cluster_answers_as_in_the_protocol_page(kind: str, led_by_s1: Cluster) -> None:
    for transcript in blocks(kind):
        assert played(led_by_s1[SPEAKERS[kind]], transcript, led_by_s1) == transcript


def test_person_in_the_role_of_peers_is_answered_as_on_the_page(tmp_path: Path) -> None:
    """A person who plays the peers gets the replies on the page."""
    with Cluster(tmp_path, 3, "--pace", "human") as cluster:
        node = cluster["s1"].start("--new")
        for transcript in blocks("alone"):
            assert played(node, transcript, cluster) == transcript


def test_the_only_node_of_a_cluster_answers_as_in_the_page(tmp_path: Path) -> None:
    """The indexes of its entries are known: the identity of the cluster comes first, then the
    requests."""
    with Cluster(tmp_path, 1) as cluster:
        node = cluster.start().wait_until_begun()["s1"]
        for transcript in blocks("lone"):
            assert played(node, transcript, cluster) == transcript
