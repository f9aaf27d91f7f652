"""How long writes wait while a snapshot is taken: `python bench/snapshot_pause.py`.

It starts three nodes (or `--nodes 1`) on localhost, loads a million keys, and keeps writing over a
few connections; meanwhile it asks for a `show`, and then every node takes a snapshot and compacts
its log. It prints the longest waits of a write before and during that, and the memory of the
leader. Nothing is asserted: these are figures of this machine, under its present load.

`--held` measures in one process, in processor time, how long a write finds the lock taken: the cost
of a snapshot for writers that get a core at any time.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

from clusters import memory_bytes
from raftline.net.line_connection import LineConnection, ask
from raftline_nodes import NEVER_COMPACT, Raftline

BATCH = 500


def load(port: int, keys: int, value: str) -> None:
    """Set this number of keys, some hundred at a time."""
    with LineConnection(port) as connection:
        for first in range(0, keys, BATCH):
            numbers = range(first, min(first + BATCH, keys))
            connection.send(*(f"set k{n:015} {value}" for n in numbers))
            for _ in numbers:
                _expect_done(connection.read())


def _expect_done(reply: bytes) -> None:
    if b"SET response" not in reply:
        raise SystemExit(f"a write was refused: {reply!r}")


class Writer(threading.Thread):
    """A client that writes one value after the other and records the start and duration of each."""

    def __init__(self, port: int, number: int, value: str) -> None:
        super().__init__(daemon=True)
        self.connection = LineConnection(port)
        self.number = number
        self.value = value
        self.waits: list[tuple[float, float]] = []
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            begin = time.monotonic()
            self.connection.send(f"set w{self.number} {self.value}")
            _expect_done(self.connection.read())
            self.waits.append((begin, time.monotonic() - begin))


def figures(writers: list[Writer], begin: float, end: float) -> str:
    """Return the longest waits of the writes in progress between two moments."""
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


def show(port: int) -> tuple[float, float]:
    """Request a page of all keys; return the times of request and answer."""
    begin = time.monotonic()
    ask(port, "show")
    return begin, time.monotonic()


def measure(nodes: Raftline, keys: int, connections: int) -> None:
    numbers = range(nodes.count)
    load(nodes.port(nodes.wait_for_leader()), keys, "v" * 100)
    for number in numbers:
        nodes.end(number)
    logs = [nodes.folder / f"s{number + 1}.log" for number in numbers]
    size = max(log.stat().st_size for log in logs)
    print(f"{keys:,} keys loaded, {size / 1e6:.0f} MB of log", flush=True)
    nodes.options = ["--compact-at", str(size + 30_000_000)]
    for number in numbers:
        nodes.start(number)
    leader = nodes.wait_for_leader()
    writers = [Writer(nodes.port(leader), number, "w" * 1000) for number in range(connections)]
    pid = nodes.processes[leader].pid
    started = time.monotonic()
    for writer in writers:
        writer.start()
    time.sleep(3.0)
    calm = time.monotonic()
    asked_s, answered = show(nodes.port(leader))
    memory = most = memory_bytes(pid)
    while not any(log.with_suffix(".state_machine.tmp").exists() for log in logs):
        time.sleep(0.01)
    taking = time.monotonic() - 0.2
    busy = os.getloadavg()[0]
    while not all(log.with_suffix(".state_machine").exists() for log in logs):
        most = max(most, memory_bytes(pid))
        time.sleep(0.01)
    while not all(nodes.number(number, "base_index") > 0 for number in numbers):
        most = max(most, memory_bytes(pid))
        time.sleep(0.2)
    time.sleep(1.0)
    end_s = time.monotonic()
    for writer in writers:
        writer.stopping = True
        writer.join()
    print(f"before:            {figures(writers, started + 1, calm)}")
    print(f"during a show:     {figures(writers, asked_s, answered)} ({answered - asked_s:.1f} s)")
    print(f"while all compact: {figures(writers, taking, end_s)} ({end_s - taking:.1f} s)")
    most_of = f"{memory / 1e6:.0f} MB before, {most / 1e6:.0f} MB at most"
    print(f"  leader: {most_of}; load average {busy:.1f}")
    for number, log in enumerate(logs):
        snapshot = nodes.number(number, "snapshot_bytes")
        print(f"  s{number + 1}: snapshot of {snapshot:,} bytes", end="")
        print(f", log now {log.stat().st_size:,} bytes")


def held(keys: int) -> None:
    """Print how long freezing takes, and then moving down the changes in pieces."""
    from raftline.logmanager import LogManager
    from raftline.raft.log import Entry
    from raftline.storage.folder import Folder

    manager = LogManager("s1", Folder(tempfile.gettempdir()), {"s1": "localhost:1"})
    manager.store.held = {f"k{number:015}": "v" for number in range(keys)}
    for number in range(4096):
        manager.state.sessions.begin("client", number)
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
    parser.add_argument("--nodes", type=int, default=3, help="1: measure the pause of one node")
    parser.add_argument("--parent", help="where to put the nodes' folder, /dev/shm say: no disk")
    parser.add_argument("--held", action="store_true", help="for how long the lock is taken")
    arguments = parser.parse_args()
    if arguments.held:
        held(arguments.keys)
        return
    parent = Path(arguments.parent or tempfile.gettempdir())
    with Raftline(parent, arguments.base_port, arguments.nodes, NEVER_COMPACT) as nodes:
        measure(nodes, arguments.keys, arguments.connections)


if __name__ == "__main__":
    main()
