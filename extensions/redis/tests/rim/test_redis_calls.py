"""Work of a Redis client's own connection takes turns of its user."""

from __future__ import annotations

from typing import Any

import pytest

from raftline.net.protocol.host import Batch
from raftline.net.protocol.turns import CALLS_AT_ONCE, Turns
from raftline.redis.harness.redis_wire import RedisWire, framed, replies_in
from raftline.state.store import Store
from raftline.wire import refusal as refusals
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline.wire.refusal import not_leader, outcome_unknown
from raftline_testing.nodes.known_users import access_with

pytestmark = pytest.mark.pure


def taken_by(user: str) -> Turns:
    """Return turns, all of which other calls of a user have."""
    turns = Turns(CALLS_AT_ONCE)
    for _ in range(CALLS_AT_ONCE):
        assert turns.take(user, Batch([], is_read=True))
    return turns


def wire_of(user: str, turns: Turns, anonymous: UserRole = UserRole.NONE) -> RedisWire:
    users = dict.fromkeys(("ann", "bob"), (UserRole.READER, EVERYWHERE))
    wire = RedisWire(Store(), access_with(users, "right", anonymous), user)
    wire.host.calls = turns
    return wire


@pytest.mark.parametrize(
    "data",
    [framed("INFO"), framed("HELLO"), framed("CLUSTER", "SHARDS"), framed("COMMAND")],
    ids=["INFO", "HELLO", "SHARDS", "COMMAND"],
)
def test_every_call_takes_a_turn(data: bytes) -> None:
    """The reply comes when the user's other connections have left a turn, and not before."""
    turns = taken_by("bob")
    assert wire_of("ann", turns).feed(data)
    bobs = wire_of("bob", turns)
    assert bobs.feed(data) == b""
    turns.leave("bob")
    assert bobs.feed(b"")


def test_call_without_a_turn_in_time_is_refused() -> None:
    bobs = wire_of("bob", taken_by("bob"))
    bobs.feed(framed("INFO"))
    bobs.give_up()
    assert b"Nothing was done; try again." in bobs.feed(b"")


def test_refusals_of_commands_are_counted_by_code() -> None:
    wire = RedisWire(Store())
    wire.feed(framed("SET", "a", "x"))
    for words in (("INCR", "a"), ("XADD",)):
        assert wire.feed(framed(*words)).startswith(b"-ERR")
    counted = {code: count for code, count in wire.host.refusals.by_code().items() if count}
    assert counted == {"no-number": 1, "bad-request": 1}


def test_login_of_an_anonymous_reader_takes_no_turn() -> None:
    turns = taken_by("")
    reader = wire_of("", turns, UserRole.READER)
    assert reader.feed(framed("HELLO")) == b""
    turns.leave("")
    assert reader.feed(b"")
    turns.take("", Batch([], is_read=True))
    assert wire_of("", turns, UserRole.READER).feed(framed("AUTH", "ann", "right")) == b"+OK\r\n"


def test_a_login_is_checked_without_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for those of others; what follows it takes a turn of who is logged in then."""
    turns = taken_by("ann")
    bobs = wire_of("bob", turns)
    at_login: list[list[str]] = []
    host: Any = bobs.host
    logins = host.access.turns
    take = logins.take

    def takes(*of: Any) -> bool:
        at_login.append(list(turns._taken))
        return bool(take(*of))

    monkeypatch.setattr(logins, "take", takes)
    assert bobs.feed(framed("HELLO", "2", "AUTH", "ann", "right")) == b""
    assert at_login == [["ann"]]
    assert wire_of("bob", turns).feed(framed("AUTH", "ann", "right")) == b"+OK\r\n"
    turns.leave("ann")
    assert bobs.feed(b"").startswith(b"*14\r\n")


class Refusing(RedisWire):
    """A connection whose writes are refused, so that nothing is done or nobody knows."""

    refusal = ""

    def _submit(self, *batches: Batch, more_come: bool = False) -> None:
        if self.refusal and not all(batch.is_read for batch in batches):
            for batch in batches:
                batch.replies.extend([self.refusal] * len(batch.commands))
                batch.wake()
        else:
            super()._submit(*batches, more_come=more_come)


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (not_leader("s2", "localhost", 10001), "MOVED"),
        (refusals.NO_LEADER, "CLUSTERDOWN"),
        (refusals.STOPPING, "CLUSTERDOWN"),
        (outcome_unknown("no quorum answered in time"), "UNKNOWN"),
        (refusals.FULL, "TRYAGAIN"),
        (refusals.NO_LOGIN("write"), "NOAUTH"),
    ],
)
@pytest.mark.parametrize("command", ["BLPOP k 0", "BLMOVE k l LEFT LEFT 0", "LPOP k"])
def test_refusal_of_the_element_ends_the_connection_of_a_waiter(
    refusal: str, code: str, command: str
) -> None:
    """If the leader is gone, a command that may wait has no reply, and nothing follows it. Any
    other refusal, and any other command, is answered."""
    store = Store(is_at_floor=False)
    wire = Refusing(store)
    wire.host.watchers.open = lambda sink, asked: [[] for _ in asked]
    assert wire.feed(framed("RPUSH", "k", "a")) == b":1\r\n"
    wire.refusal = refusal
    sent = wire.feed(framed("PING") + framed(*command.split()) + framed("PING"))
    ends = command.startswith("B") and code in ("MOVED", "CLUSTERDOWN", "UNKNOWN")
    assert wire.has_ended is ends
    assert [reply[:6] for reply in replies_in(sent)] == (
        [b"+PONG\r"] if ends else [b"+PONG\r", b"-%b" % code.encode()[:5], b"+PONG\r"]
    )
