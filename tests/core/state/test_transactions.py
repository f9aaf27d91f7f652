"""Transactions, `clear` and `stat`: their forms, their mistakes, all or nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.logmanager import LogManager
from raftline.raft.effects import Effects, HardState
from raftline.state.commands import transaction_commands
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline.storage.disk import StorageError
from raftline.wire.commands.command_table import IN_TRANSACTIONS
from raftline.wire.commands.transaction_line import (
    format_transaction,
    format_word,
    read_transaction,
)
from raftline.wire.limits import SHORT_REPLY_BYTES, TRANSACTION_ITEMS, TRANSACTION_SCANS
from raftline.wire.operands.operands import Limits, not_understood
from raftline.wire.protocol import ProtocolError, escape, unescape
from raftline.wire.refusal import DONE_ONCE, error
from raftline.wire.replies.replies import (
    RequestOutcome,
    as_json,
    outcome_of,
    read_reply,
    screen_lines,
)
from raftline_testing.files.faulty_folder import Died, Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import MEMBERS, boot, entries
from raftline_testing.files.snapshot_writing import write_snapshot
from tests.core.typed import command as canonical
from tests.core.typed import refusal

NUMBERED = re.compile(r"(client4#[0-9]+@)?(.*)", re.DOTALL)


def mistake(line: str) -> str:
    said = refusal(line)
    assert said.endswith("Nothing was done.")
    return said


class Machine:
    """A state machine, asked as a node asks it: in the log's form."""

    def __init__(self, *before: str) -> None:
        self.manager = LogManager("s1", MemoryFolder(), MEMBERS)
        self.manager.apply(entries(1, 1, "cluster 9f86d081884c7d65 level 1"))
        self.manager.store.notes_events = True
        self.index = 2
        for command in before:
            self.ask(command)
        self.manager.take_events()

    def ask(self, command: str) -> str:
        numbered, bare = NUMBERED.fullmatch(command).groups("")  # type: ignore[union-attr]
        reply = self.manager.apply(entries(self.index, 1, f"{numbered}{canonical(bare)}"))[0]
        self.index += 1
        return reply

    def pairs(self, prefix: str) -> dict[str, str]:
        store = self.manager.store
        return {key: value for key, value in store.items() if key.startswith(prefix)}

    def events(self) -> list[tuple[object, ...]]:
        return [tuple(event) for event in self.manager.take_events().events]


# --- the form ------------------------------------------------------------------------------------


def test_the_forms_of_the_page() -> None:
    machine = Machine("set b 5")
    line = "txn if b = 5 ; c absent then set b 6 ; delete c else get b"
    assert machine.ask(line) == 'TXN response, then: ["b set to 6", "no such key: c"]'
    assert machine.ask(line) == 'TXN response, else: ["6"]'


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("b = 5", True), ("b = 6", False), ("none = 5", False),
        ("b != 6", True), ("b != 5", False), ("none != 5", True),
        ("none absent", True), ("b absent", False), ("b exists", True), ("none exists", False),
        ("b unchanged since 2", True), ("b unchanged since 3", True),
        ("b unchanged since 1", False), ("b unchanged since 0", False),
        ("none unchanged since 3", False),
        ("b > 4", True), ("b > 5", False), ("b > -6", True), ("b < 6", True), ("b < 5", False),
        ("words > 0", False), ("words < 0", False), ("none > -1", False), ("none < 1", False),
        ("zero > 4", False), ("zero < 9", False),
        ("w has keys", True), ("words has none", False), ("wordsx has none", True),
        (r"a\s has keys", False), (r"wo has keys", True), ("x has none", True),
        (r"words = two\swords", True), (r"words = two\x20words", True), (r"words != two", True),
        (r"empty = \e", True), (r"b = \e", False), (r"empty != \e", False),
        (r"then = \x74hen", True), ("if = if", True), (r"semi = \x3b", True),
        ("b = 5 ; b exists ; none absent", True), ("b = 5 ; none exists", False),
    ],
)  # fmt: skip
def test_each_condition(condition: str, holds: bool) -> None:
    machine = Machine(
        "set b 5",
        "set words two words",
        "set empty ",
        "set then then",
        "set if if",
        "set semi ;",
        "set zero 05",
    )
    branch = "then" if holds else "else"
    line = f"txn if {condition} then get b else get b".replace("then = ", r"\x74hen = ")
    assert machine.ask(line) == f'TXN response, {branch}: ["5"]'


