"""How long nobody is served: after kill -9 of the leader, and around a planned stop of it.

`python bench/failover.py` starts nodes of its own with default timeouts. One client writes to the
leader without pause, goes where it is sent and else to the next node. The gap is the longest time
between two acknowledgements around the event. Nothing here is a test; nothing asserts a time.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LEADER = re.compile(rb"Last leader I heard from is: \S+ \(localhost:([0-9]+)\)")
PAUSE_S = 0.005  # between two tries where nobody can be reached
EVENTS = {"kill -9": signal.SIGKILL, "SIGTERM": signal.SIGTERM}


class Writer(threading.Thread):
    """Writes for ever; `acknowledged` holds when each write was, `unknown` counts the others."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[float] = []
        self.unknown = 0
        self.over = False
        self._ports = ports
        self._port = ports[0]
        self._connection: socket.socket | None = None

    def run(self) -> None:
        while not self.over:
            try:
                reply = self._exchange(b"bench@set key value\n")
            except OSError:
                self._move_on(None)
                continue
            if b"SET response" in reply:
                self.acknowledged.append(time.monotonic())
                continue
            self.unknown += b"outcome unknown" in reply
            self._move_on(LEADER.search(reply))

    def _exchange(self, line: bytes) -> bytes:
        if self._connection is None:
            self._connection = socket.create_connection(("localhost", self._port), timeout=5)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sendall(line)
        reply = b""
        while not reply.endswith(b"\n"):
            received = self._connection.recv(4096)
            if not received:
                raise ConnectionError
            reply += received
        return reply

    def _move_on(self, leader: re.Match[bytes] | None) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        before = self._port
        ports = self._ports
        self._port = int(leader[1]) if leader else ports[(ports.index(before) + 1) % len(ports)]
        if not leader or self._port == before:
            time.sleep(PAUSE_S)


class Nodes:
    """A cluster of real processes in a temporary folder."""

    def __init__(self, server: Path, folder: str, count: int, base_port: int) -> None:
        self.ports = [base_port + number for number in range(count)]
        self._server, self._folder = server, folder
        lines = [f"s{n} localhost {port}\n" for n, port in enumerate(self.ports, start=1)]
        Path(folder, "server-configuration.txt").write_text("".join(lines))
        self.processes = {port: self._launch(port) for port in self.ports}

    def _launch(self, port: int) -> subprocess.Popen[bytes]:
        name = f"s{self.ports.index(port) + 1}"
        command = [sys.executable, str(self._server), name, str(port), "--dir", self._folder]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def settled(self) -> int:
        """Wait until all nodes follow one leader and hold all it has; return its port."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, IndexError, ValueError):
                views = [_status(port) for port in self.ports]
                leaders = {view["leader"] for view in views}
                ends = [int(str(view["last_applied"])) for view in views]
                if len(leaders) == 1 and None not in leaders and max(ends) - min(ends) < 100:
                    return self.ports[int(str(leaders.pop())[1:]) - 1]
            time.sleep(0.05)
        raise SystemExit("the nodes did not come together within 60 s")

    def end(self, port: int, number: int) -> None:
        self.processes[port].send_signal(number)

    def restart(self, port: int) -> None:
        self.processes[port].wait()
        self.processes[port] = self._launch(port)

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


def _status(port: int) -> dict[str, object]:
    with socket.create_connection(("localhost", port), timeout=2) as connection:
        connection.sendall(b"status\n")
        found: dict[str, object] = json.loads(connection.makefile().readline().split(": ", 1)[1])
        return found


def gap_ms(nodes: Nodes, writer: Writer, number: int) -> float:
    """End the leader while the client writes; return the longest pause in its acknowledgements."""
    leader = nodes.settled()
    time.sleep(0.3)  # lets the client find the leader and the heartbeats spread out
    before = len(writer.acknowledged)
    nodes.end(leader, number)
    ended = time.monotonic()
    while len(writer.acknowledged) < before + 20 or writer.acknowledged[-1] < ended + 0.1:
        time.sleep(0.01)
        if time.monotonic() > ended + 30:
            raise SystemExit("nobody was served within 30 s")
    times = writer.acknowledged[max(0, before - 1) :]
    longest = max(b - a for a, b in itertools.pairwise(times))
    nodes.restart(leader)
    return 1000 * longest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=Path, default=HERE.parent / "src" / "server.py")
    parser.add_argument("--nodes", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--base-port", type=int, default=23000)
    parser.add_argument("--each", action="store_true", help="print every gap, too")
    arguments = parser.parse_args()
    print("nodes  event     times  median ms  90% ms  worst ms  writes of unknown outcome")
    for count in arguments.nodes:
        for event, times in (("kill -9", arguments.kills), ("SIGTERM", arguments.stops)):
            if times:
                report(arguments, count, event, times)


def report(arguments: argparse.Namespace, count: int, event: str, times: int) -> None:
    """Print one row: so many times the leader of so many nodes ends so."""
    with tempfile.TemporaryDirectory() as folder:
        nodes = Nodes(arguments.server, folder, count, arguments.base_port)
        writer = Writer(nodes.ports)
        try:
            nodes.settled()
            writer.start()
            gaps = [gap_ms(nodes, writer, EVENTS[event]) for _ in range(times)]
        finally:
            writer.over = True
            nodes.close()
        if arguments.each:
            print("      ", " ".join(f"{gap:.0f}" for gap in gaps))
        late = sorted(gaps)[int(0.9 * (len(gaps) - 1))]
        print(
            f"{count:5}  {event:8}  {times:5}  {statistics.median(gaps):9.0f}  {late:6.0f}  "
            f"{max(gaps):8.0f}  {writer.unknown:5}", flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
