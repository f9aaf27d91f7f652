"""The commands of Redis clients in bytes, and the replies to them."""

from __future__ import annotations

import itertools
import random

import pytest

from raftline.redis.harness.redis_wire import framed
from raftline.redis.resp.framing import CommandScanner, FramingError
from raftline.redis.resp.limits import REDIS_ARGUMENTS
from raftline.redis.resp.replies import (
    Failure,
    Pairs,
    Simple,
    Value,
    failure_of,
    format_reply,
    slot_of,
)

pytestmark = pytest.mark.pure


def scanned(data: bytes, cuts: list[int], scanner: CommandScanner) -> list[list[bytes]]:
    """Return the commands in bytes that arrive in pieces."""
    commands, kept = [], b""
    places = [0, *cuts, len(data)]
    for begin, end in itertools.pairwise(places):
        piece, place = data[begin:end], 0
        while (after := scanner.scan(piece, place)) >= 0:
            commands.append(scanner.take(kept + piece[place:after]))
            place, kept = after, b""
        kept += piece[place:]
    return commands


def test_any_cut_of_the_bytes_has_the_same_commands() -> None:
    commands = [[b"GET", b"a"], [], [b"SET", b"", b"*1\r\n$4\r\nPING\r\n"], [b"x" * 300, b"\xff"]]
    data = b"".join([framed(*words) for words in commands]) + b"\r\n"
    for seed in range(200):
        chance = random.Random(seed)
        cuts = sorted(chance.randrange(len(data)) for _ in range(chance.randrange(12)))
        assert scanned(data, cuts, CommandScanner()) == [*commands, []]
    assert scanned(data, list(range(1, len(data))), CommandScanner()) == [*commands, []]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"PING\r\n", "expected '*', got 'P'"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*" + b"1" * 40, "invalid multibulk length"),
        (b"*%d\r\n" % (REDIS_ARGUMENTS + 1), "invalid multibulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$101\r\n", "invalid bulk length"),
    ],
)
def test_other_bytes_are_refused_in_the_words_of_redis(data: bytes, problem: str) -> None:
    scanner = CommandScanner()
    scanner.bytes_max = 100
    with pytest.raises(FramingError) as refusal:
        scanner.scan(data, 0)
    assert str(refusal.value) == problem


def test_a_stranger_sends_ten_arguments_at_most() -> None:
    scanner = CommandScanner()
    scanner.is_stranger = True
    with pytest.raises(FramingError, match="unauthenticated multibulk length"):
        scanner.scan(b"*11\r\n", 0)


@pytest.mark.parametrize(
    ("value", "second", "third"),
    [
        (Simple("OK"), "+OK\r\n", "+OK\r\n"),
        (Failure("ERR two\r\nlines"), "-ERR two  lines\r\n", "-ERR two  lines\r\n"),
        (None, "$-1\r\n", "_\r\n"),
        (7, ":7\r\n", ":7\r\n"),
        (1.5, "$3\r\n1.5\r\n", ",1.5\r\n"),
        ("ä", "$2\r\nä\r\n", "$2\r\nä\r\n"),
        (["a", None], "*2\r\n$1\r\na\r\n$-1\r\n", "*2\r\n$1\r\na\r\n_\r\n"),
        (Pairs("map", [("a", 1)]), "*2\r\n$1\r\na\r\n:1\r\n", "%1\r\n$1\r\na\r\n:1\r\n"),
    ],
)
def test_a_reply_in_both_versions(value: Value, second: str, third: str) -> None:
    assert (format_reply(value, 2), format_reply(value, 3)) == (second, third)


def test_the_slot_of_a_key_is_that_of_its_braces() -> None:
    assert slot_of("123456789") == 0x31C3  # from the specification of Redis Cluster
    assert slot_of("{user1000}.following") == slot_of("{user1000}.followers") == slot_of("user1000")
    assert slot_of("foo{}{bar}") != slot_of("bar")


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (
            "Sorry, I am not the leader. Last leader I heard from is: s2 ([::1]:10001)",
            "MOVED 12182 ::1:10001",
        ),
        ("Sorry, I know of no leader. Try again.", "CLUSTERDOWN The cluster is down"),
        (
            "Sorry, outcome unknown: no quorum answered in time",
            "UNKNOWN outcome unknown: no quorum answered in time; the command may or may not take"
            " effect",
        ),
        (
            "Sorry, no room: the pairs take too much. Nothing was done.",
            "OOM command not allowed when used memory > 'maxmemory'.",
        ),
        ("GET response: Sorry", None),
    ],
)
def test_a_refusal_has_a_code_that_clients_know(reply: str, failure: str | None) -> None:
    assert failure_of(reply, "foo") == failure