@pytest.mark.parametrize("removal", ["delete b", "clear b", "txn delete b", "release lease-2"])
def test_a_key_is_absent_since_an_entry_until_it_was_removed(removal: str) -> None:
    machine = Machine("lease 10", "under lease-2 set b 5", removal)
    assert machine.ask("txn if b absent since 4 then get b else get b").startswith(
        "TXN response, t"
    )
    assert machine.ask("txn if b absent since 3 then get b else get b").startswith(
        "TXN response, e"
    )
    assert machine.ask("txn if c absent since 3 then get b else get b").startswith(
        "TXN response, t"
    )
    assert "b absent since 99: no entry has that index yet" in machine.ask(
        "txn if b absent since 99 then get b"
    )


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("b unchanged since 2 under none", True), ("b unchanged since 2 under lease-3", False),
        ("b unchanged since 1 under none", False), ("c unchanged since 4 under lease-3", True),
        ("c unchanged since 4 under none", False), ("d unchanged since 5 under own-5-10", True),
        ("d unchanged since 5 under own-5-11", False), ("e unchanged since 5 under none", False),
    ],
)  # fmt: skip
def test_a_condition_on_the_lease_of_a_key(condition: str, holds: bool) -> None:
    machine = Machine("set b 5", "lease 10", "under lease-3 set c 1", "setex d 10 1")
    branch = "then" if holds else "else"
    line = f"txn if {condition} then get b else get b"
    assert machine.ask(line) == f'TXN response, {branch}: ["5"]'


def test_a_clear_in_a_transaction_is_undone_with_it() -> None:
    machine = Machine("set b 5", "set g/1 x", "set g/2 y", "set word w")
    held = "txn if g/ has keys ; b > 4 then set g/3 z ; clear g/ ; get g/1 ; set g/4 n"
    assert machine.ask(f"{held} ; incr word").startswith("Sorry, operation 5")
    assert machine.pairs("g/") == {"g/1": "x", "g/2": "y"}
    assert machine.ask(held) == (
        'TXN response, then: ["g/3 set to z", "3 keys deleted", null, "g/4 set to n"]'
    )
    assert machine.pairs("g/") == {"g/4": "n"}
    assert machine.ask("txn if g/ has none then clear b else get b") == (
        'TXN response, else: ["5"]'
    )


def test_events_of_a_clear_in_a_transaction_are_its_keys() -> None:
    """A `clear` in a transaction yields one event for each key that it deletes."""
    machine = Machine("set g/1 x", "set g/2 y")
    machine.events()
    machine.ask("txn clear g/ ; set g/2 z")
    assert sorted(event[1:] for event in machine.events()) == [
        ("delete", "g/1", ""),
        ("set", "g/2", "z"),
    ]


def test_a_transaction_looks_at_all_keys_eight_times_at_most() -> None:
    machine = Machine()
    looks = " ; ".join(["a has none"] * (TRANSACTION_SCANS - 1))
    assert machine.ask(f"txn if {looks} then clear a").startswith("TXN response, then")
    for beyond in (f"{looks} ; b has keys then clear a", f"{looks} then clear a ; clear b"):
        with pytest.raises(ProtocolError, match="8 conditions on a prefix and clears at most"):
            machine.ask(f"txn if {beyond}")


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("get b", "5"), ("get none", None), ("get words", "two words"), ("get empty", ""),
        ("set b 7", "b set to 7"), (r"set b two\swords", "b set to two words"),
        (r"set b \e", "b set to "), (r"set a\sb a\nb", "a b set to a\nb"),
        (r"set \x65lse \x3b", "else set to ;"),
        ("delete b", "b deleted"), ("delete none", "no such key: none"),
        ("setnx b 7", "key exists: b"), ("setnx none 7", "none set to 7"),
        ("cas b 5 6", "b set to 6"), ("cas b 6 7", "no match: b"),
        ("cas none 6 7", "no such key: none"), (r"cas words two\swords \e", "words set to "),
        (r"cas empty \e 1", "empty set to 1"),
        ("incr b", "6"), ("incr b -7", "-2"), ("append b 1", "b has 2 bytes"),
        (r"append words \sand\smore", "words has 18 bytes"),
        ("setex b 5 7", "b set to 7"), (r"setex none 5 \e", "none set to "),
        ("expire b 5", "b for 5 s"), ("persist b", "no lease: b"),
        ("stat b", '{"index": 2, "lease": null, "bytes": 1}'), ("stat none", "no such key: none"),
    ],
)  # fmt: skip
def test_each_operation(operation: str, answer: str | None) -> None:
    machine = Machine("set b 5", "set words two words", "set empty ")
    reply = machine.ask(f"txn {operation}")
    assert reply == f"TXN response, then: {json.dumps([answer])}"
    if "\\" not in operation:  # one that is written the same outside of a transaction
        alone = Machine("set b 5", "set words two words", "set empty ")
        alone.ask(operation)
        assert dict(alone.manager.store) == dict(machine.manager.store)


