"""Leases in the state machine: what each command and an expiry make of them."""

from __future__ import annotations

import pytest

from raftline.logmanager import LogManager
from raftline.state.commands.key_commands import execute
from raftline.state.commands.lease_commands import ms_of
from raftline.state.lease_table import format_expiry, format_granted, read_expiry, read_granted
from raftline.state.store import Store
from raftline_testing.doubles.lease_machine import TERM, LeaseMachine, first_leases
from raftline_testing.files.node_files import entries
from tests.core.state.machine import at_entry_10, copied


@pytest.fixture
def machine() -> LeaseMachine:
    return LeaseMachine()


def test_lease_is_named_after_its_entry_and_takes_its_keys(machine: LeaseMachine) -> None:
    """A lease is named after its entry, and its keys are deleted with it."""
    assert machine.talk(
        "lease 10",
        "under lease-57 set a two words",
        "under lease-57 set b 1",
        "set c 1",
        "release lease-57",
        "release lease-57",
    ) == [
        "LEASE response: lease-57 for 10 s",
        "SET response: a set to two words",
        "SET response: b set to 1",
        "SET response: c set to 1",
        "RELEASE response: lease-57 released, 2 keys deleted",
        "RELEASE response, no such lease: lease-57",
    ]
    assert dict(machine.store) == {"c": "1"}


def test_one_key_and_no_key_are_reported_as_such(machine: LeaseMachine) -> None:
    machine.talk("lease 10", "lease 20", "under lease-58 set a 1")
    assert machine.talk("release lease-57", "release lease-58") == [
        "RELEASE response: lease-57 released, 0 keys deleted",
        "RELEASE response: lease-58 released, 1 key deleted",
    ]


def test_each_writing_command_puts_its_key_under_the_lease(machine: LeaseMachine) -> None:
    """Each command that sets a value attaches its key to the lease."""
    machine.talk("lease 10", "set a 1", "set b x", "set n 1")
    assert machine.talk(
        "under lease-57 cas a 1 2",
        "under lease-57 setnx new 1",
        "under lease-57 append b y",
        "under lease-57 incr n 4",
    ) == [
        "CAS response: a set to 2",
        "SETNX response: new set to 1",
        "APPEND response: b has 2 bytes",
        "INCR response: 5",
    ]
    assert machine.apply("release lease-57").endswith("4 keys deleted")


def test_unmet_condition_puts_nothing_under_the_lease(machine: LeaseMachine) -> None:
    """If a condition is not met, no key is attached to the lease."""
    machine.talk("lease 10", "set a 1", "set b x")
    assert machine.talk(
        "under lease-57 cas a 5 2", "under lease-57 setnx a 1", "under lease-57 incr b"
    ) == [
        "CAS response, no match: a",
        "SETNX response, key exists: a",
        "Sorry, the value of b is not a whole number, so nothing was added to it",
    ]
    assert machine.apply("release lease-57").endswith("0 keys deleted")
    assert dict(machine.store) == {"a": "1", "b": "x"}


def test_under_a_lease_that_is_not_there_nothing_is_done(machine: LeaseMachine) -> None:
    assert machine.talk("under lease-9 set a 1", "under lease-9 incr a") == [
        "SET response, no such lease: lease-9",
        "INCR response, no such lease: lease-9",
    ]
    assert not machine.store


@pytest.mark.parametrize("command", ["set a 2", "cas a 1 2", "setex a 5 2", "expire a 5"])
def test_a_new_value_without_the_lease_takes_the_key_out(
    machine: LeaseMachine, command: str
) -> None:
    machine.talk("lease 10", "under lease-57 set a 1", command)
    assert machine.apply("release lease-57").endswith("0 keys deleted")
    assert "a" in machine.store


@pytest.mark.parametrize(
    ("value", "command"),
    [("1", "incr a"), ("1", "append a 2")],
)
def test_a_change_of_the_value_leaves_the_key_in(
    machine: LeaseMachine, value: str, command: str
) -> None:
    machine.talk("lease 10", f"under lease-57 set a {value}", command)
    assert machine.apply("release lease-57").endswith("1 key deleted")


def test_a_key_is_under_the_lease_that_it_was_put_under_last(machine: LeaseMachine) -> None:
    machine.talk("lease 10", "lease 10", "under lease-57 set a 1", "under lease-58 append a 2")
    assert machine.apply("release lease-57").endswith("0 keys deleted")
    assert machine.apply("release lease-58").endswith("1 key deleted")


def test_a_key_that_is_deleted_and_set_again_is_under_no_lease(machine: LeaseMachine) -> None:
    machine.talk("lease 10", "under lease-57 set a 1", "delete a", "set a 2")
    assert machine.apply("release lease-57").endswith("0 keys deleted")


