"""Bad input: each line gets one clear reply, and the node serves on."""

from __future__ import annotations

import json

import pytest

from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import eventually

TRY = "Try: get KEY, set KEY VALUE, delete KEY, show, help"
NO_NAME = (
    "is not a name. A name is a letter, then letters, digits, _ . or -, at most 64 in all: "
    "client4@get KEY"
)
NO_ID = (
    "is not a request id. An id is a number from 0 to 9223372036854775807 without leading zeros:"
    " client4#17@get KEY"
)

# The line that is sent, and its answer after `NAME@Sorry, `.
REFUSED: list[tuple[bytes, str]] = [
    (b"foo", f"I don't understand: foo. {TRY}"),
    (b"leases x", "leases takes no operands. Nothing was done."),
    (b"SET a b", "I don't understand: SET a b. Commands have small letters: set KEY VALUE"),
    (b"", f"the line is empty. {TRY}"),
    (b"   ", f"the line is empty. {TRY}"),
    (b"client4@", f"the line is empty. {TRY}"),
    (b"set", "the key is missing: set KEY VALUE, with one space before the key"),
    (b"set  v", "the key is missing: set KEY VALUE, with one space before the key"),
    (b"set a", "the value is missing: set KEY VALUE (a space alone: empty value)"),
    (b"get", "the key is missing: get KEY, with one space before the key"),
    (b"delete ", "the key is missing: delete KEY, with one space before the key"),
    (b"get a b", r"get takes one key; a space inside a key is written \s"),
    (b"set k\tx v", r"a tab inside a key is written \t"),
    (b"show a b c",
     r"show takes [PREFIX] [after KEY] [with index]; a space inside a key is written \s"),
    (b"get " + b"k" * 1025, "the key has 1025 bytes; the limit is 1024. Nothing was done."),
    (b"set a " + b"v" * ((1 << 20) + 1),
     "the value has 1048577 bytes; the limit is 1048576. Nothing was done."),
    (b"noop", f"I don't understand: noop. {TRY}"),
    (b"set \x00 a", r"byte 5 of this line is a raw control character; write it as \x00"),
    (b"set a \x1b[2J", r"byte 7 of this line is a raw control character; write it as \x1b"),
    (b"set a \xc3(", r"byte 7 of this line is not UTF-8; write it as \xc3"),
    (b"get \xed\xa0\x80", r"byte 5 of this line is not UTF-8; write it as \xed"),
    (b"set a \\xzz",
     r"\x is not an escape. Write \\ for a backslash, \n \r \t \s, or \xNN for a byte."),
    (b"@get a", f'"" {NO_NAME}'),
    (b"1x@get a", f'"1x" {NO_NAME}'),
    (b"a@b@get x", f"I don't understand: b@get x. {TRY}"),
    (b"x" * 1_000_000 + b"@get a", '"' + "x" * 60 + f'..." {NO_NAME}'),
    (b"client4#-1@get a", f'"-1" {NO_ID}'),
    (b"client4#9223372036854775808@get a", f'"9223372036854775808" {NO_ID}'),
    (b"client4#01@get a", f'"01" {NO_ID}'),
    (b"client4@RequestVote 999-0-0",
     "client4 is not a peer of {me}, so it can't say RequestVote 999-0-0"),
    (b"s9@AppendEntries 999-0-0-[] commit 0 round 1",
     "s9 is not a peer of {me}, so it can't say AppendEntries 999-0-0-[] commit 0 round "),
    (b"RequestVote 999-0-0", f"I don't understand: RequestVote 999-0-0. {TRY}"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "reply"), REFUSED, ids=lambda part: str(part)[:20])