@pytest.mark.parametrize(
    ("typed", "formatted"),
    [
        ("  txn   set a 1  ", "txn set a 1"),
        ("txn then set a 1", "txn set a 1"),
        (r"txn set \x61 a\x20b", r"txn set a a\sb"),
        (r"txn set a \x00", r"txn set a \x00"),
        (r"txn set a \x3b ; set \x3b \e", r"txn set a \x3b ; set \x3b \e"),
        (
            r"txn if \x69f = \x65lse then set \x74hen then1",
            r"txn if if = \x65lse then set \x74hen then1",
        ),
        (r"txn cas a \e \e", r"txn cas a \e \e"),
        ("txn incr a 5 ; incr a", "txn incr a 5 ; incr a"),
    ],
)
def test_a_transaction_has_one_form(typed: str, formatted: str) -> None:
    assert canonical(typed) == formatted
    assert canonical(formatted) == formatted


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["", ";", "then", "else", "if", "\\e", "\\", "a b", "=", "é"]
)


@given(key=WORDS.filter(len), old=WORDS, new=WORDS)
def test_any_text_can_be_a_key_and_a_value(key: str, old: str, new: str) -> None:
    machine = Machine(f"set {escape(key, key=True)} {escape(old, key=False)}")
    condition = f"{format_word(key)} = {format_word(old)}"
    name = format_word(key)
    line = f"txn if {condition} then set {name} {format_word(new)} ; get {name}"
    reply = machine.ask(line)
    assert reply.startswith("TXN response, then: ")
    assert json.loads(reply.partition(": ")[2]) == [f"{key} set to {new}", new]
    assert {unescape(k): unescape(v) for k, v in machine.manager.store.items()} == {key: new}
    assert canonical(canonical(line)) == canonical(line)


