"""Requests above the level of the cluster, and what members tell of their builds."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from raftline.common.address import Address
from raftline.common.build_level import NO_LEVEL, Build
from raftline.net.peers.level_exchange import Builds, ask_level, format_level, read_level
from raftline.net.peers.peers import Peer, Speaker
from raftline.net.protocol.admission import Admission
from raftline.raft.levels import NOT_HEARD
from raftline.wire.commands.command_table import COMMANDS, WRITE, Command
from raftline.wire.commands.parsing import ReadSettings, parse
from raftline.wire.commands.rights import WRITES_KEY
from raftline.wire.operands import operands as take
from raftline.wire.operands.operands import Limits
from raftline.wire.refusal import FULL, SHUT_DOWN, STOPPING
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.served_connection import ServedConnection
from raftline_testing.nodes.processes import DEADLINE_S, eventually

NEWER = Command("getdel", take.KEY, "the value, which is removed", WRITE, WRITES_KEY, level=2)


@pytest.fixture(autouse=True)
def _newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a command that a cluster of level 1 does not understand."""
    monkeypatch.setitem(COMMANDS, "getdel", NEWER)


def admitted(line: bytes, level: int) -> tuple[str, str]:
    """Return the kind and the reply of a line at a node of a cluster of this level."""
    host: Any = FakeHost(level=level)
    one = Admission(host, cast(Speaker, socket)).admit(parse(line, Limits(), ReadSettings(), "s1"))
    return one.kind, one.reply


@pytest.mark.parametrize("line", [b"getdel a", b"client4@getdel a", b"client4#7@getdel a"])
def test_a_request_above_the_level_of_the_cluster_is_refused(line: bytes) -> None:
    assert admitted(line, 1) == ("local", "Sorry, this needs level 2")
    assert admitted(line, 2) == ("write", "")


def test_requests_of_the_floor_are_always_served() -> None:
    for line in (b"set a 1", b"c@session", b"machine bank 1"):
        assert admitted(line, 0) == ("write", "")
    for line, kind in ((b"show", "show"), (b"stat a", "read"), (b"watch a", "watch")):
        assert admitted(line, 0) == (kind, "")
    assert admitted(b"nonsense", 0)[0] == "local"


@pytest.mark.parametrize(
    "line",
    [b"txn set a 1", b"lease 10", b"setex a 10 1", b"clear a", b"c-57@forget", b"role-add a"],
)
def test_other_writes_are_refused_at_the_floor(line: bytes) -> None:
    assert admitted(line, 0) == ("local", "Sorry, this needs level 1")
    assert admitted(line, 1) == ("write", "")


def test_a_refused_request_reaches_nobody_and_keeps_its_place() -> None:
    scene = ServedConnection()
    scene.say("set a 1\nclient4#7@getdel a\nset b 2\n")
    scene.submitted(1)
    scene.answer(0, "SET response: a set to 1")
    assert scene.submitted(2) == [["set a 1"], ["set b 2"]]
    scene.answer(1, "SET response: b set to 2")
    data = b""
    while data.count(b"\n") < 3:
        data += scene.there.recv(4096)
    assert data.decode().split("\n")[:3] == [
        "s1@SET response: a set to 1",
        "s1#7@Sorry, this needs level 2",
        "s1@SET response: b set to 2",
    ]
    scene.connection.close()
    scene.there.close()


# --- what builds tell each other ------------------------------------------------------------------


class Dialled:
    """A peer that dials a test, and what it was sent or complained of."""

    def __init__(self, listener: socket.socket) -> None:
        self.builds: list[Build | None] = []
        self.said: list[str] = []
        self.listener = listener
        address = Address("127.0.0.1", listener.getsockname()[1])
        self.peer = Peer(
            "s1",
            "s2",
            address,
            lambda _: None,
            lambda _: None,
            self.said.append,
            lambda _, build, __: self.builds.append(build),
        )

    def dialled(self, answer: str) -> tuple[socket.socket, str]:
        """Return the next connection and its first line, once the answer has left."""
        connection, _ = self.listener.accept()
        connection.settimeout(DEADLINE_S)
        first = next_line(connection)
        if answer:
            connection.sendall(f"s2@{answer}\n".encode())
        return connection, first


def next_line(connection: socket.socket) -> str:
    """Return the next line and read nothing after it: on a busy machine, more may have come."""
    line = b""
    while not line.endswith(b"\n") and (byte := connection.recv(1)):
        line += byte
    return line.decode()


@pytest.fixture
def dialling() -> Iterator[Dialled]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        dialling = Dialled(listener)
        dialling.peer.start()
        yield dialling
        dialling.peer.stop()


@pytest.mark.parametrize(
    ("answer", "build"),
    [
        ("Level 1 version 0.2.0", Build(1, "0.2.0")),
        ("Level 13 version 7.1rc2", Build(13, "7.1rc2")),
        ("Sorry, I don't understand: Level 1 version 0.2.0. Try: get KEY", Build(0, NO_LEVEL)),
    ],
)
def test_connection_to_a_peer_begins_with_the_level_question(
    dialling: Dialled, answer: str, build: Build
) -> None:
    connection, first = dialling.dialled(answer)
    assert first == f"{format_level('s1')}\n"
    eventually(lambda: dialling.builds == [build], "the build")
    connection.close()
    eventually(lambda: dialling.builds == [build, None], "the end of the connection")
    assert dialling.said == []


