"""Requests that are refused at the floor, and what members tell of their builds."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from raftline.common.address import Address
from raftline.common.identities import AT_FLOOR, NOT_HEARD, Build
from raftline.net.peers.build_exchange import Builds, ask_build, format_build, read_build
from raftline.net.peers.peers import Peer, Speaker
from raftline.net.protocol.admission import Admission
from raftline.wire.commands.parsing import ReadSettings, parse
from raftline.wire.operands.operands import Limits
from raftline.wire.refusal import FULL, SHUT_DOWN, STOPPING
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.served_connection import ServedConnection
from raftline_testing.nodes.processes import DEADLINE_S, eventually

TOLD = Build("0.2.0")


def admitted(line: bytes, *, is_at_floor: bool) -> tuple[str, str]:
    """Return the kind and the reply of a line at a node."""
    host: Any = FakeHost(is_at_floor=is_at_floor)
    one = Admission(host, cast(Speaker, socket)).admit(parse(line, Limits(), ReadSettings(), "s1"))
    return one.kind, one.reply


def test_requests_of_the_floor_are_always_served() -> None:
    for line in (b"set a 1", b"c@session", b"machine bank 1"):
        assert admitted(line, is_at_floor=True) == ("write", "")
    for line, kind in ((b"show", "show"), (b"stat a", "read"), (b"watch a", "watch")):
        assert admitted(line, is_at_floor=True) == (kind, "")
    assert admitted(b"nonsense", is_at_floor=True)[0] == "local"


@pytest.mark.parametrize(
    "line",
    [b"txn set a 1", b"lease 10", b"c@setex a 10 1", b"c#7@clear a", b"c-1@forget", b"role-add a"],
)
def test_other_writes_are_refused_at_the_floor(line: bytes) -> None:
    assert admitted(line, is_at_floor=True) == ("local", FakeHost().why_at_floor())
    assert admitted(line, is_at_floor=False) == ("write", "")


def test_a_refused_request_reaches_nobody_and_keeps_its_place() -> None:
    scene = ServedConnection()
    scene.say("set a 1\nclient4#7@clear a\nset b 2\n")
    scene.submitted(1)
    scene.answer(0, "SET response: a set to 1")
    assert scene.submitted(2) == [["set a 1"], ["set b 2"]]
    scene.answer(1, "SET response: b set to 2")
    data = b""
    while data.count(b"\n") < 3:
        data += scene.there.recv(4096)
    assert data.decode().split("\n")[:3] == [
        "s1@SET response: a set to 1",
        f"s1#7@{scene.host.why_at_floor()}",
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
        ("Level 1 version 0.2.0", TOLD),
        ("Level 1 version 7.1rc2", Build("7.1rc2")),
        ("Sorry, I don't understand: Level 1 version 0.2.0. Try: get KEY", AT_FLOOR),
    ],
)
def test_connection_to_a_peer_begins_with_the_question(
    dialling: Dialled, answer: str, build: Build
) -> None:
    connection, first = dialling.dialled(answer)
    assert first == f"{format_build('s1')}\n"
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
    eventually(lambda: dialling.builds == [TOLD], "the build")
    connection.close()


def test_end_of_a_stale_connection_keeps_a_later_announcement() -> None:
    """A member moved: its old host is silent, and its connection ends after the new one has
    announced its build."""
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        heard: list[tuple[str, Build]] = []
        builds, gone = Builds(lambda name, build: heard.append((name, build))), threading.Event()
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
        new.sendall(b"s3@Level 1 version 0.2.0\n")
        eventually(lambda: heard == [("s3", TOLD)], "the build")
        old.close()
        assert gone.wait(DEADLINE_S)
        assert (heard, builds.of("s3")) == ([("s3", TOLD)], TOLD)
        new.close()
        eventually(lambda: heard[1:] == [("s3", NOT_HEARD)], "the end of the connection")
        assert builds.of("s3") == NOT_HEARD


def test_end_of_a_stale_connection_restores_an_earlier_one() -> None:
    """A member moved away and back: the connection to its other address heard its build later, and
    then ends. Nobody asks on the connection that stands, so without this a leader would send it
    nothing for good."""
    heard: list[Build] = []
    builds, stale, standing = Builds(lambda _, build: heard.append(build)), object(), object()
    builds.record("s3", TOLD, standing)
    builds.record("s3", AT_FLOOR, stale)
    assert builds.of("s3") == AT_FLOOR
    builds.record("s3", None, stale)
    assert (heard, builds.of("s3")) == ([TOLD, AT_FLOOR, TOLD], TOLD)
    builds.record("s3", None, standing)
    builds.record("s3", None, standing)
    assert (heard, builds.of("s3")) == ([TOLD, AT_FLOOR, TOLD, NOT_HEARD], NOT_HEARD)


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
    eventually(lambda: dialling.builds == [Build("9")], "the build")
    connection.close()


@pytest.mark.parametrize("refusal", [SHUT_DOWN, STOPPING, "Level 2 version 0", "Level two"])
def test_an_answer_that_tells_nothing_is_not_a_build(refusal: str) -> None:
    assert read_build(refusal) is None


def test_a_node_answers_the_question_also_where_it_is_down() -> None:
    scene = ServedConnection()
    for scene.host.is_down in (False, True):
        scene.say("s2@Level 1 version 9\n")
        assert scene.there.recv(4096).decode() == f"{format_build('s1')}\n"
    scene.connection.close()
    scene.there.close()


def test_node_with_floor_answers_as_another_implementation() -> None:
    scene = ServedConnection()
    scene.host.announces_build = False
    scene.say("s2@Level 1 version 9\n")
    answer = scene.there.recv(4096).decode().removeprefix("s1@").rstrip("\n")
    assert answer.startswith("Sorry, I don't understand: Level 1 version 9.")
    assert read_build(answer) == AT_FLOOR
    scene.connection.close()
    scene.there.close()


def test_the_build_at_an_address_is_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address("127.0.0.1", listener.getsockname()[1])
        asked: list[Build | None] = []
        thread = threading.Thread(target=lambda: asked.append(ask_build("s1", address)))
        thread.start()
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            assert lines.readline().startswith(b"s1@Level ")
            connection.sendall(b"s4@Level 1 version 0.3.0\n")
        thread.join(DEADLINE_S)
    assert asked == [Build("0.3.0")]
    assert ask_build("s1", address) is None  # nobody is there
