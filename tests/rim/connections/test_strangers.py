"""The bytes and the time that a connection has before anybody has logged in there."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from raftline.access.login import Access
from raftline.access.secret import PeerAuth
from raftline.common.effects import applies
from raftline.common.version import VERSION
from raftline.net.connections import connection_slots as places_module
from raftline.net.connections.connection_slots import Places
from raftline.net.line_reader import HalfLines, LineBuffer
from raftline.net.protocol import server_protocol
from raftline.wire.limits import PLACES_FOR_PEERS, STRANGER_LINE_BYTES
from raftline.wire.refusal import FULL
from raftline_testing.doubles.stranger_connection import (
    PASSWORD,
    StrangerConnection,
    check_half_requests,
    check_places_of_the_silent,
    check_shares_of_users,
)
from raftline_testing.nodes.known_users import ROOT_ALONE, access_with
from raftline_testing.nodes.processes import DEADLINE_S, eventually

TOO_LONG = (
    "s1@Sorry, this line is longer than 2048 bytes; nothing of it was done. No line may be longer "
    "before a login, or a member's proof."
)


@pytest.fixture
def access() -> Access:
    return access_with(ROOT_ALONE, PASSWORD)


@pytest.fixture
def doors() -> Iterator[list[StrangerConnection]]:
    opened: list[StrangerConnection] = []
    yield opened
    for door in opened:
        door.end()


def test_the_room_for_replies_is_counted_for_who_logged_in(
    access: Access, doors: list[StrangerConnection]
) -> None:
    doors.extend([door := StrangerConnection(access), of_all := StrangerConnection(None)])
    for one in (door, of_all):
        one.ask("help")
    assert (door.connection.outgoing.user, of_all.connection.outgoing.user) == ("", None)
    door.ask(f"login root {PASSWORD}")
    assert door.connection.outgoing.user == "root"


# --- lines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_stranger_begins_no_long_line(
    access: Access, doors: list[StrangerConnection], end: bytes
) -> None:
    doors.append(door := StrangerConnection(access))
    door.say(b"help" + b" " * (STRANGER_LINE_BYTES - 4) + b"\n")
    assert door.line().startswith("s1@HELP response: ")
    door.say(b"set a " + b"x" * (STRANGER_LINE_BYTES - 5) + end)
    assert door.line() == TOO_LONG
    assert door.line() == ""


def test_a_stranger_in_a_member_s_name_begins_no_long_line(doors: list[StrangerConnection]) -> None:
    doors.append(door := StrangerConnection(None, peer_auth=PeerAuth(b"0" * 32, is_required=True)))
    door.say(b"s2@AppendEntries 1-0-0-[" + b" " * STRANGER_LINE_BYTES)
    assert door.line() == TOO_LONG


@pytest.mark.parametrize("size", [3 << 10, 100 << 10])
def test_a_long_line_after_a_login_in_the_same_packet_is_taken(
    access: Access, doors: list[StrangerConnection], size: int
) -> None:
    doors.append(door := StrangerConnection(access))
    door.say(f"login root {PASSWORD}\nset a {'x' * size}\nhelp\n".encode())
    assert door.line() == "s1@LOGIN response: you are root, an admin"
    assert eventually(lambda: door.host.batches)
    (command,) = door.host.batches[0].commands
    assert len(command) == len("root@set a ") + size


def test_a_long_line_before_a_login_in_the_same_packet_ends_it(
    access: Access, doors: list[StrangerConnection]
) -> None:
    doors.append(door := StrangerConnection(access))
    door.say(f"help\nset a {'x' * 3000}\nlogin root {PASSWORD}\n".encode())
    assert door.line().startswith("s1@HELP response: ")
    assert door.line() == TOO_LONG
    assert door.line() == ""


def test_a_node_without_users_takes_long_lines_from_everybody(
    doors: list[StrangerConnection],
) -> None:
    doors.append(door := StrangerConnection(None))
    door.say(b"set a " + b"x" * (100 << 10) + b"\n")
    assert eventually(lambda: door.host.batches)


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.pure
@pytest.mark.parametrize("said", [b"", b"hel", b"help\n", b"login root wrong\n"])
def test_late_login_is_told_why_its_connection_ends(
    access: Access, doors: list[StrangerConnection], monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """A client that does not log in in time is told why its connection ends."""
    monkeypatch.setattr(server_protocol, "STRANGER_S", 0.2)
    doors.append(door := StrangerConnection(access))
    door.say(said)
    assert door.rest()[-1] == "s1@Sorry, nobody logged in on this connection within 0.2 s."


@pytest.mark.pure
@pytest.mark.parametrize("asked", [b"help\n", b"\n"])
def test_asking_on_and_on_is_not_a_login(
    access: Access, doors: list[StrangerConnection], monkeypatch: pytest.MonkeyPatch, asked: bytes
) -> None:
    monkeypatch.setattr(server_protocol, "STRANGER_S", 0.2)
    doors.append(door := StrangerConnection(access))
    assert b"nobody logged in" in door.repeat(asked)
    assert eventually(lambda: not door.thread.is_alive())


@pytest.mark.pure
def test_who_takes_replies_slowly_has_no_more_time_to_log_in(
    access: Access, doors: list[StrangerConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the replies to its first lines took longer than the time to log in."""
    monkeypatch.setattr(server_protocol, "STRANGER_S", 0.2)
    doors.append(door := StrangerConnection(access))
    door.say(b"help\n" * 3000)
    assert eventually(lambda: 0 < door.due_s < time.monotonic())
    said = door.rest()
    assert said[-1] == "s1@Sorry, nobody logged in on this connection within 0.2 s."
    assert len(said) < 1000


