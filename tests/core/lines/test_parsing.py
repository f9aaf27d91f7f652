"""One line, understood without a node: its kind, its request, or the reason to refuse it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raftline.raft.change import Change
from raftline.raft.messages import RequestVote, RequestVoteReply
from raftline.wire.commands import parsing
from raftline.wire.commands.command_table import COMMANDS, READ_MODES, Request
from raftline.wire.commands.parsing import (
    BUILD_QUESTION,
    PROOF_LINES,
    ParsedLine,
    Reading,
    ReadSettings,
    parse,
)
from raftline.wire.operands.operands import Limits
from raftline.wire.peer_lines import FIRST_WORDS

LIMITS = Limits(key_bytes=16, value_bytes=16)


def parsed(line: bytes | str, readings: ReadSettings = ReadSettings()) -> ParsedLine:  # noqa: B008
    return parse(line if isinstance(line, bytes) else line.encode(), LIMITS, readings, "s1")


@pytest.mark.parametrize(
    ("line", "kind", "request_of"),
    [
        ("set a 1", "write", ("", "", "set", "set a 1")),
        ("client4#17@set a 1\r", "write", ("client4", "17", "set", "set a 1")),
        ("  client4@delete a", "write", ("client4", "", "delete", "delete a")),
        ("client4@session", "write", ("client4", "", "session", "session")),
        (r"set \x61 1", "write", ("", "", "set", "set a 1")),
        ("machine m {}", "write", ("", "", "machine", "machine m {}")),
        ("get a", "read", ("", "", "get", "get a")),
        ("get a read log", "write", ("", "", "get", "get a", "log")),
        ("get a read local", "local", ("", "", "get", "get a", "local")),
        ("show", "show", ("", "", "show", "show")),
        ("show p read local", "local", ("", "", "show", "show p", "local")),
        ("help", "local", ("", "", "help", "help")),
        ("s4@status", "local", ("s4", "", "status", "status")),
        ("transfer s3", "local", ("", "", "transfer", "transfer s3")),
        ("backup from 0", "backup", ("", "", "backup", "backup from 0")),
        ("members", "members", ("", "", "members", "members")),
        ("RequestVote 1-0-0", "refused", ("", "", "", "")),  # without a sender
    ],
)
def test_a_line_is_of_one_kind_and_holds_one_request(
    line: str, kind: str, request_of: tuple[str, ...]
) -> None:
    found = parsed(line)
    assert (found.kind, found.request) == (kind, Request(*request_of))
    assert bool(found.problem) == (kind == "refused")


def test_the_first_letter_tells_a_line_of_a_peer_from_a_command() -> None:
    words = {*FIRST_WORDS, BUILD_QUESTION, *PROOF_LINES}
    assert all("A" <= word[0] <= "Z" for word in words)
    assert not any("A" <= verb[0] <= "Z" for verb in COMMANDS)


@pytest.mark.parametrize(
    ("line", "kind", "facts"),
    [
        ("s2@RequestVote 1-0-0", "peer", {"message": RequestVote("s2", "s1", 1, 0, 0)}),
        (
            "s2@RequestVote one", "peer",
            {
                "message": None,
                "problem": "malformed RequestVote. Its form is: "
                "RequestVote TERM-LASTINDEX-LASTTERM [transfer|newborn] [without NAME ...]",
            },
        ),
        (
            "s2@Count on me term 1", "peer",
            {
                "message": RequestVoteReply("s2", "s1", 1, True),
                "problem": "an answer is only taken on the connection that asked",
            },
        ),
        ("add s4 h 1", "members", {"change": Change("add", "s4", "h:1", "")}),
        (
            "add s4", "refused",
            {"problem": "Sorry, the form is: add NAME HOST PORT. Nothing was changed."},
        ),
        ("get a read lease", "read", {"reading": Reading(by_lease=True)}),
        ("get a read index", "read", {"reading": Reading(may_ask=True)}),
    ],
)  # fmt: skip
def test_a_line_holds_its_sender_number_and_text(
    line: str, kind: str, facts: dict[str, Any]
) -> None:
    found = parsed(line)
    assert found.kind == kind
    assert {name: getattr(found, name) for name in facts} == facts


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"set a \xff", "line is not UTF-8"),
        (b"9x@get a", '"9x" is not a name'),
        (b"a#x@get a", '"x" is not a request id'),
    ],
)
def test_a_line_without_a_text_or_a_sender_has_only_a_problem(line: bytes, problem: str) -> None:
    found = parsed(line)
    assert problem in found.problem
    assert found == ParsedLine("garbled", Request("", "", "", ""), problem=found.problem)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", "I don't understand: nonsense. Try"),
        ("", "the line is empty"),
        ("set a", "the value is missing"),
        ("set a " + "x" * 17, "the value has 17 bytes; the limit is 16"),
        ("session", "a session needs a name before it"),
    ],
)
def test_a_refused_line_keeps_its_sender_number_and_text(line: str, problem: str) -> None:
    found = parsed(line)
    assert (found.kind, found.text) == ("refused", line)
    assert problem in found.problem
    if line != "session":
        assert parsed(f"client4#9@{line}").request == Request("client4", "9", "", "")


def test_a_request_without_a_read_mode_uses_the_nodes_mode() -> None:
    assert parsed("get a", ReadSettings("log")).kind == "write"
    assert parsed("get a", ReadSettings("local")).kind == "local"
    assert parsed("get a", ReadSettings("lease", at_followers=True)).reading == Reading(True, True)


SENDERS = [
    "", "c@", "c#17@", "c#0@", "c#01@", "c#@", "#1@", "9@", "@", " c@", "c@ ", "c d@", "s2@",
    "set@", f"c#{10**18}@", f"c#{2**63 - 1}@", f"c#{2**63}@", "c" * 64 + "@", "c" * 65 + "@", "é@",
]  # fmt: skip


@given(
    st.sampled_from(SENDERS),
    st.sampled_from([*COMMANDS, *FIRST_WORDS, "nothing", "Set", ""]),
    st.text(alphabet=" ab@#~!\\\t\r\n\x00\x7fé", max_size=40),
    st.sampled_from([ReadSettings(mode, at) for mode in READ_MODES for at in (False, True)]),
)
@example(
    "c@", "set", " " + "k" * 16 + " " + "v" * 16, ReadSettings()
)  # as long as may be, and beyond
@example("c@", "set", " " + "k" * 17 + " v", ReadSettings())
@example("c@", "set", " k " + "v" * 17, ReadSettings())
@example("c@", "get", " " + "k" * 17, ReadSettings())
@example("c@", "get", " k read local", ReadSettings())
@example("c@", "set", " k ", ReadSettings())
@example("c@", "delete", " k ", ReadSettings())
@example("c@", "setnx", " k  v\\s", ReadSettings())
@example("c@", "ttl", " k", ReadSettings())
@example("c@", "cas", " k v v", ReadSettings())
def test_a_plain_line_is_read_as_by_a_closer_look(
    sender: str, verb: str, rest: str, readings: ReadSettings
) -> None:
    line = f"{sender}{verb}{rest}".encode().replace(b"\n", b"\xff")
    assert parsed(line, readings) == parsing._parse_closely(line, LIMITS, readings, "s1")


@pytest.mark.parametrize("size", [511, 512, 513, 700])
def test_a_line_is_read_alike_however_long_it_is(size: int) -> None:
    for line in (f"c#1@set k {'v' * (size - 10)}", f"c#1@get {'k' * (size - 8)}"):
        found = parse(line.encode(), Limits(), ReadSettings(), "s1")
        assert found.request.command == line.removeprefix("c#1@")
        assert found == parsing._parse_closely(line.encode(), Limits(), ReadSettings(), "s1")