def test_value_that_reads_like_an_absence_is_told_apart() -> None:
    """An absent key is null, which no value can be mistaken for."""
    machine = Machine("set a no such key: b")
    assert machine.ask("txn get a ; get b") == 'TXN response, then: ["no such key: b", null]'


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("txn", "the form is: txn [if CONDITION"),
        ("txn if b = 5", "at the end of the transaction: then is missing"),
        ("txn if then set a 1", 'at word 2 of the transaction, "then": a condition is missing'),
        (
            "txn if b == 5 then get a",
            'at word 2 of the transaction, "b == 5": that is not a condition',
        ),
        ("txn if b then get a", 'at word 2 of the transaction, "b": that is not a condition'),
        ("txn if b = two words then get a", '"b = two words": that is not a condition'),
        ("txn if b unchanged 5 then get a", '"b unchanged 5": that is not a condition'),
        ("txn if b unchanged since x then get a", 'at word 5 of the transaction, "x": that is no'),
        ("txn if b unchanged since -1 then get a", '"-1": that is not an index'),
        (f"txn if b unchanged since {2**63} then get a", "that is not an index"),
        ("txn if b absent since 0 then get a", '"0": the first entry has the index 1. Without'),
        ("txn if b unchanged since 5 under x then get a", '"x": that is not a lease from'),
        ("txn if b unchanged since 5 under own-5 then get a", "that is not a lease"),
        ("txn if b unchanged since 5 under lease- then get a", "that is not a lease"),
        ("txn if b unchanged since 5 under", "then is missing"),
        ("txn if b unchanged since x under none then get a", "that is not a condition"),
        ("txn if b = 5 ; then get a", 'at word 6 of the transaction, "then": a condition is'),
        ("txn set a 1 ;", "at the end of the transaction: an operation is missing"),
        ("txn ; set a 1", 'at word 1 of the transaction, ";": an operation is missing'),
        ("txn set a 1 ; ; set b 1", 'at word 5 of the transaction, ";": an operation is missing'),
        ("txn if b = 5 then", "at the end of the transaction: an operation is missing"),
        ("txn if b = 5 then else get a", '"else": an operation is missing before it'),
        ("txn if b = 5 then get a else", "at the end of the transaction: an operation is missing"),
        ("txn set a 1 ; incrr b", 'at word 5 of the transaction, "incrr": that can\'t stand in a'),
        ("txn set a", 'at word 1 of the transaction, "set a": the form is: set KEY VALUE.'),
        ("txn set a b c", r"A value is one word: a space in it is written \s, an empty one \e."),
        ("txn get a b", '"get a b": the form is: get KEY.'),
        ("txn cas a 1", "the form is: cas KEY OLD NEW"),
        ("txn incr a 1 2", "the form is: incr KEY [BY]"),
        ("txn incr a x", '"incr a x": x is not a whole number'),
        ("txn set a 1 else get b", '"else": it is out of place'),
        ("txn set a 2; incr n", 'incr n": "2;" is one word: write a space before and after each ;'),
        ("txn get a;get b", 'get b": "a;get" is one word: write a space before and after each ;'),
        ("txn if a = 1; b = 2 then get a", '"1;" is one word: write a space before and after'),
        ("txn incr n else; get b", '"else;" is one word: write a space before and after each ;'),
        ("txn set a 2; then get b", '"2;" is one word: write a space before and after each ;'),
        ("txn if b = 5 then get a then get b", 'at word 8 of the transaction, "then": it is out'),
        ("txn if b = 5 then get a else get b else get c", '"else": it is out of place'),
        ("txn set a  1", 'at word 2 of the transaction, "a": two spaces follow'),
        (r"txn set a \q", r'at word 1 of the transaction, "set a \q": \q is not an escape.'),
        (r"txn set \q 1", r"\q is not an escape."),
        (r"txn if \q = 1 then get a", r"\q is not an escape."),
        (r"txn if \e = 1 then get a", "the key is missing"),
        (r"txn get \e", "the key is missing"),
        ("txn txn set a 1", '"txn": that can\'t stand in a transaction; get, set, delete'),
        ("txn show", '"show": that can\'t stand in a transaction'),
        ("txn machine bank {}", '"machine": that can\'t stand in a transaction'),
        ("txn clear", "the form is: clear PREFIX"),
        (r"txn clear \e", "the prefix is missing"),
        (r"txn if \e has none then get a", "the key is missing"),
        ("txn if a > x then get a", 'at word 4 of the transaction, "x": that is not a whole'),
        ("txn if a < 007 then get a", '"007": that is not a whole number'),
        ("txn if a has key then get a", '"a has key": that is not a condition'),
        (f"txn set {'k' * 1025} 1", "the key has 1025 bytes; the limit is 1024."),
        (f"txn set k {'v' * (1 << 20)}v", "the value has 1048577 bytes"),
        ("txn " + " ; ".join(["get a"] * (TRANSACTION_ITEMS + 1)), "at most 1024 may follow then"),
        ("txn if " + " ; ".join(["a exists"] * 1025) + " then get a", "at most 1024 may follow if"),
        ("txn under lease-4", "the form is: under LEASE"),
        (
            "txn under lease-4 sett a 1",
            'at word 3 of the transaction, "sett": that can\'t stand in',
        ),
        ("txn under nothing set a 1", '"nothing" is not a lease'),
        ("txn under lease-4 delete a", '"delete" can\'t stand under a lease'),
        (
            "txn under lease-4 under lease-4 set a 1",
            'at word 1 of the transaction, "under lease-4 under lease-4 set a 1": "under" can\'t',
        ),
        ("txn " + "under lease-4 " * 10_000 + "set a 1", '"under" can\'t stand under a lease'),
        (
            "txn under lease-4 set a b c",
            'at word 3 of the transaction, "set a b c": the form is: set',
        ),
        ("txn setex a 0 1", '"0" is not a lease time'),
        ("clear", "the prefix is missing: clear PREFIX."),
        ("clear a b", "clear takes one prefix"),
    ],
)
def test_a_mistake_is_reported_with_its_place(line: str, says: str) -> None:
    assert says in mistake(line)
    manager = Machine("set a 1", "set b 5").manager
    pairs = dict(manager.store)
    reply = manager.apply(entries(9, 1, line))[0]  # a log that a person wrote
    assert reply.startswith("Sorry, ")
    assert dict(manager.store) == pairs
    assert manager.take_events().events == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "txn set a 2 ; incr word",
            "operation 2, incr word, can't be done: the value of word is no",
        ),
        ("txn set a x ; incr a", "operation 2, incr a, can't be done"),
        (
            "txn set a 2 ; append full x",
            "the value would have 1048577 bytes; the limit is 1048576.",
        ),
        ("txn set a 2 ; incr most", "would go beyond 2^63-1"),
        (
            "txn set a 2 ; expire a 9 ; under lease-1 set b 1",
            "can't be done: no such lease: lease-1.",
        ),
        (
            "txn if a unchanged since 9 then set a 2",
            "a unchanged since 9: no entry has that index yet",
        ),
        ("txn if none unchanged since 6 then set a 2", "no entry has that index yet"),
        (f"txn set a 2 ; {'get full ; ' * 8}get a", "answer more than 8388608 bytes as JSON"),
    ],
)
def test_what_cannot_be_done_leaves_no_trace(line: str, says: str) -> None:
    machine = Machine(
        "set a 1",
        f"set full {'v' * (1 << 20)}",
        "set word x",
        f"set most {2**63 - 1}",
    )
    machine.manager.apply([])
    held = dict(machine.manager.store.held)
    reply = machine.ask(line)
    assert reply.startswith("Sorry, ")
    assert reply.endswith(". Nothing was done.")
    assert says in reply
    assert dict(machine.manager.store.held) == held
    assert machine.events() == []


# --- what is done --------------------------------------------------------------------------------


def test_each_changed_key_has_one_event_at_one_index() -> None:
    """Each key that changed has one event, and all events have the same index."""
    machine = Machine("set a 1", "set gone 1", "set again 1")
    machine.ask(
        "txn set b 1 ; incr a ; delete gone ; set a 5 ; set brief 1 ; delete brief ; delete again "
        "; set again 2 ; get a ; cas a 4 9 ; delete none ; append b x"
    )
    index = machine.index - 1
    assert machine.events() == [
        (index, "set", "b", "1x"),
        (index, "set", "a", "5"),
        (index, "delete", "gone", ""),
        (index, "set", "again", "2"),
    ]
    facts = {machine.manager.store.facts(key) for key in ("a", "b", "again")}
    assert facts == {(index, "", "")}


