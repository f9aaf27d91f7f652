"""The bytes and the time that a Redis client has before it has logged in."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from raftline.access.login import Access
from raftline.net.connections import connection_slots as places_module
from raftline.net.line_reader import HalfLines
from raftline.net.protocol import server_protocol
from raftline.net.protocol.server_protocol import HALF_LINES_FULL
from raftline.redis.harness.library_scripts import TEXTS
from raftline.redis.harness.redis_wire import framed
from raftline.redis.resp.scripts import sha_of
from raftline.wire.limits import TRANSACTION_ITEMS
from raftline.wire.refusal import FULL
from raftline_testing.doubles.stranger_connection import (
    PASSWORD,
    StrangerConnection,
    check_half_requests,
    check_places_of_the_silent,
    check_shares_of_users,
)
from raftline_testing.nodes.known_users import ROOT_ALONE, access_with
from raftline_testing.nodes.processes import eventually

pytestmark = pytest.mark.pure
GIVES_WAY = f"-{FULL.replace('Sorry,', 'TRYAGAIN')}"
RELEASE = TEXTS["lock-release"][0]
BEGUN, REST = b"*1\r\n$4\r\nPI", b"NG\r\n"


@pytest.fixture
def access() -> Access:
    return access_with(ROOT_ALONE, PASSWORD)


@pytest.fixture
def doors() -> Iterator[list[StrangerConnection]]:
    opened: list[StrangerConnection] = []
    yield opened
    for door in opened:
        door.end()


@pytest.mark.parametrize("said", [b"*", BEGUN, framed("PING"), framed("AUTH", "root", "wrong")])
def test_a_client_that_does_not_log_in_in_time_reads_why(
    access: Access,
    doors: list[StrangerConnection],
    monkeypatch: pytest.MonkeyPatch,
    said: bytes,
) -> None:
    monkeypatch.setattr(server_protocol, "STRANGER_S", 0.2)
    doors.append(door := StrangerConnection(access))
    door.say(said)
    assert door.rest()[-1] == "-ERR nobody logged in on this connection within 0.2 s."


@pytest.mark.parametrize("asked", [framed("PING"), framed()])
def test_asking_on_and_on_is_not_a_login(
    access: Access,
    doors: list[StrangerConnection],
    monkeypatch: pytest.MonkeyPatch,
    asked: bytes,
) -> None:
    monkeypatch.setattr(server_protocol, "STRANGER_S", 0.2)
    doors.append(door := StrangerConnection(access))
    assert b"nobody logged in" in door.repeat(asked)
    assert eventually(lambda: not door.thread.is_alive())


def test_users_stay_for_as_long_as_they_like(
    access: Access, doors: list[StrangerConnection]
) -> None:
    doors.append(door := StrangerConnection(access))
    door.say(framed("AUTH", "root", PASSWORD))
    assert door.line() == "+OK"
    assert (door.connection.is_stranger, door.due_s) == (False, 0.0)


@pytest.mark.parametrize(
    "words",
    [("EVAL", RELEASE, "1", "a", "b"), ("EVAL", "return 1", "0"), ("EVALSHA", sha_of(RELEASE), "0"),
     ("SCRIPT", "LOAD", RELEASE), ("EXPIRE", "a", "x"), ("MULTI",)],
)  # fmt: skip
def test_nothing_is_read_or_loaded_before_a_login(
    access: Access, doors: list[StrangerConnection], words: tuple[str, ...]
) -> None:
    doors.append(door := StrangerConnection(access))
    door.say(framed(*words))
    assert door.line() == "-NOAUTH Authentication required."
    assert door.host.refusals.by_code()["no-login"] == 1
    door.say(framed("AUTH", "root", PASSWORD) + framed("PING"))
    assert [door.line() for _ in range(2)] == ["+OK", "+PONG"]


def test_of_too_many_half_commands_the_oldest_go(doors: list[StrangerConnection]) -> None:
    check_half_requests(doors, framed(b"SET", b"a", b"x" * (100 << 10)), "-ERR ")


def test_a_transaction_that_has_not_ended_counts_as_a_half_line(
    doors: list[StrangerConnection],
) -> None:
    half_lines = HalfLines(450 << 10)
    begun = framed(b"MULTI") + framed(b"SET", b"a", b"x" * (200 << 10))
    for held in (200 << 10, 400 << 10, 400 << 10):
        doors.append(door := StrangerConnection(None, half_lines))
        door.say(begun)
        assert [door.line(), door.line()] == ["+OK", "+QUEUED"]
        assert eventually(lambda held=held: half_lines.sum > held)
    first, second, third = doors
    assert first.line() == f"-ERR {HALF_LINES_FULL}"
    assert first.line() == ""
    second.say(framed(b"DISCARD"))
    assert second.line() == "+OK"
    assert eventually(lambda: half_lines.sum < 250 << 10)
    third.say(framed(b"EXEC"))
    assert eventually(lambda: third.host.batches)
    assert half_lines.sum > 200 << 10
    third.host.batches[0].answer_all("Sorry, no leader.")
    assert third.line().startswith("-")
    assert eventually(lambda: half_lines.sum == 0)


def test_watched_keys_count_as_a_half_line(doors: list[StrangerConnection]) -> None:
    half_lines = HalfLines()
    doors.append(door := StrangerConnection(None, half_lines))
    keys = [b"%03d" % number + b"k" * 1000 for number in range(TRANSACTION_ITEMS)]
    door.say(framed(b"WATCH", *keys))
    assert eventually(lambda: door.host.batches)
    door.host.batches[0].answer_all("STAT response, no such key: k")
    assert door.line() == "+OK"
    assert eventually(lambda: half_lines.sum > TRANSACTION_ITEMS * 1000)
    door.say(framed(b"UNWATCH"))
    assert door.line() == "+OK"
    assert eventually(lambda: half_lines.sum == 0)


def test_transaction_of_an_ended_connection_does_not_count(
    doors: list[StrangerConnection],
) -> None:
    half_lines = HalfLines()
    doors.append(door := StrangerConnection(None, half_lines))
    door.say(framed(b"MULTI") + framed(b"SET", b"a", b"x" * (200 << 10)))
    assert eventually(lambda: half_lines.sum > 200 << 10)
    door.there.shutdown(socket.SHUT_RDWR)
    assert eventually(lambda: half_lines.sum == 0)


def test_one_user_locks_nobody_out(access: Access) -> None:
    check_shares_of_users(access, lambda *words: framed("AUTH", *words), "+OK", GIVES_WAY)


@pytest.mark.parametrize("users", [True, False])
def test_silent_connections_keep_nobody_out(
    access: Access, monkeypatch: pytest.MonkeyPatch, users: bool
) -> None:
    monkeypatch.setattr(places_module, "STRANGER_LEAST_S", 0.0)
    reply = "-NOAUTH" if users else "+PONG"
    check_places_of_the_silent(access if users else None, BEGUN, REST, reply, GIVES_WAY)
