"""Work that connections do themselves: each user has a few turns, however many connections."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from raftline.net.protocol.host import Batch
from raftline.net.protocol.turns import CALLS_AT_ONCE, Turns
from raftline.net.protocol.user_calls import PAUSE_PART, PAUSE_S_MAX, UserCalls
from raftline.net.protocol.waits import AwaitReplies, ReserveRoom, WaitFor, Waits
from raftline.net.reply_budget import MAKERS
from raftline.state.store import Store
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.store_wire import StoreWire
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
    """A client that reads slowly does not delay other calls of its user."""
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


def test_a_computed_line_takes_a_turn() -> None:
    """The reply comes once the user's other connections have ended a turn, and not before."""
    turns = taken_by("bob")
    assert wire_of("ann", turns).feed(b"status\n")
    bobs = wire_of("bob", turns)
    assert bobs.feed(b"status\n") == b""
    turns.leave("bob")
    assert bobs.feed(b"")


def test_line_without_a_turn_in_time_is_refused() -> None:
    bobs = wire_of("bob", taken_by("bob"))
    bobs.feed(b"status\n")
    bobs.give_up()
    assert b"Nothing was done; try again." in bobs.feed(b"")


@pytest.mark.parametrize("data", [b"codes\n", b"help\n"])
def test_constant_lines_wait_for_no_turn(data: bytes) -> None:
    """All clients without a login share one account, so others could delay them."""
    assert wire_of("", taken_by("")).feed(data)


def taken_by(user: str) -> Turns:
    """Return turns, all of which other calls of a user have."""
    turns = Turns(CALLS_AT_ONCE)
    for _ in range(CALLS_AT_ONCE):
        assert turns.take(user, Batch([], is_read=True))
    return turns


def wire_of(user: str, turns: Turns) -> StoreWire:
    users = dict.fromkeys(("ann", "bob"), (UserRole.READER, EVERYWHERE))
    wire = StoreWire(Store(), access_with(users, "right"), user)
    wire.host.calls = turns
    return wire


def test_turn_goes_to_the_next_that_waits() -> None:
    turns = Turns(1)
    first, second, third = (Batch([], is_read=True) for _ in range(3))
    assert turns.take("a", first)
    assert turns.take("b", first)
    assert [turns.take("a", one) for one in (second, third)] == [False, False]
    assert turns.give_up("a", second)  # its connection has ended
    turns.leave("a")
    assert (second.is_answered, third.is_answered) == (False, True)
    assert not turns.give_up("a", third)  # it is its own by now
    turns.leave("a")
    assert turns.take("a", second)


# --- what others may wait for --------------------------------------------------------------------


class Reader:
    """A connection that holds room for a reply."""

    def __init__(self, user: str | None) -> None:
        self.user = user

    def break_off(self) -> None:
        raise AssertionError


def test_a_call_that_waits_for_its_turn_holds_no_room(crowd: Crowd) -> None:
    room, mine = crowd.host.reply_room, Reader("bob")
    others = [Reader(f"u{number}") for number in range(MAKERS)]
    for one in others:
        assert room.reserve_now(one, in_turn=True)

    def long_reply() -> Waits[None]:
        yield ReserveRoom(mine, in_turn=True)
        crowd.computed.append("long")

    outgoing: Any = SimpleNamespace(user="bob")
    call = UserCalls(crowd.host, outgoing).carry_out(long_reply())
    wait = next(call)
    assert isinstance(wait, ReserveRoom)
    for _ in range(CALLS_AT_ONCE):  # other calls of the user begin
        assert crowd.turns.take("bob", Batch([], is_read=True))
    room.give(others[0])
    assert room.reserve_now(mine, in_turn=True)  # as its thread does
    turn = call.send(True)
    assert isinstance(turn, AwaitReplies)
    assert room.reserve_now(others[0], in_turn=True)
    room.give(others[0])
    crowd.turns.leave("bob")
    assert turn.batch.is_answered
    with pytest.raises(StopIteration):
        call.send(True)
    assert crowd.computed == ["long"]
