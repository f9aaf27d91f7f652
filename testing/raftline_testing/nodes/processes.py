"""Processes of nodes for tests, trials and lessons: events to wait for, and ports for them."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from raftline.common.process.server_process import (
    DEADLINE_S,
    WAIT_S,
    NotAsExpected,
    Process,
    end_all,
)

__all__ = [
    "DEADLINE_S", "NotAsExpected", "Process", "aio_eventually", "end_all", "eventually",
    "free_ports", "ports_in_a_row", "sockets_at",
]  # fmt: skip

PAUSES_S = (0.005, 0.05)  # the first and the longest pause between two checks
FIRST_PORT, SLICE, SLICES = 20_000, 250, 48  # up to 32,000
_HELD: list[socket.socket] = []  # until this process ends

Found = TypeVar("Found")


def eventually(
    look: Callable[..., Found | None], what: str = "", timeout_s: float = WAIT_S
) -> Found:
    """Return the first true answer of `look`. Raises NotAsExpected if there is none in time."""
    pause = threading.Event()
    pause_s, longest_s = PAUSES_S
    end_s = time.monotonic() + timeout_s
    while not (result := look()):
        if time.monotonic() > end_s:
            raise NotAsExpected(f"not within {timeout_s:g} s: {what or look}")
        pause.wait(pause_s)
        pause_s = min(2 * pause_s, longest_s)
    return result


async def aio_eventually(look: Callable[[], object], what: str = "", pause_s: float = 0.0) -> None:
    """Wait until `look`, a function or a coroutine function, is true. Raises NotAsExpected if it is
    not in time."""
    end_s = time.monotonic() + WAIT_S
    while not (await found if inspect.isawaitable(found := look()) else found):
        if time.monotonic() > end_s:
            raise NotAsExpected(f"not within {WAIT_S:g} s: {what or look}")
        await asyncio.sleep(pause_s)


def _ports() -> Iterator[int]:
    """Yield free ports, and repeat each one only after some hundred others.

    The ports are below the range from which the kernel takes the ports of outgoing connections: a
    node that dials a dead peer in that range may be connected to itself. Each process has its own
    slice, even next to others on this machine, so the port of a node that is down stays free.
    """
    first = FIRST_PORT + SLICE * _own_slice()
    start = random.randrange(SLICE)
    for number in itertools.count():
        port = first + (start + number) % SLICE
        if is_free(port):
            yield port


def _own_slice() -> int:
    """Return the number of a slice that no other process has. This process keeps it until it ends:
    it holds the port that represents the slice, just below all slices.

    Raises:
        NotAsExpected: there is none. Two processes with one slice would take each other's ports.
    """
    for number in range(SLICES):
        mark = socket.socket()
        try:
            mark.bind(("127.0.0.1", FIRST_PORT - 1 - number))
        except OSError:
            mark.close()
            continue
        _HELD.append(mark)
        return number
    raise NotAsExpected(f"{SLICES} processes that run tests have all ports below {FIRST_PORT}")


class _OneAtATime(Iterator[int]):
    """Ports for several threads. A generator that two of them ask at once fails."""

    def __init__(self, ports: Iterator[int]) -> None:
        self._ports, self._lock = ports, threading.Lock()

    def __next__(self) -> int:
        with self._lock:
            return next(self._ports)


free_ports = _OneAtATime(_ports())


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of this machine now, at any address. The trial
    itself does not listen: on a busy machine a socket that did is there for some time after its
    end, and the port is in use."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("0.0.0.0", port))
        except (OSError, OverflowError):
            return False
    return True


def sockets_at(port: int) -> str:
    """Return what the system tells about the sockets at a port of this machine, for a failure."""
    try:
        asked = ["ss", "-tanpe", f"( sport = :{port} or dport = :{port} )"]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    except OSError:
        return "ss is not here"


def ports_in_a_row(count: int) -> int:
    """Return the first of `count` free ports with consecutive numbers."""
    row: list[int] = []
    while len(row) < count:
        port = next(free_ports)
        row = [*row, port] if row and port == row[-1] + 1 else [port]
    return row[0]
