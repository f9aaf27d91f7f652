"""How long a node stalls while long entries are applied.

Three nodes hold 300,000 keys and serve 10,000 watches. Then it runs the following all at once,
again and again until each node has taken a snapshot meanwhile: transactions of 128 operations on a
value of 1 MB, an `append` to 1 MB of bytes that are all escaped, sets of 1 MB, and backups; and
once a `clear` of all those keys. Every 10 ms each node is asked for `status`, which needs its core
as a heartbeat and a vote do. It prints the longest wait for that at each node, next to the
heartbeats and the shortest election timeout, and the terms.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

from clusters import wait_until
from generator import Load
from growth_watch import Crowd
from raftline.common.config import FAST
from raftline.net.line_connection import ask
from raftline.wire.replies.refusals import code_of
from raftline_nodes import Raftline

PROCESSES = multiprocessing.get_context("fork")
KEYS = 300_000
GETS, COMPARISONS = 3, 125  # of a transaction; with more gets, no reply would be kept
MEGABYTE = 1_000_000
PAUSE_S = 0.01
PATIENCE_S = 120


def look(port: int, longest: Synchronized[float], is_over: Event) -> None:
    """Ask for the status again and again, on one connection; keep the longest wait, in seconds."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        lines = connection.makefile("rb")
        while not is_over.wait(PAUSE_S):
            began_s = time.monotonic()
            connection.sendall(b"status\n")
            lines.readline()
            longest.value = max(longest.value, time.monotonic() - began_s)


class Asking:
    """Requests one after the other, to the present leader."""

    def __init__(self, nodes: Raftline, leader: int) -> None:
        self._nodes = nodes
        self._asked = leader

    def is_done(self, line: str) -> bool:
        """Send the request; return whether it was done. If not, find the present leader."""
        nodes = self._nodes
        with contextlib.suppress(OSError):
            reply = ask(nodes.port(self._asked), line, PATIENCE_S).partition("@")[2]
            if reply and not code_of(reply):
                return True
        roles = {number: nodes.status(number).get("role") for number in nodes.processes}
        self._asked = next((one for one in roles if roles[one] == "leader"), self._asked)
        return False


def work(nodes: Raftline, leader: int) -> Counter[str]:
    """Apply long entries until each node has taken a snapshot; return the counts."""
    before = _snapshots(nodes)
    done, is_over = Counter[str](), threading.Event()
    operations = " ; ".join(["get long"] * GETS + ["cas long v w"] * COMPARISONS)
    lines = (f"txn {operations}", "append bytes v", f"set more {'x' * MEGABYTE}", "backup")

    def again(line: str) -> None:
        asking = Asking(nodes, leader)
        while not is_over.is_set():
            is_done = asking.is_done(line)
            done[f"{line[:8]} {'done' if is_done else 'refused'}"] += 1
            is_over.wait(0 if is_done else PAUSE_S)

    threads = [threading.Thread(target=again, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    clearing = Asking(nodes, leader)
    try:
        _wait(lambda: any(map(int.__lt__, before, _snapshots(nodes))), "no node took a snapshot")
        _wait(lambda: clearing.is_done("clear k"), "the keys were not cleared")
        _wait(lambda: all(map(int.__lt__, before, _snapshots(nodes))), "a node took none")
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    return done


def _wait(is_so: Callable[[], bool], trouble: str) -> None:
    wait_until(lambda: is_so() or None, trouble, PATIENCE_S)


def _snapshots(nodes: Raftline) -> list[int]:
    return [nodes.number(number, "snapshot_index") for number in range(3)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dir", type=Path, default=Path(tempfile.gettempdir()), help="where the nodes' files go"
    )
    parser.add_argument("--base-port", type=int, default=21_950)
    arguments = parser.parse_args()
    measure(arguments.dir, arguments.base_port)


def measure(folder: Path, base_port: int) -> None:
    """Measure, and print."""
    # Room for this many watches, and an early snapshot.
    options = ["--compact-at", "20000000", "--memory", "1000000000"]
    with Raftline(folder, base_port, 3, options) as nodes:
        leader = nodes.wait_until_level()
        port = nodes.port(leader)
        nodes.fill(Load("load", connections=8, in_flight=64, keys=KEYS))
        ask(port, f"set long {'x' * MEGABYTE}", PATIENCE_S)
        ask(port, "set bytes " + r"\xff" * MEGABYTE, PATIENCE_S)
        leader = nodes.wait_until_level()
        port = nodes.port(leader)
        crowd = Crowd(port, 10_000, 10)
        terms = [nodes.number(number, "term") for number in range(3)]
        # In separate processes: here they would wait for the asking threads.
        is_over, waits = PROCESSES.Event(), [PROCESSES.Value("d", 0.0) for _ in range(3)]
        looks = [
            PROCESSES.Process(target=look, args=(nodes.port(number), waits[number], is_over))
            for number in range(3)
        ]
        for process in looks:
            process.start()
        time.sleep(1)
        counts = work(nodes, leader)
        nodes.wait_until_level()
        time.sleep(1)
        is_over.set()
        for process in looks:
            process.join()
        crowd.close()
        print(*(f"{what}: {count}" for what, count in counts.items()), sep=", ")
        print(f"heartbeats each {FAST.heartbeat_ms} ms, elections after {FAST.election_timeout_ms}")
        for number in range(3):
            role = "leader" if number == leader else "follower"
            after = nodes.number(number, "term")
            longest = waits[number].value
            print(f"{role:10} longest {longest:6.3f} s, term {terms[number]} -> {after}")


if __name__ == "__main__":
    main()
