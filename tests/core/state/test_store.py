"""The Store: what commands see and change, the facts of keys, and events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from raftline.logmanager import LogManager, parts_of
from raftline.raft.log import Entry
from raftline.raft.membership import all_vote
from raftline.state import store as store_module
from raftline.state import store as the_store
from raftline.state.commands.key_commands import execute
from raftline.state.key_events import KeyEvent
from raftline.state.key_index import RUN_KEYS
from raftline.state.lease_table import Leases
from raftline.state.pairs import layered
from raftline.state.sessions import EPOCH_NUMBERS, EPOCH_TERMS
from raftline.state.store import PAUSE_KEYS, Store, sizes_of
from raftline.storage.snapshot_lines import (
    MachineState,
    format_snapshot,
)
from raftline.wire.key_stat import KeyFacts, read_key_line
from raftline_testing.files.node_files import MEMBERS, entries
from tests.core.state.machine import at_entry_10, copied

KEYS = st.sampled_from(["a", "b", "c", "d"])
COMMANDS = st.one_of(
    st.builds(lambda key, n: f"set {key} {n}", KEYS, st.integers(0, 3)),
    st.builds(lambda key: f"delete {key}", KEYS),
    st.builds(lambda key: f"setnx {key} new", KEYS),
    st.builds(lambda key, n: f"cas {key} {n} old", KEYS, st.integers(0, 3)),
    st.builds(lambda key: f"incr {key}", KEYS),
    st.builds(lambda key: f"append {key} x", KEYS),
    st.builds(lambda key: f"get {key}", KEYS),
)


def facts(manager: LogManager) -> dict[str, KeyFacts]:
    found = {key: manager.store.facts(key) for key in manager.store}
    return {key: each for key, each in found.items() if each is not None}


def events(manager: LogManager) -> list[tuple[object, ...]]:
    taken = manager.take_events()
    assert taken.lost_up_to == 0
    return [tuple(event) for event in taken.events]


def test_the_number_of_a_change_holds_the_epoch() -> None:
    manager = at_entry_10()
    manager.apply([Entry(11, 2 * EPOCH_TERMS + 5, "set a 1")])
    assert facts(manager) == {"a": KeyFacts(2 * EPOCH_NUMBERS + 11)}


def test_each_change_is_an_event_and_nothing_else_is() -> None:
    manager = at_entry_10("set a 1")
    commands = (
        "set a 5", "cas a 4 6", "cas a 5 6", "setnx a 7", "setnx b two words", "incr a",
        "append b !", "delete b", "delete b", "get a", "incr b x", "append a",
    )  # fmt: skip
    manager.apply(entries(11, 1, *commands))
    assert events(manager) == [
        (11, "set", "a", "5"),
        (13, "set", "a", "6"),
        (15, "set", "b", "two words"),
        (16, "set", "a", "7"),
        (17, "set", "b", "two words!"),
        (18, "delete", "b", ""),
    ]
    assert events(manager) == []
    assert facts(manager) == {"a": KeyFacts(16)}


def test_a_retry_is_not_an_event() -> None:
    manager = at_entry_10()
    replies = manager.apply(entries(11, 1, "client4#1@incr a", "client4#1@incr a"))
    assert replies == ["INCR response: 1"] * 2
    assert events(manager) == [(11, "set", "a", "1")]


def test_events_of_sets_applied_together_are_in_log_order() -> None:
    """Sets are recorded without parsing them; the commands of other entries are recorded one by
    one."""
    manager = at_entry_10()
    group = ("set a 1", "noop", "set b x y", "set c 2", "delete a", "set", "c#5@set d 3", "set e 4")
    manager.apply(entries(11, 1, *group))
    manager.apply(entries(19, 1, "set f 5"))
    assert events(manager) == [
        (11, "set", "a", "1"),
        (13, "set", "b", "x y"),
        (14, "set", "c", "2"),
        (15, "delete", "a", ""),
        (17, "set", "d", "3"),
        (18, "set", "e", "4"),
        (19, "set", "f", "5"),
    ]


def test_events_of_sets_after_recovery_number_in_their_epoch() -> None:
    """After a recovery, the events of sets have the numbers of their epoch."""
    manager = at_entry_10()
    older = entries(11, 1, "set a 1", "set b 2")
    manager.apply([*older, *entries(13, EPOCH_TERMS + 1, "set c 3", "set d 4")])
    numbers = [number for number, *_ in events(manager)]
    assert numbers == [11, 12, EPOCH_NUMBERS + 13, EPOCH_NUMBERS + 14]


def test_where_nobody_waits_the_reply_to_a_set_is_not_made() -> None:
    manager = at_entry_10()
    group = entries(11, 1, "set a 1", "incr a", "c@session", "c#12@set a 3", "c#12@set a 3")
    replies = manager.apply(group, answers=False)
    assert replies[0] == ""
    assert replies[3] == replies[4] == "SET response: a set to 3"
    assert events(manager)[-1] == (14, "set", "a", "3")


def test_nothing_is_noted_where_nobody_takes_events() -> None:
    manager = at_entry_10()
    manager.store.notes_events = False
    manager.apply(entries(11, 1, "set a 1", "delete a"))
    assert events(manager) == []


@pytest.mark.pure  # a constant of a compiled module can't be replaced
@pytest.mark.parametrize("limit", ["APPLIED_EVENTS", "APPLIED_CHARACTERS"])
def test_events_that_nobody_takes_are_bounded(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = at_entry_10()
    monkeypatch.setattr(the_store, limit, 4 if limit == "APPLIED_EVENTS" else 3)
    manager.apply(entries(11, 1, *(f"set k{number} {number % 10}" for number in range(5))))
    taken = manager.take_events()
    assert taken.lost_up_to > 11
    assert [number for number, *_ in taken.events] == list(range(taken.lost_up_to + 1, 16))
    assert events(manager) == []


@pytest.mark.pure
def test_of_one_entry_all_events_are_given_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = at_entry_10()
    for number in range(6):
        manager.store.put_under("lease-1", f"k{number}", "v")
    manager.take_events()
    monkeypatch.setattr(the_store, "APPLIED_EVENTS", 4)
    manager.store.number = 20
    manager.store.expire("lease-1")
    assert manager.take_events() == ([], 20, [])


@pytest.mark.parametrize("command", ["clear k", "expired 1 lease-1", "release lease-1"])
def test_the_removal_of_many_keys_pauses_between_its_parts(command: str) -> None:
    """Machine code lets other threads run only in a pause; without one, heartbeats would be
    late."""
    store, left = Store(is_at_floor=False), list[int]()
    store.leases.granted["lease-1"] = 5
    for number in range(2 * PAUSE_KEYS + 1):
        store.put_under("lease-1", f"k{number}", "v")
    store.number, store.term = 20, 1
    store.pause = lambda: left.append(len(store))
    execute(store, command)
    assert (left[-2:], len(store)) == ([PAUSE_KEYS + 1, 1], 0)


def test_a_transaction_on_many_keys_pauses_between_its_parts() -> None:
    count, pauses = 2 * RUN_KEYS + 1, 0
    store = Store({f"k{number}": "v" for number in range(count)}, is_at_floor=False)

    def pause() -> None:
        nonlocal pauses
        pauses += 1

    store.pause = pause
    execute(store, "txn if k has keys ; l has none then get k1")
    assert pauses == 2  # while the keys are sorted
    execute(store, "txn clear k")
    parts = count // PAUSE_KEYS
    assert (pauses, len(store)) == (2 + 1 + 2 * parts, 0)  # a look, the removals, and the end


def test_whole_write_detaches_a_lease_and_an_addition_does_not() -> None:
    """A write of the whole value detaches a key from its lease; an addition does not."""
    manager = at_entry_10("set free 1")
    store = manager.store
    for key in "abcde":
        store.put_under("lease-7", key, "1")
    manager.apply(entries(11, 1, "set a 2", "cas b 1 2", "incr c", "append d 2", "delete e"))
    assert [store.lease_of(key) for key in "abcde"] == ["", "", "lease-7", "lease-7", ""]
    assert store.leased == {"lease-7": {"c", "d"}}
    assert store.expire("lease-7") == ["c", "d"]
    assert dict(store) == {"free": "1", "a": "2", "b": "2"}
    expired = [event[1:] for event in events(manager)[-2:]]
    assert expired == [("expire", "c", ""), ("expire", "d", "")]
    assert store.leased == {}
    assert store.expire("lease-7") == []


def test_keys_expire_in_one_order_on_every_node() -> None:
    store = at_entry_10().store
    keys = [f"key{number:02}" for number in range(20)]
    for key in reversed(keys):
        store.put_under("lease-7", key, "1")
    assert store.expire("lease-7") == keys


def test_a_key_moves_from_one_lease_to_another_and_out_of_it() -> None:
    store = at_entry_10().store
    store.put_under("lease-7", "a", "1")
    store.put_under("lease-8", "a", "2")
    assert store.leased == {"lease-8": {"a"}}
    store.put_under("", "a", "2")
    assert (store.leased, store.lease_of("a")) == ({}, "")


def test_a_snapshot_carries_the_facts() -> None:
    manager = at_entry_10("set a 4", "set b 30")
    manager.store.number = 12
    manager.store.put_under("lease-7", "b", "two  words ")
    manager.apply(entries(13, 1, "set empty "))
    state = manager.freeze()
    places = "s1=localhost:10000 s2=localhost:10001 s3=localhost:10002"
    assert b"".join(format_snapshot(state)).decode().split("\n")[:-2] == [
        f"13 1 snapshot cluster 9f86d081884c7d65 level 1 sum {state.chain:08x} {places}",
        "sessions 1",
        '{"forgotten": false}',
        "leases 0",
        "keys 3",
        "8 a 4",
        "12,lease-7 b two  words ",
        "13 empty ",
    ]


def test_snapshot_brings_keys_and_ends_earlier_events() -> None:
    """After a snapshot is installed, its keys are known and earlier events are gone."""
    first = at_entry_10("set a 4", "set b 30")
    first.store.put_under("lease-7", "b", "31")
    first.apply(entries(11, 1, "set c 5"))
    second = at_entry_10("set x 1")
    second.apply(entries(11, 1, "set y 1"))
    loaded = copied(first.freeze())
    second._load(loaded, parts_of(loaded))
    assert facts(second) == facts(first)
    assert dict(second.store) == dict(first.store) == {"a": "4", "b": "31", "c": "5"}
    assert second.store.leased == {"lease-7": {"b"}}
    assert second.take_events() == ([], 11, [])
    second.apply(entries(12, 1, "set c 6"))
    assert events(second) == [(12, "set", "c", "6")]


@pytest.mark.parametrize("facts", ["a", "-1", "07", "9,,", "9,lease\u00e9", "9" * 19])
def test_a_line_of_a_key_without_its_facts_is_refused(facts: str) -> None:
    with pytest.raises(ValueError, match="does not begin with the entry that changed it"):
        read_key_line(f"{facts} a 4")


def test_show_and_get_give_the_value_while_a_snapshot_is_taken() -> None:
    """While a snapshot is taken, `show` and `get` return the value without its metadata."""
    manager = at_entry_10("set a 1")
    manager.freeze()
    manager.apply(entries(11, 1, "set b two words"))
    assert manager.read(["show", "get a", "get b", "get c"]) == [
        'SHOW response: {"a": "1", "b": "two words"}',
        "GET response: 1",
        "GET response: two words",
        "GET response, no such key: c",
    ]


def on_a_dict(pairs: dict[str, str], command: str) -> str:
    """Execute a command on plain pairs."""
    store = Store(dict(pairs))
    reply = execute(store, command)
    pairs.clear()
    pairs.update(store)
    return reply


class OneMeaning(RuleBasedStateMachine):
    """Commands act on a Store as on a dict, over a plain dict or one that stands still, and an
    event tells each change."""

    @initialize(commands=st.lists(COMMANDS, max_size=5))
    def begin(self, commands: list[str]) -> None:
        self.plain: dict[str, str] = {}
        self.store = Store(is_at_floor=False)
        self.store.number = 5
        for command in commands:
            execute(self.store, command)
            on_a_dict(self.plain, command)
        self.store.notes_events = True
        self.changed = dict.fromkeys(self.plain, 5)

    @rule(command=COMMANDS, user=st.sampled_from(["", "ann", "bob"]))
    def write(self, command: str, user: str) -> None:
        self.store.number += 1
        self.store.user = user
        before = dict(self.plain)
        assert execute(self.store, command) == on_a_dict(self.plain, command)
        events = self.store.take_events().events
        for number, kind, key, value in events:
            assert number == self.store.number
            assert kind == ("set" if key in self.plain else "delete")
            assert value == self.plain.get(key, "")
            self.changed[key] = number
        if self.plain != before:
            assert len(events) == 1

    @rule(lease=st.sampled_from(["lease-1", "lease-2", ""]), key=KEYS)
    def bind(self, lease: str, key: str) -> None:
        self.store.number += 1
        self.store.put_under(lease, key, "1")
        self.plain[key], self.changed[key] = "1", self.store.number
        assert self.store.take_events().events == [KeyEvent(self.store.number, "set", key, "1")]

    @rule(lease=st.sampled_from(["lease-1", "lease-2"]))
    def expire(self, lease: str) -> None:
        self.store.number += 1
        for key in self.store.expire(lease):
            del self.plain[key]
        assert all(kind == "expire" for _, kind, *_ in self.store.take_events().events)

    @rule()
    def stand_still(self) -> None:
        self.store.held = above = layered(self.store.held)
        above.hold()

    @rule()
    def write_a_snapshot(self) -> None:
        store = self.store
        members, held = all_vote(MEMBERS), dict(store.held)
        state = MachineState(9, 1, members, [], held, cluster="9f86d081884c7d65")
        loaded = copied(state)
        assert loaded.leased == store.leased
        fresh = Store()
        fresh.replace(loaded.pairs, Leases(), loaded.leased, 0)
        assert {key: fresh.facts(key) for key in fresh} == {key: store.facts(key) for key in store}

    @invariant()
    def is_one(self) -> None:
        size, accounts = sizes_of(self.store.held)
        assert (size, accounts.bytes) == (self.store.pair_bytes, self.store.accounts.bytes)
        assert dict(self.store) == self.plain
        assert len(self.store) == len(self.plain)
        for key in self.plain:
            facts = self.store.facts(key)
            assert facts is not None
            assert facts.changed == self.changed[key]
            assert (key in self.store.leased.get(facts.lease, ())) == bool(facts.lease)
        assert sum(map(len, self.store.leased.values())) <= len(self.plain)
        for lease in ("lease-1", "lease-2"):
            found = self.store.keys_of(lease)
            assert len(found) == len(self.store.leased.get(lease, ()))
            assert found.are_held(tuple(self.store.leased.get(lease, ())))


@pytest.fixture(autouse=True)
def short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "LISTED_LEAST", 1)


TestOneMeaning = OneMeaning.TestCase


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.integers(1, 2**63 - 1))
def test_any_value_comes_back_as_it_was(value: str, number: int) -> None:
    store = Store(is_at_floor=False)
    store.number = number
    store["k"] = value
    assert (store["k"], store.facts("k")) == (value, KeyFacts(number))
    store.put_under("lease-3", "k", value)
    assert (store["k"], store.facts("k")) == (value, KeyFacts(number, "lease-3"))
