"""How long writes wait while a snapshot is taken: `python bench/snapshot_pause.py`.

Starts three nodes (or `--nodes 1`) on localhost, loads a million keys, and goes on writing over a
few connections; meanwhile it asks for a `show`, and then every node takes a snapshot and compacts
its log. Prints the longest waits of a write before that and during it, and how much memory the
leader has. Nothing is asserted: these are figures of this machine, under the load that it has.

`--held` measures in one process, in processor time, for how long a write finds the lock taken: what
a snapshot costs those who write when they get a core whenever they want one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
SERVER = Path(__file__).resolve().parents[1] / "src" / "server.py"
BATCH = 500


class Nodes:
    """Nodes in one folder."""

    def __init__(self, folder: Path, base_port: int, count: int) -> None:
        self.folder = folder
        self.ports = {f"s{place + 1}": base_port + place for place in range(count)}
        lines = [f"{name} localhost {port}\n" for name, port in self.ports.items()]
        (folder / "server-configuration.txt").write_text("".join(lines))
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, compact_at: int) -> None:
        for name, port in self.ports.items():
            with (self.folder / f"{name}.out").open("ab") as output:
                command = [sys.executable, str(SERVER), name, str(port), "--dir", str(self.folder)]
                self.processes.append(
                    subprocess.Popen(
                        [*command, "--compact-at", str(compact_at)],
                        stdout=output,
                        stderr=subprocess.STDOUT,
                    )
                )

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()
        self.processes.clear()

    def status(self, name: str) -> dict[str, int | str]:
        try:
            with socket.create_connection(("localhost", self.ports[name]), 5) as connection:
                connection.sendall(b"status\n")
                line = connection.makefile("r").readline()
            found: dict[str, int | str] = json.loads(line.partition(": ")[2])
        except (OSError, ValueError):
            return {}
        return found

    def leader(self) -> str:
        """Wait for a leader that has applied all it has."""
        while True:
            for name in self.ports:
                view = self.status(name)
                if view.get("role") == "leader" and view["last_applied"] == view["last_index"]:
                    return name
            time.sleep(0.2)


def load(port: int, keys: int, value: str) -> None:
    """Set so many keys, some hundred at a time."""
    with socket.create_connection(("localhost", port)) as connection:
        replies = connection.makefile("rb")
        for first in range(0, keys, BATCH):
            numbers = range(first, min(first + BATCH, keys))
            connection.sendall("".join(f"set k{n:015} {value}\n" for n in numbers).encode())
            for _ in numbers:
                if b"SET response" not in replies.readline():
                    raise SystemExit("a write was refused while loading")


class Writer(threading.Thread):
    """Writes one value after the other and keeps when each began and how long it took."""

    def __init__(self, port: int, number: int, value: str) -> None:
        super().__init__(daemon=True)
        self.connection = socket.create_connection(("localhost", port))
        self.number = number
        self.value = value
        self.waits: list[tuple[float, float]] = []
        self.stopping = False

    def run(self) -> None:
        replies = self.connection.makefile("rb")
        while not self.stopping:
            begin = time.monotonic()
            self.connection.sendall(f"set w{self.number} {self.value}\n".encode())
            if b"SET response" not in replies.readline():
                print("a write was refused", file=sys.stderr)
            self.waits.append((begin, time.monotonic() - begin))


def figures(writers: list[Writer], begin: float, end: float) -> str:
    """Return the longest waits of the writes that were under way between two moments."""
    waits = sorted(
        wait for writer in writers for at, wait in writer.waits if at + wait > begin and at < end
    )
    if len(waits) < 2:
        return "no writes"
    return (
        f"{len(waits):,} writes, median {statistics.median(waits) * 1e3:.1f} ms, "
        f"99 % within {waits[int(len(waits) * 0.99)] * 1e3:.1f} ms, "
        f"99.9 % within {waits[int(len(waits) * 0.999)] * 1e3:.1f} ms, "
        f"longest {waits[-1] * 1e3:.1f} ms"
    )


def resident_mb(pid: int) -> float:
    """Return how much memory a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))


def show(port: int) -> tuple[float, float]:
    """Ask for a page of all keys; return when it was asked for and answered."""
    begin = time.monotonic()
    with socket.create_connection(("localhost", port)) as connection:
        connection.sendall(b"show\n")
        connection.makefile("rb").readline()
    return begin, time.monotonic()


