"""The attacks by the protocol of Redis: each bound that holds for lines holds for commands, too."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from raftline_testing.attacks.field import (
    HELD_S,
    PASSWORD,
    PIECE_S,
    SMALL,
    VALUE,
    Field,
    leader_port,
)

from .redis_wire import framed

LONG = 4_190_000  # bytes of a command, nearly as many as a line may have


@contextlib.contextmanager
def connections(
    field: Field, count: int, user: str = "", port: int | None = None
) -> Iterator[list[socket.socket]]:
    """Open connections with small buffers; a user logs in on each."""
    with ExitStack() as stack:
        opened: list[socket.socket] = []
        for number in range(count):
            with contextlib.suppress(OSError):
                one = stack.enter_context(field.raw(port or field.ports[number % len(field.ports)]))
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
                one.settimeout(PIECE_S)
                if user:
                    one.sendall(framed("AUTH", user, PASSWORD))
                    one.recv(1000)
                opened.append(one)
        yield opened


def pour(opened: list[socket.socket], data: bytes) -> None:
    """Send as much as each connection takes, and read nothing."""
    for one in opened:
        with contextlib.suppress(OSError):
            one.sendall(data)


# --- by strangers -------------------------------------------------------------------------------


def half_commands_of_strangers(field: Field) -> None:
    """Announce a million arguments, half a gigabyte, and 2 KB that never end."""
    with connections(field, 90) as opened:
        for number, one in enumerate(opened):
            announced = (b"*1000000\r\n", b"*2\r\n$3\r\nGET\r\n$536870912\r\n", b"*2\r\n$1900\r\n")
            pour([one], announced[number % 3] + b"x" * 1800)
        time.sleep(HELD_S)


def commands_of_strangers(field: Field) -> None:
    """Ask again and again, without a login, for data that needs one."""
    words = (("KEYS", "*"), ("INFO",), ("CLUSTER", "SLOTS"), ("GET", "mal/big"), ("MULTI",))
    line = b"".join(framed(*each) for each in words)
    with connections(field, 30) as opened:
        until_s = time.monotonic() + HELD_S
        while time.monotonic() < until_s:
            for one in opened:
                with contextlib.suppress(OSError):
                    one.sendall(line)
                    one.recv(1 << 16)


def auth_guesses(field: Field) -> None:
    """Try wrong passwords on many connections at a time."""
    with connections(field, 60) as opened:
        for _ in range(3):
            pour(opened, framed("AUTH", "root", f"wrong{random.randrange(1 << 30)}"))
            for one in opened:
                with contextlib.suppress(OSError):
                    one.recv(1000)


# --- by a user ----------------------------------------------------------------------------------


def half_values(field: Field) -> None:
    """Send commands of 4 MB without an end."""
    with connections(field, 40, "mal") as opened:
        pour(opened, b"*3\r\n$3\r\nSET\r\n$5\r\nmal/x\r\n$%d\r\n" % LONG + b"x" * (LONG - 1))
        time.sleep(HELD_S)


def values_that_nobody_takes(field: Field) -> None:
    """Ask for a megabyte 900 times, by GET, MGET and EXEC, and read no reply."""
    several = framed("MGET", *["mal/big"] * 8)
    whole = framed("MULTI") + framed("GET", "mal/big") * 8 + framed("EXEC")
    with connections(field, 9, "mal") as opened:
        pour(opened, (framed("GET", "mal/big") + several + whole) * 50)
        time.sleep(HELD_S)


def transactions_without_an_end(field: Field) -> None:
    """Queue long commands after MULTI on many connections, and send no EXEC."""
    with connections(field, 40, "mal") as opened:
        pour(opened, framed("MULTI") + framed("SET", "mal/m", "y" * 100_000) * 100)
        time.sleep(HELD_S)


def long_sets(field: Field) -> None:
    """Write megabytes to one key, and read no reply."""
    with connections(field, 4, "mal", leader_port(field)) as opened:
        pour(opened, framed("SET", "mal/w", "y" * VALUE) * 20)
        time.sleep(HELD_S)


def subscriptions(field: Field) -> None:
    """Subscribe to 10,000 patterns, read nothing, and cause messages for them."""
    with connections(field, 2, "bob") as opened:
        for begin in range(0, 5_000, 100):
            names = [f"__keyspace@0__:mal/{begin + number}*" for number in range(100)]
            pour(opened, framed("PSUBSCRIBE", *names))
        with connections(field, 1, "mal", leader_port(field)) as writers:
            for number in range(30):
                pour(writers, framed("SET", f"mal/{number}", "z" * 10_000))
        time.sleep(HELD_S)


def listings(field: Field) -> None:
    """List keys by patterns that take long to match, and read no reply."""
    pattern = "*" + "a*" * 400
    with connections(field, 8, "mal") as opened:
        pour(opened, (framed("KEYS", pattern) + framed("SCAN", "0", "COUNT", "100000")) * 100)
        time.sleep(HELD_S)


# --- little that is sent, and much that follows ---------------------------------------------------


def guesses_on_new_connections(field: Field) -> None:
    """Try a wrong password on each of many connections, and then open others."""
    for number in range(3):
        with connections(field, 40) as opened:
            pour(opened, framed("AUTH", "ann", f"wrong{number}"))
            for one in opened:
                with contextlib.suppress(OSError):
                    one.recv(1000)


def slow_events(field: Field) -> None:
    """Subscribe to patterns that take long to match, and cause events that all have to match."""
    port = leader_port(field)
    with connections(field, 5, "mal", port) as opened:
        for number, one in enumerate(opened):
            names = [f"__keyspace@0__:mal/*{'[xy]' * 220}x*{number}-{k}" for k in range(200)]
            pour([one], b"".join(framed("PSUBSCRIBE", name) for name in names))
        with connections(field, 1, "mal", port) as writers:
            for number in range(10):
                pour(writers, framed("SET", "mal/" + "y" * 1000, str(number)))
                time.sleep(HELD_S / 10)


def patterns(field: Field) -> None:
    """Match by patterns that are long once they are compiled."""
    names = [f"{'[^a]' * 250}{number}" for number in range(400)]
    with connections(field, 4, "mal") as opened:
        for one in opened:
            pour([one], framed("CONFIG", "GET", *names) + framed("KEYS", names[0]) * 20)
        time.sleep(HELD_S)


def names_of_channels(field: Field) -> None:
    """Subscribe to channels with long names, on which there are no messages."""
    with connections(field, 2, "mal") as opened:
        for number in range(20):
            pour(opened, framed("SUBSCRIBE", f"{number}{'c' * 1_000_000}"))
        time.sleep(HELD_S)


def one_key_many_times(field: Field) -> None:
    """Ask for one long value 4,000 times, in a command and in a transaction."""
    many = framed("MGET", *["mal/big"] * 4000)
    whole = framed("MULTI") + framed("GET", "mal/big") * 400 + framed("EXEC")
    with connections(field, 2, "mal", leader_port(field)) as opened:
        pour(opened, many + whole)
        time.sleep(HELD_S)


def transactions_of_commands(field: Field) -> None:
    """Ask a thousand times in a transaction for the list of all commands."""
    whole = framed("MULTI") + framed("COMMAND") * 1000 + framed("EXEC")
    with connections(field, 3, "mal") as opened:
        pour(opened, whole)
        time.sleep(HELD_S)


def escaped_values(field: Field) -> None:
    """Write values whose bytes are all escaped by commands of a few bytes."""
    with connections(field, 3, "mal", leader_port(field)) as opened:
        pour(opened, framed("SETRANGE", "mal/z", "1047000", "x"))
        pour(opened, framed("COPY", "mal/z", "mal/z2", "REPLACE"))
        time.sleep(HELD_S)


def calls_without_a_turn(field: Field) -> None:
    """Ask for what connections compute themselves, on many of them, as fast as they answer."""
    line = b"".join(framed(*each) for each in (("INFO",), ("HELLO",), ("CLUSTER", "SHARDS")))
    with connections(field, 100, "bob") as opened:
        until_s = time.monotonic() + HELD_S
        while time.monotonic() < until_s:
            pour(opened, line)
            for one in opened:
                with contextlib.suppress(OSError):
                    one.recv(1 << 16)


def watches_of_two_users(field: Field) -> None:
    """Take all watches that two users can get."""
    with connections(field, 4, "mal") as mals, connections(field, 4, "bob") as bobs:
        for begin in range(0, 2_000, 100):
            names = [f"__keyspace@0__:mal/{begin + number}" for number in range(100)]
            pour([*mals, *bobs], framed("SUBSCRIBE", *names))
        time.sleep(HELD_S)


ATTACKS: tuple[Callable[[Field], None], ...] = (
    half_commands_of_strangers, commands_of_strangers, auth_guesses, half_values,
    values_that_nobody_takes, transactions_without_an_end, long_sets, subscriptions, listings,
    guesses_on_new_connections, slow_events, patterns, names_of_channels, one_key_many_times,
    transactions_of_commands, escaped_values, calls_without_a_turn, watches_of_two_users,
)  # fmt: skip
