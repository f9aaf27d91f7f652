"""Leases whose name holds a tag that nobody can guess: the entry has it, so every node knows it."""

from __future__ import annotations

import pytest

from raftline.logmanager import LogManager
from raftline.state.store import Store
from raftline.wire.key_stat import read_key_line
from raftline.wire.operands.lease_operands import grant_in, lease_in, with_tag, without_tag
from raftline_testing.doubles.lease_machine import LeaseMachine, first_leases
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS, entries
from tests.core.state.machine import copied

TAG = "9f86d081884c7d65"
OTHER = "0f86d081884c7d65"


def above_floor(*commands: str) -> LogManager:
    """Return a node that has applied these from entry 2 on."""
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    manager.apply(entries(1, 1, "cluster 9f86d081884c7d65 level 1", *commands))
    return manager


def test_a_lease_with_a_tag_is_known_by_its_whole_name() -> None:
    machine = LeaseMachine()
    machine.store = Store(is_at_floor=False)
    name = f"lease-57.{TAG}"
    assert machine.talk(
        f"lease 10 {TAG}",
        f"under {name} set a 1",
        "under lease-57 set b 1",
        f"under lease-57.{OTHER} set b 1",
        "release lease-57",
        f"release lease-57.{OTHER}",
        f"txn under {name} set c 1",
        "lease 10",
        "release lease-64",
        f"release {name}",
    ) == [
        f"LEASE response: {name} for 10 s",
        "SET response: a set to 1",
        "SET response, no such lease: lease-57",
        f"SET response, no such lease: lease-57.{OTHER}",
        "RELEASE response, no such lease: lease-57",
        f"RELEASE response, no such lease: lease-57.{OTHER}",
        'TXN response, then: ["c set to 1"]',
        "LEASE response: lease-64 for 10 s",
        "RELEASE response: lease-64 released, 0 keys deleted",
        f"RELEASE response: {name} released, 2 keys deleted",
    ]
    assert dict(machine.store) == {}


def test_a_retry_gets_the_first_tag() -> None:
    """The node that receives the retry draws another tag."""
    manager = above_floor(f"c#1@lease 10 {TAG}", f"c#1@lease 10 {OTHER}", "c#1@lease 10")
    assert list(manager.store.leases.granted) == [f"lease-2.{TAG}"]
    [again] = manager.apply(entries(5, 1, f"c#1@lease 10 {OTHER}"))
    assert again == f"LEASE response: lease-2.{TAG} for 10 s"
    [other] = manager.apply(entries(6, 1, f"c#1@lease 11 {TAG}"))
    assert other == "Sorry, request 1 of c was another command; nothing was executed"


def test_a_lease_with_a_tag_ends_by_an_expiry() -> None:
    manager = above_floor(f"lease 10 {TAG}", f"under lease-2.{TAG} set a 1", "expired 1 lease-2")
    assert dict(manager.store) == {"a": "1"}
    manager.apply(entries(5, 1, f"expired 1 lease-2.{TAG}"))
    assert dict(manager.store) == manager.store.leases.granted == {}


def test_a_snapshot_carries_a_lease_with_a_tag() -> None:
    first = above_floor(f"lease 10 {TAG}", f"under lease-2.{TAG} set a 1")
    loaded = copied(first.freeze())
    second = above_floor()
    second.arrived(loaded)
    assert loaded.leases == first_leases(first) == [f"lease-2.{TAG} 10"]
    second._load(loaded, second._arrived)
    assert second.store.leased == {f"lease-2.{TAG}": {"a"}}
    assert read_key_line(f"3,lease-2.{TAG} a 1")[2] == f"lease-2.{TAG}"


@pytest.mark.parametrize(
    "name",
    ["lease-57.", f"lease-57.{TAG}0", f"lease-57.{TAG[:-1]}", f"lease-57.{TAG.upper()}",
     f"lease-.{TAG}", f"lease-057.{TAG}", f"57.{TAG}", f"lease-57.{TAG}.{TAG}", f"own-57.{TAG}"],
)  # fmt: skip
def test_another_name_is_not_a_lease(name: str) -> None:
    assert lease_in(name) is None


def test_number_of_a_lease_is_its_token_with_or_without_a_tag() -> None:
    """The fencing token of a lease is its number, with or without a tag."""
    assert lease_in("lease-57") == lease_in(f"lease-57.{TAG}") == 57


def test_the_words_of_a_grant_in_an_entry() -> None:
    assert grant_in("10") == (10_000, "")
    assert grant_in(f"1.5 {TAG}") == (1500, TAG)
    for wrong in ("", "0", f"0 {TAG}", "10 ", f"10  {TAG}", f"10 {TAG} ", f"10 {TAG} {TAG}"):
        assert grant_in(wrong) is None
    assert without_tag(with_tag("lease 10", TAG)) == without_tag("lease 10") == "lease 10"
    for other in (f"set lease {TAG}", f"lease {TAG}", "lease 10 x", f"append lease 10 {TAG}"):
        assert without_tag(other) == other
