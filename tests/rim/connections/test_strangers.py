"""The bytes and the time that a connection has before anybody has logged in there."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from raftline.access.login import Access
from raftline.access.secret import PeerAuth
from raftline.common.build_level import LEVEL
from raftline.common.version import VERSION
from raftline.net.connections import connection_slots as places_module
from raftline.net.connections.connection import Connection
from raftline.net.connections.connection_slots import Places
from raftline.net.connections.listener import Listener
from raftline.net.line_reader import HalfLines, LineBuffer
from raftline.net.protocol import server_protocol
from raftline.net.protocol.server_protocol import HALF_LINES_FULL
from raftline.wire.commands.rights import UserRole
from raftline.wire.limits import PLACES_FOR_PEERS, STRANGER_LINE_BYTES, TRANSACTION_ITEMS
from raftline.wire.refusal import FULL
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.nodes.known_users import ROOT_ALONE, access_with, table_of
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports
from raftline_testing.redis.redis_wire import framed

PASSWORD = "correct horse battery"
TOO_LONG = (
    "s1@Sorry, this line is longer than 2048 bytes; nothing of it was done. No line may be longer "
    "before a login, or a member's proof."
)


@pytest.fixture
def access() -> Access:
    return access_with(ROOT_ALONE, PASSWORD)


class Door:
    """A connection of s1 that a thread serves; the other end speaks lines, or RESP."""

    def __init__(
        self, access: Access | None, half_lines: HalfLines | None = None, **facts: Any
    ) -> None:
        here, self.there = socket.socketpair()
        self.there.settimeout(DEADLINE_S)
        self.host = FakeHost(access=access, level=1, **facts)
        self.connection = Connection(
            cast(Any, self.host),
            here,
            for_peers_only=False,
            half_lines=half_lines,
            doors=self.host.doors,
        )
        self.thread = threading.Thread(target=self.connection.serve, daemon=True)
        self.thread.start()
        self.file = self.there.makefile("r")

    @property
    def due_s(self) -> float:
        """When it has to have logged in; 0 if it may take its time."""
        return self.connection._protocol.lines.due_s

    def say(self, data: bytes) -> None:
        self.there.sendall(data)

    def line(self) -> str:
        with contextlib.suppress(ConnectionResetError):
            return self.file.readline().removesuffix("\n")
        return ""

    def rest(self) -> list[str]:
        """Return the lines up to the end."""
        return list(iter(self.line, ""))

    def ask(self, line: str) -> str:
        self.say(f"{line}\n".encode())
        return self.line()

    def repeat(self, data: bytes) -> bytes:
        """Send the same bytes again and again until the end; return what was sent here."""
        self.there.settimeout(0.01)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while True:
                with contextlib.suppress(BrokenPipeError):  # the last words can still be read
                    self.say(data)
                with contextlib.suppress(TimeoutError):
                    piece = self.there.recv(1 << 16)
                    if not piece:
                        break
                    said += piece
        return said

    def end(self) -> None:
        for batch in self.host.batches:  # a connection ends after its replies
            batch.answer_all("SET response: done")
        self.host.flush()
        self.file.close()
        self.there.close()
        self.thread.join(DEADLINE_S)


@pytest.fixture
def doors() -> Iterator[list[Door]]:
    opened: list[Door] = []
    yield opened
    for door in opened:
        door.end()


def test_the_room_for_replies_is_counted_for_who_logged_in(
    access: Access, doors: list[Door]
) -> None:
    doors.extend([door := Door(access), of_all := Door(None)])
    for one in (door, of_all):
        one.ask("help")
    assert (door.connection.outgoing.user, of_all.connection.outgoing.user) == ("", None)
    door.ask(f"login root {PASSWORD}")
    assert door.connection.outgoing.user == "root"


# --- lines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_stranger_begins_no_long_line(access: Access, doors: list[Door], end: bytes) -> None:
    doors.append(door := Door(access))
    door.say(b"help" + b" " * (STRANGER_LINE_BYTES - 4) + b"\n")
    assert door.line().startswith("s1@HELP response: ")
    door.say(b"set a " + b"x" * (STRANGER_LINE_BYTES - 5) + end)
    assert door.line() == TOO_LONG
    assert door.line() == ""


def test_a_stranger_in_a_member_s_name_begins_no_long_line(doors: list[Door]) -> None:
    doors.append(door := Door(None, peer_auth=PeerAuth(b"0" * 32, is_required=True)))
    door.say(b"s2@AppendEntries 1-0-0-[" + b" " * STRANGER_LINE_BYTES)
    assert door.line() == TOO_LONG


@pytest.mark.parametrize("size", [3 << 10, 100 << 10])
def test_a_long_line_after_a_login_in_the_same_packet_is_taken(
    access: Access, doors: list[Door], size: int
) -> None:
    doors.append(door := Door(access))
    door.say(f"login root {PASSWORD}\nset a {'x' * size}\nhelp\n".encode())
    assert door.line() == "s1@LOGIN response: you are root, an admin"
    assert eventually(lambda: door.host.batches)
    (command,) = door.host.batches[0].commands
    assert len(command) == len("root@set a ") + size


def test_a_long_line_before_a_login_in_the_same_packet_ends_it(
    access: Access, doors: list[Door]
) -> None:
    doors.append(door := Door(access))
    door.say(f"help\nset a {'x' * 3000}\nlogin root {PASSWORD}\n".encode())
    assert door.line().startswith("s1@HELP response: ")
    assert door.line() == TOO_LONG
    assert door.line() == ""


def test_a_node_without_users_takes_long_lines_from_everybody(doors: list[Door]) -> None:
    doors.append(door := Door(None))
    door.say(b"set a " + b"x" * (100 << 10) + b"\n")
    assert eventually(lambda: door.host.batches)


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.pure
@pytest.mark.parametrize(
    ("said", "begin"),
    [
        *[(said, "s1@Sorry, ") for said in (b"", b"hel", b"help\n", b"login root wrong\n")],
        *[(said, "-ERR ") for said in (b"*", b"*1\r\n$4\r\nPI", framed("PING"))],
        (framed("AUTH", "root", "wrong"), "-ERR "),
    ],
)
def test_a_client_that_does_not_log_in_in_time_reads_why_it_is_ended(
    access: Access, doors: list[Door], monkeypatch: pytest.MonkeyPatch, said: bytes, begin: str
) -> None:
    monkeypatch.setattr(server_protocol, "STRANGER_S", 0.2)
    doors.append(door := Door(access))
    door.say(said)
    assert door.rest()[-1] == f"{begin}nobody logged in on this connection within 0.2 s."


@pytest.mark.pure
@pytest.mark.parametrize("asked", [b"help\n", b"\n", framed("PING"), framed()])
def test_asking_on_and_on_is_no_login(
    access: Access, doors: list[Door], monkeypatch: pytest.MonkeyPatch, asked: bytes
) -> None:
    monkeypatch.setattr(server_protocol, "STRANGER_S", 0.2)
    doors.append(door := Door(access))
    assert b"nobody logged in" in door.repeat(asked)
    assert eventually(lambda: not door.thread.is_alive())


@pytest.mark.pure
def test_who_takes_replies_slowly_has_no_more_time_to_log_in(
    access: Access, doors: list[Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that came in time were answered for as long as that took."""
    monkeypatch.setattr(server_protocol, "STRANGER_S", 0.2)
    doors.append(door := Door(access))
    door.say(b"help\n" * 3000)
    assert eventually(lambda: 0 < door.due_s < time.monotonic())
    said = door.rest()
    assert said[-1] == "s1@Sorry, nobody logged in on this connection within 0.2 s."
    assert len(said) < 1000


