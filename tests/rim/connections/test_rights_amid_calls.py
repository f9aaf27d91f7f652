"""A right that ends while a line waits: what is read after that is not shown."""

from __future__ import annotations

import pytest

from raftline.wire.commands.rights import UserRole
from raftline_testing.doubles.late_wire import LateWire

pytestmark = pytest.mark.pure


def test_no_read_is_served_by_a_right_that_has_ended() -> None:
    wire = LateWire()
    wire.feed(b"show app/\n")
    assert wire.waiting
    wire.end_right()
    wire.answer()
    said = wire.feed(b"")
    assert b"bob may not" in said
    assert b"secret" not in said


@pytest.mark.parametrize(
    "data", [b"get app/a read local\n", b"show app/ read local\n"], ids=["get", "show"]
)
def test_a_local_read_that_waited_for_its_turn_is_judged_again(data: bytes) -> None:
    wire = LateWire()
    turns = wire.without_turn()
    assert wire.feed(data) == b""
    wire.end_right()
    turns.leave("bob")
    said = wire.feed(b"")
    assert b"bob may not" in said
    assert b"secret" not in said


def test_a_status_shows_what_its_user_may_see_by_now() -> None:
    wire = LateWire(UserRole.ADMIN)
    turns = wire.without_turn()
    assert wire.feed(b"status\n") == b""
    wire.remove_user()
    turns.leave("bob")
    said = wire.feed(b"")
    assert b"localhost:10000" not in said
    assert b"without a login" in said
