"""Typed requests that are too much for one entry: they are refused before they become one."""

from __future__ import annotations

import pytest

from raftline.state.store import Store
from raftline.wire.limits import VALUE_BYTES
from raftline_testing.doubles.store_wire import StoreWire

LONG = "v" * (VALUE_BYTES - 1000)
READS = "txn set a 1 ; " + " ; ".join(["get long"] * 9)
WORKS = "txn set a 1 ; " + " ; ".join(["append long x"] * 5)
ALTERNATIVE = f"txn if n absent then {READS[4:]} else get n"


def wire_with(**pairs: str) -> tuple[StoreWire, Store]:
    store = Store(is_at_floor=False)
    store.number = 1
    for key, value in pairs.items():
        store[key] = value
    return StoreWire(store), store


@pytest.mark.parametrize("sender", ["", "ann@", "ann#7@"])
@pytest.mark.parametrize("line", [READS, WORKS, ALTERNATIVE])
def test_what_is_too_much_never_becomes_an_entry(line: str, sender: str) -> None:
    """The next line of the connection is carried out."""
    wire, store = wire_with(long=LONG)
    refusal, after = wire.feed(f"{sender}{line}\nset b 2\n".encode()).splitlines()
    assert b"@Sorry, " in refusal.replace(b"s1#7@", b"s1@")
    assert b"Nothing was done." in refusal
    assert after.endswith(b"SET response: b set to 2")
    assert dict(store) == {"long": LONG, "b": "2"}
    assert store.number == 2


@pytest.mark.parametrize("line", [READS, WORKS])
def test_what_earlier_lines_make_too_much_never_becomes_an_entry(line: str) -> None:
    """They are not applied yet when the line arrives."""
    wire, store = wire_with()
    refusal = wire.feed(f"set long {LONG}\n{line}\n".encode()).splitlines()[-1]
    assert b"Sorry, " in refusal
    assert store.number == 2


def test_what_earlier_lines_make_small_enough_is_an_entry() -> None:
    wire, store = wire_with(long=LONG)
    reply = wire.feed(f"delete long\n{READS}\n".encode()).splitlines()[-1]
    assert b"TXN response, then: " in reply
    assert store["a"] == "1"


def test_branch_that_is_not_taken_is_not_too_much() -> None:
    wire, _ = wire_with(long=LONG, n="5")
    assert b"TXN response, else: " in wire.feed(f"{ALTERNATIVE}\n".encode())


def test_transaction_on_a_long_value_that_fits_is_an_entry() -> None:
    """It is tried out, with the lease of its key."""
    wire, store = wire_with(long=LONG)
    store.leases.grant(1, 60_000)
    line = "txn under lease-1 set long x ; get long ; enqueue q/ 1 ; stat long"
    reply = wire.feed(f"{line} ; append long {'x' * 500_000} ; get long\n".encode())
    assert b"TXN response, then: " in reply
    assert store.number == 2
