"""`observe` at real nodes: an election with its reasons, a slow reader, a hang-up."""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path

import pytest

from raftline.net.line_connection import LineConnection
from raftline_testing.nodes.cluster import CALM, Cluster
from raftline_testing.nodes.processes import WAIT_S, eventually

CLOCK = re.compile(r"OBSERVED ([0-9]+\.[0-9]{6}) ")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Cluster:  # type: ignore[misc]
    with Cluster(tmp_path_factory.mktemp("observe"), 3, *CALM) as cluster:
        yield cluster.start().led_by("s1")


def until(line: LineConnection, word: str) -> list[str]:
    """Return the lines up to the first one that holds a word. Heartbeats continue for ever, so the
    wait has an end of its own. Raises TimeoutError, ConnectionEnded."""
    end_s = time.monotonic() + WAIT_S
    lines = [line.read(end_s).decode()]
    while word not in lines[-1]:
        lines.append(line.read(end_s).decode())
    return lines


def test_a_write_is_followed_at_the_leader_and_at_a_follower(three: Cluster) -> None:
    with three["s1"].connect() as leader, three["s2"].connect() as follower:
        assert leader.ask("me#7@observe").startswith("s1#7@OBSERVE response: clock ")
        assert ", follower of s1 in term " in follower.ask("observe")
        three.ask("client4@set observed 5")
        reported = until(leader, "so it is committed (§5.3, §5.4.2)")
        assert any(
            "Propose client4@set" in one or "Propose set observed 5" in one for one in reported
        )
        assert all(one.startswith("s1#7@OBSERVED ") for one in reported)
        times = [float(found[1]) for one in reported if (found := CLOCK.search(one))]
        assert times == sorted(times)
        assert "sent to s1: I am up to date" in until(follower, "so I append entr")[-1]
        leader.send("me#8@unobserve")
        assert until(leader, "UNOBSERVE")[-1].startswith("s1#8@UNOBSERVE response: ended after ")
        assert leader.ask("me#9@get observed").startswith("s1#9@")  # nothing comes after it


def test_denied_vote_is_explained_with_reason_and_section(three: Cluster) -> None:
    """A denied vote is explained with its reason and its section."""
    with three["s2"].connect() as observer:
        assert observer.ask("observe json all").startswith("s2@OBSERVE response: {")
        assert three["s3"].ask("Controller@TIMEOUT").startswith("s3@TIMEOUT response")
        line = until(observer, "denied: I hear from leader s1")[-1]
        reported = json.loads(line.partition("OBSERVED ")[2])
        assert reported["kind"] == "RequestVote"
        assert reported["why"][0][1:] == ["thesis §4.2.3", "election.why_not", False]
        assert reported["from"] == "s3"
        assert reported["sent"][0][0] == "s3"
    three.led_by("s1")


def test_a_reader_that_takes_nothing_holds_nobody_up(three: Cluster) -> None:
    node = three["s1"]
    with socket.create_connection(("localhost", node.port)) as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.sendall(b"observe json all\n")
        value = "x" * 500
        for number in range(300):
            reply = node.ask(f"client4@set k{number} {value}")
            assert reply == f"s1@SET response: k{number} set to {value}"
    eventually(lambda: node.ask("status"), "an answer after the hang-up")


def test_an_observer_of_a_node_that_was_shut_down_begins_again(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, "--pace", "human", "--controller") as cluster:
        node = cluster.start().led_by("s1")["s1"]
        with node.connect() as observer:
            observer.ask("observe")
            node.ask("Controller@SHUTDOWN")
        assert node.ask("observe").startswith("s1@Sorry, ")
        node.ask("Controller@RESTART")
        with node.connect() as observer:
            assert observer.ask("observe").startswith("s1@OBSERVE response: clock ")
            node.ask("Controller@TIMEOUT")
            reported = until(observer, "I append the empty entry")[-1]
            assert "Campaign: the controller says that my election timeout is over" in reported
