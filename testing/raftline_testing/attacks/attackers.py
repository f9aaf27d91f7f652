"""The attacks. Each is one wave, repeated by its own process until the end.

An attacker judges nothing: a node may answer anything, or end the connection. The users at work
judge, and so does the memory of the nodes.
"""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from raftline import RaftlineError
from raftline.net.line_connection import LineConnection

from ..extensions import joined
from .field import HELD_S, PIECE_S, SMALL, Field, leader_port

HALF = 300  # connections of half lines
SILENT = 400
GUESSERS = 60
SLOW_HTTP = 500


def wave(field: Field, attack: Callable[[Field], None]) -> None:
    """Carry out one wave; an attacker expects refusals."""
    expected = (RaftlineError, OSError, AssertionError, ValueError, KeyError, EOFError)
    with contextlib.suppress(*expected):
        attack(field)


@contextlib.contextmanager
def plain(ports: Sequence[int], count: int) -> Iterator[list[socket.socket]]:
    """Open `count` connections without TLS."""
    with ExitStack() as stack:
        connections = []
        for number in range(count):
            with contextlib.suppress(OSError):
                connections.append(
                    stack.enter_context(
                        socket.create_connection(("localhost", ports[number % len(ports)]), PIECE_S)
                    )
                )
        yield connections


@contextlib.contextmanager
def users(
    field: Field, user: str, count: int, port: int | None = None
) -> Iterator[list[LineConnection]]:
    """Open `count` connections and log in on each."""
    with ExitStack() as stack:
        connections = []
        for number in range(count):
            with contextlib.suppress(OSError):
                there = port or field.ports[number % len(field.ports)]
                connections.append(stack.enter_context(field.logged_in(there, user)))
        yield connections


def pour(connections: Sequence[LineConnection], data: bytes) -> None:
    """Send as much as each connection takes, and read nothing."""
    for each in connections:
        with contextlib.suppress(OSError):
            each.socket.settimeout(PIECE_S)
            each.socket.sendall(data)


def drain(connection: LineConnection, lines: int) -> None:
    until_s = time.monotonic() + 10
    for _ in range(lines):
        connection.read(until_s)


def narrow(connection: LineConnection) -> None:
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)


# --- by strangers -------------------------------------------------------------------------------


def slow_line(field: Field) -> None:
    """45 KB as telnet sends it, byte by byte."""
    for port in field.ports:
        with contextlib.suppress(OSError), field.raw(port) as one:
            one.sendall(b"\r\xff\xfa" * 15_000 + b"\n")
            one.recv(1000)


