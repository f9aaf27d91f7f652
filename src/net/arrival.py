"""The console's line about a connection, which one that only asks for `status` doesn't get."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Sequence

SILENT_S = 0.2  # then it is said, before anything is asked
BEGINNING_BYTES = 128  # of the first line; a name and `@status` are no longer


class Arrival:
    """Says once that a connection has come; for the thread that serves it.

    `raftline status` makes a connection to each node, `--watch` and `up` do so again and again.
    """

    def __init__(self, say: Callable[[], None]) -> None:
        self._say = say
        self._is_said = False

    def look(self, connection: socket.socket) -> None:
        """Say it of a connection that is silent, at its end, or begins with another line.

        Raises:
            OSError: the connection broke.
        """
        waiting = select.poll()  # select() takes no descriptor above 1023
        waiting.register(connection, select.POLLIN)
        if waiting.poll(SILENT_S * 1000):
            begun = connection.recv(BEGINNING_BYTES, socket.MSG_PEEK)
            if begun and all(map(_asks_status, begun.splitlines())):
                return
        self._tell()

    def heard(self, lines: Sequence[bytes]) -> None:
        """Say it before the first lines that ask for something else."""
        if not self._is_said and not all(map(_asks_status, lines)):
            self._tell()

    def _tell(self) -> None:
        self._is_said = True
        self._say()


def _asks_status(line: bytes) -> bool:
    return line.rpartition(b"@")[2].strip() == b"status"
