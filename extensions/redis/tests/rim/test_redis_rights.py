"""A right that ends while a Redis client's call waits: what is read after that is not shown."""

from __future__ import annotations

import pytest

from raftline.redis.harness.redis_wire import framed, redis_door
from raftline.wire.commands.rights import UserRole
from raftline_testing.doubles.late_wire import LateWire

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    "data",
    [
        framed("MGET", "app/a"),
        framed("EXISTS", "app/a", "app/b"),
        framed("MULTI") + framed("MGET", "app/a") + framed("EXEC"),
        framed("KEYS", "app/*"),
        framed("SCAN", "0", "MATCH", "app/*"),
    ],
    ids=["MGET", "EXISTS", "EXEC", "KEYS", "SCAN"],
)
def test_no_read_is_served_by_a_right_that_has_ended(data: bytes) -> None:
    wire = LateWire(doors=[redis_door()])
    wire.feed(data)
    assert wire.waiting
    wire.end_right()
    wire.answer()
    said = wire.feed(b"")
    assert b"bob may not" in said
    assert b"secret" not in said
    assert b"app/a\r\n" not in said


def test_info_shows_what_its_user_may_see_by_now() -> None:
    wire = LateWire(UserRole.ADMIN, [redis_door()])
    turns = wire.without_turn()
    assert wire.feed(framed("INFO")) == b""
    wire.remove_user()
    turns.leave("bob")
    said = wire.feed(b"")
    assert b"localhost:10000" not in said
    assert b"NOAUTH" in said