@pytest.mark.pure
def test_users_and_members_stay_for_as_long_as_they_like(
    access: Access, doors: list[Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    for first_line in (f"login root {PASSWORD}", "s2@Level 3 version 0.1.0"):
        doors.append(door := Door(access))
        assert eventually(lambda door=door: door.due_s > 0)
        assert not door.ask(first_line).startswith("s1@Sorry")
        assert (door.connection.is_stranger, door.due_s) == (False, 0.0)
    doors.append(door := Door(access))
    door.say(framed("AUTH", "root", PASSWORD))
    assert door.line() == "+OK"
    assert (door.connection.is_stranger, door.due_s) == (False, 0.0)
    monkeypatch.setattr(server_protocol, "STRANGER_S", 0.2)
    assert doors[0].ask("login root wrong").startswith("s1@Sorry, the login failed")
    assert doors[0].connection.is_stranger
    assert "nobody logged in" in doors[0].line()


@pytest.mark.pure
def test_the_question_for_a_level_without_a_proof_is_no_login(
    access: Access, doors: list[Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_protocol, "STRANGER_S", 1.0)
    doors.append(door := Door(access, peer_auth=PeerAuth(b"0" * 32, is_required=True)))
    assert door.ask("s2@Level 3 version 0.1.0").startswith("s1@Level ")
    assert "nobody logged in" in door.line()


@pytest.mark.pure
def test_a_stranger_is_told_the_level_and_not_the_version(
    access: Access, doors: list[Door]
) -> None:
    """It names the commit, and so the holes that are known."""
    rule = PeerAuth(b"0" * 32, is_required=True)
    doors.append(door := Door(access, peer_auth=rule))
    for sender in ("s2", "s9"):
        assert door.ask(f"{sender}@Level 3 version 0.1.0") == f"s1@Level {LEVEL} version hidden"
    door.ask(f"login root {PASSWORD}")
    told = f"s1@Level {LEVEL} version {VERSION}"
    assert door.ask("s2@Level 3 version 0.1.0") == told
    for open_door in (Door(None), Door(access), Door(None, peer_auth=rule)):
        doors.append(open_door)
        assert open_door.ask("s2@Level 3 version 0.1.0") == told


# --- half lines of all clients --------------------------------------------------------------------


@pytest.mark.pure
@pytest.mark.parametrize(
    ("whole", "begin"),
    [
        (b"set a " + b"x" * (100 << 10) + b"\n", "s1@Sorry, "),
        (framed(b"SET", b"a", b"x" * (100 << 10)), "-ERR "),
    ],
    ids=["line", "command"],
)
def test_of_too_many_half_lines_the_oldest_go(doors: list[Door], whole: bytes, begin: str) -> None:
    half_lines = HalfLines(250 << 10)
    for held in (100 << 10, 200 << 10, 200 << 10):
        doors.append(door := Door(None, half_lines))
        door.say(whole[:-1])
        assert eventually(lambda held=held: half_lines.sum > held)
    assert doors[0].line() == f"{begin}{HALF_LINES_FULL}"
    assert doors[0].line() == ""
    for door in doors[1:]:
        door.say(whole[-1:])
        assert eventually(lambda door=door: door.host.batches)
    assert half_lines.sum == 0


@pytest.mark.pure
def test_a_transaction_that_has_not_ended_counts_as_a_half_line(doors: list[Door]) -> None:
    half_lines = HalfLines(450 << 10)
    begun = framed(b"MULTI") + framed(b"SET", b"a", b"x" * (100 << 10))
    for held in (200 << 10, 400 << 10, 400 << 10):
        doors.append(door := Door(None, half_lines))
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


@pytest.mark.pure
def test_watched_keys_count_as_a_half_line(doors: list[Door]) -> None:
    half_lines = HalfLines()
    doors.append(door := Door(None, half_lines))
    keys = [b"%03d" % number + b"k" * 1000 for number in range(TRANSACTION_ITEMS)]
    door.say(framed(b"WATCH", *keys))
    assert eventually(lambda: door.host.batches)
    door.host.batches[0].answer_all("STAT response, no such key: k")
    assert door.line() == "+OK"
    assert eventually(lambda: half_lines.sum > TRANSACTION_ITEMS * 1000)
    door.say(framed(b"UNWATCH"))
    assert door.line() == "+OK"
    assert eventually(lambda: half_lines.sum == 0)


@pytest.mark.pure
def test_a_transaction_counts_no_more_once_its_connection_has_ended(doors: list[Door]) -> None:
    half_lines = HalfLines()
    doors.append(door := Door(None, half_lines))
    door.say(framed(b"MULTI") + framed(b"SET", b"a", b"x" * (100 << 10)))
    assert eventually(lambda: half_lines.sum > 200 << 10)
    door.there.shutdown(socket.SHUT_RDWR)
    assert eventually(lambda: half_lines.sum == 0)


@pytest.mark.pure
def test_a_line_that_is_ended_or_of_a_member_counts_no_more(doors: list[Door]) -> None:
    half_lines = HalfLines()
    doors.append(gone := Door(None, half_lines))
    gone.say(b"set a " + b"x" * (100 << 10))
    assert eventually(lambda: half_lines.sum > 100 << 10)
    gone.there.shutdown(socket.SHUT_RDWR)
    assert eventually(lambda: half_lines.sum == 0)
    doors.append(member := Door(None, half_lines))
    member.say(b"s2@RequestVote 9-0-0\n")
    assert eventually(lambda: member.host.heard)
    half_lines._bytes_max = 1
    member.say(b"s2@AppendEntries 9-0-0-[" + b" " * (100 << 10) + b"]\n")
    assert eventually(lambda: len(member.host.heard) == 2)
    assert half_lines.sum == 0


def test_a_line_of_single_bytes_takes_no_more_memory_than_its_bytes() -> None:
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
    half_lines.let_go(first)
    half_lines.let_go(second)
    half_lines.let_go(second)
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


def test_who_took_the_places_of_peers_makes_room_as_well() -> None:
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
    """Its newest one goes; one place in eight is left to logins and admins."""
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
@pytest.mark.parametrize(
    ("login", "welcome", "full"),
    [
        (lambda *words: f"login {' '.join(words)}\n".encode(), "s1@LOGIN response", f"s1@{FULL}"),
        (lambda *words: framed("AUTH", *words), "+OK", f"-{FULL.replace('Sorry,', 'TRYAGAIN')}"),
    ],
    ids=["line", "command"],
)
def test_one_user_locks_nobody_out(
    access: Access, login: Callable[[str, str], bytes], welcome: str, full: str
) -> None:
    host = FakeHost(access=access, level=1)
    access.follow(table_of({**ROOT_ALONE, "bob": (UserRole.READER, ("bob/",))}, PASSWORD))
    port = next(free_ports)
    listener = Listener("127.0.0.1", port, 8)
    listener.open(cast(Any, host))
    opened = []

    def log_in(user: str, password: str) -> str:
        opened.append(made := socket.create_connection(("127.0.0.1", port), DEADLINE_S))
        made.sendall(login(user, password))
        return made.makefile("r").readline()

    replies = [log_in("bob", PASSWORD) for _ in range(12)]
    assert [one.startswith(welcome) for one in replies] == [True] * 7 + [False] * 5
    assert replies[7] == f"{full}\n"
    assert log_in("root", PASSWORD).startswith(welcome)
    assert opened[6].makefile("r").readline() == f"{full}\n"
    assert len([one for one in host.reports if "the newest" in one]) == 1
    listener.close()
    listener.end_connections()
    for each in opened:
        each.close()


@pytest.mark.pure
@pytest.mark.parametrize("begun", [b"", b"hel", b"*1\r\n$4\r\nPI"])
@pytest.mark.parametrize("users", [True, False])
def test_silent_connections_keep_nobody_out(
    access: Access, monkeypatch: pytest.MonkeyPatch, users: bool, begun: bytes
) -> None:
    monkeypatch.setattr(places_module, "STRANGER_LEAST_S", 0.0)
    host = FakeHost(access=access if users else None, level=1)
    port = next(free_ports)
    listener = Listener("127.0.0.1", port, 3)
    listener.open(cast(Any, host))

    def connect() -> socket.socket:
        before = listener.traffic()[1]
        made = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        assert eventually(lambda: listener.traffic()[1] > before)
        return made

    user = connect()
    speaking = user.makefile("rw")
    print(f"login root {PASSWORD}" if users else "help", file=speaking, flush=True)
    assert speaking.readline().startswith("s1@LOGIN" if users else "s1@HELP")
    silent = []
    for _ in range(8):
        silent.append(one := connect())
        one.sendall(begun)
    full = (f"s1@{FULL}\n", f"-{FULL.replace('Sorry,', 'TRYAGAIN')}\n", "")
    assert silent[0].makefile("r").readline() in full
    assert silent[-3].makefile("r").readline() in full
    rest = b"NG\r\n" if begun.startswith(b"*") else b"help\n"[len(begun) :]
    for each, data in [(user, b"help\n"), (silent[-1], rest)]:
        each.sendall(data)
        assert each.makefile("r").readline().startswith(("s1@HELP response", "+PONG", "-NOAUTH"))
    assert len([one for one in host.reports if "all connections are in use" in one]) == 1
    listener.close()
    listener.end_connections()
    for each in [user, *silent]:
        each.close()
