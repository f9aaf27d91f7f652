"""The objects of a transaction: each is parsed once and encoded once, and all of it has a bound."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import strategies as st

from raftline.logmanager import LogManager
from raftline.objects import command_effects
from raftline.objects.object_kinds import OPERATIONS, ConditionFailed
from raftline.state.store import Store
from raftline.wire.commands.command_table import read_request
from raftline.wire.limits import REWORK_BYTES, VALUE_BYTES
from raftline.wire.operands.operands import Limits
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS, entries


class Machine:
    """A state machine that executes requests one after the other, as committed entries."""

    def __init__(self) -> None:
        self.manager = LogManager("s1", MemoryFolder(), MEMBERS)
        self.manager.apply(entries(1, 1, "cluster 9f86d081884c7d65 level 1"))
        self.manager.store.notes_events = True

    def ask(self, line: str) -> str:
        command = read_request("c", "", line, Limits()).command
        return self.manager.apply(entries(self.manager.applied.index + 1, 1, command))[0]


class Counted:
    """Counts how often JSON is parsed and encoded under a key."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.read = self.kept = 0
        read_json, keep = command_effects.read_json, Store.keep

        def reading(*given: object) -> object:
            self.read += 1
            return read_json(*given)  # type: ignore[arg-type]

        def keeping(*given: object) -> None:
            self.kept += 1
            keep(*given)  # type: ignore[arg-type]

        patch.setattr(command_effects, "read_json", reading)
        patch.setattr(Store, "keep", keeping)