def test_an_operation_sees_what_those_before_it_did() -> None:
    machine = Machine("set a 1")
    reply = machine.ask("txn incr a ; get a ; delete a ; get a ; setnx a 9 ; stat a")
    answers = json.loads(reply.partition(": ")[2])
    assert answers[:5] == ["2", "2", "a deleted", None, "a set to 9"]
    assert json.loads(answers[5]) == {"index": machine.index - 1, "lease": None, "bytes": 1}


def test_a_transaction_keeps_to_the_rules_of_leases() -> None:
    machine = Machine()
    store = machine.manager.store
    for key in "abcd":
        store.put_under("lease-7", key, "1")
    machine.ask("txn set a 2 ; incr b ; delete c")
    assert store.leased == {"lease-7": {"b", "d"}}
    assert [store.lease_of(key) for key in "abd"] == ["", "lease-7", "lease-7"]
    refused = machine.ask("txn set b 5 ; delete d ; incr a ; append b x ; incr b")
    assert refused.startswith("Sorry, ")
    assert store.leased == {"lease-7": {"b", "d"}}


def test_keys_are_put_under_leases_in_a_transaction() -> None:
    machine = Machine()
    lease = machine.ask("lease 10").removeprefix("LEASE response: ").partition(" ")[0]
    line = f"txn under {lease} set a two\\swords ; under {lease} incr n ; setex c 5 x ; expire d 9"
    assert machine.ask(line) == (
        'TXN response, then: ["a set to two words", "1", "c set to x", "no such key: d"]'
    )
    own = f"own-{machine.index - 1}-5"
    assert machine.manager.store.leased == {lease: {"a", "n"}, own: {"c"}}
    machine.ask("txn set a 1 ; persist c ; expire n 7")
    assert machine.manager.store.leased == {f"own-{machine.index - 1}-7": {"n"}}


def test_of_a_transaction_that_cannot_be_done_no_lease_begins() -> None:
    machine = Machine("set a 1")
    machine.manager.store.leases.started = []
    assert machine.ask("txn setex b 5 1 ; incr a 5 ; append a x ; incr a").startswith("Sorry, ")
    assert machine.manager.store.leases.started == []
    machine.ask("txn setex b 5 1")
    assert machine.manager.store.leases.started == [f"own-{machine.index - 1}-5"]


def test_a_transaction_that_is_sent_again_takes_effect_once() -> None:
    machine = Machine()
    first = machine.ask("client4#1@txn incr n ; incr n")
    assert machine.ask("client4#1@txn incr n ; incr n") == first == 'TXN response, then: ["1", "2"]'
    assert machine.ask("client4#1@txn incr n").endswith("was another command; nothing was executed")
    assert machine.manager.store["n"] == "2"
    assert [event[3] for event in machine.events()] == ["2"]


def test_a_long_reply_is_kept_for_the_last_transaction_alone() -> None:
    machine = Machine(f"set a {'v' * SHORT_REPLY_BYTES}")
    long = machine.ask("client4#1@txn get a ; incr n")
    assert machine.ask("client4#1@txn get a ; incr n") == long
    machine.ask("client4#2@txn get a")
    again = machine.ask("client4#1@txn get a ; incr n")
    assert again == DONE_ONCE
    assert machine.manager.store["n"] == "1"


def test_at_the_floor_there_are_no_transactions() -> None:
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    for command in ("txn set a 1", "clear a"):
        assert manager.apply(entries(manager.applied.index + 1, 1, command))[0] == (
            error(not_understood(command))
        )
    assert manager.store == {}


@pytest.mark.pure  # a constant of a compiled module can't be replaced
def test_a_reply_of_a_transaction_has_a_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine("set a 12345")
    monkeypatch.setattr(transaction_commands, "ANSWER_BYTES", 2 * len('"12345", '))
    assert machine.ask("txn get a ; get a").startswith("TXN response, then")
    assert machine.ask("txn get a ; get a ; get a").startswith("Sorry, the first 3 operations")