def test_a_malformed_line_is_answered_and_changes_nothing(
    shared: Cluster, line: bytes, reply: str
) -> None:
    node = shared.leader()
    with node.connect() as client:

        def end() -> tuple[int, int]:
            facts = json.loads(client.ask("status").partition(": ")[2])
            return facts["term"], facts["last_index"]

        def changes_nothing() -> bool:
            before = end()
            assert client.ask(line) == f"{node.name}@Sorry, " + reply.replace("{me}", node.name)
            return end() == before

        eventually(changes_nothing, "no entry, unless one of an election")
        assert client.ask("get nowhere") == f"{node.name}@GET response, no such key: nowhere"


def test_numbered_request_applies_once_and_repeats_its_reply(shared: Cluster) -> None:
    """A repeated request with an id takes effect once, and gets its first reply again."""
    node = shared.leader()
    with node.connect() as client:
        for _ in range(2):
            assert client.ask("client4#17@set b 5") == f"{node.name}#17@SET response: b set to 5"
        for _ in range(2):
            assert client.ask("client4#18@delete b") == f"{node.name}#18@DELETE response: b deleted"
        assert client.ask("client4#19@delete b") == (
            f"{node.name}#19@DELETE response, no such key: b"
        )
        assert client.ask("client4#9223372036854775807@sing") == (
            f"{node.name}#9223372036854775807@Sorry, I don't understand: sing. {TRY}"
        )


def test_a_request_that_a_follower_refuses_is_certainly_not_done(shared: Cluster) -> None:
    leader = shared.leader()
    shared.wait_until_equal()
    follower = shared.followers()[0]
    for line in ("set refused 1", "get refused", "delete refused", "show"):
        assert follower.ask(f"client4@{line}") == (
            f"{follower.name}@Sorry, I am not the leader. "
            f"Last leader I heard from is: {leader.name} (localhost:{leader.port})"
        )
    assert shared.ask("client4@get refused") == "GET response, no such key: refused"
    assert " refused" not in follower.log.read_text()


@pytest.mark.parametrize(
    "value",
    [
        "None",
        "not found",
        "",
        "no such key: x",
        "Sorry, I know of no",
        "GET response, no such key: x",
        "s1@Sorry, x",
        "\\n",
        "{}",
    ],
)
def test_no_value_looks_like_an_absence_or_an_error(shared: Cluster, value: str) -> None:
    assert shared.ask(f"client4@set x {value}") == f"SET response: x set to {value}"
    assert shared.ask("client4@get x") == f"GET response: {value}"
    assert shared.ask("client4@delete x") == "DELETE response: x deleted"
    assert shared.ask("client4@get x") == "GET response, no such key: x"


@pytest.mark.parametrize(
    "key",
    [
        "a@b",
        "a-b",
        "=",
        "a,b",
        "\\s",
        "set",
        "noop",
        "1",
        "#",
        "é",
        "two\\swords",
        "\\xff\\xfe",
        "a\\nb",
        "base",
        "'",
        '"',
        "after",
    ],
)
def test_keys_of_every_kind_are_kept_apart_and_come_back(shared: Cluster, key: str) -> None:
    assert shared.ask(
        f"client4@set {key} v@ - {key}"
    ) == f"SET response: {key} set to v@ - " + key.replace("\\s", " ")
    assert shared.ask(f"client4@get {key}").startswith("GET response: v@ - ")
    assert shared.ask(f"client4@delete {key}") == f"DELETE response: {key} deleted"


def test_two_forms_of_an_accent_are_two_keys(shared: Cluster) -> None:
    shared.ask("client4@set \u00e9 one")
    assert shared.ask("client4@get e\u0301") == "GET response, no such key: e\u0301"


def test_the_largest_key_and_value_are_stored_and_come_back(shared: Cluster) -> None:
    key, value = "k" * 1024, "v" * (1 << 20)
    assert shared.ask(f"client4@set {key} {value}") == f"SET response: {key} set to {value}"
    assert shared.ask(f"client4@get {key}") == f"GET response: {value}"
    escaped = "\\x01" * (1 << 20)
    assert shared.ask(f"client4@set {key} {escaped}") == f"SET response: {key} set to {escaped}"
    assert shared.ask(f"client4@delete {key}") == f"DELETE response: {key} deleted"
