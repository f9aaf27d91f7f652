"""A right that ends while a call waits: what is read after that is not shown."""

from __future__ import annotations

import pytest

from raftline.access.login import Access
from raftline.net.protocol.host import Batch
from raftline.net.protocol.turns import CALLS_AT_ONCE, Turns
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline_testing.nodes.known_users import access_with, table_of
from raftline_testing.redis.redis_wire import RedisWire, framed

pytestmark = pytest.mark.pure


class LateWire(RedisWire):
    """A connection at a node that answers requests on order."""

    def __init__(self, store: Store, access: Access, user: str) -> None:
        self.waiting: list[Batch] = []
        super().__init__(store, access, user)

    def _submit(self, *batches: Batch, more_come: bool = False) -> None:
        self.waiting += batches

    def answer(self) -> None:
        for batch in self.waiting:
            super()._submit(batch)
        self.waiting.clear()


@pytest.fixture
def access() -> Access:
    return access_with({"bob": (UserRole.READER, ("app/",))}, "right")


@pytest.fixture
def wire(access: Access) -> LateWire:
    store = Store()
    execute(store, "set app/a old")
    return LateWire(store, access, "bob")


def changed_at_once(wire: LateWire, access: Access) -> None:
    """Take the right of bob away, and set a secret that only others may read."""
    access.follow(table_of({"bob": (UserRole.READER, ("other/",))}, "right"))
    execute(wire._store, "set app/a secret")


@pytest.mark.parametrize(
    "data",
    [
        framed("MGET", "app/a"),
        framed("EXISTS", "app/a", "app/b"),
        framed("MULTI") + framed("MGET", "app/a") + framed("EXEC"),
        framed("KEYS", "app/*"),
        framed("SCAN", "0", "MATCH", "app/*"),
        b"show app/\n",
    ],
    ids=["MGET", "EXISTS", "EXEC", "KEYS", "SCAN", "show"],
)
def test_no_read_is_served_by_a_right_that_has_ended(
    wire: LateWire, access: Access, data: bytes
) -> None:
    wire.feed(data)
    assert wire.waiting
    changed_at_once(wire, access)
    wire.answer()
    said = wire.feed(b"")
    assert b"bob may not" in said
    assert b"secret" not in said
    assert b"app/a\r\n" not in said


@pytest.mark.parametrize(
    "data", [b"get app/a read local\n", b"show app/ read local\n"], ids=["get", "show"]
)
def test_a_local_read_that_waited_for_its_turn_is_judged_again(
    wire: LateWire, access: Access, data: bytes
) -> None:
    turns = wire.host.calls = Turns(CALLS_AT_ONCE)
    for _ in range(CALLS_AT_ONCE):
        assert turns.take("bob", Batch([], is_read=True))
    assert wire.feed(data) == b""
    changed_at_once(wire, access)
    turns.leave("bob")
    said = wire.feed(b"")
    assert b"bob may not" in said
    assert b"secret" not in said


@pytest.mark.parametrize("data", [b"status\n", framed("INFO")], ids=["status", "INFO"])
def test_a_status_shows_what_its_user_may_see_by_now(data: bytes) -> None:
    access = access_with({"bob": (UserRole.ADMIN, EVERYWHERE)}, "right")
    wire = LateWire(Store(), access, "bob")
    turns = wire.host.calls = Turns(CALLS_AT_ONCE)
    for _ in range(CALLS_AT_ONCE):
        assert turns.take("bob", Batch([], is_read=True))
    assert wire.feed(data) == b""
    access.follow(table_of({"ann": (UserRole.READER, EVERYWHERE)}, "right"))
    turns.leave("bob")
    said = wire.feed(b"")
    assert b"localhost:10000" not in said
    assert b"without a login" in said or b"NOAUTH" in said