@pytest.mark.parametrize("character", ["v", "\U0001f600", "\u07ff", "\x01", '"', "\\"])
def test_one_value_fits_a_reply_whatever_its_size(character: str) -> None:
    value = character * (Limits().value_bytes // len(character.encode()))
    machine = Machine()
    machine.manager.store["a"] = escape(value, key=False)
    reply = machine.ask("txn get a ; incr n")
    assert json.loads(reply.partition(": ")[2]) == [value, "1"]


# --- clear and stat ------------------------------------------------------------------------------


def test_clear_deletes_a_prefix_in_one_entry() -> None:
    machine = Machine("set b/2 1", "set b/1 1", "set b 1", r"set b/\n 1", "set c 1")
    index = machine.index
    assert machine.ask("clear b/") == "CLEAR response: 3 keys deleted"
    assert machine.events() == [(index, "delete", key, "") for key in ("b/1", "b/2", r"b/\n")]
    assert machine.ask("clear b/") == "CLEAR response: 0 keys deleted"
    assert machine.events() == []
    assert machine.ask("clear b") == "CLEAR response: 1 key deleted"
    assert dict(machine.manager.store) == {"c": "1"}


def test_clear_takes_whole_characters() -> None:
    machine = Machine(r"set \xc3x 1", "set \x80 1".replace("\x80", r"\xc2\x80"), r"set a\nb 1")
    assert machine.ask(r"clear \xc2") == "CLEAR response: 0 keys deleted"
    assert machine.ask(r"clear \xc3") == "CLEAR response: 1 key deleted"
    assert machine.ask(r"clear a\x0a") == "CLEAR response: 1 key deleted"


def test_clear_takes_keys_out_of_their_leases() -> None:
    machine = Machine()
    machine.manager.store.put_under("lease-7", "b/1", "1")
    machine.manager.store.put_under("lease-7", "c", "1")
    machine.ask("clear b")
    assert machine.manager.store.leased == {"lease-7": {"c"}}


def test_stat_tells_the_last_change_the_lease_and_the_size() -> None:
    machine = Machine(r"set a é\n")
    machine.manager.store.put_under("lease-7", "b", "")
    assert machine.manager.read(["stat a", "stat b", "stat c"]) == [
        'STAT response: {"index": 2, "lease": null, "bytes": 3}',
        'STAT response: {"index": 2, "lease": "lease-7", "bytes": 0}',
        "STAT response, no such key: c",
    ]


# --- replies -------------------------------------------------------------------------------------


def test_a_program_and_a_person_learn_which_branch_was_taken() -> None:
    machine = Machine("set a 1")
    line = "txn if a = 1 then get a ; delete a else get a"
    done, other = machine.ask(line), machine.ask(line)
    assert (outcome_of(done), outcome_of(other)) == (RequestOutcome.DONE, RequestOutcome.ABSENT)
    assert screen_lines(done) == [">> TXN response:", 'then: ["1", "a deleted"]']
    found = [read_reply(f"s1@{reply}".encode()) for reply in (done, other)]
    printed = [json.loads(as_json(line, reply)) for reply in found if reply is not None]
    results = ["1", "a deleted"]
    assert printed == [
        {"ok": True, "verb": "txn", "branch": "then", "results": results, "server": "s1"},
        {
            "ok": False,
            "verb": "txn",
            "error": "else",
            "code": 1,
            "branch": "else",
            "results": [None],
            "server": "s1",
        },
    ]


# --- a model -------------------------------------------------------------------------------------

KEYS = st.sampled_from("abcd")
VERBS = ["get", "set", "delete", "setnx", "cas", "incr", "append", "clear"]
VALUES = st.sampled_from(["0", "1", "7", "x", "two words", ""])


@st.composite
def conditions(draw: st.DrawFn) -> tuple[str, Callable[[dict[str, str]], bool]]:
    key, value = draw(KEYS), draw(VALUES)
    kind = draw(st.sampled_from(["=", "!=", "absent", "exists", "keys", "none"]))
    word = format_word(value)
    holds: dict[str, tuple[str, Callable[[dict[str, str]], bool]]] = {
        "=": (f"{key} = {word}", lambda pairs: pairs.get(key) == value),
        "!=": (f"{key} != {word}", lambda pairs: pairs.get(key) != value),
        "absent": (f"{key} absent", lambda pairs: key not in pairs),
        "exists": (f"{key} exists", lambda pairs: key in pairs),
        "keys": (f"{key} has keys", lambda pairs: key in pairs),
        "none": (f"{key} has none", lambda pairs: key not in pairs),
    }
    return holds[kind]


@st.composite
def operations(draw: st.DrawFn) -> tuple[str, str]:
    """An operation in a transaction, and the same command alone."""
    verb, key, value = (
        draw(st.sampled_from(VERBS)),
        draw(KEYS),
        draw(VALUES),
    )
    word = format_word(value)
    if verb in ("get", "delete", "incr", "clear"):
        return f"{verb} {key}", f"{verb} {key}"
    if verb == "cas":
        new = draw(VALUES)
        return f"cas {key} {word} {format_word(new)}", f"cas {key} {escape(value, key=True)} {new}"
    return f"{verb} {key} {word}", f"{verb} {key} {value}"


@given(
    before=st.dictionaries(KEYS, VALUES),
    asked=st.lists(
        st.tuples(
            st.lists(conditions(), max_size=3),
            st.lists(operations(), min_size=1, max_size=5),
            st.lists(operations(), max_size=4),
        ),
        max_size=4,
    ),
)
def test_transaction_is_its_commands_in_order_or_nothing(
    before: dict[str, str],
    asked: list[
        tuple[
            list[tuple[str, Callable[[dict[str, str]], bool]]],
            list[tuple[str, str]],
            list[tuple[str, str]],
        ]
    ],
) -> None:
    """A transaction either executes its commands in order, or does nothing."""
    store = Store(dict(before), is_at_floor=False)
    store.notes_events = True
    model = dict(before)
    for number, (when, then, otherwise) in enumerate(asked, start=2):
        store.number = number
        line = f"{' ; '.join(each for each, _ in when)} then {' ; '.join(each for each, _ in then)}"
        line = f"txn if {line}" if when else f"txn {line.removeprefix(' then ')}"
        if when and otherwise:
            line += f" else {' ; '.join(each for each, _ in otherwise)}"
        held = dict(store.held)
        reply = execute(store, canonical(line))
        is_met = all(holds(model) for _, holds in when)
        branch = then if is_met else otherwise if when else []
        alone = Store(dict(model), is_at_floor=False)
        replies = [execute(alone, command) for _, command in branch]
        trial = dict(alone)
        events = store.take_events().events
        if any(each.startswith("Sorry, ") for each in replies):
            assert reply.startswith("Sorry, operation ")
            assert dict(store.held) == held
            assert events == []
            continue
        assert reply.startswith(f"TXN response, {'then' if is_met else 'else'}: ")
        expected = [
            None if each.startswith("GET response, ") else each.partition(" response")[2][2:]
            for each in replies
        ]
        assert json.loads(reply.partition(": ")[2]) == expected
        assert dict(store) == trial
        seen = {key: (value if kind == "set" else None) for _, kind, key, value in events}
        assert len(seen) == len(events)
        changed = {key for key in {*model, *trial} if model.get(key) != trial.get(key)}
        assert changed <= {*seen}
        assert seen == {key: trial.get(key) for key in seen}
        model = trial


ITEMS = st.sampled_from([
    "set a 1", r"set x\sy two\swords", "get a", "delete b", "setnx a then1", "incr a", "incr a -7",
    "incr a 07", "append a x", "persist a", "stat a", "read a", "under lease-5 set a 1",
    "under lease-5.0123456789abcdef incr a", "under lease-05 set a 1", "under lease-5 get a",
    "under lease-5 under lease-6 set a 1", "set a", "get a 1", "get if",
    r"set a \e", r"set \n\\ \r", "set a then", "get else", "set ; 1", "cas a 1 2", "clear a",
    "show a", "setex a 1.50 x", f"set {'k' * 1025} 1", "set é ü",
])  # fmt: skip
TESTS = st.sampled_from([
    "a absent", "a exists", r"x\sy = two\swords", "a != 1", "a = then", "a absent since 3",
    "a absent since 0", "a unchanged since 3", "a unchanged since 3 under none", "a > 3", "a > x",
    f"a absent since {2**63}", "a has keys", "a", "a = ", "a since 3", f"{'k' * 1025} absent",
])  # fmt: skip
INSERTED = st.sampled_from([";", "then", "else", "if", "", "a", "set", "\\", "under"])


@given(
    when=st.lists(TESTS, max_size=3),
    then=st.lists(ITEMS, min_size=1, max_size=4),
    otherwise=st.lists(ITEMS, max_size=2),
    inserted=st.lists(st.tuples(st.integers(0, 30), INSERTED), max_size=2),
)
def test_a_short_plain_transaction_is_read_as_any_other_one(
    when: list[str], then: list[str], otherwise: list[str], inserted: list[tuple[int, str]]
) -> None:
    line = " ; ".join(then)
    line = f"if {' ; '.join(when)} then {line}" if when else line
    line = f"{line} else {' ; '.join(otherwise)}" if otherwise else line
    words = line.split(" ")
    for place, word in inserted:
        words.insert(place, word)
    line = " ".join(words)

    def read(last: str) -> object:
        text = f"{line} ; get {last}"
        try:
            txn = read_transaction(text, IN_TRANSACTIONS, Limits())
        except ProtocolError as problem:
            return str(problem)
        return *txn[:3], format_transaction(txn, IN_TRANSACTIONS)

    assert read("z") == read(r"\x7a")  # the second is in no canonical form


# --- what a transaction leaves if it fails -------------------------------------------------------


def all_of(store: Store) -> list[object]:
    leases = store.leases
    state: list[object] = [store.held, leases.granted, leases.started, store.leased]
    return deepcopy([*state, store.removals, store.bytes, store.accounts.bytes])


@given(
    writers=st.lists(st.sampled_from(["", "ann", "bob"]), min_size=3, max_size=3),
    operations=st.lists(
        st.sampled_from([
            "set a 2", "set b 22", "delete a", "delete b", "delete c", "incr a", "append b x",
            "under lease-1 set a 3", "under lease-1 setnx n 4", "setex n 5 x", "expire b 5",
            "persist c", "clear a", "clear n",
        ]),
        min_size=1,
        max_size=6,
    ),
)  # fmt: skip
def test_failed_transaction_leaves_the_whole_state(
    writers: list[str], operations: list[str]
) -> None:
    """A failed transaction leaves the state unchanged."""
    store = Store(is_at_floor=False)
    store.notes_events, store.leases.started = True, []
    store.number = 1
    execute(store, "lease 10")
    for number, (writer, key) in enumerate(zip(writers, "abc", strict=True), start=2):
        store.number, store.user = number, writer
        execute(store, f"{'under lease-1 ' if key == 'c' else ''}set {key} 1")
    store.number, store.user = 9, writers[0]
    store.take_events()
    before, keys = all_of(store), sorted(store.keys_under("a"))
    line = " ; ".join(operations)
    assert execute(store, canonical(f"txn {line} ; set w x ; incr w")).startswith("Sorry, ")
    assert (all_of(store), sorted(store.keys_under("a"))) == (before, keys)
    assert store.take_events().events == []
    # Nor does it leave anything that a later one meets.
    twin = Store(is_at_floor=False)
    twin.notes_events = True
    for part in ("held", "leases", "leased", "removals", "pair_bytes", "accounts"):
        setattr(twin, part, deepcopy(getattr(store, part)))
    twin.number, twin.user = 10, writers[1]
    store.number, store.user = 10, writers[1]
    again = canonical(f"txn {line}")
    assert execute(store, again) == execute(twin, again)
    assert all_of(store) == all_of(twin)


def test_key_set_and_deleted_in_a_transaction_was_not_removed() -> None:
    """A key that is both created and deleted within a transaction does not count as removed."""
    machine = Machine("set gone 1")
    before = machine.index
    machine.ask("txn set brief 1 ; delete brief ; delete gone")
    store = machine.manager.store
    assert (store.last_removal("brief"), store.last_removal("gone")) == (0, before)


# --- all or nothing at every crash point ---------------------------------------------------------

TRANSFERS = [
    "txn set x 50 ; set y 50",
    "txn if x exists then incr x -7 ; incr y 7",
    f"txn set long {'v' * 700} ; incr x 3 ; incr y -3",
    "txn incr x -1 ; incr y 1 ; incr long",  # can't be done
    "txn if y = 54 then incr x -20 ; incr y 20 ; delete long else set x 1",
    "txn incr y -5 ; incr x 5",
]
LOG = entries(1, 1, "cluster 9f86d081884c7d65 level 1", *TRANSFERS)


def states() -> list[dict[str, str]]:
    """Return the pairs after each entry."""
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    found: list[dict[str, str]] = [{}]
    for entry in LOG:
        manager.apply([entry])
        found.append(dict(manager.store.held))
    return found


def write_with_a_snapshot(folder: MemoryFolder) -> None:
    """Write and apply a few transactions, take a snapshot between them, continue after it."""
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(1, "s1"), append=LOG[:4])])
    manager.apply(LOG[:4])
    state = manager.freeze()
    manager.persist([Effects(append=LOG[4:6])])
    manager.apply(LOG[4:6])  # while the snapshot is written
    snapshot = write_snapshot(manager.snapshots, state)
    manager.snapshots.publish(snapshot)
    rewrite = manager.begin_rewrite(snapshot)
    rewrite.copy(LOG[4:6])
    rewrite.sync()
    manager.finish_rewrite(rewrite, [])
    manager.persist([Effects(append=LOG[6:])])


def ends_after(folder: MemoryFolder, seed: int) -> Iterator[MemoryFolder]:
    folder.is_dead, folder.fault = False, None
    yield folder.kill()
    for cut in range(4):
        yield folder.crash(Random(f"{seed} {cut}"))


@pytest.mark.parametrize("kind", Kind)
def test_a_death_at_any_step_leaves_whole_transactions(kind: Kind) -> None:
    whole = states()
    healthy = MemoryFolder()
    write_with_a_snapshot(healthy)
    for step in range(1, healthy.steps + 1):
        folder = MemoryFolder(fault=Fault(step, kind))
        with pytest.raises((Died, StorageError)):
            write_with_a_snapshot(folder)
        for left in ends_after(folder, step):
            manager, recovered = boot(left)
            log = recovered.log
            for index in range(log.base_index, log.last_index + 1):
                manager.apply(log.entries(index, index) if index > log.base_index else [])
                held = {k: manager.store.facts(k) for k in manager.store}
                expected = Store(whole[index], is_at_floor=False)
                assert held == {key: expected.facts(key) for key in expected}
                assert dict(manager.store) == (dict(expected) if index else {})
                numbers = [int(manager.store.get(key, 50)) for key in "xy"]
                assert sum(numbers) == 100