@pytest.mark.pure
def test_users_and_members_stay_for_as_long_as_they_like(
    access: Access, doors: list[StrangerConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    for first_line in (f"login root {PASSWORD}", "s2@Level 1 version 0.1.0"):
        doors.append(door := StrangerConnection(access))
        assert eventually(lambda door=door: door.due_s > 0)
        assert not door.ask(first_line).startswith("s1@Sorry")
        assert (door.connection.is_stranger, door.due_s) == (False, 0.0)
    monkeypatch.setattr(server_protocol, "STRANGER_S", 0.2)
    assert doors[0].ask("login root wrong").startswith("s1@Sorry, the login failed")
    assert doors[0].connection.is_stranger
    assert "nobody logged in" in doors[0].line()


@pytest.mark.pure
def test_the_question_without_a_proof_is_not_a_login(
    access: Access, doors: list[StrangerConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_protocol, "STRANGER_S", 1.0)
    doors.append(
        door := StrangerConnection(access, peer_auth=PeerAuth(b"0" * 32, is_required=True))
    )
    assert door.ask("s2@Level 1 version 0.1.0").startswith("s1@Level ")
    assert "nobody logged in" in door.line()


@pytest.mark.pure
def test_a_stranger_is_not_told_the_version(
    access: Access, doors: list[StrangerConnection]
) -> None:
    """The version names the commit, and so the known vulnerabilities; the digests of the extensions
    tell nearly as much."""
    rule = PeerAuth(b"0" * 32, is_required=True)
    doors.append(door := StrangerConnection(access, peer_auth=rule))
    for sender in ("s2", "s9"):
        assert door.ask(f"{sender}@Level 1 version 0.1.0") == "s1@Level 1 version hidden"
    door.ask(f"login root {PASSWORD}")
    parts = ["with", *sorted(applies())] if applies() else []
    told = " ".join([f"s1@Level 1 version {VERSION}", *parts])
    assert door.ask("s2@Level 1 version 0.1.0") == told
    for open_door in (
        StrangerConnection(None),
        StrangerConnection(access),
        StrangerConnection(None, peer_auth=rule),
    ):
        doors.append(open_door)
        assert open_door.ask("s2@Level 1 version 0.1.0") == told


@pytest.mark.parametrize("has_users", [False, True])
@pytest.mark.parametrize("facts", [{}, {"peer_auth": PeerAuth(b"0" * 32, is_required=True)}])
def test_node_with_floor_tells_nobody_its_build(
    access: Access, doors: list[StrangerConnection], has_users: bool, facts: dict[str, Any]
) -> None:
    """Others of the floor don't know such an answer: any of them may ask, and before and after a
    login."""
    doors.append(door := StrangerConnection(access if has_users else None, **facts))
    door.host.announces_build = False
    for _ in range(1 + has_users):
        for sender in ("s2@", "s9@", ""):
            answer = door.ask(f"{sender}Level 1 version 0.1.0").removeprefix("s1@")
            assert not answer.startswith("Level ")
        if has_users:
            door.ask(f"login root {PASSWORD}")


# --- half lines of all clients --------------------------------------------------------------------


@pytest.mark.pure
def test_of_too_many_half_lines_the_oldest_go(doors: list[StrangerConnection]) -> None:
    check_half_requests(doors, b"set a " + b"x" * (100 << 10) + b"\n", "s1@Sorry, ")


@pytest.mark.pure
def test_a_line_that_is_ended_or_of_a_member_counts_no_more(
    doors: list[StrangerConnection],
) -> None:
    half_lines = HalfLines()
    doors.append(gone := StrangerConnection(None, half_lines))
    gone.say(b"set a " + b"x" * (100 << 10))
    assert eventually(lambda: half_lines.sum > 100 << 10)
    gone.there.shutdown(socket.SHUT_RDWR)
    assert eventually(lambda: half_lines.sum == 0)
    doors.append(member := StrangerConnection(None, half_lines))
    member.say(b"s2@RequestVote 9-0-0\n")
    assert eventually(lambda: member.host.heard)
    half_lines._bytes_max = 1
    member.say(b"s2@AppendEntries 9-0-0-[" + b" " * (100 << 10) + b"]\n")
    assert eventually(lambda: len(member.host.heard) == 2)
    assert half_lines.sum == 0


def test_line_of_single_bytes_takes_only_its_bytes() -> None:
    """A line that arrives byte by byte takes no more memory than its length."""
    size = 40_000  # more than is read at a time
    lines = LineBuffer(DEADLINE_S)
    for _ in range(size):
        assert lines.feed(b"x", 0.0) == []
    assert sum(map(sys.getsizeof, [lines.begun, *lines._more])) < 2 * size
    assert lines.size == size
    assert lines.feed(b"\n", 0.0) == [b"x" * size]


@pytest.mark.pure
def test_the_sum_is_of_the_half_lines_that_there_are() -> None:
    half_lines = HalfLines(100)
    first, second, third = (LineBuffer(1.0, half_lines) for _ in range(3))
    half_lines.hold(first, 40)
    half_lines.hold(second, 40)
    half_lines.hold(first, 50)
    assert half_lines.sum == 90
    half_lines.hold(third, 30)
    assert half_lines.sum == 70
    assert (first.is_given_up, second.is_given_up) == (True, False)
    half_lines.release(first)
    half_lines.release(second)
    half_lines.release(second)
    assert half_lines.sum == 30
    half_lines.hold(third, 101)
    assert half_lines.sum == 0


# --- places ---------------------------------------------------------------------------------------


class Guest:
    def __init__(self, is_stranger: bool = True) -> None:
        self.is_stranger = is_stranger


def test_the_place_of_the_oldest_stranger_goes_to_the_next_one() -> None:
    places: Places[Guest] = Places(3)
    guests = [Guest() for _ in range(3)]
    for at_s, guest in enumerate(guests):
        assert places.make_room(at_s) == []
        assert not places.is_for_peers_only
        places.take(guest, at_s)
    guests[0].is_stranger = False  # it has logged in
    assert places.is_for_peers_only
    assert places.make_room(1.5) == []  # the next one has had half a second
    assert places.make_room(10.0) == [guests[1]]
    assert not places.is_for_peers_only
    places.take(new := Guest(), 10.0)
    assert places.make_room(10.5) == [guests[2]]
    assert places.leave(guests[1])
    assert not places.leave(guests[1])
    places.take(Guest(), 10.5)
    assert places.make_room(10.9) == []
    assert places.make_room(11.0) == [new]


def test_stranger_in_a_peer_slot_is_evicted() -> None:
    places: Places[Guest] = Places(3)
    guests = [Guest() for _ in range(3 + PLACES_FOR_PEERS)]
    for guest in guests:
        places.take(guest, 0.0)
    assert places.is_full
    assert places.make_room(1.0) == guests[: PLACES_FOR_PEERS + 1]
    assert not places.is_for_peers_only


def test_users_keep_their_places_and_peers_have_more() -> None:
    places: Places[Guest] = Places(2)
    for _ in range(2 + PLACES_FOR_PEERS):
        assert not places.is_full
        places.take(Guest(is_stranger=False), 0.0)
    assert places.is_full
    assert places.make_room(99.0) == []


def test_few_are_given_up_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """They keep their threads and descriptors until they have ended."""
    monkeypatch.setattr(places_module, "PLACES_GIVEN_UP", 1)
    places: Places[Guest] = Places(2)
    places.take(first := Guest(), 0.0)
    places.take(second := Guest(), 0.0)
    assert places.make_room(9.0) == [first]
    places.take(Guest(), 9.0)
    assert places.make_room(9.0) == []
    places.leave(first)
    assert places.make_room(9.0) == [second]


def test_the_user_with_the_most_connections_gives_way() -> None:
    """Its newest connection is closed; one place in eight is reserved for logins and admins."""
    places: Places[Guest] = Places(16)

    def log_in(user: str, *, is_admin: bool = False) -> tuple[Guest, list[Guest]]:
        places.take(guest := Guest(is_stranger=False), 0.0)
        return guest, places.log_in(guest, user, is_admin=is_admin)

    bobs = []
    for _ in range(14):
        guest, leaving = log_in("bob")
        assert leaving == []
        bobs.append(guest)
    guest, leaving = log_in("bob")
    assert leaving == [guest]
    assert places.leave(guest)
    assert log_in("ann")[1] == [bobs[13]]
    assert log_in("root", is_admin=True)[1] == [bobs[12]]
    assert places.log_in(bobs[0], "bob", is_admin=False) == []  # it is already
    assert not places.is_for_peers_only


def test_admins_give_way_to_nobody() -> None:
    places: Places[Guest] = Places(8)
    for _ in range(8):
        places.take(guest := Guest(is_stranger=False), 0.0)
        assert places.log_in(guest, "root", is_admin=True) == []
    assert places.log_in(guest, "", is_admin=False) == []  # it has logged out
    assert places.log_in(guest, "ann", is_admin=False) == [guest]


@pytest.mark.pure
def test_one_user_locks_nobody_out(access: Access) -> None:
    check_shares_of_users(
        access,
        lambda *words: f"login {' '.join(words)}\n".encode(),
        "s1@LOGIN response",
        f"s1@{FULL}",
    )


@pytest.mark.pure
@pytest.mark.parametrize("begun", [b"", b"hel"])
@pytest.mark.parametrize("users", [True, False])
def test_silent_connections_keep_nobody_out(
    access: Access, monkeypatch: pytest.MonkeyPatch, users: bool, begun: bytes
) -> None:
    monkeypatch.setattr(places_module, "STRANGER_LEAST_S", 0.0)
    rest = b"help\n"[len(begun) :]
    check_places_of_the_silent(
        access if users else None, begun, rest, "s1@HELP response", f"s1@{FULL}"
    )
