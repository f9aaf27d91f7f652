"""The network between the servers carries lines, loses whole ones, and ends with a process."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

import pytest

from raftline_testing.doubles.scripted_node import free_port
from raftline_testing.nodes.proxy import Network

DEADLINE_S = 60.0


class Rig:
    """A network whose servers 0000 and 0001 are played; nobody listens as 0002."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes, bool]] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(DEADLINE_S)
        here = self.listener.getsockname()[1]
        ports = {"0000": free_port(), "0001": here, "0002": free_port()}
        self.network = Network(ports, random.Random(1), self._note)

    def _note(self, speaker: str, hearer: str, line: bytes, arrives: bool, _: float) -> None:
        self.seen.append((speaker, hearer, line, arrives))

    def dial(self, asked: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.network.port("0000", asked)), DEADLINE_S)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Return what 0000 holds, and what 0001 holds, of one connection."""
        asking = self.dial("0001")
        answering, _ = self.listener.accept()
        answering.settimeout(DEADLINE_S)
        return asking, answering


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.network.close()
    made.listener.close()


def lines(connection: socket.socket, count: int) -> list[bytes]:
    with connection.makefile("rb", buffering=0) as file:
        return [file.readline() for _ in range(count)]


def test_lines_are_carried_both_ways_whole_and_in_order(rig: Rig) -> None:
    asking, answering = rig.pair()
    with asking, answering:
        asking.sendall(b"s0000@one\ns0000@tw")
        assert lines(answering, 1) == [b"s0000@one\n"]
        asking.sendall(b"o\n")
        assert lines(answering, 1) == [b"s0000@two\n"]
        answering.sendall(b"s0001@three\n")
        assert lines(asking, 1) == [b"s0001@three\n"]
    assert [each[:3] for each in rig.seen] == [
        ("0000", "0001", b"s0000@one"),
        ("0000", "0001", b"s0000@two"),
        ("0001", "0000", b"s0001@three"),
    ]
    assert (rig.network.sent, rig.network.lost) == (3, 0)


def test_backpressure_stops_reading_from_the_client(rig: Rig) -> None:
    """Backpressure stops reading from a client if the server does not read."""
    asking, answering = rig.pair()

    def write_64_mebibytes() -> None:
        for _ in range(64):
            asking.sendall((b"x" * 1023 + b"\n") * 1024)

    with asking, answering:
        asking.settimeout(1.0)
        with pytest.raises(TimeoutError):
            write_64_mebibytes()


def test_large_writes_are_carried_to_a_slow_reader(rig: Rig) -> None:
    asking, answering = rig.pair()
    with asking, answering:
        asking.sendall(b"".join(b"s0000@%06d\n" % number for number in range(50_000)))
        with answering.makefile("rb") as file:
            assert [file.readline() for _ in range(50_000)][-1] == b"s0000@049999\n"


def test_partition_loses_lines_but_keeps_the_connection(rig: Rig) -> None:
    """A partition loses lines both ways and keeps the connection."""
    asking, answering = rig.pair()
    with asking, answering:
        rig.network.part(frozenset(["0000", "0002"]))
        asking.sendall(b"s0000@lost\n")
        answering.sendall(b"s0001@lost\n")
        while rig.network.lost < 2:
            assert asking.fileno() >= 0
        rig.network.heal()
        asking.sendall(b"s0000@found\n")
        assert lines(answering, 1) == [b"s0000@found\n"]
    assert [each[3] for each in rig.seen] == [False, False, True]


def test_a_fraction_of_lines_is_lost_whole(rig: Rig) -> None:
    asking, answering = rig.pair()
    rig.network.drop(0.5)
    with asking, answering:
        asking.sendall(b"".join(b"s0000@%03d\n" % number for number in range(200)))
        while rig.network.sent < 200:
            assert asking.fileno() >= 0
        rig.network.drop(0.0)
        asking.sendall(b"s0000@end\n")
        with answering.makefile("rb") as file:
            arrived = list(iter(file.readline, b"s0000@end\n"))
    assert 50 < len(arrived) < 150
    assert all(len(line) == len(b"s0000@000\n") for line in arrived)
    assert rig.network.lost == 200 - len(arrived)


@pytest.mark.parametrize("who", [0, 1])
def test_a_closed_end_closes_the_other_end(rig: Rig, who: int) -> None:
    ends = rig.pair()
    ends[who].close()
    with ends[1 - who] as left:
        assert left.recv(1) == b""


def test_a_server_that_is_down_takes_no_connection(rig: Rig) -> None:
    with rig.dial("0002") as asking:
        assert asking.recv(1) == b""


def test_a_line_to_a_dead_server_counts_as_never_sent(rig: Rig) -> None:
    for _ in range(20):
        with rig.dial("0002") as asking:
            asking.sendall(b"s0000@AppendEntries 1-0-0-[]\n")
            with contextlib.suppress(ConnectionResetError):  # it was refused unread
                assert asking.recv(1) == b""
    assert (rig.seen, rig.network.sent) == ([], 0)


def test_a_hold_in_one_direction_leaves_the_other_open(rig: Rig) -> None:
    asking, answering = rig.pair()
    with asking, answering:
        rig.network.hold({("0000", "0001")})
        asking.sendall(b"s0000@later\n")
        answering.sendall(b"s0001@now\n")
        assert lines(asking, 1) == [b"s0001@now\n"]
        assert [each[:3] for each in rig.seen] == [("0001", "0000", b"s0001@now")]
        rig.network.heal()
        assert lines(answering, 1) == [b"s0000@later\n"]
    assert (rig.network.sent, rig.network.lost) == (2, 0)


def test_cut_ends_and_refuses_connections_until_healed(rig: Rig) -> None:
    """A cut ends connections and refuses new ones until healed."""
    asking, answering = rig.pair()
    rig.network.cut({("0000", "0001"), ("0001", "0000")})
    with asking, answering, rig.dial("0001") as refused:
        assert [each.recv(1) for each in (asking, answering, refused)] == [b"", b"", b""]
    rig.network.heal()
    asking, answering = rig.pair()
    with asking, answering:
        asking.sendall(b"s0000@again\n")
        assert lines(answering, 1) == [b"s0000@again\n"]


def test_a_node_reaches_itself_on_its_own_address(rig: Rig) -> None:
    assert rig.network.port("0001", "0001") == rig.listener.getsockname()[1]