@pytest.mark.parametrize("first", ["", STOPPING], ids=["lost", "tells nothing"])
def test_build_is_asked_for_until_it_is_told(dialling: Dialled, first: str) -> None:
    """A leader sends nothing to a member whose build it does not know: one lost line would leave
    that member behind for as long as the connection stands."""
    connection, question = dialling.dialled(first)
    for _ in range(2):
        assert connection.recv(4096).decode() == question
    assert dialling.builds == []
    connection.sendall(b"s2@Level 1 version 0.2.0\n")
    eventually(lambda: dialling.builds == [Build(1, "0.2.0")], "the build")
    connection.close()


def test_end_of_a_stale_connection_keeps_a_later_announcement() -> None:
    """A member moved: its old host is silent, and its connection ends after the new one has
    announced its level."""
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        levels: list[tuple[str, int]] = []
        builds, gone = (
            Builds(lambda name, level, _: levels.append((name, level))),
            threading.Event(),
        )
        peers = [
            Peer(
                "s1",
                "s3",
                Address("127.0.0.1", place.getsockname()[1]),
                lambda _: None,
                lambda _: None,
                lambda _: None,
                on_build,  # type: ignore[arg-type]
            )
            for place, on_build in zip(
                places,
                (lambda *one: (builds.record(*one), gone.set()), builds.record),
                strict=True,
            )
        ]
        for peer in peers:
            stack.callback(peer.stop)
            peer.start()
        old, new = [stack.enter_context(place.accept()[0]) for place in places]
        new.sendall(b"s3@Level 2 version 0.2.0\n")
        eventually(lambda: levels == [("s3", 2)], "the level")
        old.close()
        assert gone.wait(DEADLINE_S)
        assert (levels, builds.of("s3")) == ([("s3", 2)], Build(2, "0.2.0"))
        new.close()
        eventually(lambda: levels == [("s3", 2), ("s3", NOT_HEARD)], "the end of the connection")
        assert builds.of("s3").level == NOT_HEARD


def test_end_of_a_stale_connection_restores_an_earlier_one() -> None:
    """A member moved away and back: the connection to its other address heard its level later, and
    then ends. Nobody asks on the connection that stands, so without this a leader would send it
    nothing for good."""
    levels: list[int] = []
    builds, stale, standing = (
        Builds(lambda _name, level, _parts: levels.append(level)),
        object(),
        object(),
    )
    builds.record("s3", Build(2, "0.2.0"), standing)
    builds.record("s3", Build(0, NO_LEVEL), stale)
    assert builds.of("s3") == Build(0, NO_LEVEL)
    builds.record("s3", None, stale)
    assert (levels, builds.of("s3")) == ([2, 0, 2], Build(2, "0.2.0"))
    builds.record("s3", None, standing)
    builds.record("s3", None, standing)
    assert (levels, builds.of("s3").level) == ([2, 0, 2, NOT_HEARD], NOT_HEARD)


def test_an_old_build_without_a_place_is_asked_again_later(dialling: Dialled) -> None:
    """It takes the question for a client's line, and closes the connection."""
    dialling.dialled(FULL)[0].close()
    eventually(lambda: dialling.builds == [None], "the end of the connection")
    connection, _ = dialling.listener.accept()
    connection.settimeout(DEADLINE_S)
    dialling.peer.send(b"s1@hello\n")
    said = b""
    while not said:
        dialling.peer.send(b"s1@hello\n")
        with contextlib.suppress(TimeoutError):
            connection.settimeout(0.05)
            said = connection.recv(9)
    assert said == b"s1@hello\n"
    connection.close()
    again, first = dialling.dialled("")
    assert first.startswith("s1@Level ")
    again.close()


def test_build_that_was_not_told_is_asked_for_again(
    dialling: Dialled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same connection, until an answer tells it."""
    monkeypatch.setattr("raftline.net.peers.peers.ASK_AGAIN_S", 0.01)
    connection, first = dialling.dialled(SHUT_DOWN)
    assert next_line(connection) == first
    connection.sendall(b"s2@Level 1 version 9\n")
    eventually(lambda: dialling.builds == [Build(1, "9")], "the build")
    connection.close()


@pytest.mark.parametrize("refusal", [SHUT_DOWN, STOPPING, "Level 0 version 0", "Level two"])
def test_an_answer_that_tells_nothing_is_not_a_level(refusal: str) -> None:
    assert read_level(refusal) is None


def test_a_node_answers_the_question_also_where_it_is_down() -> None:
    scene = ServedConnection()
    for scene.host.is_down in (False, True):
        scene.say("s2@Level 7 version 9\n")
        assert scene.there.recv(4096).decode() == f"{format_level('s1')}\n"
    scene.connection.close()
    scene.there.close()


def test_node_with_floor_answers_as_one_without_levels() -> None:
    scene = ServedConnection()
    scene.host.announces_level = False
    scene.say("s2@Level 1 version 9\n")
    answer = scene.there.recv(4096).decode().removeprefix("s1@").rstrip("\n")
    assert answer.startswith("Sorry, I don't understand: Level 1 version 9.")
    assert read_level(answer) == Build(0, NO_LEVEL)
    scene.connection.close()
    scene.there.close()


def test_the_build_at_an_address_is_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address("127.0.0.1", listener.getsockname()[1])
        asked: list[Build | None] = []
        thread = threading.Thread(target=lambda: asked.append(ask_level("s1", address)))
        thread.start()
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            assert lines.readline().startswith(b"s1@Level ")
            connection.sendall(b"s4@Level 3 version 0.3.0\n")
        thread.join(DEADLINE_S)
    assert asked == [Build(3, "0.3.0")]
    assert ask_level("s1", address) is None  # nobody is there
