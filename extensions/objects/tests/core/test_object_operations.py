"""Operations on objects: what each does, that nothing but JSON comes of it, that none can fail."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raftline.logmanager import LogManager
from raftline.objects.object_kinds import OPERATIONS
from raftline.objects.object_operations import OPERANDS
from raftline.raft.log import Entry
from raftline.wire.commands.command_table import read_request
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError, escape, unescape
from raftline.wire.refusal import DONE_ONCE
from raftline.wire.strict_json import (
    DEPTH_MAX,
    VALUES_MAX,
    NotJsonError,
    checked,
    format_json,
    read_json,
    read_values,
)
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS
from tests.core.state.machine import Machine as Executor
from tests.core.typed import refusal

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Machine(Executor):
    """A state machine that is asked as a client asks: through the door, then as an entry."""

    def do(self, line: str) -> str:
        return super().do(read_request("c", "", line, Limits()).command)

    def operate(self, operation: str, *operands: Any) -> Any:
        """Return the result, or the reply where there is none."""
        formatted = "".join(f" {escape(format_json(each), key=False)}" for each in operands)
        reply = self.do(f"object x {operation}{formatted}")
        head, _, rest = reply.partition(": ")
        return json.loads(unescape(rest)) if head == "OBJECT response" else reply

    @property
    def value(self) -> Any:
        return json.loads(unescape(self.manager.store["x"]))


NOT_DONE = "OBJECT response, not done: "
CASES = [
    ("dict.put", {"a": 1}, ["b", 2], None, {"a": 1, "b": 2}),
    ("dict.update", {"a": 1}, [{"a": 2, "c": 3}], None, {"a": 2, "c": 3}),
    ("dict.drop", {"a": 1}, ["a"], None, {}),
    ("dict.drop", {"a": 1}, ["b"], f"{NOT_DONE}no such item", {"a": 1}),
    ("dict.take", {"a": 1}, ["a"], 1, {}),
    ("dict.take", {"a": 1}, ["b", 7], 7, {"a": 1}),
    ("dict.take", {"a": 1}, ["b"], f"{NOT_DONE}no such item", {"a": 1}),
    ("dict.default", {"a": 1}, ["a", 2], 1, {"a": 1}),
    ("dict.default", {"a": 1}, ["b", 2], 2, {"a": 1, "b": 2}),
    ("dict.swap", {"a": 1}, ["a", 1, 2], None, {"a": 2}),
    ("dict.swap", {"a": 1}, ["a", 9, 2], f"{NOT_DONE}no match", {"a": 1}),
    ("dict.swap", {"a": 1}, ["b", 9, 2], f"{NOT_DONE}no such item", {"a": 1}),
    ("dict.takelast", {"a": 1, "b": 2}, [], ["b", 2], {"a": 1}),
    ("dict.takelast", {}, [], f"{NOT_DONE}empty", {}),
    ("dict.clear", {"a": 1}, [], None, {}),
    ("list.append", [1], [2], None, [1, 2]),
    ("list.extend", [1], [[2, 3]], None, [1, 2, 3]),
    ("list.insert", [1, 3], [1, 2], None, [1, 2, 3]),
    ("list.put", [1, 3], [-1, 2], None, [1, 2]),
    ("list.put", [1, 3], [2, 2], f"{NOT_DONE}no such index", [1, 3]),
    ("list.drop", [1, 3], [0], None, [3]),
    ("list.drop", [1, 3], [-3], f"{NOT_DONE}no such index", [1, 3]),
    ("list.take", [1, 3], [], 3, [1]),
    ("list.take", [1, 3], [0], 1, [3]),
    ("list.take", [], [], f"{NOT_DONE}no such index", []),
    ("list.remove", [1, 3, 1], [1], None, [3, 1]),
    ("list.remove", [1], [2], f"{NOT_DONE}no such item", [1]),
    ("list.splice", [1, 2, 3], [[0, 2, None], [9]], None, [9, 3]),
    ("list.cut", [1, 2, 3], [[None, None, 2]], None, [2]),
    ("list.reverse", [1, 2], [], None, [2, 1]),
    ("list.clear", [1, 2], [], None, []),
    ("set.add", ["a"], ["b"], True, ["a", "b"]),
    ("set.add", ["a"], ["a"], False, ["a"]),
    ("set.discard", ["a"], ["a"], True, []),
    ("set.discard", ["a"], ["b"], False, ["a"]),
    ("set.union", ["a"], [["b", "a"]], None, ["a", "b"]),
    ("set.intersection", ["a", "b"], [["b", "c"]], None, ["b"]),
    ("set.difference", ["a", "b"], [["b", "c"]], None, ["a"]),
    ("set.symmetric", ["a", "b"], [["b", "c"]], None, ["a", "c"]),
    ("set.take", ["a", "b"], [], "a", ["b"]),
    ("set.take", [], [], f"{NOT_DONE}empty", []),
    ("set.clear", ["a"], [], None, []),
    ("queue.put", [1], [2], None, [1, 2]),
    ("queue.put", [1], [2, 2], None, [1, 2]),
    ("queue.put", [1], [2, 1], f"{NOT_DONE}full", [1]),
    ("queue.take", [1, 2], [], 1, [2]),
    ("queue.take", [], [], f"{NOT_DONE}empty", []),
    ("queue.clear", [1], [], None, []),
]


@pytest.mark.parametrize(("operation", "before", "operands", "result", "after"), CASES)
def test_each_operation_of_an_object_has_its_effect(
    operation: str, before: Any, operands: list[Any], result: Any, after: Any
) -> None:
    machine = Machine()
    machine.do(f"set x {json.dumps(before)}")
    assert machine.operate(operation, *operands) == result
    assert machine.value == after


SET_OPERATIONS = {
    "set.union": lambda items, more: dict.fromkeys([*items, *more]),
    "set.intersection": lambda items, more: [item for item in items if item in set(more)],
    "set.difference": lambda items, more: [item for item in items if item not in set(more)],
    "set.symmetric": lambda items, more: [
        *(item for item in dict.fromkeys(items) if item not in set(more)),
        *(item for item in dict.fromkeys(more) if item not in set(items)),
    ],
}


@pytest.mark.parametrize("name", SET_OPERATIONS)
@given(st.data())
def test_items_of_a_set_are_equal_if_they_are_so_in_python(name: str, data: st.DataObject) -> None:
    near = st.sampled_from([0, -0.0, False, 1, 1.0, True, None, "1", "", 2**53 + 1, 2.0**53, 1e300])
    items, more = data.draw(st.tuples(*[st.lists(near | SCALARS)] * 2))
    expected = list(SET_OPERATIONS[name](items, more))
    OPERATIONS[name].act(items, more)
    assert [*map(format_json, items)] == [*map(format_json, expected)]


class Unhashed(int):
    def __hash__(self) -> int:
        raise AssertionError("the hash of a number is known to everybody")


@pytest.mark.parametrize("name", SET_OPERATIONS)
def test_places_of_set_members_in_a_table_are_unforeseeable(name: str) -> None:
    """No one foresees where the numbers of a set lie in a table."""
    OPERATIONS[name].act([Unhashed(5), Unhashed(6)], [Unhashed(6), Unhashed(7)])


def test_parsed_and_applied_operations_are_the_same() -> None:
    """Every operation that is parsed is applied and vice versa."""
    assert sorted(OPERATIONS) == sorted(OPERANDS)


def test_every_operation_is_among_these_cases_or_the_locks() -> None:
    assert {case[0] for case in CASES} == {n for n in OPERATIONS if not n.startswith("lock.")}


def test_an_untouched_object_is_empty() -> None:
    assert Machine().operate("queue.take") == f"{NOT_DONE}empty"
    machine = Machine()
    machine.operate("dict.put", "lamp", "on")
    assert machine.do("get x") == 'GET response: {"lamp": "on"}'


def test_a_lock_has_one_holder_and_a_token_that_grows() -> None:
    machine = Machine()
    assert machine.operate("lock.acquire", "a", 1000) == 1
    assert machine.operate("lock.acquire", "b", 1000) == f"{NOT_DONE}held"
    assert machine.operate("lock.acquire", "a", 1000) == 1  # a retry in a new session
    assert machine.operate("lock.release", "b", 1) == f"{NOT_DONE}not held by you"
    assert machine.operate("lock.beat", "a", 1) == 1
    assert machine.operate("lock.release", "a", 1) is None
    assert machine.operate("lock.beat", "a", 1) == f"{NOT_DONE}not held by you"
    assert machine.operate("lock.acquire", "b", 1000) == 8
    assert machine.value == {"owner": "b", "token": 8, "lease_ms": 1000, "beat": 0}


def test_a_lock_is_seized_only_if_its_beat_did_not_change() -> None:
    machine = Machine()
    assert machine.operate("lock.acquire", "a", 1000) == 1
    machine.operate("lock.beat", "a", 1)
    assert machine.operate("lock.seize", "b", 1000, 1, 0) == f"{NOT_DONE}held"
    assert machine.operate("lock.seize", "b", 1000, 1, 1) == 4
    assert machine.operate("lock.beat", "a", 1) == f"{NOT_DONE}not held by you"
    assert machine.operate("lock.release", "b", 4) is None


def test_earlier_token_is_refused_from_the_same_owner() -> None:
    """A token of an earlier time is refused from the same owner."""
    machine = Machine()
    first = machine.operate("lock.acquire", "a", 1000)
    machine.operate("lock.release", "a", first)
    second = machine.operate("lock.acquire", "a", 1000)
    for operation in ("lock.beat", "lock.release"):
        assert machine.operate(operation, "a", first) == f"{NOT_DONE}not held by you"
    assert machine.value["token"] == second > first


def test_brackets_within_strings_are_not_nested() -> None:
    machine = Machine()
    assert machine.operate("list.append", "[" * 99 + '"' + "{" * 99) is None
    assert machine.operate("list.append", [[]] * 99) is None


def test_a_token_grows_though_the_lock_was_deleted_in_between() -> None:
    machine = Machine()
    first = machine.operate("lock.acquire", "a", 1000)
    machine.do("delete x")
    assert machine.operate("lock.acquire", "b", 1000) > first


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("object", "the form is: object KEY OPERATION"),
        ("object x", "the form is: object KEY OPERATION"),
        ("object x list.sort", "there is no operation list.sort on an object"),
        ("object x list.append", "the form is: list.append VALUE, and 0 operands were given"),
        ("object x list.append 1 2", "the form is: list.append VALUE, and 2 operands were given"),
        ("object x list.append on", "list.append VALUE: not JSON at character 1"),
        ("object x list.append 1e999", "list.append VALUE: a number that is not finite"),
        ("object x list.append NaN", "list.append VALUE: NaN is not JSON"),
        ("object x list.append 9223372036854775808", "list.append VALUE: a whole number beyond"),
        ("object x list.append " + "1" * 5000, "list.append VALUE: a whole number beyond 2^63-1"),
        ("object x list.append " + "[" * 33 + "]" * 33, "list.append VALUE: nested more than 32"),
        ("object x list.append " + "[" * 99999, "list.append VALUE: nested more than 32 deep"),
        (r'object x list.append "\xff"', "list.append VALUE: a byte or half a character"),
        (r'object x list.append "\\ud800"', "list.append VALUE: a byte or half a character"),
        (
            "object x list.append " + '"' + r'\\"' * 200_000 + "[" * 40,
            "list.append VALUE: not JSON",
        ),
        ("object x list.append" + " 1" * 200_000, "list.append VALUE: more than 16 values"),
        ('object x dict.put "a""b"', "dict.put KEY VALUE: no space between two JSON values"),
        ("object x dict.put 1 2", "dict.put KEY VALUE: KEY must be a string"),
        ("object x list.put true 2", "list.put INDEX VALUE: INDEX must be a whole number"),
        ("object x set.add []", "set.add ITEM: ITEM must be a value other than a list"),
        ("object x list.cut [0,1,0]", "list.cut SLICE: SLICE must be [START, STOP, STEP]"),
    ],
)
def test_a_wrong_operand_is_refused_before_it_is_logged(line: str, reply: str) -> None:
    assert refusal(line).startswith(reply)


def test_there_is_one_form_of_a_request_however_it_was_typed() -> None:
    line = r'object two\swords dict.put   "\u00e9"  {"b":1.0,"a":[1,2]} '
    with pytest.raises(
        ProtocolError, match=r"\\u is not an escape"
    ):  # the line's own escapes first
        read_request("c", "", line, Limits())
    line = line.replace(r"\u", r"\\u")
    command = read_request("c", "", line, Limits()).command
    assert command == r'object two\swords dict.put "é" {"b": 1.0, "a": [1, 2]}'
    assert read_request("c", "", command, Limits()).command == command


def test_a_line_break_in_a_string_is_typed_as_in_any_value() -> None:
    machine = Machine()
    machine.do(r'object x list.append "two\nlines"')
    assert machine.value == ["two\nlines"]
    assert machine.do("get x") == r'GET response: ["two\\nlines"]'


@pytest.mark.parametrize("held", ["[1]", "5", "not json", r"\xff", "[" * 99, '{"owner": "a"}', ""])
def test_an_operation_leaves_a_value_of_another_kind_unchanged(held: str) -> None:
    machine = Machine()
    machine.do(f"set x {held}")
    reply = machine.do('object x lock.acquire "me" 10')
    assert reply == "Sorry, x holds no lock but something else. Nothing was done."
    assert machine.manager.store["x"] == held


def test_an_object_grows_no_longer_than_a_value_may_be() -> None:
    machine = Machine()
    half = "v" * (Limits().value_bytes // 2)
    assert machine.operate("list.append", half) is None
    reply = machine.operate("list.append", half)
    assert reply.startswith("Sorry, x would have 10485")
    assert reply.endswith("the limit is 1048576. Nothing was done.")
    assert machine.value == [half]


def test_stepped_slice_takes_as_many_values_as_places() -> None:
    """A slice with a step takes as many values as it has places."""
    machine = Machine()
    machine.operate("list.extend", [1, 2, 3])
    reply = machine.operate("list.splice", [None, None, 2], [9])
    assert reply == f"{NOT_DONE}a slice with a step takes as many values as it has places"
    assert machine.value == [1, 2, 3]


@given(
    st.lists(
        st.sampled_from(sorted(OPERATIONS)).flatmap(
            lambda name: (
                st.lists(VALUES.map(format_json) | st.text(), max_size=4).map(
                    lambda operands: " ".join(["object x", name, *operands])
                )
                | st.text().map(lambda value: f"set x {escape(value, key=False)}")
            )
        ),
        max_size=6,
    )
)
def test_apply_takes_any_line_and_two_nodes_agree(commands: list[str]) -> None:
    nodes = [LogManager(name, MemoryFolder(), MEMBERS) for name in ("s1", "s2")]
    entries = [Entry(index, 1, command) for index, command in enumerate(commands, start=1)]
    together = nodes[0].apply(entries)
    assert [nodes[1].apply([entry])[0] for entry in entries] == together
    assert nodes[0].store == nodes[1].store
    assert all(escape(unescape(text), key=False) == text for text in nodes[0].store.values())


@given(VALUES)
def test_a_value_of_a_program_is_read_back_equal(value: Any) -> None:
    machine = Machine()
    try:
        value = checked(value)
    except NotJsonError:
        return  # half a character: refused, and nothing was sent
    assert machine.operate("list.append", value) is None
    assert format_json(machine.value) == format_json([value])
    assert format_json(read_json(format_json(value), DEPTH_MAX)) == format_json(value)


@pytest.mark.parametrize(
    "value", [{1: 2}, {1}, b"x", object(), float("nan"), 2**63, "\ud800", {"\udc00": 1}]
)
def test_value_that_json_cannot_hold_is_refused_unsent(value: object) -> None:
    """A value that JSON cannot hold is refused before it is sent."""
    with pytest.raises((TypeError, ValueError)):
        checked(value)


WRAPS: dict[str, Callable[[Any], Any]] = {
    "[": lambda inner: [inner], "(": lambda inner: (1, inner), "{": lambda inner: {"k[": inner},
    "}": lambda inner: {"a": "}", "b": inner},
    "s": lambda inner: ["a", inner, "b", 1, 'c"\\'],
}  # fmt: skip


LEAVES: list[Any] = [[], {}, "]", "\ud800", {"\udc00": 1}, 2**63, 2**63 - 1, -(2**63), 0.5, None]


@pytest.mark.parametrize("wraps", [*WRAPS, "[{", "(}", "{[s", "s(("])
def test_value_is_refused_unsent_if_a_node_would_refuse_it(wraps: str) -> None:
    readers = (checked, lambda value: read_json(json.dumps(value), DEPTH_MAX))
    for leaf, depth in itertools.product(LEAVES, [0, 1, 2, *range(DEPTH_MAX - 2, DEPTH_MAX + 3)]):
        value = leaf
        for place in range(depth):
            value = WRAPS[wraps[place % len(wraps)]](value)
        read = []
        for reader in readers:
            try:
                read.append(format_json(reader(value)))
            except NotJsonError:
                read.append("refused")
        assert read[0] == read[1], (leaf, depth)
        assert read[0] in ("refused", json.dumps(value, ensure_ascii=False))


def test_a_value_nested_in_itself_is_refused_unsent() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested more than 32 deep"):
        checked(endless)


@pytest.mark.parametrize("count", [0, 1, 2, VALUES_MAX - 1, VALUES_MAX, VALUES_MAX + 1])
def test_operands_have_a_bounded_number_of_values(count: int) -> None:
    text = " " + "  ".join("1" * count)
    with contextlib.nullcontext() if count <= VALUES_MAX else pytest.raises(NotJsonError):
        assert read_values(text) == [1] * count
    with contextlib.nullcontext() if count == 1 else pytest.raises(NotJsonError):
        assert read_json(text) == 1


def depth_of(text: str) -> int:
    """How deep brackets are nested outside of strings, one character after the other."""
    deepest = depth = place = 0
    in_string = False
    while place < len(text):
        sign = text[place]
        place += 2 if sign == "\\" else 1
        in_string ^= sign == '"'
        if not in_string:
            depth += (sign in "[{") - (sign in "]}")
            deepest = max(deepest, depth)
    return deepest


NESTED = st.recursive(
    st.sampled_from(['"a"', r'"\\"', r'"\"]"', '"[[[["', "1", '"\u00e9}"', "[]", "{}"]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"[{','.join(parts)}]")
        | inner.map(lambda part: f'{{"k[":{part}}}')
    ),
    max_leaves=12,
)


@example(r"[\][\][\]", 2)
@settings(max_examples=300)
@given(NESTED | st.text(alphabet='[]{}"\\ ,a', max_size=40), st.integers(0, 4))
def test_too_deep_nesting_is_refused_before_other_faults(text: str, most: int) -> None:
    """A value that is nested too deep is refused before any other fault."""
    try:
        read_json(text, most)
        problem = ""
    except NotJsonError as refused:
        problem = str(refused)
    assert problem.startswith("nested more than") == (depth_of(text) > most)


def test_the_last_long_reply_of_a_session_is_repeated_exactly() -> None:
    machine = Machine()
    long, longer = "v" * 600, "w" * 700
    machine.operate("queue.put", long)
    machine.operate("queue.put", longer)

    def take(number: int) -> str:
        return machine.manager.apply([Entry(100 + number, 1, f"c#{number}@object x queue.take")])[0]

    first = take(1)
    assert first == f'OBJECT response: "{long}"'
    assert take(1) == first
    second = take(2)
    assert take(2) == second == f'OBJECT response: "{longer}"'
    assert take(1) == DONE_ONCE
    assert machine.value == []


@pytest.mark.pure
def test_numbers_within_the_limits_cost_no_call_each() -> None:
    """Calls for each of 330,000 numbers keep the interpreter from threads that answer members."""
    calls = 0

    def count(_frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        values = read_json("[" + "1, -2.5, 999999999999999999, " * 1000 + "0]")
    finally:
        sys.setprofile(None)
    assert len(values) == 3001
    assert calls < 100


@given(
    st.lists(
        st.integers()
        | st.integers(2**63 - 3, 2**63 + 3)
        | st.integers(10**17, 10**20)
        | st.floats()
        | st.sampled_from(["1E5", "1e999", "0.5E-3", "-0", "1" * 400 + ".5", '"9e9"', "NaN"])
    )
)
def test_each_number_is_within_the_limits_or_refused(numbers: list[object]) -> None:
    text = "[" + ", ".join(map(str, numbers)) + "]"
    try:
        values = read_json(text)
    except NotJsonError:
        return
    assert checked(values) == values == json.loads(text)