def strangers_half_lines(field: Field) -> None:
    with ExitStack() as stack:
        for number in range(HALF // 3):
            with contextlib.suppress(OSError):
                one = stack.enter_context(field.raw(field.ports[number % 3]))
                one.sendall(b"c@set k " + b"x" * 1900)
        time.sleep(HELD_S)


def silent(field: Field) -> None:
    """Connections that send nothing, not even a hello."""
    with plain(field.ports, SILENT):
        time.sleep(HELD_S)


def half_handshakes(field: Field) -> None:
    """Send a hello on each connection, and nothing after it."""
    leaving = ssl.MemoryBIO()
    hello = ssl.create_default_context(cafile=field.ca).wrap_bio(
        ssl.MemoryBIO(), leaving, server_hostname="localhost"
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    data = leaving.read()
    with plain(field.ports, SILENT) as connections:
        for number, one in enumerate(connections):
            with contextlib.suppress(OSError):
                one.sendall(data if number % 2 else data[: len(data) // 2])
        time.sleep(HELD_S)


def asking_strangers(field: Field) -> None:
    """Ask again and again, without a login, for data that needs one."""
    with ExitStack() as stack:
        connections = [
            stack.enter_context(field.raw(field.ports[number % 3])) for number in range(30)
        ]
        until_s = time.monotonic() + HELD_S
        while time.monotonic() < until_s:
            for one in connections:
                with contextlib.suppress(OSError):
                    one.sendall(b"c@show\nc@status\ns2@RequestVote 99-1-1\n")
                    one.recv(1 << 16)


def guesses(field: Field) -> None:
    """Type wrong passwords on many connections at a time."""
    with ExitStack() as stack:
        connections = [stack.enter_context(field.raw(field.ports[i % 3])) for i in range(GUESSERS)]
        for _ in range(3):
            for one in connections:
                with contextlib.suppress(OSError):
                    one.sendall(b"c@login root wrong%d\n" % random.randrange(1 << 30))
            for one in connections:
                with contextlib.suppress(OSError):
                    one.settimeout(PIECE_S)
                    one.recv(1000)


def scram_guesses(field: Field) -> None:
    for _ in range(50):
        with contextlib.suppress(OSError), field.raw(random.choice(field.ports)) as one:
            one.settimeout(PIECE_S)
            one.sendall(b"c@auth n,,n=root,r=abcdefgh\n")
            challenge = one.recv(1000).partition(b"r=")[2].partition(b",")[0]
            one.sendall(b"c@auth c=biws,r=" + challenge + b",p=" + b"A" * 43 + b"=\n")
            one.recv(1000)


def forged_members(field: Field) -> None:
    """Send members' lines, with invalid proofs."""
    lines = [
        b's2@AppendEntries 77-2-1-[{"index": 3, "term": 77, "command": "set a evil"}] commit 3',
        b"s3@RequestVote 999999-99-99",
        b"s3@AppendEntries 281474976710655-0-0-[]",
        b"s2@TimeoutNow 7",
        b's2@InstallSnapshot 5-17-4 offset 0 of 9223372036854775807 crc32 1ff08c67 data "17"',
        b"s2@Prove s1 nonce " + b"2" * 32,
        b"s2@Proof " + b"0" * 64,
    ]
    for port in field.ports:
        for line in lines:
            with contextlib.suppress(OSError), field.raw(port) as one:
                one.settimeout(PIECE_S)
                one.sendall(line + b"\n")
                one.recv(1000)


def slow_http(field: Field) -> None:
    """Send incomplete requests for pages."""
    with plain(field.http_ports, SLOW_HTTP) as connections:
        for number, one in enumerate(connections):
            with contextlib.suppress(OSError):
                one.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-" + b"a" * (number * 8))
        time.sleep(HELD_S)


def many_pages(field: Field) -> None:
    """Send whole requests, and read no answer."""
    with plain(field.http_ports, 90) as connections:
        for one in connections:
            with contextlib.suppress(OSError):
                one.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        time.sleep(1.0)


# --- by a user ----------------------------------------------------------------------------------


def half_lines(field: Field) -> None:
    """Send lines of 4 MB without an end."""
    with users(field, "mal", 40) as connections:
        pour(connections, b"c@set mal/x " + b"x" * 4_190_000)
        time.sleep(HELD_S)


def slow_long_line(field: Field) -> None:
    """4 MB as telnet sends it, byte by byte."""
    with users(field, "mal", 3) as connections:
        pour(connections, b"\r\xff\xfa" * 1_390_000 + b"\n")
        for each in connections:
            with contextlib.suppress(OSError):
                drain(each, 1)


def kept_replies(field: Field) -> None:
    """Open sessions whose last replies have the maximum length."""
    command = "txn " + " ; ".join(["get mal/emoji"] * 8)
    with users(field, "mal", 1, leader_port(field)) as connections:
        for each in connections:
            for _ in range(4):
                session = each.ask("c@session").partition("response: ")[2].split(" ")[0]
                name, _, number = session.partition("#")
                each.ask(f"{name}#{number or 1}@{command}")


def untaken(field: Field, user: str, count: int, lines: bytes, port: int | None = None) -> None:
    """Send requests on a user's connections, and read no reply."""
    with users(field, user, count, port) as connections:
        for each in connections:
            narrow(each)
        pour(connections, lines)
        time.sleep(HELD_S)


def packet_of_reads(field: Field) -> None:
    """Ask for a megabyte 900 times, and read no reply."""
    untaken(field, "mal", 3, b"c@get mal/big read local\n" * 900)


def readers_that_take_nothing(field: Field) -> None:
    untaken(field, "bob", 40, b"c@get mal/big\n" * 64)


def writing_reader(field: Field) -> None:
    """Ask for reads that become log entries."""
    with users(field, "bob", 2, leader_port(field)) as connections:
        for each in connections:
            each.send(*["c@get mal/emoji read log"] * 200)
            each.send(*["c@txn " + " ; ".join(["get mal/emoji"] * 8)] * 40)
            drain(each, 240)


def replies_to_writes(field: Field) -> None:
    """Send transactions with long replies, and read nothing."""
    line = b"c@txn set mal/t 1 ; get mal/emoji ; get mal/emoji\n"
    untaken(field, "mal", 6, line * 40, leader_port(field))


def long_writes(field: Field) -> None:
    """Write megabytes to one key, and read no reply."""
    with users(field, "mal", 4, leader_port(field)) as connections:
        pour(connections, (b"c@set mal/w " + b"y" * VALUE_BYTES + b"\n") * 20)
        time.sleep(HELD_S)


def long_entries_of_emojis(field: Field) -> None:
    with users(field, "mal", 2, leader_port(field)) as connections:
        value = "a" * (VALUE_BYTES - 8) + "\U0001f600"  # makes each letter take four bytes
        for each in connections:
            for _ in range(5):
                each.ask(f"c@set mal/e {value}")


def escaped_writes(field: Field) -> None:
    """Write values of a megabyte, all of escaped bytes."""
    with users(field, "mal", 4, leader_port(field)) as connections:
        pour(connections, (b"c@set mal/x " + rb"\xff" * VALUE_BYTES + b"\n") * 5)
        time.sleep(HELD_S)


def watches(field: Field) -> None:
    """Open 10,000 watches on connections that read nothing, and cause events for them."""
    with users(field, "bob", 2) as connections:
        for each in connections:
            narrow(each)
        for number in range(10):
            lines = [f"c#{number * 500 + n}@watch mal/{n}/" for n in range(500)]
            pour(connections, "".join(line + "\n" for line in lines).encode())
        with users(field, "mal", 1, leader_port(field)) as writers:
            for each in writers:
                for number in range(30):
                    each.ask(f"c@set mal/watched {'z' * 10_000}{number}")
        time.sleep(HELD_S)


def keys_that_nobody_takes(field: Field) -> None:
    """Begin watches with megabytes of keys each, on connections that read nothing."""
    with users(field, "mal", 60) as connections:
        for each in connections:
            narrow(each)
        for number in range(4):
            for each in connections:
                pour([each], b"c#%d@watch mal/\n" % number)
        time.sleep(HELD_S)


def leases(field: Field) -> None:
    """Grant leases of seconds, and try to end another user's lease."""
    with users(field, "mal", 1, leader_port(field)) as connections:
        for each in connections:
            each.send(*["c@lease 5"] * 500)
            drain(each, 500)
            for number in range(1, 200):
                each.send(f"c@under lease-{number} set mal/l 1", f"c@release lease-{number}")
            drain(each, 398)


def shows(field: Field) -> None:
    """List all visible keys, and read no reply."""
    untaken(field, "mal", 8, b"c@show mal/\n" * 200)


def logins_without_end(field: Field) -> None:
    """Connect and disconnect a user again and again."""
    for _ in range(20):
        with users(field, "mal", 3):
            pass


def many_sessions(field: Field) -> None:
    with users(field, "mal", 1, leader_port(field)) as connections:
        for each in connections:
            each.send(*["c@session"] * 300)
            drain(each, 300)


VALUE_BYTES = 1_000_000
ATTACKS: dict[str, Callable[[Field], None]] = {
    attack.__name__.replace("_", " "): attack
    for attack in (
        slow_line, strangers_half_lines, silent, half_handshakes, asking_strangers, guesses,
        scram_guesses, forged_members, slow_http, many_pages, half_lines, slow_long_line,
        kept_replies, packet_of_reads, readers_that_take_nothing, writing_reader,
        replies_to_writes, long_writes, long_entries_of_emojis, escaped_writes, watches,
        keys_that_nobody_takes, leases, shows, logins_without_end, many_sessions,
        *(attack for module in joined("attacks") for attack in module.ATTACKS),
    )
}  # fmt: skip
