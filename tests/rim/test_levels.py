"""Requests above the level of the cluster, and what members tell of their builds."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from raftline.net.admission import Admission
from raftline.wire import operands as take
from raftline.wire.commands import COMMANDS, Command
from raftline.wire.operands import Limits
from raftline.wire.parsing import Readings, parse
from tests.fake_host import FakeHost
from tests.rim.test_connection import Scene

NEWER = Command("getdel", take.KEY, "the value of KEY, which is removed", level=2)


@pytest.fixture(autouse=True)
def _newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be a command that a cluster of level 1 does not understand."""
    monkeypatch.setitem(COMMANDS, "getdel", NEWER)  # type: ignore[arg-type]


def admitted(line: bytes, level: int) -> tuple[str, str]:
    """Return the kind and the reply of a line at a node of a cluster of this level."""
    host: Any = FakeHost(level=level)
    one = Admission(host, socket).admit(parse(line, Limits(), Readings(), "s1"))
    return one.kind, one.reply


@pytest.mark.parametrize("line", [b"getdel a", b"client4@getdel a", b"client4#7@getdel a"])
def test_a_request_above_the_level_of_the_cluster_is_refused(line: bytes) -> None:
    assert admitted(line, 1) == ("local", "Sorry, this needs level 2")
    assert admitted(line, 2) == ("write", "")


def test_requests_of_the_first_level_are_always_served() -> None:
    assert admitted(b"set a 1", 1) == ("write", "")
    assert admitted(b"show", 1) == ("show", "")
    assert admitted(b"nonsense", 1)[0] == "local"


def test_a_refused_request_reaches_nobody_and_keeps_its_place() -> None:
    scene = Scene()
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
