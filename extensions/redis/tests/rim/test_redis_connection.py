"""A Redis client's connection that its own thread, or the shared reader, serves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftline.net.connections.shared_reader import SharedReader
from raftline.redis.harness.redis_wire import framed
from raftline.wire.refusal import FULL
from raftline_testing.doubles.served_connection import DEADLINE_S, ServedConnection


@pytest.fixture(params=["own thread", "shared reader"])
def scene(request: pytest.FixtureRequest) -> Iterator[ServedConnection]:
    one = ServedConnection()
    if request.param == "shared reader":
        reader = SharedReader(lambda *found, more_come: one.host.submit(*found), crowd=0)
        one = ServedConnection(shared_reader=reader)
    yield one
    one.end()


@pytest.mark.parametrize("said", [framed("GET", "a").decode(), "*"])
def test_the_last_places_are_kept_for_peers(said: str) -> None:
    scene = ServedConnection(for_peers_only=True)
    scene.say(said)
    assert scene.lines() == [f"-{FULL.replace('Sorry,', 'TRYAGAIN')}"]
    assert not scene.batches


@pytest.mark.parametrize("method", ["*1", "*", "*3\r"])
def test_a_browser_s_request_carries_out_no_command_of_its_body(
    scene: ServedConnection, method: str
) -> None:
    """A page may choose a method that begins as a command does."""
    head = f"{method} / HTTP/1.1\r\nHost: attacker.example:10000\r\n\r\n"
    scene.say(head + framed("SET", "owned", "by-a-page").decode())
    assert scene.lines() == ["-ERR Protocol error: invalid multibulk length"]
    assert scene.submitted(0) == []


def test_ended_connection_does_not_continue_with_its_call(scene: ServedConnection) -> None:
    scene.host.patience_s = 1e6
    scene.there.sendall(framed("MGET", "a", "b"))
    scene.submitted(1)
    scene.connection.break_off()
    scene.thread.join(DEADLINE_S)
    assert not scene.thread.is_alive()
