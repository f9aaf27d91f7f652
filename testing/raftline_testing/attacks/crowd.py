"""Connections that pipeline far ahead, next to one client that does not: `make -C testing crowd`.

A crowd of connections to the leader sends packets of 100 requests without waiting for the replies;
a bystander's connection sets and gets a key of its own, one request at a time, every 20 ms. A line
for each kind of request and size of the crowd reports the bystander's times, the replies to the
crowd, and the term, which rises when a leader is deposed. The crowd holds if no leader is lost, no
request of the bystander is refused, and its medians stay below MEDIAN_S.

Three nodes, the crowd and the bystander share the machine. The crowd runs after the nodes (nice).
`--tree` measures the nodes of another checkout. Exit codes: 0 the crowd holds, 1 it does not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import select
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..nodes.cluster import Cluster
from ..nodes.processes import DEADLINE_S, eventually

REQUESTS = {
    "set": "set {key} 1",
    "incr": "incr {key}",
    "get": "get {key}",
    "read-log": "get {key} read log",
}
KINDS = ["incr", "get", "read-log"]
TOGETHER = 100  # requests in a packet
AHEAD = 200  # unanswered requests of a connection, without `--unbounded`
PAUSE_S = 0.02  # of the bystander, between two requests
MEDIAN_S = 0.05
NICE = 10
SETTLE_S = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="of each size and request")
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 400])
    parser.add_argument(
        "--requests", nargs="+", choices=REQUESTS, default=["incr", "get", "read-log"]
    )
    parser.add_argument("--unbounded", action="store_true", help="send on whatever is unanswered")
    parser.add_argument("--each-its-key", action="store_true", help="a key for each connection")
    parser.add_argument("--tree", type=Path, help="the checkout whose nodes are measured")
    parser.add_argument("--options", default="", help='of the nodes, such as "--io threads"')
    arguments = parser.parse_args(argv)
    holds = True
    for connections, kind in itertools.product(arguments.connections, arguments.requests):
        with tempfile.TemporaryDirectory() as folder:
            cluster = Cluster(Path(folder), 3, *arguments.options.split())
            for node in cluster.nodes if arguments.tree else ():
                program = arguments.tree.resolve() / "src" / "server.py"
                node.program = [sys.executable, str(program)]
            with cluster:
                facts = run(cluster, connections, kind, arguments)
        print(json.dumps(facts), flush=True)
        holds &= bool(facts["holds"])
    return 0 if holds else 1


def run(cluster: Cluster, connections: int, kind: str, arguments: Any) -> dict[str, Any]:
    """Run one crowd against a new cluster; return the bystander's results."""
    seconds = arguments.minutes * 60
    cluster.start()
    eventually(lambda: cluster.ask("client4@set mine 0").startswith("SET"), "a cluster that serves")
    leader = cluster.leader()
    term = int(leader.status()["term"])
    alone = bystander(leader.port, SETTLE_S)
    answered = multiprocessing.Value("q", 0)
    refused = multiprocessing.Value("q", 0)
    keys = [f"k{n}" if arguments.each_its_key else "k" for n in range(connections)]
    packets = [(REQUESTS[kind].format(key=key) + "\n").encode() * TOGETHER for key in keys]
    ahead = 1 << 40 if arguments.unbounded else AHEAD
    ends = multiprocessing.Event()
    flood = multiprocessing.Process(
        target=crowd, args=(leader.port, packets, ahead, answered, refused, ends)
    )
    flood.start()
    time.sleep(SETTLE_S)
    began_s, before = time.monotonic(), answered.value
    try:
        times = bystander(leader.port, seconds)
        took_s = time.monotonic() - began_s
        per_second = (answered.value - before) / took_s
        terms = [int(node.status()["term"]) for node in cluster.nodes]
    finally:
        ends.set()
        flood.join(DEADLINE_S)
        flood.kill()
    facts: dict[str, Any] = {"requests": kind, "connections": connections, "seconds": round(took_s)}
    for verb in ("set", "get"):
        waits = sorted(times[verb])
        facts[verb] = {
            "alone_ms": ms(statistics.median(alone[verb])),
            "median_ms": ms(statistics.median(waits)),
            "p99_ms": ms(waits[len(waits) * 99 // 100]),
            "longest_ms": ms(waits[-1]),
            "count": len(waits),
        }
    facts |= {"refused": len(times["refused"]), "first_refused": (times["refused"] or [""])[0]}
    facts["term"] = [term, max(terms)]
    facts |= {"crowd_per_s": round(per_second), "crowd_refused": refused.value}
    facts["memory_mib"] = memory_mib(leader.pid)
    facts["load"] = os.getloadavg()[0]
    medians = [statistics.median(times[verb]) for verb in ("set", "get")]
    facts["holds"] = term == max(terms) and not times["refused"] and max(medians) < MEDIAN_S
    return facts


def ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def memory_mib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) >> 10
    return 0


def bystander(port: int, seconds: float) -> dict[str, Any]:
    """Set and get a key for this long; return the times and the refusals."""
    times: dict[str, Any] = {"set": [], "get": [], "refused": []}
    end_s = time.monotonic() + seconds
    with socket.create_connection(("localhost", port), DEADLINE_S) as line, line.makefile() as said:
        while time.monotonic() < end_s:
            for verb, request in (("set", "set mine 1\n"), ("get", "get mine\n")):
                began_s = time.monotonic()
                line.sendall(request.encode())
                reply = said.readline()
                times[verb].append(time.monotonic() - began_s)
                if "Sorry" in reply or not reply:
                    times["refused"].append(reply.strip())
                    if not reply:
                        return times
                time.sleep(PAUSE_S)
    return times


class Member:
    """A connection of the crowd."""

    def __init__(self, port: int, packet: bytes, ahead: int) -> None:
        self.socket = socket.create_connection(("localhost", port), DEADLINE_S)
        self.socket.setblocking(False)
        self._packet, self._ahead = packet, ahead
        self._left, self._owed = b"", 0

    def receive(self) -> tuple[int, int]:
        """Return how many replies came, and how many of them are refusals."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise OSError("the node ended this connection")
        count = data.count(b"\n")
        self._owed -= count
        return count, data.count(b"Sorry")

    def send(self) -> None:
        if not self._left and self._owed < self._ahead:
            self._left = self._packet
            self._owed += TOGETHER
        if self._left:
            self._left = self._left[self.socket.send(self._left) :]

    @property
    def events(self) -> int:
        sends = self._left or self._owed < self._ahead
        return select.POLLIN | (select.POLLOUT if sends else 0)


def crowd(
    port: int, packets: list[bytes], ahead: int, answered: Any, refused: Any, ends: Any
) -> None:
    """Send each of these packets on a connection of its own, again and again."""
    os.nice(NICE)
    members = [Member(port, packet, ahead) for packet in packets]
    by_number = {member.socket.fileno(): member for member in members}
    poll = select.poll()
    for member in members:
        poll.register(member.socket, member.events)
    while not ends.is_set():
        for number, event in poll.poll(100):
            member = by_number[number]
            try:
                if event & ~select.POLLOUT:
                    more, refusals = member.receive()
                    answered.value += more
                    refused.value += refusals
                if event & select.POLLOUT:
                    member.send()
                poll.modify(member.socket, member.events)
            except BlockingIOError:
                continue
            except OSError:
                poll.unregister(member.socket)


if __name__ == "__main__":
    sys.exit(main())
