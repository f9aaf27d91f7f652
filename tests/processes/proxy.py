"""A cluster whose nodes reach each other through links that tests can stall or cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Collection
from pathlib import Path

from raftline.common.config import FILE_NAME
from tests.processes.cluster import Cluster
from tests.processes.node import Node
from tests.processes.wire import DEADLINE_S, free_ports


class Link:
    """Carries what one node asks another, and the answers back.

    A stalled direction loses nothing: it is held, as TCP holds what a silent network swallows. A
    cut link resets its connections and refuses new ones.
    """

    def __init__(self, target: Node) -> None:
        self.port = next(free_ports)
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._is_cut = False
        self.questions = threading.Event()  # set: they flow
        self.answers = threading.Event()
        self.heal()
        self._taker = threading.Thread(target=self._accept, daemon=True)
        self._taker.start()

    def heal(self) -> None:
        self._is_cut = False
        self.questions.set()
        self.answers.set()

    def stall(self) -> None:
        """Hold both directions, silently."""
        self.questions.clear()
        self.answers.clear()

    def cut(self) -> None:
        self._is_cut = True
        self._end_all()

    def close(self) -> None:
        self.cut()
        self.heal()
        self._end_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._taker.join(DEADLINE_S)  # or it takes from whoever gets this descriptor next
        self._listener.close()

    def _end_all(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                asking, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self._is_cut:
                    raise ConnectionRefusedError
                answering = socket.create_connection(("localhost", self._target.port))
            except OSError:
                asking.close()
                continue
            with self._lock:
                self._sockets += [asking, answering]
            if self._is_cut:  # meanwhile
                self._end_all()
            for source, sink, gate in (
                (asking, answering, self.questions),
                (answering, asking, self.answers),
            ):
                threading.Thread(target=_carry, args=(source, sink, gate), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket, gate: threading.Event) -> None:
    """Carry bytes one way while the gate is open, until either side ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            gate.wait()
            sink.sendall(data)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    source.close()


class LinkedCluster(Cluster):
    """A cluster with a link for each ordered pair: `links["s1", "s2"]` is what s1 asks s2 on."""

    def __init__(self, folder: Path, count: int, *options: str) -> None:
        super().__init__(folder, count, *options)
        names = {node.name: node for node in self.nodes}
        self.links = {
            (one, other): Link(names[other]) for one in names for other in names if one != other
        }
        for node in self.nodes:
            node.folder = folder / node.name
            node.folder.mkdir()
            node.where = ["--dir", str(node.folder)]
            lines = [
                f"{name} localhost {node.port if name == node.name else self.port(node, name)}\n"
                for name in names
            ]
            (node.folder / FILE_NAME).write_text("".join(lines))

    def __exit__(self, *problem: object) -> None:
        for link in self.links.values():
            link.close()
        super().__exit__(*problem)

    def port(self, node: Node, name: str) -> int:
        """Return where `node` reaches `name`."""
        return self.links[node.name, name].port

    def between(self, one: Node, other: Node) -> list[Link]:
        """Return both links of a pair."""
        return [self.links[one.name, other.name], self.links[other.name, one.name]]

    def around(self, *nodes: Node) -> list[Link]:
        """Return the links between these nodes and the others."""
        inside = {node.name for node in nodes}
        return [
            link for pair, link in self.links.items() if (pair[0] in inside) != (pair[1] in inside)
        ]

    def heal(self) -> None:
        for link in self.links.values():
            link.heal()

    def block(self, pairs: Collection[tuple[str, str]]) -> None:
        """Let nothing pass from the first to the second of these pairs, and between all others
        everything: what a node asks, and its answers, are held."""
        for (one, other), link in self.links.items():
            for gate, way in ((link.questions, (one, other)), (link.answers, (other, one))):
                gate.clear() if way in pairs else gate.set()
