"""One connection speaks for a peer, and its end means that the peer is lost."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.net.connections.connection import Connection
from raftline.net.peers.peers import Speakers
from raftline.net.protocol.admission import Admission
from raftline.node.program.node_server import Server
from raftline.raft.inputs import SnapshotTaken
from raftline.raft.log import Snapshot
from raftline.raft.messages import PeerError
from raftline.wire.commands.parsing import parse
from raftline_testing.doubles.cores import compact, established, node_of
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.nodes.processes import DEADLINE_S, eventually


class Bearer:
    """A connection that may speak for a peer, and knows whether it was ended."""

    is_over = False

    def break_off(self) -> None:
        self.is_over = True


@pytest.mark.parametrize(("speaks_elsewhere", "lost"), [(False, ["s2"]), (True, [])])
def test_peer_is_lost_with_its_last_connection(speaks_elsewhere: bool, lost: list[str]) -> None:
    """A peer is lost when the connection on which it spoke last ends."""
    now = [0.0]
    host: Any = FakeHost(speakers=Speakers(300, lambda: now[0]))
    here, there = socket.socketpair()
    connection = Connection(host, here, for_peers_only=False)
    connection._admission.speaks_for = "s2"
    host.speakers.claim("s2", connection)
    if speaks_elsewhere:
        now[0] = 300  # the first has been silent for so long
        host.speakers.claim("s2", Bearer())
    there.close()
    connection.serve()
    assert host.reports == lost


def test_connection_under_another_name_gives_up_the_former() -> None:
    """Otherwise, the names that a stranger makes up would be kept forever."""
    host: Any = FakeHost(peer_refusal=lambda name, message: "")
    speaker, other = Bearer(), Bearer()
    admission = Admission(host, speaker)

    def say(name: str) -> str:
        line = parse(f"{name}@RequestVote 3-9-2".encode(), host.limits, host.readings, "s1")
        return admission.admit(line).kind

    assert [say(name) for name in ("y1", "y2", "y2", "y3")] == ["peer"] * 4
    host.speakers.claim("y1", other)
    assert say("y1") == "local"  # refused, and so y3 is still its
    assert (say("y3"), admission.speaks_for) == ("peer", "y3")
    assert host.speakers.release("y3", speaker)
    assert not host.speakers.release("y2", speaker)
    assert host.speakers.release("y1", other)


def test_one_connection_speaks_for_a_peer_until_it_is_silent() -> None:
    """One connection at a time counts as a peer's, until it is silent."""
    now = [1000.0]
    speakers, first, second = Speakers(300, lambda: now[0]), Bearer(), Bearer()
    speakers.claim("s2", first)
    now[0] += 200
    speakers.claim("s2", first)
    now[0] += 299
    with pytest.raises(PeerError, match="s2 speaks on another connection"):
        speakers.claim("s2", second)
    speakers.claim("s3", second)
    assert not first.is_over
    now[0] += 1
    speakers.claim("s2", second)
    assert first.is_over  # it could hold half a line of a member
    with pytest.raises(PeerError, match="s2 speaks on another connection"):
        speakers.claim("s2", first)
    assert not speakers.release("s2", first)
    assert speakers.release("s2", second)
    speakers.claim("s2", first)


def test_a_member_holds_half_a_line_on_one_connection_alone() -> None:
    """A member's line may have 32 MiB, and incomplete lines of members do not count with those of
    clients."""
    now = [0.0]
    host: Any = FakeHost(speakers=Speakers(300, lambda: now[0]))
    ends: list[socket.socket] = []
    threads: list[threading.Thread] = []
    for number in range(3):
        here, there = socket.socketpair()
        connection = Connection(host, here, for_peers_only=False)
        threads.append(threading.Thread(target=connection.serve))
        threads[-1].start()
        ends.append(there)
        there.settimeout(DEADLINE_S)
        there.sendall(b"s2@RequestVote 3-9-2\ns2@AppendEntries 3-9-2-[" + b" " * 100_000)
        eventually(lambda number=number: len(host.heard) > number, "the peer is heard")
        now[0] += 300
    for there, thread in zip(ends[:-1], threads[:-1], strict=True):
        assert there.recv(1) == b""
        thread.join(DEADLINE_S)
    assert threads[-1].is_alive()
    ends[-1].close()
    threads[-1].join(DEADLINE_S)


@pytest.mark.pure
def test_a_removed_member_and_a_stranger_get_different_refusals() -> None:
    node = node_of("s1", 1, 1)
    node.view.configurations.append(1, "members s1=h:1,voter s2=h:2,voter")
    node.view.configurations.append(2, "members s1=h:1,voter")
    server: Any = SimpleNamespace(name="s1", node=node)
    assert Server.why_no_peer(server, "s2") == "s2 was removed from the cluster by entry 2"
    assert Server.why_no_peer(server, "s9") == "s9 is not a peer of s1"


@pytest.mark.pure
def test_refusal_names_the_entry_before_an_unknown_removal() -> None:
    """The refusal names the entry before which removals are not known."""
    node = established("s1", 1, 1)
    node.step(SnapshotTaken(Snapshot(2, 1, 10, 7)), 0)
    assert not compact(node, 2)
    server: Any = SimpleNamespace(name="s1", node=node)
    refusal = "s9 is not a peer of s1 (it may have been removed before entry 3)"
    assert Server.why_no_peer(server, "s9") == refusal
