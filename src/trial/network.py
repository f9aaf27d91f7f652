"""The network between the servers: it carries their lines, and loses those that it is told to.

Each server reaches each other one on a port of ours, whose lines are carried to where that one
listens. A line is carried whole or lost whole; connections stay, so a server can't tell a
partition from silence. When a server's process ends, its connections end at the other side, too.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping

HELD_BYTES_MAX = 1 << 22  # for a server that reads nothing; then no more is taken from the other
LOOK_S = 0.1

# (speaker, hearer, line, whether it arrives, seconds on the monotonic clock)
Seen = Callable[[str, str, bytes, bool, float], None]


class _End:
    """One socket of a carried connection: what `speaker` says comes in here."""

    def __init__(self, connection: socket.socket, speaker: str, hearer: str) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.speaker = speaker
        self.hearer = hearer
        self.partial = b""
        self.outgoing = bytearray()
        self.other = self  # until both are there
        self.is_connected = True
        self.interest = 0


class Network:
    """Carries lines in a thread of its own; told from any other thread what to lose."""

    def __init__(self, ports: Mapping[str, int], chance: random.Random, seen: Seen) -> None:
        self.sent = 0  # lines that a server sent to another
        self.lost = 0  # of these, lines that were not to arrive
        self._ports = ports
        self._chance = chance
        self._seen = seen
        self._side: frozenset[str] = frozenset()  # of a partition; empty: there is none
        self._drop_fraction = 0.0
        self._selector = selectors.DefaultSelector()
        self._stopping = threading.Event()
        self._links: dict[tuple[str, str], socket.socket] = {}
        for asking in ports:
            for asked in ports:
                if asking != asked:
                    listener = socket.create_server(("127.0.0.1", 0))
                    listener.setblocking(False)
                    self._links[asking, asked] = listener
                    self._selector.register(listener, selectors.EVENT_READ, (asking, asked))
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    def port(self, asking: str, asked: str) -> int:
        """Return where one server reaches another."""
        port: int = self._links[asking, asked].getsockname()[1]
        return port

    def part(self, side: frozenset[str]) -> None:
        """Lose what is said between these servers and the others, until `heal`."""
        self._side = side

    def heal(self) -> None:
        self._side = frozenset()

    def drop(self, fraction: float) -> None:
        """Lose each line with this probability from now on."""
        self._drop_fraction = fraction

    def close(self) -> None:
        """End all connections and the thread."""
        self._stopping.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            with contextlib.suppress(OSError, AttributeError):
                key.fileobj.close()  # type: ignore[union-attr]
            if isinstance(key.data, _End):
                key.data.other.socket.close()  # it may wait for nothing just now
        self._selector.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            for key, events in self._selector.select(LOOK_S):
                if isinstance(key.data, _End):
                    self._serve(key.data, events)
                else:
                    self._connect(key.data)

    def _connect(self, link: tuple[str, str]) -> None:
        asking, asked = link
        try:
            connection, _ = self._links[link].accept()
        except OSError:
            return
        near = _End(connection, asking, asked)
        far = _End(socket.socket(), asked, asking)
        near.other, far.other = far, near
        try:
            far.socket.connect(("127.0.0.1", self._ports[asked]))
        except BlockingIOError:
            far.is_connected = False  # on its way; what comes of it is an event like any other
        except OSError:  # nobody listens: the server is down
            near.socket.close()
            far.socket.close()
            return
        self._watch(near)
        self._watch(far)

    def _watch(self, end: _End) -> None:
        """Wait for what can be done at this end: read, unless the other is far behind; write.

        What is said to a server that is down is not read: it was never sent.
        """
        takes = end.other.is_connected and len(end.other.outgoing) < HELD_BYTES_MAX
        wanted = selectors.EVENT_READ if takes else 0
        wanted |= selectors.EVENT_WRITE if end.outgoing or not end.is_connected else 0
        if wanted == end.interest:
            return
        if not end.interest:
            self._selector.register(end.socket, wanted, end)
        elif not wanted:
            self._selector.unregister(end.socket)
        else:
            self._selector.modify(end.socket, wanted, end)
        end.interest = wanted

    def _serve(self, end: _End, events: int) -> None:
        if not end.interest:
            return  # ended by an event before this one
        try:
            if not end.is_connected:
                if end.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise ConnectionRefusedError  # nobody listens
                end.is_connected = True
            if events & selectors.EVENT_READ:
                data = end.socket.recv(1 << 16)
                if not data:
                    raise ConnectionResetError
                self._carry(end, data)
            for each in (end, end.other):
                if each.outgoing:
                    with contextlib.suppress(BlockingIOError):
                        del each.outgoing[: each.socket.send(each.outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self._end(end)
            return
        self._watch(end)
        self._watch(end.other)

    def _carry(self, end: _End, data: bytes) -> None:
        """Hand the whole lines on that are to arrive."""
        *lines, end.partial = (end.partial + data).split(b"\n")
        now_s = time.monotonic()
        for line in lines:
            arrives = self._arrives(end.speaker, end.hearer)
            self.sent += 1
            self.lost += not arrives
            self._seen(end.speaker, end.hearer, line, arrives, now_s)
            if arrives:
                end.other.outgoing += line + b"\n"

    def _arrives(self, speaker: str, hearer: str) -> bool:
        side = self._side
        if side and (speaker in side) != (hearer in side):
            return False
        return not self._drop_fraction or self._chance.random() >= self._drop_fraction

    def _end(self, end: _End) -> None:
        for each in (end, end.other):
            if each.interest:
                self._selector.unregister(each.socket)
                each.interest = 0
            each.socket.close()
