"""The account of each user: it follows from the entries, and is the same on every node."""

from __future__ import annotations

import io

import pytest

from raftline.storage.snapshot_lines import LoadedSnapshot, SnapshotReader, format_snapshot
from raftline.wire.key_stat import KeyFacts, read_key_line
from raftline.wire.limits import LEASE_BYTES, PAIR_BYTES
from raftline_testing.doubles.account_machine import ANN, BOB, AccountMachine


def pair(key: str, value: str, facts: str) -> int:
    """Return the bytes of a key with its value and its facts in memory."""
    return PAIR_BYTES + len(f"{key}{value}") + 1 + len(facts)


@pytest.fixture
def machine() -> AccountMachine:
    return AccountMachine()


def test_a_key_counts_for_the_user_who_wrote_it_last(machine: AccountMachine) -> None:
    machine.do(f"{BOB}#1@set a 12345")
    assert machine.held == {"bob": pair("a", "12345", "4,,bob")}
    machine.do(f"{ANN}#1@append a 6")
    assert machine.held == {"ann": pair("a", "123456", "5,,ann")}
    machine.do("set a 1")  # nobody is logged in
    assert machine.held == {}
    assert machine.store.facts("a") == KeyFacts(6)


def test_a_user_needs_no_session_for_that(machine: AccountMachine) -> None:
    machine.do("bob@set a 1", "bob@incr a")
    assert machine.held == {"bob": pair("a", "2", "5,,bob")}


def test_a_retry_counts_once(machine: AccountMachine) -> None:
    machine.do(*[f"{BOB}#1@set a 1"] * 3)
    assert machine.held == {"bob": pair("a", "1", "4,,bob")}


@pytest.mark.parametrize(
    "command", ["delete a", "clear a", "txn delete a", "txn clear a", "txn set a 2 ; delete a"]
)
def test_removing_a_key_takes_it_from_its_user(machine: AccountMachine, command: str) -> None:
    machine.do(f"{BOB}#1@set a 1", f"{ANN}#1@{command}")
    assert machine.held == {}
    assert machine.store.pair_bytes == 0


def test_a_transaction_counts_for_its_user(machine: AccountMachine) -> None:
    machine.do(f"{BOB}#1@txn set a 1 ; set b 2", f"{ANN}#1@txn if a = 1 then set b 3 ; get a")
    assert machine.held == {"bob": pair("a", "1", "4,,bob"), "ann": pair("b", "3", "5,,ann")}
    machine.do(f"{ANN}#2@txn set a 1 ; incr b x")  # it fails as a whole
    assert machine.held["bob"] == pair("a", "1", "4,,bob")


def test_a_lease_counts_for_the_user_who_asked_for_it(machine: AccountMachine) -> None:
    machine.do(f"{BOB}#1@lease 10 9f86d081884c7d65", "ann@lease 10", "lease 10")
    assert machine.store.leases.count_of == {"bob": 1, "ann": 1}
    machine.do("release lease-4.9f86d081884c7d65", "release lease-6")
    assert machine.store.leases.count_of == {"ann": 1}
    assert machine.store.leases.users == {"lease-5": "ann"}


def test_a_key_under_a_lease_keeps_its_user(machine: AccountMachine) -> None:
    machine.do(f"{BOB}#1@set a 1", "expire a 10", f"{ANN}#1@setex b 10 2")
    assert machine.store.facts("a") == KeyFacts(4, "own-5-10", "bob")
    bob = pair("a", "1", "4,own-5-10,bob") + LEASE_BYTES
    ann = pair("b", "2", "6,own-6-10,ann") + LEASE_BYTES
    assert machine.held == {"bob": bob, "ann": ann}
    machine.do("persist a", "expired 1 own-6-10")
    assert machine.held == {"bob": pair("a", "1", "4,,bob")}


def test_nobody_holds_anything_at_the_floor() -> None:
    """At the floor, a name is that of a client, and other implementations may take part."""
    machine = AccountMachine(is_at_floor=True)
    assert machine.do("bob@set a 1") == ["SET response: a set to 1"]
    assert machine.do("c@session bob")[0].startswith("Sorry, ")
    assert (machine.held, machine.store.leases.count_of) == ({}, {})


def test_a_snapshot_brings_the_accounts(machine: AccountMachine) -> None:
    machine.do(f"{BOB}#1@set a 1", f"{BOB}#2@setex b 10 2", f"{ANN}#1@lease 20", "set c 3")
    data = b"".join(format_snapshot(machine.manager.freeze()))
    for line in (b"4,,bob a 1", b"5,own-5-10,bob b 2", b"lease-6 20 ann", b"7 c 3"):
        assert b"\n%s\n" % line in data
    other = AccountMachine()
    other.do("bob@set x 1", "bob@lease 10")
    loaded: LoadedSnapshot = SnapshotReader(io.BytesIO(data), lambda: None).read()
    other.manager.arrived(loaded)
    other.manager.take_over(loaded.snapshot)
    assert other.held == machine.held
    assert other.store.leases.count_of == {"ann": 1}
    for each in (machine, other):  # a session brings its user along
        each._index = 7
        each.do(f"{BOB}#3@set d 4")
    assert other.held == machine.held
    assert other.store.facts("d") == KeyFacts(8, "", "bob")


def test_the_line_of_a_key_names_its_user() -> None:
    assert read_key_line("9,,bob a 4") == ("a", "4\x009,,bob", "")
    assert read_key_line("9,lease-7,b.o-b a 4") == ("a", "4\x009,lease-7,b.o-b", "lease-7")
    for facts in ("9,,", "9,lease-7,", "9,,bob,", "9,,b\u00f6b", "9,,7"):
        with pytest.raises(ValueError, match="does not begin with the entry that changed it"):
            read_key_line(f"{facts} a 4")
