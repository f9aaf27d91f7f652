"""What every end-to-end test needs: waiting with a deadline, free ports, raw conversations, and
who else runs."""

from __future__ import annotations

import itertools
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

DEADLINE_S = 30.0
FIRST_PORT, SLICE, SLICES = 20_000, 500, 24  # up to 32,000
_HELD: list[socket.socket] = []

Found = TypeVar("Found")


def eventually(
    predicate: Callable[[], Found], what: str = "", timeout_s: float = DEADLINE_S
) -> Found:
    """Return the first true answer of `predicate`; fail if there is none in time."""
    pause = threading.Event()
    end_s = time.monotonic() + timeout_s
    while not (found := predicate()):
        assert time.monotonic() < end_s, f"not within {timeout_s:g} s: {what or predicate}"
        pause.wait(0.05)
    return found


def _ports() -> Iterator[int]:
    """Yield ports that nobody listens on, each again only after some hundred others.

    They lie below the range from which the kernel takes the ports of outgoing connections: a
    node that dials a dead peer there may be connected to itself. Each process that tests has a
    slice of its own, also beside other runs on this machine: a node that is down for a while
    finds its port free again.
    """
    first = FIRST_PORT + SLICE * _own_slice()
    start = random.randrange(SLICE)
    for number in itertools.count():
        port = first + (start + number) % SLICE
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
                trial.listen()
            except OSError:
                continue
        yield port


def _own_slice() -> int:
    """Return the number of a slice that no other process has. This one has it until it ends: it
    holds the port that stands for the slice, just below all of them."""
    for number in range(SLICES):
        mark = socket.socket()
        try:
            mark.bind(("127.0.0.1", FIRST_PORT - 1 - number))
        except OSError:
            mark.close()
            continue
        _HELD.append(mark)
        return number
    return random.randrange(SLICES)


free_ports = _ports()


def ports_in_a_row(count: int) -> int:
    """Return the first of so many such ports, one behind the other."""
    row: list[int] = []
    while len(row) < count:
        port = next(free_ports)
        row = [*row, port] if row and port == row[-1] + 1 else [port]
    return row[0]


class Conversation:
    """A raw connection on which lines go out and come back; everything has a deadline."""

    def __init__(
        self, port: int, timeout_s: float = DEADLINE_S, host: str = "localhost"
    ) -> None:
        self.socket = socket.create_connection((host, port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, *lines: str | bytes) -> None:
        raw = [line.encode() if isinstance(line, str) else line for line in lines]
        self.socket.sendall(b"".join(line + b"\n" for line in raw))

    def read_line(self) -> str:
        """Return the next line without its newline, nor what answers telnet; "" at the end."""
        line = self._reader.readline().replace(b"\xff\xfc\x06", b"")
        return line.decode().removesuffix("\n")

    def read_lines(self, count: int) -> list[str]:
        return [self.read_line() for _ in range(count)]

    def ask(self, line: str | bytes) -> str:
        self.send(line)
        return self.read_line()

    def is_closed(self) -> bool:
        """Wait for the other side to say something or end; return whether it ended."""
        try:
            return self._reader.peek(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._reader.close()
        self.socket.close()


def processes_of(folder: Path | str) -> dict[int, str]:
    """Return the processes with this folder among their arguments, and the state of each: S, R,
    T (stopped), …"""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (path / "cmdline").read_bytes():
                found[int(path.name)] = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue  # it has ended
    return found
