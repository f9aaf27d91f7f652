"""Growth row of what Redis clients send besides gets and sets: times, transactions, messages,
scripts and types."""

from __future__ import annotations

from collections.abc import Iterator

import redis_server
from clusters import Cluster
from costs import cpu_s
from growth_setup import Setup
from pipelines import Requests, filling, resp, send
from raftline_nodes import Raftline
from redis_server import Redis

CONNECTIONS = 16
IN_FLIGHT = (1, 100)
PACE = ("--pace", "class")  # no election if a busy machine delays a heartbeat
WARM_UP_S = 0.5
US = 1e6
KEYS = 10_000
VALUE = "v" * 100
ELEMENTS = (10, 10_000)
VALUES = 8  # of each type and size
TOGETHER = 200  # elements of one command that fills
SCRIPT = (
    "local count = redis.call('incr', KEYS[1]) if count == 1 then"
    " redis.call('expire', KEYS[1], ARGV[1]) end return count"
)


def _key(number: int) -> str:
    return f"k{number * 7919 % KEYS:015}"


def _txn(number: int) -> bytes:
    return f"txn incr n{_key(number)} 1 ; expire n{_key(number)} 60\n".encode()


def _multi(number: int) -> bytes:
    key = f"n{_key(number)}"
    return resp("MULTI") + resp("INCR", key) + resp("EXPIRE", key, "60") + resp("EXEC")


# Of each: the line that does the same, if there is one, and what a Redis client sends.
COMMANDS: dict[str, tuple[Requests | None, Requests]] = {
    "get": (
        Requests(lambda number: f"get {_key(number)}\n".encode()),
        Requests(lambda number: resp("GET", _key(number)), lines=2),
    ),
    "set": (
        Requests(lambda number: f"set {_key(number)} {VALUE}\n".encode()),
        Requests(lambda number: resp("SET", _key(number), VALUE)),
    ),
    "set with a time": (
        Requests(lambda number: f"setex t{_key(number)} 60 {VALUE}\n".encode()),
        Requests(lambda number: resp("SET", f"t{_key(number)}", VALUE, "EX", "60")),
    ),
    "incr": (
        Requests(lambda number: f"incr c{_key(number)} 1\n".encode()),
        Requests(lambda number: resp("INCR", f"c{_key(number)}")),
    ),
    "multi incr expire": (Requests(_txn), Requests(_multi, lines=6)),
    "publish": (None, Requests(lambda number: resp("PUBLISH", _key(number), VALUE))),
    "script": (None, Requests(lambda number: resp("EVAL", SCRIPT, "1", f"s{_key(number)}", "60"))),
}


def of_types(elements: int) -> dict[str, Requests]:
    """Return the commands on values of this many elements, which keep their number."""

    def key(letter: str, number: int) -> str:
        return f"{letter}{elements}-{number % VALUES}"

    def element(number: int) -> str:
        return f"e{number // VALUES * 7919 % elements:06}"

    return {
        "hset": Requests(lambda n: resp("HSET", key("h", n), element(n), f"{n:012}")),
        "lmove": Requests(
            lambda n: resp("LMOVE", key("l", n), key("l", n), "RIGHT", "LEFT"), lines=2
        ),
        "sadd": Requests(lambda n: resp("SADD", key("s", n), element(n))),
        "zadd": Requests(lambda n: resp("ZADD", key("z", n), str(n), element(n))),
    }


def _fill(port: int) -> None:
    for number in range(0, KEYS, TOGETHER):
        pairs = [word for n in range(number, number + TOGETHER) for word in (_key(n), VALUE)]
        _send_one(port, resp("MSET", *pairs))
    for elements in ELEMENTS:
        for number in range(VALUES):
            for command in _filled(elements, number):
                _send_one(port, command)


def _filled(elements: int, number: int) -> Iterator[bytes]:
    names = [f"e{element:06}" for element in range(elements)]
    at = f"{elements}-{number}"
    fields = [word for name in names for word in (name, f"{0:012}")]
    members = [word for name in names for word in ("0", name)]
    yield from filling("HSET", f"h{at}", fields, 2 * TOGETHER)
    yield from filling("RPUSH", f"l{at}", names, TOGETHER)
    yield from filling("SADD", f"s{at}", names, TOGETHER)
    yield from filling("ZADD", f"z{at}", members, 2 * TOGETHER)


def _send_one(port: int, command: bytes) -> None:
    send(port, Requests(lambda number: command), connections=1, in_flight=1)


def commands(setup: Setup) -> None:
    """Commands of Redis clients at 16 connections, with 1 and 100 in flight on each, from a
    client in Python: so only the processor time of the servers counts. At three nodes by lines,
    where there is such a line, and by RESP, then at one Redis with `appendfsync always`. `of an
    incr's` compares it with an `INCR` by RESP in the same pipeline."""
    clusters: list[Cluster] = [Raftline(setup.folder, setup.port, options=PACE)]
    if redis_server.version() is not None:
        clusters.append(Redis(setup.folder, setup.port, 1))
    for cluster in clusters:
        with cluster:
            _fill(cluster.port(cluster.wait_for_leader()))
            for in_flight in IN_FLIGHT:
                _measure_all(setup, cluster, in_flight)


def _measure_all(setup: Setup, cluster: Cluster, in_flight: int) -> None:
    by_name = dict(COMMANDS)
    for elements in ELEMENTS[: None if in_flight == 1 else 1]:  # many long entries take minutes
        for name, requests in of_types(elements).items():
            by_name[f"{name}, {elements:,} elements"] = (None, requests)
    incr = _cost(setup, cluster, COMMANDS["incr"][1], in_flight)
    many = f" x {in_flight} in flight" * (in_flight > 1)
    for name, (line, command) in by_name.items():
        figures, row, speaks = dict[str, float](), f"{name}{many}", cluster.name
        cost = _cost(setup, cluster, command, in_flight)
        if line is not None and cluster.name == Raftline.name:
            of_line = _cost(setup, cluster, line, in_flight)
            setup.rows.add(row, f"{speaks}, lines", {"servers, µs": of_line})
            figures["of a line's"] = cost / of_line
        figures["of an incr's"] = cost / incr
        system = f"{speaks}, RESP" if cluster.name == Raftline.name else speaks
        setup.rows.add(row, system, {"servers, µs": cost, **figures})


def _cost(setup: Setup, cluster: Cluster, requests: Requests, in_flight: int) -> float:
    """Return the processor time that the servers take for a request, in microseconds."""
    port = cluster.port(cluster.wait_for_leader())
    send(port, requests, CONNECTIONS, in_flight, WARM_UP_S)
    before_s = sum(map(cpu_s, cluster.pids()))
    count = send(port, requests, CONNECTIONS, in_flight, setup.seconds)
    return (sum(map(cpu_s, cluster.pids())) - before_s) / count * US


ROWS = {"commands": commands}


def systems() -> list[tuple[object, str]]:
    """Return the version of each other system that the row measures, and how to install it."""
    return [(redis_server.version(), redis_server.INSTALL)]