def test_own_lease_is_named_after_the_entry_of_its_ttl(machine: LeaseMachine) -> None:
    """A key's own lease is named after the entry that set its TTL."""
    assert machine.talk(
        "setex a 10 two words", "incr a", "append a s", "expire a 20", "expire b 20"
    ) == [
        "SETEX response: a set to two words",
        "Sorry, the value of a is not a whole number, so nothing was added to it",
        "APPEND response: a has 10 bytes",
        "EXPIRE response: a for 20 s",
        "EXPIRE response, no such key: b",
    ]
    assert machine.store.lease_of("a") == "own-60-20"
    assert machine.store["a"] == "two wordss"


def test_incr_and_append_don_t_change_the_time_of_a_key(machine: LeaseMachine) -> None:
    machine.talk("setex a 10 1", "incr a", "append a 2")
    assert machine.store.lease_of("a") == "own-57-10"


def test_persist_ends_a_key_s_time_and_takes_it_out_of_a_lease(machine: LeaseMachine) -> None:
    assert machine.talk(
        "setex a 10 1",
        "persist a",
        "persist a",
        "persist b",
        "lease 10",
        "under lease-61 set a 2",
        "persist a",
    )[1:4] == [
        "PERSIST response: a stays",
        "PERSIST response, no lease: a",
        "PERSIST response, no such key: b",
    ]
    assert machine.apply("release lease-61").endswith("0 keys deleted")


# --- the expiry ---------------------------------------------------------------------------------


def test_an_expiry_ends_its_leases_and_deletes_their_keys(machine: LeaseMachine) -> None:
    machine.talk("lease 10", "under lease-57 set a 1", "setex b 10 2", "set c 3", "lease 20")
    assert machine.apply(format_expiry(TERM, ["lease-57", "own-59-10"])) == ""
    assert dict(machine.store) == {"c": "3"}
    assert machine.store.leases.granted == {"lease-61": 20_000}


@pytest.mark.parametrize("named", [TERM - 1, TERM + 1])
def test_an_expiry_of_another_term_than_its_entry_s_does_nothing(
    machine: LeaseMachine, named: int
) -> None:
    machine.talk("lease 10", "under lease-57 set a 1")
    machine.apply(format_expiry(named, ["lease-57"]))
    assert machine.store.leases.granted == {"lease-57": 10_000}
    assert dict(machine.store) == {"a": "1"}


@pytest.mark.parametrize("later", ["expire a 10", "setex a 10 1", "set a 1", "persist a"])
def test_expiry_does_nothing_to_a_key_whose_time_was_set_again(
    machine: LeaseMachine, later: str
) -> None:
    machine.talk("setex a 10 1", later, format_expiry(TERM, ["own-57-10"]))
    assert dict(machine.store) == {"a": "1"}


def test_an_expiry_that_a_person_wrote_into_a_log_harms_nobody(machine: LeaseMachine) -> None:
    machine.talk("lease 10", "setex a 10 1")
    for line in ("expired", "expired 4", "expired 4 ", "expired x lease-57", "expired  lease-57"):
        machine.apply(line)
    machine.apply("expired 4 lease-x own- own-5 own-58 own-58-x own-58-0 own-١-10 x")
    assert machine.store.leases.granted == {"lease-57": 10_000}
    assert dict(machine.store) == {"a": "1"}


def test_an_expiry_round_trips() -> None:
    leases = ["lease-57", "own-61-20"]
    assert format_expiry(5, leases) == "expired 5 lease-57 own-61-20"
    assert read_expiry("5 lease-57 own-61-20", 5) == leases
    assert read_expiry("5 lease-57", 4) == []


# --- floor, snapshot, clock ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    ["lease 10", "release lease-5", "under lease-5 set a 1", "setex a 10 1", "expire a 10",
     "persist a", "expired 4 lease-5", "txn set a 2", "clear a"],
)  # fmt: skip
def test_these_are_not_commands_at_the_floor(command: str) -> None:
    store = Store({"a": "1"})
    assert execute(store, command).startswith("Sorry, I don't understand: ")
    assert store == {"a": "1"}
    assert not store.leases.granted


@pytest.mark.parametrize(
    "command",
    ["lease", "lease 0", "lease 10 20", "lease x", "release", "release x", "under",
     "under x set a 1", "under lease-57 get a", "under lease-57 set a", "under lease-57",
     "setex a 10", "setex a 0 1",
     "setex a x 1", "expire a", "expire a 0", "persist", "persist a b", "renew lease-57", "leases"],
)  # fmt: skip
def test_hand_written_entry_is_a_mistake_and_changes_nothing(
    machine: LeaseMachine, command: str
) -> None:
    """An entry that a person wrote is answered with a refusal and changes nothing."""
    machine.apply("lease 10")
    assert machine.apply(command).startswith("Sorry, ")
    assert not machine.store
    assert machine.store.leases.granted == {"lease-57": 10_000}


