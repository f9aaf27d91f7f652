"""How long a node stands still while long entries are applied: long_entries.py FOLDER PORT

Three nodes hold 300,000 keys and serve 10,000 watches. Then all at once: transactions of many
operations on a value of 1 MB, an `append` to 1 MB of bytes that are all escaped, a `clear` of all
those keys, a snapshot and a backup. Every 10 ms each node is asked for `status`, which needs its
core as a heartbeat does. Printed are the longest wait for that at each node, and the terms. It
takes half a minute.

On a busy machine of two cores that was 3.7 s and an election, while the core was held for it; since
a thread of its own applies such entries, 0.15 s at the leader and at a follower, and no election.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path

from generator import Load
from growth_watch import Crowd
from raftline.clients.lines import ask
from raftline_nodes import Raftline

KEYS = 300_000
OPERATIONS = 128
PAUSE_S = 0.01
PATIENCE_S = 300


def look(port: int, waits: list[float], is_over: threading.Event) -> None:
    """Ask for the status again and again, on one connection; keep how long each one took."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        lines = connection.makefile("rb")
        while not is_over.wait(PAUSE_S):
            begun = time.monotonic()
            connection.sendall(b"status\n")
            lines.readline()
            waits.append(time.monotonic() - begun)


def work(port: int) -> None:
    """Have long entries applied, beside each other."""
    operations = " ; ".join(["get long"] * 7 + ["set a 1"] * (OPERATIONS - 7))
    asked = [f"txn {operations}", "append bytes v", "clear k", "txn append long v ; append long v"]
    threads = [
        threading.Thread(target=lambda line=line: say(port, line)) for line in [*asked, "backup"]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def say(port: int, line: str) -> None:
    begun = time.monotonic()
    reply = ask(port, line, PATIENCE_S)
    print(f"{line[:30]:30} {time.monotonic() - begun:6.2f} s  {reply[:60]}", flush=True)


def main(folder: Path, base_port: int) -> None:
    """Measure, and print."""
    with Raftline(folder, base_port, 3, ["--compact-at", "20000000"]) as nodes:
        leader = nodes.wait_until_level()
        port = nodes.port(leader)
        nodes.fill(Load("load", connections=8, in_flight=64, keys=KEYS))
        ask(port, f"set long {'x' * 1_000_000}", PATIENCE_S)
        ask(port, "set bytes " + r"\xff" * 1_000_000, PATIENCE_S)
        leader = nodes.wait_until_level()
        port = nodes.port(leader)
        crowd = Crowd(port, 10_000, 10)
        terms = [nodes.number(number, "term") for number in range(3)]
        is_over, waits = threading.Event(), [list[float]() for _ in range(3)]
        looks = [
            threading.Thread(target=look, args=(nodes.port(number), waits[number], is_over))
            for number in range(3)
        ]
        for thread in looks:
            thread.start()
        time.sleep(1)
        work(port)
        nodes.wait_until_level()
        time.sleep(1)
        is_over.set()
        for thread in looks:
            thread.join()
        crowd.close()
        for number in range(3):
            role = "leader" if number == leader else "follower"
            after = nodes.number(number, "term")
            longest = max(waits[number])
            print(f"{role:10} longest {longest:6.3f} s, term {terms[number]} -> {after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
