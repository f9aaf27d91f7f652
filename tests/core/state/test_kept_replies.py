"""Replies that sessions keep: bounded in bytes, and nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.state import sessions
from raftline.state.sessions import KEY_MARK, LATEST, NO_LONGER_KEPT, WINDOW, SessionTable, size_of
from raftline.wire.limits import LONG_REPLIES_BYTES, SHORT_REPLY_BYTES, VALUE_BYTES
from raftline.wire.refusal import DONE_ONCE
from tests.core.state.machine import Machine as Executor

SMILES = "\U0001f600" * (VALUE_BYTES // 8)  # three times as long in the JSON of a reply


class Machine(Executor):
    """One with the replies that it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.do("cluster 9f86d081884c7d65 level 1")

    @property
    def sessions(self) -> SessionTable:
        return self.manager.state.sessions

    def counted_bytes(self) -> tuple[int, int]:
        """Return the bytes of long and short replies, as the sessions count them."""
        return self.sessions._long_bytes, self.sessions._short_bytes

    def kept(self) -> list[str]:
        """Return all replies that are kept."""
        return [reply for reply in kept(self.sessions.dump()) if reply != NO_LONGER_KEPT]

    def start_again(self) -> None:
        """Go on as a node does whose log begins after a snapshot of this."""
        self.manager.state.sessions = SessionTable.load(self.sessions.dump())


def kept(lines: Iterable[str]) -> list[str]:
    tables = [json.loads(line) for line in lines]
    return [each[2] for table in tables if isinstance(table, list) for each in table[2]]


def is_long(reply: str) -> bool:
    return size_of(reply) > SHORT_REPLY_BYTES


def test_few_requests_do_not_fill_the_memory_of_every_node() -> None:
    """Otherwise, ten requests of 30 bytes would leave replies of 16 MB in every node for good."""
    machine = Machine()
    machine.do(f"set k {SMILES}")
    first = [machine.do(f"x{number}#1@txn get k ; incr n") for number in range(10)]
    assert sum(map(size_of, first)) > 1.5 * LONG_REPLIES_BYTES
    assert 0.5 * LONG_REPLIES_BYTES < sum(map(size_of, machine.kept())) <= LONG_REPLIES_BYTES
    again = [machine.do(f"x{number}#1@txn get k ; incr n") for number in range(10)]
    assert again == [DONE_ONCE] * 5 + first[5:]  # the oldest went first
    assert machine.do("get n") == "GET response: 10"  # nothing was done twice


def test_a_session_in_use_keeps_its_long_reply_longer() -> None:
    machine = Machine()
    machine.do(f"set k {SMILES}")
    first = [machine.do(f"x{number}#1@txn get k") for number in range(5)]
    assert machine.do("x0#1@txn get k") == first[0]  # it is the latest now
    machine.do("x5#1@txn get k")
    assert machine.do("x0#1@txn get k") == first[0]
    assert machine.do("x1#1@txn get k") == DONE_ONCE


def test_short_replies_outlive_the_long_ones_of_others() -> None:
    machine = Machine()
    machine.do(f"set k {SMILES}")
    assert machine.do("mine#1@incr n") == "INCR response: 1"
    for number in range(8):
        machine.do(f"x{number}#1@txn get k")
    assert machine.do("mine#1@incr n") == "INCR response: 1"


def test_a_reply_is_long_by_its_bytes_where_its_key_is() -> None:
    machine, key = Machine(), "ä" * 400
    machine.do(f"set {key} 1")
    refused = machine.do(f"c#1@setnx {key} 2")
    assert refused == f"SETNX response, key exists: {key}"
    assert machine.kept() == [f"SETNX response, key exists: {KEY_MARK}"]
    assert machine.do(f"c#1@setnx {key} 2") == refused


def test_snapshot_begun_before_a_reply_was_dropped_holds_it() -> None:
    """A snapshot that began before a reply was dropped still contains it."""
    machine = Machine()
    machine.do(f"set k {SMILES}")
    for number in range(5):
        machine.do(f"x{number}#1@txn get k")
    begun = machine.sessions.dump()
    for number in range(5, 8):
        machine.do(f"x{number}#1@txn get k")
    assert sum(map(is_long, kept(begun))) == 5
    assert machine.do("x0#1@txn get k") == DONE_ONCE


