"""The cost of an event in a cluster: seconds, processor time, and how long a node's core was
busy."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

from raftline_nodes import Raftline

PAUSE_S = 0.02
PATIENCE_S = 120
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the processor time of a process so far, in seconds."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / _TICKS


class CoreWaits:
    """A prober that asks each node for `status` every 20 ms. That needs its core, as a heartbeat
    and a vote do, so its longest wait is the longest wait for those, too. A node that has ended is
    no longer asked."""

    def __init__(self, nodes: Raftline) -> None:
        self.longest_s = dict.fromkeys(nodes.processes, 0.0)
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._check, args=(number, nodes.port(number)))
            for number in nodes.processes
        ]

    def __enter__(self) -> CoreWaits:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _check(self, number: int, port: int) -> None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
                lines = connection.makefile("rb")
                while not self._is_over.wait(PAUSE_S):
                    begun_s = time.monotonic()
                    connection.sendall(b"status\n")
                    if not lines.readline():
                        return
                    wait_s = time.monotonic() - begun_s
                    self.longest_s[number] = max(self.longest_s[number], wait_s)
        except OSError:
            return


class Costs:
    """The seconds, the processor time and the longest wait for a core, while the context is
    active."""

    def __init__(self, nodes: Raftline) -> None:
        self._nodes = nodes
        self._leader = nodes.wait_for_leader()
        self._waits = CoreWaits(nodes)

    def __enter__(self) -> Costs:
        self._before_s = self._used()
        self._begun_s = time.monotonic()
        self._waits.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._seconds = time.monotonic() - self._begun_s
        self._waits.__exit__(*error)

    def _used(self) -> dict[int, float]:
        processes = self._nodes.processes.items()
        return {
            number: cpu_s(each.pid) for number, each in processes if each.running.poll() is None
        }

    def figures(self) -> dict[str, float]:
        """Return the costs, with the busiest one of the followers. A node that was started
        meanwhile counts from its start."""
        before_s, used = self._before_s, self._used()
        for number, cpu in used.items():
            used[number] -= before_s.get(number, 0.0) if before_s.get(number, 0.0) <= cpu else 0.0
        others = [cpu for number, cpu in used.items() if number != self._leader]
        return {
            "s": self._seconds,
            "leader, CPU s": used[self._leader],
            "follower, CPU s": max(others, default=0.0),
            "longest wait ms": 1000 * max(self._waits.longest_s.values()),
        }
