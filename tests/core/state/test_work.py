"""Which entries take long to apply."""

from __future__ import annotations

import pytest

from raftline.raft.log import Entry
from raftline.state.store import Store
from raftline.state.work import (
    LONG_CHARACTERS,
    LONG_KEYS,
    TOGETHER_CHARACTERS,
    count_short,
    is_quick,
)
from raftline.wire.limits import LONG_TURNS


@pytest.fixture
def store() -> Store:
    """A store with a long value, one half as long, and a lease of many keys."""
    store = Store(is_at_floor=False)
    store["long"] = "v" * (LONG_CHARACTERS + 1)
    store["half"] = "v" * (LONG_CHARACTERS // 2 + 1)
    store.leased["lease-2"] = {f"k{number}" for number in range(LONG_KEYS + 1)}
    store.leased["lease-3"] = {"k"}
    return store


def entries(*commands: str) -> list[Entry]:
    return [Entry(index, 1, command) for index, command in enumerate(commands, start=1)]


@pytest.mark.parametrize(
    "command",
    [
        "machine m {}",
        "s5#7@machine m {}",
        "append long v",
        "client@append long v",
        "under lease-3 append long v",
        "txn get half ; get half",
        "txn if half = v then get half",
        "cas long 1 2",
        "release lease-2",
        "expired 1 lease-3 lease-2",
        f"txn set a {'v' * LONG_CHARACTERS}",
    ],
)
def test_an_entry_is_long(store: Store, command: str) -> None:
    assert count_short(store, entries("set a 1", command, "set b 1")) == 1


@pytest.mark.parametrize(
    "command",
    [
        "noop",
        "set machine m",
        "set long v",
        "s5#7@set long v",
        "append half v",
        "txn get half ; set a 1",
        "release lease-3",
        "expired 1 lease-3",
        "clear k",
        "client@session",
    ],
)
def test_an_entry_is_short(store: Store, command: str) -> None:
    assert count_short(store, entries("set a 1", command, "set b 1")) == 3


@pytest.mark.parametrize(
    ("command", "quick"),
    [
        ("txn if a absent then set a 1 ; stat short", True),
        ("client4#7@append short v", True),
        ("release lease-3", True),
        ("clear k", True),
        ("txn get half", False),
        ("client4#7@append half v", False),
        (f"txn set a {'v' * (LONG_CHARACTERS // LONG_TURNS)}", False),
        ("release lease-2", False),
        ("machine m {}", False),
    ],
)
def test_a_quick_entry_takes_a_small_part_of_what_is_long(
    store: Store, command: str, quick: bool
) -> None:
    store["short"] = "v" * (LONG_CHARACTERS // LONG_TURNS // 2)
    assert is_quick(store, ["set a 1", command, "set b 1"]) == quick


def test_a_clear_takes_as_long_as_there_are_keys(store: Store) -> None:
    for number in range(LONG_KEYS):
        store[f"k{number}"] = "v"
    assert count_short(store, entries("clear k")) == 0
    look, clear = "txn if k has none then set a 1", "s5#7@txn set a 1 ; clear k"
    for scan in (look, clear):
        assert count_short(store, entries(scan)) == 0
        assert count_short(Store(is_at_floor=False), entries(scan)) == 1
    store.has_keys_under("k")
    assert count_short(store, entries(look)) == 1  # the keys are sorted by now
    assert count_short(store, entries(clear)) == 0


def test_an_entry_may_make_the_next_one_long(store: Store) -> None:
    long = "v" * (LONG_CHARACTERS // 2)
    assert count_short(store, entries(f"set a {long}", f"append a {long}", "append a v")) == 2


def test_long_values_that_are_only_set_are_applied_together(store: Store) -> None:
    long = "v" * (LONG_CHARACTERS + 1)
    sets = [f"set {key} {long}" for key in "abc"]
    assert count_short(store, entries(*sets, "delete a")) == 4
    assert count_short(store, entries(*sets, "append c v", "set d 1")) == 3
    store["c"] = long  # as it is once these are applied
    assert count_short(store, entries("append c v", "set d 1")) == 0


def test_replies_of_entries_applied_together_are_bounded(store: Store) -> None:
    """There is a bound on the replies of entries that are applied in one batch."""
    sets = [f"set k{n} {'v' * LONG_CHARACTERS}" for n in range(40)]
    assert count_short(store, entries(*sets)) == TOGETHER_CHARACTERS // LONG_CHARACTERS
    longest = f"set k {'v' * TOGETHER_CHARACTERS}"
    assert count_short(store, entries(longest, longest)) == 1
