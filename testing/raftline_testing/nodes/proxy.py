"""The network between nodes: it carries their lines, and loses, holds or cuts them on request.

Each node reaches each other node through a port of ours, which forwards the lines to that node. A
line is carried or lost as a whole; connections stay even if lines are lost or held, so a node can't
tell a partition from silence. When a node's process ends, its connections also end at the other
side.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from raftline.common.config import FILE_NAME

from .cluster import Cluster, NodeProcess

# for a server that reads nothing; at this limit, reading from the other side stops
HELD_BYTES_MAX = 1 << 22
CHECK_S = 0.1
REPEATED_MAX = 20  # lines back, of one connection

Pair = tuple[str, str]  # speaker, hearer
# (speaker, hearer, line, whether it arrives, seconds on the monotonic clock)
Seen = Callable[[str, str, bytes, bool, float], None]


class LinkEnd:
    """One socket of a carried connection: the lines of `speaker` arrive here."""

    def __init__(self, connection: socket.socket, speaker: str, hearer: str) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.speaker = speaker
        self.hearer = hearer
        self.partial = b""
        self.carried: deque[bytes] = deque(maxlen=REPEATED_MAX)
        self.outgoing = bytearray()
        self.other = self  # until both are there
        self.is_connected = True
        self.interest = 0


class Network:
    """A network that carries lines in its own thread; any other thread may set the losses."""

    def __init__(
        self,
        ports: Mapping[str, int],
        chance: random.Random | None = None,
        seen: Seen = lambda *_: None,
    ) -> None:
        self.sent = 0  # lines that a server sent to another
        self.lost = 0  # how many of these were dropped
        self.repeated = 0
        self._ports = ports
        self._chance = chance or random.Random()
        self._seen = seen
        self._side: frozenset[str] = frozenset()  # of a partition; empty: there is none
        self._drop_fraction = self._repeat_fraction = 0.0
        self._held: frozenset[Pair] = frozenset()
        self._cut: frozenset[Pair] = frozenset()
        self._ends: set[LinkEnd] = set()
        self._changed = threading.Event()  # the holds or cuts have changed
        self._done = threading.Event()  # and the change is in effect
        self._selector = selectors.DefaultSelector()
        self._stopping = threading.Event()
        self._links: dict[Pair, socket.socket] = {}
        for asking in ports:
            for target in ports:
                if asking != target:
                    listener = socket.create_server(("127.0.0.1", 0))
                    listener.setblocking(False)
                    self._links[asking, target] = listener
                    self._selector.register(listener, selectors.EVENT_READ, (asking, target))
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    def port(self, asking: str, asked: str) -> int:
        """Return the port on which one node reaches another, or itself."""
        if asking == asked:
            return self._ports[asked]
        port: int = self._links[asking, asked].getsockname()[1]
        return port

    def hold(self, pairs: Collection[Pair]) -> None:
        """Hold the lines from the first to the second node of exactly these pairs, as TCP keeps
        data that a silent network loses: nothing is lost, and `heal` delivers it."""
        self._held = frozenset(pairs)
        self._wake()

    def cut(self, pairs: Collection[Pair]) -> None:
        """End the connections between exactly these pairs, and refuse new ones, until `heal`."""
        self._cut = frozenset(pairs)
        self._wake()

    def _wake(self) -> None:
        self._done.clear()
        self._changed.set()
        if self._thread.is_alive():
            self._done.wait()

    def part(self, side: frozenset[str]) -> None:
        """Lose the lines between these servers and the others, until `heal`."""
        self._side = side

    def heal(self) -> None:
        """End all partitions, holds and cuts."""
        self._side = frozenset()
        if self._held or self._cut:
            self._held = self._cut = frozenset()
            self._wake()

    def drop(self, fraction: float) -> None:
        """Lose each line with this probability from now on."""
        self._drop_fraction = fraction

    def repeat(self, fraction: float) -> None:
        """After each line, carry one of the last lines again with this probability: it is
        duplicated, and comes late."""
        self._repeat_fraction = fraction

    def close(self) -> None:
        """End all connections and the thread."""
        self._stopping.set()
        self._thread.join()
        for each in [*self._links.values(), *(end.socket for end in self._ends)]:
            each.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._changed.is_set():
                self._changed.clear()
                self._check_again()
                self._done.set()
            for key, events in self._selector.select(CHECK_S):
                if isinstance(key.data, LinkEnd):
                    self._serve(key.data, events)
                else:
                    self._connect(key.data)
        self._done.set()

    def _check_again(self) -> None:
        for end in list(self._ends):
            if (end.speaker, end.hearer) in self._cut:
                self._end(end)
        for end in self._ends:
            self._watch(end)

    def _connect(self, link: Pair) -> None:
        asking, target = link
        try:
            connection, _ = self._links[link].accept()
        except OSError:
            return
        if link in self._cut:
            connection.close()
            return
        near = LinkEnd(connection, asking, target)
        far = LinkEnd(socket.socket(), target, asking)
        near.other, far.other = far, near
        try:
            far.socket.connect(("127.0.0.1", self._ports[target]))
        except BlockingIOError:
            far.is_connected = False  # in progress; its result is an event like any other
        except OSError:  # the server is down
            near.socket.close()
            far.socket.close()
            return
        self._ends |= {near, far}
        self._watch(near)
        self._watch(far)

    def _watch(self, end: LinkEnd) -> None:
        """Register the possible operations of this end: read, unless the other end reads too
        slowly, and write.

        Held lines are not read, nor are lines to a node that is down: these count as never sent.
        """
        takes = end.other.is_connected and len(end.other.outgoing) < HELD_BYTES_MAX
        takes = takes and (end.speaker, end.hearer) not in self._held
        events = selectors.EVENT_READ if takes else 0
        events |= selectors.EVENT_WRITE if end.outgoing or not end.is_connected else 0
        if events == end.interest:
            return
        if not end.interest:
            self._selector.register(end.socket, events, end)
        elif not events:
            self._selector.unregister(end.socket)
        else:
            self._selector.modify(end.socket, events, end)
        end.interest = events

    def _serve(self, end: LinkEnd, events: int) -> None:
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

    def _carry(self, end: LinkEnd, data: bytes) -> None:
        """Forward the complete lines that must arrive."""
        *lines, end.partial = (end.partial + data).split(b"\n")
        now_s = time.monotonic()
        for line in lines:
            arrives = self._arrives(end.speaker, end.hearer)
            self.sent += 1
            self.lost += not arrives
            self._seen(end.speaker, end.hearer, line, arrives, now_s)
            if arrives:
                end.other.outgoing += line + b"\n"
                if self._repeat_fraction and self._chance.random() < self._repeat_fraction:
                    end.other.outgoing += self._chance.choice([*end.carried, line]) + b"\n"
                    self.repeated += 1
                end.carried.append(line)

    def _arrives(self, speaker: str, hearer: str) -> bool:
        side = self._side
        if side and (speaker in side) != (hearer in side):
            return False
        return not self._drop_fraction or self._chance.random() >= self._drop_fraction

    def _end(self, end: LinkEnd) -> None:
        for each in (end, end.other):
            if each.interest:
                self._selector.unregister(each.socket)
                each.interest = 0
            each.socket.close()
            self._ends.discard(each)


class LinkedCluster(Cluster):
    """A cluster whose nodes reach each other through our `network`, each in its own folder."""

    def __init__(self, folder: Path, count: int, *options: str) -> None:
        super().__init__(folder, count, *options)
        ports = {node.name: node.port for node in self.nodes}
        self.network = Network(ports)
        for node in self.nodes:
            node.folder = folder / node.name
            node.folder.mkdir()
            node.where = ["--dir", str(node.folder)]
            lines = [f"{name} localhost {self.network.port(node.name, name)}\n" for name in ports]
            (node.folder / FILE_NAME).write_text("".join(lines))

    def __exit__(self, kind: object, problem: object, *trace: object) -> None:
        self.network.close()
        super().__exit__(kind, problem, *trace)

    def around(self, *nodes: NodeProcess) -> set[Pair]:
        """Return the pairs of one of these nodes and one of the others, both ways."""
        inside = {node.name for node in nodes}
        names = [node.name for node in self.nodes]
        return {(a, b) for a in names for b in names if (a in inside) != (b in inside)}

    def between(self, one: NodeProcess, other: NodeProcess) -> set[Pair]:
        """Return both ways between two nodes."""
        return {(one.name, other.name), (other.name, one.name)}

    def heal(self) -> None:
        self.network.heal()

    def block(self, pairs: Collection[Pair]) -> None:
        """Block the traffic from the first to the second node of each pair, and let all other
        traffic pass."""
        self.network.hold(pairs)
