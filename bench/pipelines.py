"""A load of any requests, as bytes: each connection sends a pipeline, and the next one when all of
it is answered. It is written in Python, so it is for the processor time that servers take, and not
for their rate."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice

from generator import BenchError

PATIENCE_S = 60
READ_BYTES = 1 << 18
DIFFERENT = 2000  # requests of a connection, which it then repeats


@dataclass(frozen=True)
class Requests:
    """Requests, each with its number, and the number of lines in the answer to one."""

    ask: Callable[[int], bytes]
    lines: int = 1


class _Asker:
    """A connection, and what it has sent."""

    def __init__(self, port: int, requests: Requests, in_flight: int, number: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = requests.lines * in_flight
        first = number * DIFFERENT
        all_of_it = [requests.ask(first + place) for place in range(max(DIFFERENT, in_flight))]
        self._pipelines: Iterator[bytes] = cycle(
            [
                b"".join(all_of_it[begin : begin + in_flight])
                for begin in range(0, len(all_of_it) - in_flight + 1, in_flight)
            ]
        )
        self._left = 0
        self._begins_line = True

    def send(self) -> None:
        self._left = self._lines
        self.socket.sendall(next(self._pipelines))

    def hear(self) -> bool:
        """Take what has arrived; return whether all is answered.

        Raises:
            BenchError: the server has refused something, or ended the connection.
        """
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise BenchError("the server closed a connection")
        is_refusal = self._begins_line and data.startswith(b"-")
        if is_refusal or b"\n-" in data or b"Sorry" in data:
            lines = data.decode(errors="replace").splitlines()
            refusal = next(line for line in lines if "Sorry" in line or line.startswith("-"))
            raise BenchError(f"a request was refused: {refusal[:200]}")
        self._begins_line = data.endswith(b"\n")
        self._left -= data.count(b"\n")
        return self._left <= 0


def send(
    port: int, requests: Requests, connections: int, in_flight: int, seconds: float = 0.0
) -> int:
    """Send requests for some time, at least one pipeline on each connection; return their number.

    Raises:
        BenchError: one was refused.
    """
    askers = [_Asker(port, requests, in_flight, number) for number in range(connections)]
    count, busy, end_s = 0, len(askers), time.monotonic() + seconds
    try:
        with selectors.DefaultSelector() as selector:
            for asker in askers:
                selector.register(asker.socket, selectors.EVENT_READ, asker)
                asker.send()
            while busy:
                ready = selector.select(PATIENCE_S)
                if not ready:
                    raise BenchError(f"no answer within {PATIENCE_S} s")
                for key, _ in ready:
                    if not key.data.hear():
                        continue
                    count += in_flight
                    if time.monotonic() < end_s:
                        key.data.send()
                    else:
                        busy -= 1
    finally:
        for asker in askers:
            asker.socket.close()
    return count


def resp(*words: str) -> bytes:
    """Return a command as a Redis client sends it."""
    formatted = "".join([f"${len(word.encode())}\r\n{word}\r\n" for word in words])
    return f"*{len(words)}\r\n{formatted}".encode()


def filling(verb: str, key: str, elements: list[str], together: int) -> Iterator[bytes]:
    """Yield the commands that put these elements under a key."""
    rest = iter(elements)
    while some := list(islice(rest, together)):
        yield resp(verb, key, *some)
