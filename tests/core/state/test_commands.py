"""Conditional and atomic commands: what they answer, and that nothing makes them raise."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.state.commands.key_commands import APPLIED, execute
from raftline.state.lease_table import EXPIRED
from raftline.state.store import Store
from raftline.wire.commands.command_table import COMMANDS, read_request
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError
from tests.core.typed import refusal

BEYOND = str(2**63)


def talk(*commands: str) -> list[str]:
    store = Store()
    return [execute(store, command) for command in commands]


def test_setnx_sets_only_an_absent_key() -> None:
    assert talk("setnx a 1", "setnx a 2", "get a", "delete a", "setnx a 3") == [
        "SETNX response: a set to 1",
        "SETNX response, key exists: a",
        "GET response: 1",
        "DELETE response: a deleted",
        "SETNX response: a set to 3",
    ]


def test_cas_sets_only_if_the_old_value_matches() -> None:
    assert talk("cas a 1 2", "set a 1", "cas a 1 two words", "cas a 1 3", "get a") == [
        "CAS response, no such key: a",
        "SET response: a set to 1",
        "CAS response: a set to two words",
        "CAS response, no match: a",
        "GET response: two words",
    ]


def test_cas_compares_unescaped_values() -> None:
    assert talk(r"set a b c\\d", r"cas a b\sc\\d new")[-1] == "CAS response: a set to new"
    assert talk("set a ", "cas a  new")[-1] == "CAS response: a set to new"  # OLD is empty


def test_incr_counts_from_nothing_and_by_any_step() -> None:
    assert talk("incr n", "incr n 41", "incr n -43", "get n") == [
        "INCR response: 1",
        "INCR response: 42",
        "INCR response: -1",
        "GET response: -1",
    ]


@pytest.mark.parametrize("value", ["x", "1.5", "", " 1", "01", "1_000", "+1", "-0", "１"])
def test_incr_refuses_a_value_that_is_not_a_number_and_leaves_it(value: str) -> None:
    replies = talk(f"set n {value}", "incr n", "get n")
    assert replies[1] == ("Sorry, the value of n is not a whole number, so nothing was added to it")
    assert replies[2] == f"GET response: {value}"


@pytest.mark.parametrize("value", [BEYOND, f"-{BEYOND}", "9" * 10_000])
def test_incr_says_that_a_value_is_a_number_too_large(value: str) -> None:
    replies = talk(f"set n {value}", "incr n -5", "get n")
    said = "Sorry, the value of n is a number beyond 2^63-1, so nothing was added to it"
    assert replies[1:] == [said, f"GET response: {value}"]


def test_incr_never_goes_beyond_its_bounds() -> None:
    top = 2**63 - 1
    replies = talk(f"set n {top}", "incr n", f"incr n -{top}", f"incr n -{top}", "incr n -1")
    assert replies[1] == "Sorry, the value of n would go beyond 2^63-1; nothing was added to it"
    assert replies[2:4] == ["INCR response: 0", f"INCR response: -{top}"]
    assert replies[4].startswith("Sorry, the value of n would go beyond")


def test_append_joins_and_tells_the_size_in_bytes() -> None:
    assert talk("append a ab", "append a  c", "get a", "append a é") == [
        "APPEND response: a has 2 bytes",
        "APPEND response: a has 4 bytes",
        "GET response: ab c",
        "APPEND response: a has 6 bytes",
    ]


def test_append_keeps_one_form_across_halves_of_a_character() -> None:
    assert talk(r"append a \xc3", r"append a \xa9", "get a") == [
        "APPEND response: a has 1 bytes",
        "APPEND response: a has 2 bytes",
        "GET response: é",
    ]


def test_append_stops_at_the_limit_of_a_value() -> None:
    limit = Limits().value_bytes
    replies = talk("set a " + "v" * limit, "append a v", "append a ")
    assert replies[1] == (
        f"Sorry, the value would have {limit + 1} bytes; the limit is {limit}. Nothing was done."
    )
    assert replies[2] == f"APPEND response: a has {limit} bytes"


@given(st.lists(st.text(max_size=30), max_size=6))
def test_any_text_of_an_entry_is_answered_without_an_exception(words: list[str]) -> None:
    store = Store({"a": "1"})
    for verb in ("set", "get", "delete", "setnx", "cas", "incr", "append", "noop", ""):
        reply = execute(store, " ".join([verb, *words]))
        assert isinstance(reply, str)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("setnx a b c", "setnx a b c"),
        (r"cas a\x41 b\sc d e", r"cas aA b\sc d e"),
        ("cas a  new", "cas a  new"),
        ("incr a", "incr a"),
        ("incr a -5 ", "incr a -5"),
        (r"append a \x41", "append a A"),
        ("session", "session"),
    ],
)
def test_a_request_is_read_into_its_canonical_form(line: str, command: str) -> None:
    assert read_request("client4", "", line, Limits()).command == command


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("setnx a", "the value is missing: setnx KEY VALUE"),
        ("append", "the key is missing: append KEY VALUE"),
        ("cas a b", "cas KEY OLD NEW: the value is set to NEW where it is OLD"),
        ("incr", "incr KEY [BY]: one key and one number"),
        ("incr a 1 2", "incr KEY [BY]: one key and one number"),
        ("incr a x", "x is not a whole number"),
        (f"incr a {BEYOND}", f"{BEYOND} is not a whole number"),
        ("client4@session 4", "session takes no operands. Nothing was done."),
    ],
)
def test_a_malformed_request_is_refused_with_the_right_form(line: str, why: str) -> None:
    assert refusal(line).startswith(why)


def test_a_session_needs_a_name() -> None:
    with pytest.raises(ProtocolError, match=r"^a session needs a name before it: NAME@session$"):
        read_request("", "", "session", Limits())


def test_each_applied_command_has_its_function() -> None:
    """Each command that the table says is applied has a function."""
    kinds = ("read", "write")
    applied = {
        verb
        for verb, row in COMMANDS.items()
        if row.handling.kind in kinds and not row.handling.is_timed
    }
    of_sessions_and_machines = {
        "session",
        "forget",
        "machine",
    }  # state/commands/replicated_state.py
    of_the_node = {"noop", "members", "cluster", EXPIRED}
    assert APPLIED.keys() - of_the_node == applied - of_sessions_and_machines


def test_a_read_changes_no_pair() -> None:
    pairs: Any = MappingProxyType({"a": "1"})
    for verb, row in COMMANDS.items():
        if row.handling.kind == "read" and not row.handling.is_timed:
            read = Store(pairs)
            for operand in (" a", " b") if row.operands.needed else ("",):
                assert execute(read, verb + operand).startswith(f"{verb.upper()} response")
