"""Servers of other clusters: refused on the connections from them, left on those to them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from raftline.common.address import Address
from raftline.common.identities import Build
from raftline.net.peers.build_exchange import FOREIGN_S, Foreigners, format_build
from raftline.net.peers.peers import Peer, Speaker
from raftline.net.protocol.admission import Admission
from raftline.raft.messages import Message
from raftline.wire.commands.parsing import ParsedLine, ReadSettings, parse
from raftline.wire.operands.operands import Limits
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.nodes.processes import DEADLINE_S, eventually

OURS, OTHERS = "9f86d081884c7d65", "3c6e0b8a9c15224a"
BEAT = "AppendEntries 1-0-0-[] commit 0 round 1"
ANSWER = "I am up to date term 1 index 1 round 1"


class Cluster:
    """The identity that s1 knows, and its lines about other clusters."""

    def __init__(self, identity: str) -> None:
        self.identity, self.said, self.now_s = identity, list[str](), 0.0
        self.foreigners = Foreigners(
            "s1", lambda: self.identity, self.said.append, lambda: self.now_s
        )


# --- connections from them ------------------------------------------------------------------------


class Taken:
    """A connection to s1."""

    def __init__(self, cluster: Cluster) -> None:
        host: Any = FakeHost(foreigners=cluster.foreigners)
        self._admission = Admission(host, cast(Speaker, socket), address=lambda: "10.0.0.9")

    def say(self, line: str) -> ParsedLine:
        parsed = parse(line.encode(), Limits(), ReadSettings(), "s1")
        return self._admission.admit(parsed)

    def is_heard(self) -> bool:
        return self.say(f"s2@{BEAT}").message is not None


@pytest.mark.parametrize(
    ("mine", "theirs", "is_heard"),
    [(OURS, OURS, True), (OURS, OTHERS, False), ("", OTHERS, True), (OURS, "", True)],
)
def test_nothing_is_taken_from_a_server_of_another_cluster(
    mine: str, theirs: str, is_heard: bool
) -> None:
    cluster = Cluster(mine)
    connection = Taken(cluster)
    connection.say(f"s2@Level 1 version 9{f' cluster {theirs}' * bool(theirs)}")
    assert connection.is_heard() == is_heard
    assert len(cluster.said) == (not is_heard)


def test_node_learning_its_identity_ignores_foreign_connections() -> None:
    """Once a node learns its identity, it ignores connections from other clusters."""
    cluster = Cluster("")
    connection = Taken(cluster)
    connection.say(f"s2@Level 1 version 9 cluster {OTHERS}")
    assert connection.is_heard()
    cluster.identity = OURS
    assert not connection.is_heard()
    assert connection.say(f"s2@{BEAT}").reply == f"Sorry, s2 is of another cluster, {OTHERS}"


def test_server_that_learns_it_is_foreign_is_ignored() -> None:
    """A server that turns out to be of another cluster is ignored from then on."""
    connection = Taken(Cluster(OURS))
    connection.say("s2@Level 1 version 9")
    assert connection.is_heard()
    connection.say(f"s2@Level 1 version 9 cluster {OTHERS}")
    assert not connection.is_heard()


def test_foreign_server_is_printed_once_until_it_was_away() -> None:
    """A foreign server is printed once, and again only after it was away for a while."""
    cluster = Cluster(OURS)
    for now_s in (0.0, 0.5, 1.0, FOREIGN_S, 2 * FOREIGN_S):
        cluster.now_s = now_s
        Taken(cluster).say(f"s2@Level 1 version 9 cluster {OTHERS}")
    assert cluster.foreigners.seen() == {"s2": OTHERS}
    assert len(cluster.said) == 2
    assert cluster.said[0].startswith(
        f"[!] s2 at 10.0.0.9 is of cluster {OTHERS}, and s1 of cluster {OURS}: nothing is taken"
    )
    cluster.now_s += FOREIGN_S
    assert cluster.foreigners.seen() == {}


def test_a_stranger_that_is_not_a_member_is_not_printed() -> None:
    cluster = Cluster(OURS)
    Taken(cluster).say(f"s9@Level 1 version 9 cluster {OTHERS}")
    assert (cluster.said, cluster.foreigners.seen()) == ([], {})


# --- connections to them --------------------------------------------------------------------------


class Dialled:
    """s1 dials s2, which is this test."""

    def __init__(self, cluster: Cluster, listener: socket.socket) -> None:
        self.cluster, self.heard, self.builds = cluster, list[Message](), list[Build | None]()
        self._listener, self.lost = listener, list[str]()
        self.peer = Peer(
            "s1",
            "s2",
            Address(*listener.getsockname()),
            self.heard.extend,
            self.lost.append,
            cluster.said.append,
            lambda _, build, __: self.builds.append(build),
            foreigners=cluster.foreigners,
        )
        self.peer.start()

    def dialled(self, *answers: str) -> tuple[socket.socket, str]:
        """Return the next connection and its first line, once these answers have left."""
        connection, _ = self._listener.accept()
        connection.settimeout(DEADLINE_S)
        first = connection.recv(4096).decode()
        connection.sendall("".join(f"s2@{answer}\n" for answer in answers).encode())
        return connection, first


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(OURS)


@pytest.fixture
def dialling(cluster: Cluster) -> Iterator[Dialled]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        dialling = Dialled(cluster, listener)
        yield dialling
        dialling.peer.stop()


def told(cluster: str) -> str:
    return f"Level 1 version 9 cluster {cluster}"


def test_a_connection_begins_with_the_identity(dialling: Dialled) -> None:
    connection, first = dialling.dialled(told(OURS), ANSWER)
    assert first == f"{format_build('s1', OURS)}\n"
    eventually(lambda: dialling.heard, "an answer")
    assert dialling.builds == [Build("9", OURS)]
    assert dialling.cluster.said == []
    connection.close()


def test_a_peer_of_another_cluster_is_left_and_printed_once(dialling: Dialled) -> None:
    for _ in range(3):
        connection, _ = dialling.dialled(told(OTHERS), ANSWER)
        while connection.recv(4096):
            pass  # until it hangs up
        connection.close()
    assert (dialling.heard, dialling.lost) == ([], [])  # else it may stand against its own leader
    assert not any(dialling.builds)
    assert len(dialling.cluster.said) == 1
    assert dialling.cluster.foreigners.seen() == {"s2": OTHERS}


def test_learned_identity_is_told_on_standing_connections(
    dialling: Dialled, cluster: Cluster
) -> None:
    """A node that learns its identity announces it on its established connections."""
    cluster.identity = ""
    dialling.dialled()[0].close()  # the one that may have begun before
    connection, first = dialling.dialled("Level 1 version 9", ANSWER)
    assert first == f"{format_build('s1')}\n"
    eventually(lambda: dialling.heard, "an answer")
    cluster.identity = OURS
    dialling.peer.announce()
    assert connection.recv(4096).decode() == f"{format_build('s1', OURS)}\n"
    connection.sendall(f"s2@{told(OURS)}\n".encode())
    eventually(lambda: dialling.builds[-1] == Build("9", OURS), "its answer")
    connection.close()


def test_node_learning_its_identity_leaves_a_foreign_peer(
    dialling: Dialled, cluster: Cluster
) -> None:
    """Once a node learns its identity, it closes its connection to a peer of another cluster."""
    cluster.identity = ""
    dialling.dialled()[0].close()
    connection, _ = dialling.dialled(told(OTHERS), ANSWER)
    eventually(lambda: dialling.heard, "an answer")
    cluster.identity = OURS
    dialling.peer.announce()
    while connection.recv(4096):
        pass  # until it hangs up
    connection.close()
    assert len(cluster.said) == 1