@pytest.mark.pure  # a function of a compiled module can't be replaced
def test_a_transaction_parses_and_encodes_an_object_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of 3 KB with 128 operations kept a cluster without a leader for a minute."""
    machine = Machine()
    machine.ask("object o list.extend [1, 1, 1]")
    counted = Counted(monkeypatch)
    reply = machine.ask("txn " + " ; ".join(["object o list.put 0 2"] * 128))
    assert reply.startswith("TXN response, then: ")
    assert (counted.read, counted.kept) == (1, 1)
    assert machine.ask("get o") == "GET response: [2, 1, 1]"


@pytest.mark.pure
def test_what_else_asks_for_the_key_finds_the_object_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine()
    machine.ask("object o list.append 1")
    counted = Counted(monkeypatch)
    reply = machine.ask(
        "txn object o list.append 2 ; object p list.append 3 ; get o ; object o list.append 4 ; "
        "append o x ; get o ; delete p ; get p ; object p list.append 5"
    )
    assert json.loads(reply.partition(": ")[2]) == [
        "null",
        "null",
        "[1, 2]",
        "null",
        "o has 10 bytes",
        "[1, 2, 4]x",
        "p deleted",
        None,
        "null",
    ]
    assert counted.read == 4
    assert machine.ask("get p") == "GET response: [5]"


def test_a_clear_finds_the_objects_as_they_are() -> None:
    machine = Machine()
    machine.ask("object g/o list.append 1")
    reply = machine.ask(
        "txn object g/o list.append 2 ; object g/p list.append 3 ; clear g/ ; "
        "object g/o list.append 4"
    )
    assert json.loads(reply.partition(": ")[2]) == ["null", "null", "2 keys deleted", "null"]
    assert dict(machine.manager.store) == {"g/o": "[4]"}
    machine.ask("txn object g/o list.append 5 ; clear g/")
    assert dict(machine.manager.store) == {}


def test_operations_of_two_kinds_look_at_the_object_again() -> None:
    machine = Machine()
    assert machine.ask("txn object o list.append [1] ; object o queue.put 2").startswith("TXN")
    refused = machine.ask("txn object o list.append 3 ; object o set.add 4")
    assert "operation 2, object o set.add 4, can't be done: o holds no set" in refused
    assert machine.ask("get o") == "GET response: [[1], 2]"


def test_undone_operation_leaves_an_absent_key_absent() -> None:
    """An operation that was not done leaves an absent key absent."""
    machine = Machine()
    reply = machine.ask('txn object o dict.take "a" ; object o list.append 1 ; get o')
    assert reply == 'TXN response, then: ["not done: no such item", "null", "[1]"]'


def test_object_too_long_at_the_end_undoes_the_transaction() -> None:
    """An object that is too long in the end undoes the transaction."""
    machine, half = Machine(), "v" * (VALUE_BYTES // 2)
    for line in (
        f'txn set a 1 ; object o list.append "{half}" ; object o list.append "{half}"',
        f'txn set a 1 ; object o list.append "{half}" ; object o list.append "{half}" ; get o',
    ):
        refused = machine.ask(line)
        assert refused.startswith(
            "Sorry, o would have 1048584 bytes as JSON; the limit is 1048576."
        )
        assert refused.endswith(". Nothing was done.")
    assert dict(machine.manager.store) == {}
    fits = f'txn object o list.append "{half}" ; object o list.append "{half}" ; object o list.take'
    assert machine.ask(fits).startswith("TXN response, then: ")


FULL = f'["{"v" * (VALUE_BYTES - 10)}", 1]'
TWICE = "object o list.put 1 2 ; object p list.put 1 2"


@pytest.mark.parametrize(
    ("operations", "fits"),
    [
        (TWICE.partition(" ; ")[0], True),
        (TWICE, True),
        (f"{TWICE} ; object q list.put 1 2", False),
        (" ; ".join(["object o list.put 1 2"] * 32), True),
        (" ; ".join(["object o list.put 1 2"] * 36), False),
        ("append o x", True),
        ("append o x ; append p x", True),
        ("append o x ; append p x ; append q x", False),
        (" ; ".join(["stat o"] * 4), True),
        (" ; ".join(["stat o"] * 5), False),
        (f"{TWICE} ; get o ; object o list.put 1 3", False),
        (" ; ".join(["set a 1"] * 127), True),
    ],
)  # fmt: skip
def test_what_a_transaction_reads_and_rewrites_is_bounded(operations: str, fits: bool) -> None:
    """Four values of 1 MiB, each a little shorter here, are read or written at most."""
    machine = Machine()
    for key in "opq":
        machine.ask(f"set {key} {FULL}")
    held = dict(machine.manager.store.held)
    machine.manager.take_events()
    reply = machine.ask(f"txn set z 1 ; {operations}")
    if fits:
        assert reply.startswith("TXN response, then: ")
    else:
        assert f" read and rewrite more than {REWORK_BYTES} bytes of values; do less" in reply
        assert dict(machine.manager.store.held) == held
        assert machine.manager.take_events().events == []


@pytest.mark.pure
def test_nothing_is_read_after_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    for number in range(10):
        machine.ask(f"set o{number} {FULL}")
    counted = Counted(monkeypatch)
    refused = machine.ask(
        "txn " + " ; ".join(f"object o{number} list.put 1 2" for number in range(10))
    )
    assert "the first 5 operations read and rewrite more than" in refused
    assert (counted.read, counted.kept) == (5, 0)


def test_one_operation_alone_is_always_within_the_bound() -> None:
    machine = Machine()
    for key in "ab":
        machine.ask(f"set {key} {FULL}")
    assert machine.ask("object a list.put 1 2") == "OBJECT response: null"
    assert machine.ask("append b x").startswith("APPEND response")
    assert machine.manager.store.reworked > 0.99 * REWORK_BYTES


OPERATION = st.sampled_from(
    [
        "list.append 1",
        "list.append [2]",
        "list.put 0 3",
        "list.take",
        "list.take 0",
        "list.remove 1",
        "list.insert 1 4",
        "list.splice [0,2,2] [1]",
        "list.reverse",
        "set.add 1",
        "set.discard 1",
        "set.union [1,5]",
        "set.take",
        "queue.put 6 3",
        "queue.take",
        'dict.put "a" 1',
        'dict.take "a"',
        'dict.swap "a" 1 2',
        "dict.takelast",
        'lock.acquire "me" 9',
        'lock.release "me" 7',
        'lock.seize "you" 9 7 0',
    ]
)
STEP = st.one_of(
    st.builds(lambda key, act: f"object {key} {act}", st.sampled_from("ab"), OPERATION),
    st.builds(lambda key: f"get {key}", st.sampled_from("ab")),
    st.builds(lambda key: f"append {key} \\s", st.sampled_from("ab")),
    st.builds(lambda key: f"under lease-2 set {key} [1]", st.sampled_from("ab")),
)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_operation_that_fails_leaves_an_open_object_as_it_is(name: str) -> None:
    """In a transaction the next operation continues with it."""
    _, act, stamped, _ = OPERATIONS[name]
    held = {"owner": "me", "token": 1, "lease_ms": 1, "beat": 0}
    for value in ([], [1, 2], {}, {"a": 1}, held):
        for operands in ([], [9], ["x"], [[0, 2, 2], [1]], ["a", 2, 3], ["you", 1], ["you", 1, 7]):
            before = copy.deepcopy(value)
            try:
                act(*([5] if stamped else []), value, *copy.deepcopy(operands))
            except ConditionFailed:
                assert value == before
            except (TypeError, KeyError, AttributeError, IndexError, ValueError):
                pass  # operands that never come here
            value = before
