"""Growth rows of watches: what they cost a set, and how late an event comes at a follower."""

from __future__ import annotations

import base64
import http.client
import json
import resource
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator

from clusters import Cluster, memory_bytes
from etcd_nodes import Etcd
from generator import BenchError, Load
from growth_setup import Setup
from raftline.wire.replies.refusals import code_of
from raftline_nodes import Raftline

CROWDS = ((100, 10), (10_000, 10), (10_000, 10_000))
AT_ONCE = 200  # connections that begin to watch together
ROOM = ("--max-connections", "10200", "--pace", "class")
PAUSE_S = 0.01  # between two writes with timed events
PREFIX = "late/"

Tell = Callable[[str], None]


class Crowd:
    """Watches of unused prefixes, on some connections of one node."""

    def __init__(self, port: int, watches: int, connections: int) -> None:
        self.sockets: list[socket.socket] = []
        each = watches // connections
        for first in range(0, connections, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, connections))
            for number in numbers:
                connection = socket.create_connection(("127.0.0.1", port), timeout=30)
                begin = number * each
                lines = (f"w#{n}@watch crowd{begin + n}/\n" for n in range(each))
                connection.sendall("".join(lines).encode())
                self.sockets.append(connection)
            for number in numbers:
                said = b""
                while said.count(b"\n") < each:
                    said += self.sockets[number].recv(1 << 16)
                for line in said.decode().splitlines():
                    if code_of(line.partition("@")[2]):
                        raise BenchError(f"no watch: {line[:200]}")

    def close(self) -> None:
        for connection in self.sockets:
            connection.close()


def watch(setup: Setup) -> None:
    """Measure sets of one connection and of 64, with many watches of other prefixes on many
    connections of the leader; then the time from a write's acknowledgement to its event at a
    watch of a follower, one write at a time, compared with etcd's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    with Raftline(setup.folder, setup.port, options=ROOM) as nodes:
        nodes.wait_until_begun()
        _costs(setup, nodes, "none")
        for watches, connections in CROWDS:
            if connections + 1000 > min(hard, 20_000):
                continue
            leader = nodes.wait_for_leader()
            before = memory_bytes(nodes.processes[leader].pid)
            crowd = Crowd(nodes.port(leader), watches, connections)
            each = (memory_bytes(nodes.processes[leader].pid) - before) / 1024 / watches
            name = f"{watches:,} on {connections:,}"
            setup.add(f"each; watches: {name}", nodes, {"KiB each": each})
            try:
                _costs(setup, nodes, name)
            finally:
                crowd.close()
    with Raftline(setup.folder, setup.port) as nodes:
        nodes.wait_until_begun()
        setup.add("event at a follower", nodes, _raftline_latency(nodes, setup.seconds))
    if setup.etcd:
        with Etcd(setup.folder, setup.port) as members:
            setup.add("event at a follower", members, _etcd_latency(members, setup.seconds))


def _costs(setup: Setup, nodes: Raftline, name: str) -> None:
    leader = nodes.processes[nodes.wait_for_leader()]
    for connections in (1, 64):
        figures = nodes.measure(Load(connections=connections, seconds=setup.seconds))
        figures["leader MiB"] = memory_bytes(leader.pid) / 2**20
        setup.add(f"set, {connections}; watches: {name}", nodes, figures)


# --- the latency of events ----------------------------------------------------------------------


def _raftline_latency(nodes: Raftline, seconds: float) -> dict[str, float]:
    leader = nodes.wait_for_leader()
    follower = next(number for number in nodes.processes if number != leader)
    with (
        socket.create_connection(("127.0.0.1", nodes.port(follower))) as watching,
        socket.create_connection(("127.0.0.1", nodes.port(leader))) as writing,
    ):
        events, replies = watching.makefile("r"), writing.makefile("r")
        watching.sendall(f"watch {PREFIX}\n".encode())
        if "WATCH response: 0 keys" not in (said := events.readline()):
            raise BenchError(f"no watch: {said}")

        def values() -> Iterator[str]:
            for line in events:
                if " set " in line:
                    yield line.split()[-1]

        def write(value: str) -> None:
            writing.sendall(f"set {PREFIX}k {value}\n".encode())
            replies.readline()

        return _latency(values(), write, seconds)


def _etcd_latency(members: Cluster, seconds: float) -> dict[str, float]:
    leader = members.wait_for_leader()
    follower = next(number for number in members.processes if number != leader)
    watching = http.client.HTTPConnection("127.0.0.1", members.port(follower), timeout=30)
    writing = http.client.HTTPConnection("127.0.0.1", members.port(leader), timeout=30)
    create = {"create_request": {"key": _b64(PREFIX), "range_end": _b64(PREFIX[:-1] + "0")}}
    watching.request("POST", "/v3/watch", json.dumps(create))
    stream = watching.getresponse()
    stream.readline()  # created

    def values() -> Iterator[str]:
        while line := stream.readline():
            for event in json.loads(line)["result"].get("events", []):
                yield base64.b64decode(event["kv"]["value"]).decode()

    def write(value: str) -> None:
        put = {"key": _b64(f"{PREFIX}k"), "value": _b64(value)}
        writing.request("POST", "/v3/kv/put", json.dumps(put))
        writing.getresponse().read()

    return _latency(values(), write, seconds)


def _latency(values: Iterator[str], write: Tell, seconds: float) -> dict[str, float]:
    """Write one value after the other; return the times between the answer and its event. An event
    before the answer counts with a negative time."""
    came: dict[str, float] = {}
    acknowledged: dict[str, float] = {}
    has_come = threading.Condition()

    def listen() -> None:
        for value in values:
            with has_come:
                came[value] = time.perf_counter()
                has_come.notify()

    threading.Thread(target=listen, daemon=True).start()
    begun_s, count = time.monotonic(), 0
    while time.monotonic() - begun_s < seconds:
        count += 1
        write(value := str(count))
        acknowledged[value] = time.perf_counter()
        with has_come:
            if not has_come.wait_for(lambda: value in came, timeout=10):
                raise BenchError("an event did not come within 10 s")
        time.sleep(PAUSE_S)
    late_ms = sorted((came[value] - at) * 1000 for value, at in acknowledged.items())
    return {
        "events": count,
        "event p50 ms": statistics.median(late_ms),
        "event p99 ms": late_ms[len(late_ms) * 99 // 100],
    }


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
