"""Growth row of leases: sets while many leases are renewed, and the end of many at once."""

from __future__ import annotations

import socket
import statistics
import threading
import time

from generator import BenchError, Load
from growth_setup import Setup
from raftline.clients.lines import ask
from raftline_nodes import Raftline

LEASES = 10_000
SECONDS = 10
CONNECTIONS = 8  # of the holders: each speaks for many
TURN_S = 0.02
GRANTED_AT_ONCE = 500
LEVEL = 2


class Renewer:
    """Renews many leases every third of their time, spread over it, from a thread of its own."""

    def __init__(self, port: int, leases: list[str]) -> None:
        self.waits_ms: list[float] = []
        self.lost = 0
        self._leases = leases
        self._sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        self._files = [each.makefile("rb") for each in self._sockets]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Renewer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for each in self._sockets:
            each.close()

    def _run(self) -> None:
        begun_s, sent = time.monotonic(), 0
        rate = len(self._leases) * 3 / SECONDS
        turn = 0
        while not self._stop.wait(TURN_S):
            due = int((time.monotonic() - begun_s) * rate)
            if due > sent:
                asked = [self._leases[n % len(self._leases)] for n in range(sent, due)]
                self._renew(turn % CONNECTIONS, asked)
                sent, turn = due, turn + 1

    def _renew(self, place: int, leases: list[str]) -> None:
        """Ask for all of these at once on one connection; each wait is until its own answer."""
        asked_s = time.monotonic()
        self._sockets[place].sendall("".join(f"renew {each}\n" for each in leases).encode())
        for _ in leases:
            self.lost += b"RENEW response: " not in self._files[place].readline()
            self.waits_ms.append((time.monotonic() - asked_s) * 1000)


def granted(port: int, count: int, seconds: int) -> list[str]:
    """Return the names of so many new leases."""
    names: list[str] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        file = connection.makefile("rb")
        for _ in range(0, count, GRANTED_AT_ONCE):
            connection.sendall(f"lease {seconds}\n".encode() * GRANTED_AT_ONCE)
            names += [file.readline().decode().split()[2] for _ in range(GRANTED_AT_ONCE)]
    return names


def leases(setup: Setup) -> None:
    """Sets of 64 connections alone, beside 10,000 leases of 10 s, and while each of these is
    renewed every third of its time; then how long it takes until all of them have ended."""
    with Raftline(setup.folder, setup.port) as nodes:
        leader = nodes.wait_for_leader()
        port = nodes.port(leader)
        end_s = time.monotonic() + 30
        while nodes.number(leader, "level") < LEVEL:
            if time.monotonic() > end_s:
                raise BenchError(f"the cluster did not rise to level {LEVEL}")
            time.sleep(0.1)
        load = Load(seconds=setup.seconds)
        setup.add("64, alone", nodes, nodes.measure(load))
        names = granted(port, LEASES, SECONDS)
        with Renewer(port, names) as renewer:
            found = nodes.measure(load)
            waits = sorted(renewer.waits_ms)
        if renewer.lost:
            raise BenchError(f"{renewer.lost} renewals of {len(waits)} were refused")
        found |= {
            "renewals/s": len(waits) / (setup.seconds + load.warm_up),
            "renewal p50 ms": statistics.median(waits),
            "renewal p99 ms": waits[len(waits) * 99 // 100],
        }
        setup.add(f"64, {LEASES:,} leases renewed", nodes, found)
        granted(port, LEASES, 1)
        begun_s = time.monotonic()
        while '"leases_in_all": 0' not in ask(port, "leases", 30)[-30:]:
            time.sleep(0.05)
        setup.add(f"the end of {2 * LEASES:,}", nodes, {"seconds": time.monotonic() - begun_s})
