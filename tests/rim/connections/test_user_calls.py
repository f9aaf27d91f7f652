"""What connections compute themselves: each user has a few turns, however many connections."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from raftline.net.protocol.host import Batch
from raftline.net.protocol.turns import CALLS_AT_ONCE, Turns
from raftline.net.protocol.user_calls import PAUSE_PART, PAUSE_S_MAX, UserCalls
from raftline.net.protocol.waits import AwaitReplies, WaitFor, Waits
from raftline.state.store import Store
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.redis_wire import RedisWire, framed
from raftline_testing.nodes.known_users import access_with

pytestmark = pytest.mark.pure


class Crowd:
    """The calls of several connections, and a clock that shows what each costs."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.turns = Turns(CALLS_AT_ONCE, lambda: self.now_s)
        self.host: Any = FakeHost(calls=self.turns)
        self.computed: list[str] = []

    def program(self, name: str, seconds: float) -> Waits[str]:
        """Compute, wait for the reader, and compute again."""
        for part in "12":
            self.now_s += seconds
            self.computed.append(name + part)
            if part == "1":
                yield WaitFor.EMPTY
        return name

    def call(self, name: str, user: str | None = "bob") -> Waits[str]:
        outgoing: Any = SimpleNamespace(user=user)
        return UserCalls(self.host, outgoing).carry_out(self.program(name, 0.0))


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()


def test_a_call_has_no_turn_while_it_waits(crowd: Crowd) -> None:
    """A client that reads slowly keeps its user's other calls from nothing."""
    calls = [crowd.call(f"c{number}") for number in range(2 * CALLS_AT_ONCE)]
    assert {next(one) for one in calls} == {WaitFor.EMPTY}
    assert crowd.computed == [f"c{number}1" for number in range(2 * CALLS_AT_ONCE)]


def test_a_user_computes_a_few_calls_at_a_time(crowd: Crowd) -> None:
    for _ in range(CALLS_AT_ONCE):
        assert crowd.turns.take("bob", Batch([], is_read=True))
    bobs, anns = crowd.call("b"), crowd.call("a", "ann")
    waits = next(bobs)
    assert isinstance(waits, AwaitReplies)
    assert next(anns) is WaitFor.EMPTY
    assert crowd.computed == ["a1"]
    crowd.turns.leave("bob")
    assert waits.batch.is_answered
    assert bobs.send(True) is WaitFor.EMPTY
    assert crowd.computed == ["a1", "b1"]


@pytest.mark.parametrize(("seconds", "pause_s"), [(0.001, PAUSE_PART * 0.001), (9.0, PAUSE_S_MAX)])
def test_a_turn_of_a_crowd_ends_with_a_pause(crowd: Crowd, seconds: float, pause_s: float) -> None:
    """Otherwise its threads would keep the interpreter from those that answer members."""
    for _ in range(CALLS_AT_ONCE - 1):
        assert crowd.turns.take("bob", Batch([], is_read=True))
    waiting = Batch([], is_read=True)

    def crowded() -> Waits[str]:
        assert not crowd.turns.take("bob", waiting)  # another call comes meanwhile
        return (yield from crowd.program("x", seconds))

    outgoing: Any = SimpleNamespace(user="bob")
    first = UserCalls(crowd.host, outgoing).carry_out(crowded())
    pause = next(first)
    assert isinstance(pause, AwaitReplies)
    assert pause.within_s == pytest.approx(pause_s)
    assert not waiting.is_answered
    assert first.send(False) is WaitFor.EMPTY
    assert waiting.is_answered


def test_a_connection_that_ends_gives_its_turn_back(crowd: Crowd) -> None:
    held = [Batch([], is_read=True) for _ in range(CALLS_AT_ONCE)]
    assert all(crowd.turns.take("bob", one) for one in held)
    waiting, late = crowd.call("w"), crowd.call("l")
    next(waiting)
    next(late)
    waiting.close()
    crowd.turns.leave("bob")
    late.close()  # its turn had come
    for _ in range(CALLS_AT_ONCE - 1):
        crowd.turns.leave("bob")
    assert crowd.turns._taken == {}
    assert not crowd.turns.are_awaited("bob")


def test_without_users_each_connection_has_its_turn(crowd: Crowd) -> None:
    calls = [crowd.call(f"c{number}", None) for number in range(2 * CALLS_AT_ONCE)]
    assert {next(one) for one in calls} == {WaitFor.EMPTY}
    assert crowd.turns._taken == {}


@pytest.mark.parametrize(
    "data",
    [framed("INFO"), framed("HELLO"), framed("CLUSTER", "SHARDS"), framed("COMMAND"), b"help\n"],
    ids=["INFO", "HELLO", "SHARDS", "COMMAND", "help"],
)
def test_every_call_and_local_line_takes_a_turn(data: bytes) -> None:
    """The reply comes when the user's other connections have left a turn, and not before."""
    access = access_with(dict.fromkeys(("ann", "bob"), (UserRole.READER, EVERYWHERE)), "right")
    turns = Turns(CALLS_AT_ONCE)
    for _ in range(CALLS_AT_ONCE):
        assert turns.take("bob", Batch([], is_read=True))
    wires = {user: RedisWire(Store(), access, user) for user in ("ann", "bob")}
    for wire in wires.values():
        wire._host.calls = turns
    assert wires["ann"].feed(data)
    assert wires["bob"].feed(data) == b""
    turns.leave("bob")
    assert wires["bob"].feed(b"")
