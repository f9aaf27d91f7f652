"""Pairs that stand still for a reader while they keep changing."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    rule,
)

from raftline.logmanager import LogManager
from raftline.state.commands.key_commands import execute
from raftline.state.pairs import MOVED_MAX, LayeredPairs, StillPairs, free, layered
from raftline.state.sessions import SessionTable
from raftline.state.store import Store
from raftline.storage.snapshot_lines import MachineState
from raftline.wire.key_stat import value_of
from raftline.wire.protocol import escape
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS, entries

KEYS = st.sampled_from(["a", "b", "c", "d", "e"])
COMMANDS = st.one_of(
    st.builds(lambda key, n: f"set {key} {n}", KEYS, st.integers(0, 9)),
    st.builds(lambda key: f"delete {key}", KEYS),
    st.builds(lambda key: f"setnx {key} new", KEYS),
    st.builds(lambda key: f"incr {key}", KEYS),
    st.builds(lambda key: f"append {key} x", KEYS),
)


class StandingStill(RuleBasedStateMachine):
    """Writes, readers that come and go, and slices of moving down, in any order."""

    readers = Bundle("readers")

    @initialize(pairs=st.dictionaries(KEYS, st.just("old")))
    def begin(self, pairs: dict[str, str]) -> None:
        self.expected = dict(pairs)
        self.pairs = LayeredPairs(dict(pairs))

    @rule(command=COMMANDS)
    def write(self, command: str) -> None:
        assert execute(Store(self.pairs), command) == execute(Store(self.expected), command)
        assert len(self.pairs) == len(self.expected)
        assert dict(self.pairs) == self.expected

    @rule(target=readers)
    def hold(self) -> tuple[StillPairs, dict[str, str]]:
        return self.pairs.hold(), dict(self.expected)

    @rule(reader=readers)
    def read(self, reader: tuple[StillPairs, dict[str, str]]) -> None:
        still, then = reader
        assert dict(still.items()) == then
        assert sorted(still) == sorted(then)
        assert len(still) == len(then)
        for key in "abcde":
            assert still.get(key) == then.get(key)

    @rule(reader=consumes(readers))
    def release(self, reader: tuple[StillPairs, dict[str, str]]) -> None:
        self.read(reader)
        self.pairs.release()

    @rule()
    def move_down(self) -> None:
        if not self.pairs.move_down() and not self.pairs.readers:
            assert self.pairs.base == self.expected


TestStandingStill = StandingStill.TestCase


@given(
    before=st.lists(COMMANDS, max_size=8),
    during=st.lists(st.lists(COMMANDS, max_size=4), max_size=4),
    after=st.lists(st.lists(COMMANDS, max_size=4), max_size=4),
)
def test_a_snapshot_is_the_state_at_its_entry_under_later_writes(
    before: list[str], during: list[list[str]], after: list[list[str]]
) -> None:
    """Writes come between any two pieces that the snapshot thread reads, and between any two steps
    that move changes down."""
    manager, plain = LogManager("s1", MemoryFolder(), MEMBERS), dict[str, str]()
    manager.recover()

    def write(commands: list[str]) -> None:
        first = manager.applied.index + 1
        replies = manager.apply(entries(first, 1, *commands))
        assert replies == [execute(Store(plain), command) for command in commands]

    def pause() -> None:
        waiting = during if during else after
        if waiting:
            write(waiting.pop())

    write(before)
    then, index = dict(Store(plain)), manager.applied.index
    state = manager.freeze()
    pause()
    read: dict[str, str] = {}
    for key, value in state.pairs.items():
        read[key] = value_of(value)
        pause()
    assert (read, state.index) == (then, index)
    state.release(pause)
    assert manager.store == dict(Store(plain))
    assert isinstance(manager.store.held, dict)


def test_changes_are_moved_down_a_few_at_a_time() -> None:
    pairs = LayeredPairs({})
    pairs.hold()
    for number in range(2 * MOVED_MAX + 5):
        pairs[f"k{number}"] = "v"
    assert not pairs.move_down()
    assert pairs.base == {}
    pairs.release()
    assert pairs.move_down()
    assert len(pairs.base) == MOVED_MAX
    pairs["k0"] = "w"  # goes past what is still above
    del pairs["k1"]
    assert pairs.move_down()
    assert not pairs.move_down()
    assert (len(pairs.base), pairs.base["k0"]) == (2 * MOVED_MAX + 4, "w")


@pytest.mark.pure  # compiled code puts pairs past the methods of a dict of ours
def test_lockless_scan_finds_each_key_while_changes_move_down() -> None:
    """A scan without the lock finds every key while changes move down."""

    class Base(dict[str, str]):
        def __setitem__(self, key: str, value: str) -> None:
            seen.append((key, key in pairs))
            super().__setitem__(key, value)

        def pop(self, key: str, *default: object) -> str:
            seen.append((key, key in pairs))
            return super().pop(key)

    seen: list[tuple[str, bool]] = []
    pairs = LayeredPairs(Base({"gone": "v"}))
    pairs.hold()
    pairs["kept"] = "v"
    del pairs["gone"]
    pairs.release()
    assert not pairs.move_down()
    assert sorted(seen) == [("gone", False), ("kept", True)]
    assert dict(pairs) == {"kept": "v"}


def values_in(state: MachineState) -> dict[str, str]:
    """Return the pairs of a frozen state without their facts."""
    return {key: value_of(text) for key, text in state.pairs.items()}


def test_two_readers_see_two_moments_and_the_last_one_clears_up() -> None:
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    manager.apply(entries(1, 1, "set a 1", "set b 1"))
    first = manager.freeze()
    manager.apply(entries(3, 1, "set a 2", "delete b"))
    second = manager.freeze()
    manager.apply(entries(5, 1, "set a 3"))
    assert (values_in(first), first.index) == ({"a": "1", "b": "1"}, 2)
    assert (values_in(second), second.index) == ({"a": "2"}, 4)
    first.release(pytest.fail)
    assert isinstance(manager.store.held, LayeredPairs)
    second.release(pytest.fail)
    assert manager.store == {"a": "3"}
    assert isinstance(manager.store.held, dict)


def shown(manager: LogManager) -> list[bytes]:
    """Return all keys, page by page."""
    keys: list[bytes] = []
    command = "show"
    while command:
        [reply] = manager.read([command])
        page, _, command = reply.removeprefix("SHOW response: ").partition(" more: ")
        keys += [key.encode("utf-8", "surrogateescape") for key in json.loads(page)]
    return keys


def test_keys_are_shown_in_the_order_of_their_bytes() -> None:
    packed = [struct.pack(">H", n) for n in (*range(1, 0x10000, 37), 0xC3A9, 0xE000, 0xDC80)]
    texts = [b"a", b"ab", "é".encode(), "\ue000".encode(), "\U0001f600".encode()]
    keys = sorted({*packed, *texts})
    lines = [f"set {escape(key.decode('utf-8', 'surrogateescape'), key=True)} x" for key in keys]
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    manager.apply(entries(1, 1, *reversed(lines)))
    assert shown(manager) == keys


def test_a_show_amid_a_snapshot_gives_the_current_state() -> None:
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    manager.apply(entries(1, 1, "set a 1", "set b 1"))
    manager.freeze()
    manager.apply(entries(3, 1, "set c 3", "delete b"))
    assert manager.read(["show", "get b", "get c"]) == [
        'SHOW response: {"a": "1", "c": "3"}',
        "GET response, no such key: b",
        "GET response: 3",
    ]


def test_pairs_are_freed_after_their_last_reader() -> None:
    pairs = layered({"a": "1"})
    pairs.hold()
    base = pairs.base
    for _ in free(pairs):
        if pairs.readers:
            assert base == {"a": "1"}
            pairs.release()
    assert base == {}


@given(
    before=st.lists(st.tuples(st.sampled_from("stu"), st.integers(0, 300)), max_size=20),
    during=st.lists(st.tuples(st.sampled_from("stuv"), st.integers(0, 300)), max_size=40),
)
def test_session_table_is_dumped_as_of_one_moment(
    before: list[tuple[str, int]], during: list[tuple[str, int]]
) -> None:
    """Changes during the dump of a session table do not show in it."""

    def request(name: str, number: int) -> None:
        for sessions in (table, twin):
            if sessions.earlier_reply(name, number, f"set a {number}") is None:
                sessions.remember(name, number, f"set a {number}", f"reply {number}")

    table, twin = SessionTable(), SessionTable()
    for name, number in before:
        request(name, number)
    then = list(twin.dump())
    dumped = table.dump()
    lines = iter(dumped)
    read = []
    for name, number in during:
        request(name, number)
        read += [line for line in [next(lines, None)] if line is not None]
    assert [*read, *lines] == then
    assert len(dumped) == len(then)
    assert list(table.dump()) == list(twin.dump())
