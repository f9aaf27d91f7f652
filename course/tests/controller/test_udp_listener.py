"""Datagrams: how many are answered at a time, and that none stands in the way of a HEAL."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from raftline.wire.commands.command_table import Request
from raftline_course.controller.leader_orders import OrderAnswer
from raftline_course.controller.udp import AT_ONCE_MAX, UdpListener
from raftline_testing.nodes.processes import eventually

DEADLINE_S = 60.0


class Control:
    """Obeys at once, but for what waits for a quorum: that waits for the test."""

    def __init__(self) -> None:
        self.obeyed: list[str] = []
        self.quorum = threading.Event()

    def obey(self, request: Request, host: str) -> OrderAnswer:
        self.obeyed.append(request.command)
        verb = request.command.partition(" ")[0]
        if verb == "STORE":
            assert self.quorum.wait(DEADLINE_S)
        return OrderAnswer(verb, f"done for {host}")


class Scene:
    """A listener, its control, and somebody who sends datagrams to it."""

    def __init__(self) -> None:
        self.control = Control()
        self.ignored: list[str] = []
        self.listener = UdpListener("127.0.0.1", 0)
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.settimeout(DEADLINE_S)
        self.sender.connect(self.listener._socket.getsockname())
        control: Any = self.control
        self.listener.open("s1", control, lambda: 3, lambda _, why: self.ignored.append(why))

    def send(self, **message: object) -> None:
        self.sender.send(json.dumps({"sender_name": "Controller", **message}).encode())

    def reply(self) -> Any:
        return json.loads(self.sender.recv(65_507))


@pytest.fixture
def scene() -> Iterator[Scene]:
    one = Scene()
    yield one
    one.control.quorum.set()
    one.listener.close()
    one.sender.close()


def test_orders_that_wait_for_a_quorum_leave_room_for_a_heal(scene: Scene) -> None:
    for _ in range(AT_ONCE_MAX + 1):
        scene.send(request="STORE", key="k", value="v")
    eventually(lambda: scene.ignored)
    assert scene.ignored == [f"{AT_ONCE_MAX} such requests wait for their answers already"]
    scene.send(request="HEAL")
    reply = scene.reply()
    assert (reply["sender_name"], reply["request"], reply["term"]) == ("s1", "HEAL", 3)
    assert (reply["key"], reply["value"]) == (None, "done for 127.0.0.1")
    scene.control.quorum.set()
    assert {scene.reply()["request"] for _ in range(AT_ONCE_MAX)} == {"STORE"}
    scene.send(request="STORE", key="k", value="v")  # there is room again
    assert scene.reply()["request"] == "STORE"


def test_only_a_controller_is_answered(scene: Scene) -> None:
    for sender in ("s2", None, "", ["Controller"], "controller"):
        scene.send(sender_name=sender, request="HEAL")
    scene.sender.send(b"\xff\xfe{")
    scene.send(request="HEAL")
    assert scene.reply()["request"] == "HEAL"
    assert len(scene.ignored) == 6
    assert scene.control.obeyed == ["HEAL "]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("field", ["sender_name", "request", "key", "value"])
def test_a_datagram_nested_to_any_depth_ends_no_thread(scene: Scene, field: str) -> None:
    """At some depth Python reads a text of JSON, and can't encode what it read."""
    scene.control.quorum.set()
    order = {"sender_name": "Controller", "request": "STORE", "key": "k", "value": "v"}
    plain = json.dumps({**order, field: "nested"})
    for depth in range(950, 1000):
        scene.sender.send(plain.replace('"nested"', "[" * depth + "]" * depth).encode())
    scene.send(request="HEAL")
    while scene.reply()["request"] != "HEAL":
        pass