def test_a_time_with_milliseconds_is_kept_and_shown(machine: LeaseMachine) -> None:
    replies = machine.talk("lease 1.5", "setex a 0.25 1", "set b 2", "expire b 10.001")
    assert replies[0] == "LEASE response: lease-57 for 1.5 s"
    assert replies[3] == "EXPIRE response: b for 10.001 s"
    assert format_granted(machine.store.leases.copy()) == ["lease-57 1.5"]
    granted = read_granted(["lease-57 1.5"]).granted
    assert granted == machine.store.leases.granted == {"lease-57": 1500}
    own = ["own-58-0.25", "own-60-10.001"]
    assert [machine.store.lease_of(key) for key in "ab"] == own
    assert [ms_of(machine.store, lease) for lease in own] == [250, 10_001]


def test_shared_leases_are_read_from_a_snapshot_as_written(machine: LeaseMachine) -> None:
    """Shared leases round-trip through a snapshot."""
    machine.talk("lease 10", "lease 20")
    lines = format_granted(machine.store.leases.copy())
    assert lines == ["lease-57 10", "lease-58 20"]
    assert list(read_granted(lines).granted.items()) == list(machine.store.leases.granted.items())


@pytest.mark.parametrize(
    "lines", [["lease-57"], ["lease-57 x"], ["x 10"], ["lease-57 0"], ["lease-57 10"] * 2, [""]]
)
def test_a_damaged_line_of_a_lease_is_refused(lines: list[str]) -> None:
    with pytest.raises(ValueError, match="the line of a lease"):
        read_granted(lines)


def test_the_time_of_a_lease_is_known_as_long_as_it_is_there(machine: LeaseMachine) -> None:
    machine.talk("lease 10", "setex a 20 1")
    assert [ms_of(machine.store, each) for each in ("lease-57", "own-58-20")] == [10_000, 20_000]
    machine.talk("release lease-57", "delete a")
    assert [ms_of(machine.store, each) for each in ("lease-57", "own-58-20")] == [0, 0]


def test_the_timer_is_notified_of_each_time_that_begins(machine: LeaseMachine) -> None:
    machine.apply("lease 10")
    assert machine.store.leases.started is None
    machine.store.leases.started = []
    machine.talk("lease 10", "setex a 10 1", "incr a", "expire a 10", "under lease-58 set b 1")
    assert machine.store.leases.started == ["lease-58", "own-59-10", "own-61-10"]


# --- the log ------------------------------------------------------------------------------------


def with_entries(*commands: str) -> LogManager:
    """Return a node above the floor that has applied these from entry 11 on."""
    manager = at_entry_10()
    manager.apply(entries(11, 1, *commands))
    return manager


def test_a_snapshot_carries_the_leases_and_their_keys() -> None:
    first = with_entries("lease 10", "under lease-11 set a 1", "setex b 20 2", "lease 30")
    second = with_entries()
    loaded = copied(first.freeze())
    second.arrived(loaded)
    assert loaded.leases == first_leases(first)
    second._load(loaded, second._arrived)
    for manager in (first, second):
        [reply] = manager.apply(entries(50, 1, "release lease-11"))
        assert reply == "RELEASE response: lease-11 released, 1 key deleted"
        assert manager.store.leases.granted == {"lease-14": 30_000}
        manager.apply(entries(51, 1, "expired 1 own-13-20 lease-14"))
        assert not manager.store
        assert manager.store.leases.granted == {}


def test_a_retried_request_about_a_lease_gets_its_first_reply() -> None:
    manager = with_entries()
    long = "x" * 600
    asked = [
        "c#1@lease 10", "c#2@under lease-11 set a 1", f"c#3@under lease-11 set b {long}",
        f"c#4@setex d 10 {long}", "c#5@release lease-11",
    ]  # fmt: skip
    first = manager.apply(entries(11, 1, *asked))
    assert first[0] == "LEASE response: lease-11 for 10 s"
    assert first[2] == f"SET response: b set to {long}"
    assert first[4] == "RELEASE response: lease-11 released, 2 keys deleted"
    assert manager.apply(entries(16, 1, *asked)) == first
    kept = "".join(manager.state.sessions.dump())
    assert kept.count(long) == 0  # a reply that repeats the value is made again
    assert manager.store.leases.granted == {}


def test_the_time_of_a_key_that_a_transaction_sets_begins() -> None:
    manager = with_entries("lease 10")
    manager.store.leases.started = []
    line = "txn setex a 20 1 ; setex b 20 1 ; under lease-11 set c 1 ; expire d 5"
    [reply] = manager.apply(entries(12, 1, line))
    assert reply.startswith("TXN response, then: ")
    assert manager.store.leases.started == ["own-12-20", "own-12-20"]
    assert manager.store.leased == {"own-12-20": {"a", "b"}, "lease-11": {"c"}}
    manager.apply(entries(13, 1, "expire b 20", "expired 1 own-12-20"))
    assert dict(manager.store) == {"b": "1", "c": "1"}


def test_of_a_transaction_that_is_not_done_no_time_begins() -> None:
    manager = with_entries("set n x")
    manager.store.leases.started = []
    [reply] = manager.apply(entries(12, 1, "txn setex a 20 1 ; incr n"))
    assert reply.startswith("Sorry, ")
    assert manager.store.leases.started == []
    assert manager.store.leased == {}