def measure(nodes: Nodes, keys: int, connections: int) -> None:
    value = "v" * 100
    nodes.start(1 << 50)
    load(nodes.ports[nodes.leader()], keys, value)
    nodes.stop()
    size = max((nodes.folder / f"{name}.log").stat().st_size for name in nodes.ports)
    print(f"{keys:,} keys loaded, {size / 1e6:.0f} MB of log", flush=True)
    nodes.start(size + 30_000_000)
    leader = nodes.leader()
    writers = [
        Writer(nodes.ports[leader], number, "w" * 1000) for number in range(connections)
    ]
    pid = int(nodes.status(leader)["pid"])
    started = time.monotonic()
    for writer in writers:
        writer.start()
    time.sleep(3.0)
    calm = time.monotonic()
    asked, answered = show(nodes.ports[leader])
    memory = most = resident_mb(pid)
    snapshots = {name: nodes.folder / f"{name}.state_machine" for name in nodes.ports}
    beside = {name: nodes.folder / f"{name}.state_machine.tmp" for name in nodes.ports}
    while not any(path.exists() for path in beside.values()):
        time.sleep(0.01)
    taking = time.monotonic() - 0.2
    busy = os.getloadavg()[0]
    while not all(path.exists() for path in snapshots.values()):
        most = max(most, resident_mb(pid))
        time.sleep(0.01)
    while not all(nodes.status(name).get("base_index", 0) for name in nodes.ports):
        most = max(most, resident_mb(pid))
        time.sleep(0.2)
    time.sleep(1.0)
    done = time.monotonic()
    for writer in writers:
        writer.stopping = True
        writer.join()
    print(f"before:            {figures(writers, started + 1, calm)}")
    print(f"during a show:     {figures(writers, asked, answered)} ({answered - asked:.1f} s)")
    print(f"while all compact: {figures(writers, taking, done)} ({done - taking:.1f} s)")
    print(f"  leader: {memory:.0f} MB before, {most:.0f} MB at most; load average {busy:.1f}")
    for name in nodes.ports:
        facts = nodes.status(name)
        print(f"  {name}: snapshot of {facts['snapshot_bytes']:,} bytes", end="")
        print(f", log now {(nodes.folder / f'{name}.log').stat().st_size:,} bytes")


def held(keys: int) -> None:
    """Print how long freezing takes, and moving down what changed, in pieces, afterwards."""
    from raftline.logmanager import LogManager
    from raftline.raft.effects import Entry
    from raftline.storage.folder import Folder

    manager = LogManager("s1", Folder(tempfile.gettempdir()), {"s1": "localhost:1"})
    manager.pairs = {f"k{number:015}": "v" for number in range(keys)}
    for number in range(4096):
        manager.sessions.begin("client", number)
    begin = time.thread_time()
    state = manager.freeze()
    print(f"freeze: {(time.thread_time() - begin) * 1e3:.2f} ms, {keys:,} keys, 4,096 sessions")
    changes = [Entry(number, 1, f"set k{number * 7:015} w") for number in range(1, keys // 20)]
    manager.apply(changes)
    moments = [time.thread_time()]
    state.release(lambda: moments.append(time.thread_time()))
    longest = max(after - before for before, after in itertools.pairwise(moments))
    print(f"{len(changes):,} changes moved down in {len(moments)} pieces, ", end="")
    print(f"the longest {longest * 1e3:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--base-port", type=int, default=21_900)
    parser.add_argument("--nodes", type=int, default=3, help="1: what one node's pause is")
    parser.add_argument("--parent", help="where to put the nodes' folder, /dev/shm say: no disk")
    parser.add_argument("--held", action="store_true", help="for how long the lock is taken")
    arguments = parser.parse_args()
    if arguments.held:
        held(arguments.keys)
        return
    with tempfile.TemporaryDirectory(dir=arguments.parent) as folder:
        nodes = Nodes(Path(folder), arguments.base_port, arguments.nodes)
        try:
            measure(nodes, arguments.keys, arguments.connections)
        finally:
            nodes.stop()


if __name__ == "__main__":
    main()
