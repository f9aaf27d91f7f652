"""Growth row of leases: sets while many leases are renewed, and the end of many at once."""

from __future__ import annotations

import json
import signal
import socket
import statistics
import threading
import time
from collections.abc import Callable

from clusters import memory_bytes, wait_until
from costs import Costs, cpu_s
from generator import BenchError, Load
from growth_setup import Setup
from raftline.net.line_connection import ask
from raftline_nodes import Raftline

LEASES = 10_000
SECONDS = 10
CONNECTIONS = 8  # of the holders: each serves many
TURN_S = 0.02
GRANTED_AT_ONCE = 500
LONG_S = 3600
MANY_S = 90  # of the leases that all end at once
IDLE_S = 5
PATIENCE_S = 300
CHECK_S = 0.1  # between two checks: listing leases takes the leader's time, in which no lease ends
# keeps the leader on a busy machine, too: a new leader would restart its leases
STEADY = ("--pace", "class")


class Renewer:
    """A thread that renews each of many leases every third of its time."""

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
                names = [self._leases[n % len(self._leases)] for n in range(sent, due)]
                self._renew(turn % CONNECTIONS, names)
                sent, turn = due, turn + 1

    def _renew(self, place: int, leases: list[str]) -> None:
        """Request all of these at once on one connection; each wait ends with its own answer."""
        asked_s = time.monotonic()
        self._sockets[place].sendall("".join(f"renew {each}\n" for each in leases).encode())
        for _ in leases:
            self.lost += b"RENEW response: " not in self._files[place].readline()
            self.waits_ms.append((time.monotonic() - asked_s) * 1000)


def granted(port: int, count: int, seconds: int, request: str = "lease {seconds}") -> list[str]:
    """Grant `count` leases; return the third word of each reply: the name of the lease."""
    names: list[str] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        file = connection.makefile("rb")
        for first in range(0, count, GRANTED_AT_ONCE):
            numbers = range(first, first + GRANTED_AT_ONCE)
            lines = [request.format(seconds=seconds, number=number) + "\n" for number in numbers]
            connection.sendall("".join(lines).encode())
            names += [file.readline().decode().split()[2] for _ in range(GRANTED_AT_ONCE)]
    return names


def leases(setup: Setup) -> None:
    """Sets of 64 connections: alone, with 10,000 leases of 10 s, and while each of these is
    renewed every third of its time; then the time until all of them have ended."""
    with Raftline(setup.folder, setup.port) as nodes:
        port = nodes.port(nodes.wait_until_begun())
        load = Load(seconds=setup.seconds)
        setup.add("64, alone", nodes, nodes.measure(load))
        names = granted(port, LEASES, SECONDS)
        with Renewer(port, names) as renewer:
            figures = nodes.measure(load)
            waits = sorted(renewer.waits_ms)
        if renewer.lost:
            raise BenchError(f"{renewer.lost} renewals of {len(waits)} were refused")
        figures |= {
            "renewals/s": len(waits) / (setup.seconds + load.warm_up),
            "renewal p50 ms": statistics.median(waits),
            "renewal p99 ms": waits[len(waits) * 99 // 100],
        }
        setup.add(f"64, {LEASES:,} leases renewed", nodes, figures)
        granted(port, LEASES, 1)
        begun_s = time.monotonic()
        while '"leases_in_all": 0' not in ask(port, "leases", 30)[-30:]:
            time.sleep(0.05)
        setup.add(f"the end of {2 * LEASES:,}", nodes, {"seconds": time.monotonic() - begun_s})


def many_leases(setup: Setup) -> None:
    """100,000 keys with a lease each: memory of one, sets with them, processor time at rest, the
    start of a node, and the end of all leases at once."""
    count = max(GRANTED_AT_ONCE, setup.entries // 10)
    with Raftline(setup.folder, setup.port, options=STEADY) as nodes:
        leader = nodes.wait_until_begun()
        load, port = Load(seconds=setup.seconds), nodes.port(leader)
        setup.add("set, 64, alone", nodes, nodes.measure(load))
        setup.add("at rest, alone", nodes, {"leader, CPU s/s": _at_rest(nodes, leader)})
        before = memory_bytes(nodes.processes[leader].pid)
        with Costs(nodes) as costs:
            granted(port, count, LONG_S, "setex lock-{number:08} {seconds} holder")
        size = (memory_bytes(nodes.processes[leader].pid) - before) / count
        setup.add(f"setex, {count:,}", nodes, costs.figures() | {"bytes each": size})
        setup.add("set, 64, beside them", nodes, nodes.measure(load))
        setup.add("at rest, beside them", nodes, {"leader, CPU s/s": _at_rest(nodes, leader)})
        follower = (leader + 1) % nodes.count
        nodes.end(follower)
        with Costs(nodes) as costs:
            nodes.start(follower)
            nodes.wait_until_level(PATIENCE_S)
        setup.add("a follower starts", nodes, costs.figures())
        granted(port, count, MANY_S, "setex lock-{number:08} {seconds} holder")
        _end_at_once(setup, nodes, leader)


def _end_at_once(setup: Setup, nodes: Raftline, leader: int) -> None:
    """A new leader gives each lease its whole time again, so all end at one moment."""
    nodes.end(leader, signal.SIGKILL)
    nodes.start(leader)
    leader = nodes.wait_until_level(PATIENCE_S)
    if (left := _leases(nodes.port(leader))) < 1:
        raise BenchError("the leases had ended before their leader did")
    term = nodes.number(leader, "term")

    whole = (time.monotonic(), 0.0)  # and processor time, at the last look at all leases

    def seen(is_so: Callable[[int], bool]) -> Callable[[], bool | None]:
        def look() -> bool | None:
            nonlocal whole
            time.sleep(CHECK_S)
            now = time.monotonic(), cpu_s(nodes.processes[leader].pid)
            count = _leases(nodes.port(nodes.wait_for_leader()))
            whole = now if count == left else whole
            return is_so(count) or None

        return look

    run = nodes.begin(Load(connections=1, seconds=PATIENCE_S, warm_up=0))
    wait_until(seen(lambda count: 0 <= count < left), "no lease ended", 3 * MANY_S)
    try:
        wait_until(seen(lambda count: count == 0), "leases are left", PATIENCE_S)
    except BenchError as error:
        count, terms = _leases(nodes.port(leader)), nodes.number(leader, "term") - term
        raise BenchError(f"{error}: {count} of {left}, in {terms} new terms") from None
    figures = {
        "s": time.monotonic() - whole[0],
        "leader, CPU s": cpu_s(nodes.processes[leader].pid) - whole[1],
        "set p99 ms": run.finish()["p99_ms"],
        "new terms": nodes.number(leader, "term") - term,
    }
    setup.add(f"the end of {left:,}", nodes, figures)


def _leases(port: int) -> int:
    """Return the number of leases; -1 if this node no longer leads."""
    listing = ask(port, "leases", 30).partition("LEASES response: ")[2]
    return int(json.loads(listing)["leases_in_all"]) if listing else -1


def _at_rest(nodes: Raftline, leader: int) -> float:
    pid = nodes.processes[leader].pid
    time.sleep(1)
    before_s = cpu_s(pid)
    time.sleep(IDLE_S)
    return (cpu_s(pid) - before_s) / IDLE_S
