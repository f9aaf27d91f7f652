"""The command `object` where the kernel's tests have the other commands: a line, rights, the
floor, a transaction, the work of an entry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.logmanager import LogManager
from raftline.objects.object_operations import OPERANDS
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline.state.work import LONG_CHARACTERS, count_short
from raftline.wire.commands.authorization import denial_reason
from raftline.wire.commands.command_table import BEYOND_FLOOR
from raftline.wire.commands.identity import Identity, identity_of
from raftline.wire.commands.rights import UserRole
from raftline.wire.limits import SHORT_REPLY_BYTES
from raftline.wire.protocol import size_of
from raftline.wire.refusal import DONE_ONCE
from raftline.wire.replies.refusals import refusal_in, sentence_of
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS, boot, entries
from raftline_testing.linear_work import TIMES_MORE_MAX, times_more, understood
from tests.core.state.machine import Machine, at_entry_10
from tests.core.typed import command, refusal

BOB = identity_of("bob", UserRole.READER, ("app/",))
EVE = identity_of("eve", UserRole.WRITER, ("app/", "web/"))
FULL = f'["{"v" * ((1 << 20) - 4)}"]'  # as long as a value may be


def machine(*before: str) -> Machine:
    machine = Machine()
    for each in ("cluster 9f86d081884c7d65 level 1", *before):
        machine.do(each)
    return machine


# --- the line ------------------------------------------------------------------------------------


@pytest.mark.needs("a clock of a thread")
@pytest.mark.parametrize("piece", [b"\xff", b"\\", b"\\x41", b"[", b"{", b'{"a":', b'"', b"[1,"])
def test_work_for_operands_is_linear(piece: bytes) -> None:
    for name in OPERANDS:
        if name.startswith(("dict", "list")):
            beginning = f"object k {name} ".encode()
            assert times_more(understood, beginning, piece) <= TIMES_MORE_MAX, name


@pytest.mark.parametrize("number", ["٣", "1３", "²", "1_0", "+1", "0x1", "007", "9" * 20])
def test_index_that_only_looks_like_a_number_is_refused(number: str) -> None:
    assert "list.take [INDEX]: " in refusal(f"object l list.take {number}")
    assert command("object l list.take 7") == "object l list.take 7"


@pytest.mark.parametrize(
    ("typed", "formatted"),
    [
        ('txn object s dict.put "a" {"b":1}', r'txn object s dict.put "a"\s{"b":\s1}'),
        (r'txn object s dict.put "a"\s1', r'txn object s dict.put "a"\s1'),
        ("txn object s list.clear", "txn object s list.clear"),
    ],
)
def test_operation_in_a_transaction_has_one_form(typed: str, formatted: str) -> None:
    assert command(typed) == formatted
    assert command(formatted) == formatted


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("txn object a", "the form is: object KEY OPERATION [JSON ...]"),
        ("txn object s dict.put 1 2", "dict.put KEY VALUE: KEY must be a string. Nothing"),
        ("txn object s dict.putt 1", "there is no operation dict.putt on an object"),
    ],
)
def test_mistake_in_a_transaction_is_refused(line: str, says: str) -> None:
    assert says in refusal(line)
    reply = machine().do(line)  # a log that a person wrote
    assert reply.startswith("Sorry, ")
    assert reply.endswith("Nothing was done.")


# --- rights, and the floor -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "line", "says"),
    [
        (BOB, 'object app/x dict.put "a" 1', "bob may not object app/x: it takes the right to"),
        (EVE, "txn object db/x list.append 1", "eve may not object db/x: it takes the right to"),
        (EVE, "txn object web/x list.append 1", ""),
        (EVE, "object web/x list.append 1", ""),
    ],
)
def test_operation_takes_the_right_to_write_its_key(who: Identity, line: str, says: str) -> None:
    assert sentence_of(denial_reason(who, command(line), lambda _: [])).startswith(says)
    assert (denial_reason(who, command(line), lambda _: []) == "") is (says == "")


def test_operation_is_at_the_floor() -> None:
    """Other implementations know it."""
    assert "object" not in BEYOND_FLOOR
    assert execute(Store(is_at_floor=True), "object a list.append 1") == "OBJECT response: null"


# --- the effect ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "line", "code"),
    [
        ("set a x", "object a list.append 1", "wrong-kind"),
        (f"set a {FULL}", 'object a list.append "x"', "too-long"),
        ("set a x", "txn object a list.append 1", "transaction"),
    ],
)
def test_refused_operation_has_a_code(before: str, line: str, code: str) -> None:
    node = machine(before)
    read = refusal_in(node.do(command(line)))
    assert read is not None
    assert read.code == code
    assert node.do("get a") == f"GET response: {before.removeprefix('set a ')}"


@pytest.mark.parametrize(
    ("operation", "answer", "value"),
    [('set.add "x"', '"true"', '["x"]'), (r'dict.put "a" {"b":1}', '"null"', '{"a": {"b": 1}}')],
)
def test_transaction_does_what_the_command_does(operation: str, answer: str, value: str) -> None:
    alone, together = machine(), machine()
    alone.do(command(f"object o {operation}"))
    reply = together.do(command(f"txn object o {operation}"))
    assert reply == f"TXN response, then: [{answer}]"
    assert alone.do("get o") == together.do("get o") == f"GET response: {value}"


def test_refused_operation_undoes_its_transaction() -> None:
    node = machine("set a 1", "set b no JSON")
    reply = node.do("txn delete a ; object b set.add 1")
    assert "b holds no set but something else. Nothing was done." in reply
    assert node.do("get a") == "GET response: 1"


def test_failed_transaction_leaves_no_object() -> None:
    node = machine("set w x")
    assert node.do('txn object o dict.put "k" 1 ; incr w').startswith("Sorry, ")
    assert node.do("get o") == "GET response, no such key: o"


def test_change_of_an_object_is_an_event() -> None:
    """One that is not done, or changes nothing, is none."""
    node = at_entry_10()
    add, other = 'object o set.add "x"', 'object o dict.put "x" 1'
    node.apply(entries(11, 1, add, add, other))
    assert [tuple(event) for event in node.take_events().events] == [(11, "set", "o", '["x"]')]


def test_long_result_is_kept_for_the_last_request_alone() -> None:
    """A reply is long by its bytes."""
    node, key = machine(), "ä" * 200
    for _ in range(2):
        node.do(f'object {key} queue.put "{"ß" * 300}"')
    first = [node.do(f"c#{number}@object {key} queue.take") for number in (1, 2)]
    assert all(len(reply) < SHORT_REPLY_BYTES < size_of(reply) for reply in first)
    assert node.do(f"c#2@object {key} queue.take") == first[1]
    assert node.do(f"c#1@object {key} queue.take") == DONE_ONCE


def test_changed_object_stays_under_its_lease() -> None:
    node = machine("lease 10", "under lease-2 set a []", "object a list.append 1")
    assert node.do("release lease-2").endswith("1 key deleted")


def test_operation_on_a_long_object_is_long() -> None:
    store = Store(is_at_floor=False)
    store["long"] = "v" * (LONG_CHARACTERS + 1)
    for key, count in (("long", 1), ("short", 3)):
        asked = entries(1, 1, "set a 1", f"object {key} list.take", "set b 1")
        assert count_short(store, asked) == count


@given(st.sampled_from(["list.take", "queue.put 1", "lock.beat"]), st.text())
def test_no_entry_with_an_operation_stops_a_node(operation: str, rest: str) -> None:
    nodes = [boot(MemoryFolder())[0] for _ in range(2)]
    log = entries(1, 1, f"object k {operation} {rest}")
    assert nodes[0].apply(log) == nodes[1].apply(log)
    assert nodes[0].store == nodes[1].store


def test_value_that_is_nearly_a_lock_stops_no_node() -> None:
    node = LogManager("s1", MemoryFolder(), MEMBERS)
    value = '{"owner": "o", "token": 1, "lease_ms": 1, "beat": "x"}'
    replies = node.apply(entries(1, 1, f"set k {value}", 'object k lock.beat "o" 1'))
    assert replies[1] == "Sorry, k holds no lock but something else. Nothing was done."