@pytest.mark.pure  # a constant of a compiled module can't be replaced
def test_short_replies_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SHORT_REPLIES_BYTES", 1000)
    machine = Machine()
    asked = [f"x{number}#{n}@incr n" for number in range(10) for n in range(10)]
    first = [machine.do(command) for command in asked]
    assert sum(map(size_of, machine.kept())) <= 1000
    again = [machine.do(command) for command in asked]
    dropped = again.count(DONE_ONCE)
    assert 0 < dropped < 60
    assert again == [DONE_ONCE] * dropped + first[dropped:]
    assert machine.do("get n") == "GET response: 100"


@pytest.mark.pure
def test_all_sessions_together_know_a_bounded_number_of_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "REMEMBERED_REQUESTS", 64)
    machine = Machine()
    asked = [f"{client}#{number}@incr n" for client in "ab" for number in range(1, 41)]
    first = [machine.do(command) for command in asked]
    again = [machine.do(command) for command in asked]
    refused = [reply for reply in again if reply.startswith("Sorry, session expired: ")]
    assert again == refused + first[len(refused) :]
    assert len(refused) == 40 - LATEST
    assert [machine.do("a#41@incr n") for _ in range(2)] == ["INCR response: 81"] * 2


@pytest.mark.pure
def test_what_a_dropped_session_kept_counts_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SHORT_REPLIES_BYTES", 1000)
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 2)
    machine = Machine()
    machine.do(f"set k {'v' * 300}")
    names = []
    for _ in range(10):
        names.append(machine.do("c@session").removeprefix("SESSION response: "))
        first = machine.do(f"{names[-1]}#1@txn get k")
        again = [machine.do(f"{name}#1@txn get k") for name in names[-2:]]
        assert again == [first] * len(again)


@pytest.mark.pure
def test_session_with_forgotten_requests_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session continues even if its requests are forgotten again and again."""
    monkeypatch.setattr(sessions, "REMEMBERED_REQUESTS", 32)
    machine = Machine()
    for number in range(1, 301):
        client = "a" if number % 20 < 10 else f"b{number % 3}"
        replies = [machine.do(f"{client}#{number}@incr n") for _ in range(2)]
        assert replies == [f"INCR response: {number}"] * 2
        assert len(kept(machine.sessions.dump())) <= 32


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abcd"), st.integers(0, 2 * WINDOW + 40), st.sampled_from([0, 1, 300, 700])
    ),
    max_size=20,
)


@pytest.mark.pure
@given(STEPS, STEPS)
def test_nodes_drop_alike_with_and_without_a_snapshot(
    before: list[tuple[str, int, int]], after: list[tuple[str, int, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "LONG_REPLIES_BYTES", 2000)
        patch.setattr(sessions, "SHORT_REPLIES_BYTES", 700)
        patch.setattr(sessions, "SESSIONS_MAX", 3)
        patch.setattr(sessions, "REMEMBERED_REQUESTS", 24)
        one, other = Machine(), Machine()
        for machine in (one, other):
            for length in (0, 1, 300, 700):
                machine.do(f"set v{length} {'v' * length}")
            for client, number, length in before:
                machine.do(f"{client}#{number}@txn get v{length}")
        other.start_again()
        for client, number, length in after:
            command = f"{client}#{number}@txn get v{length}"
            assert one.do(command) == other.do(command)
            assert list(one.sessions.dump()) == list(other.sessions.dump())
        for machine in (one, other):  # after a write all is within the bounds
            name = machine.do("z@session").removeprefix("SESSION response: ")
            assert machine.do(f"{name}#1@incr n") == "INCR response: 1"
            assert sum(size_of(each) for each in machine.kept() if is_long(each)) <= 2000
            assert sum(size_of(each) for each in machine.kept() if not is_long(each)) <= 700
            assert len(kept(machine.sessions.dump())) <= 24


def test_a_line_of_a_reply_that_was_dropped_is_read_back() -> None:
    machine = Machine()
    machine.do(f"set k {SMILES}")
    for number in range(6):
        machine.do(f"x{number}#1@txn get k")
    machine.start_again()
    assert machine.do("x0#1@txn get k") == DONE_ONCE


def test_a_session_that_is_given_back_takes_its_replies_along() -> None:
    machine = Machine()
    name = machine.do("client4@session").removeprefix("SESSION response: ")
    machine.do("other#1@incr n")
    _, left = machine.counted_bytes()
    machine.do(f"set k {'v' * 1000}")
    machine.do(f"{name}#2@txn get k")
    machine.do(f"{name}#3@incr n")
    assert machine.counted_bytes()[0] > 1000
    machine.do(f"{name}@forget")
    assert machine.counted_bytes() == (0, left)
    assert [is_long(reply) for reply in machine.kept()] == [False]
