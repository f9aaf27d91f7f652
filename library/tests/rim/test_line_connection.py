"""A connection of lines: whole lines, by a deadline, and the report of the end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from raftline.net.line_connection import (
    ConnectionEnded,
    LineConnection,
    TooLong,
    ask,
)


@pytest.fixture
def pair() -> Iterator[tuple[LineConnection, socket.socket]]:
    with socket.create_server(("localhost", 0)) as listener:
        connection = LineConnection(listener.getsockname()[1])
        other, _ = listener.accept()
        with connection, other:
            yield connection, other


Pair = tuple[LineConnection, socket.socket]


def test_lines_are_read_one_by_one_however_they_arrive(pair: Pair) -> None:
    connection, other = pair
    other.sendall(b"one\ntw")
    assert connection.read_line() == "one"
    other.sendall(b"o\n\nthree\n")
    assert connection.read_lines(3) == ["two", "", "three"]


def test_lines_are_sent_with_a_newline_each_and_any_bytes(pair: Pair) -> None:
    connection, other = pair
    connection.send("a", b"\xff", "\udcfe")
    assert other.recv(9) == b"a\n\xff\n\xfe\n"


def test_a_line_that_is_late_can_still_be_read(pair: Pair) -> None:
    connection, other = pair
    other.sendall(b"la")
    with pytest.raises(TimeoutError):
        connection.read(time.monotonic())
    other.sendall(b"te\n")
    assert connection.read(time.monotonic() + 30) == b"late"


def test_connection_end_is_reported_with_the_partial_line(pair: Pair) -> None:
    """The error at the end of a connection shows the incomplete line."""
    connection, other = pair
    other.sendall(b"half")
    other.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionEnded, match="closed the connection before it answered"):
        connection.read()
    assert (connection.read_line(), connection.read_line()) == ("half", "")
    assert connection.is_closed()


def test_a_connection_reads_no_more_than_its_limit(pair: Pair) -> None:
    connection, other = pair
    other.sendall(b"x" * 11)
    with pytest.raises(TooLong):
        connection.read(bytes_max=10)


def test_a_single_request_has_its_own_connection() -> None:
    with socket.create_server(("localhost", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"you said " + connection.recv(100))

        thread = threading.Thread(target=serve)
        thread.start()
        assert ask(listener.getsockname()[1], "hello") == "you said hello"
        thread.join()
