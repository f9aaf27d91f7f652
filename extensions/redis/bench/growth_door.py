"""Growth row of Redis's protocol: loads by RESP along with the same loads by raftline's lines, and
next to one Redis."""

from __future__ import annotations

import csv
import subprocess
import time
from collections.abc import Iterable

import redis_server
from clusters import Cluster, wait_until
from costs import cpu_s
from generator import BenchError, Load, Run
from growth_setup import Setup
from raftline_nodes import Raftline
from redis_server import Redis

# Counters first: a key that holds another value has no next number. `multi` is an increment and a
# time in one step: a `MULTI` as a whole, or a `txn`.
WHATS = ("incr", "multi", "set", "get")
LOADS = [Load(what, 64, in_flight) for what in WHATS for in_flight in (1, 100, 1000)]
KEYS = Load("load", connections=8, in_flight=16)
FEW = 10_000  # requests that warm up, and show how many fill the time
SPOKEN = {"line": "raftline, lines", "resp": "raftline, RESP"}
US = 1e6
LOOK_S, IDLE = 0.25, 0.5  # idle nodes take less processor time than this share of the time


def door(setup: Setup) -> None:
    """Sets, gets, increments and transactions at 64 connections, with 1, 100 and 1,000 in flight on
    each. First redis-benchmark at one Redis with `appendfsync always` and at three nodes. Then our
    generator at three nodes, by lines and by RESP in turn: `of a line's` compares the processor
    time that the nodes take for a request."""
    if redis_server.benchmark() is not None:
        for cluster in (Redis(setup.folder, setup.port, 1), Raftline(setup.folder, setup.port)):
            with cluster:
                for load in [load for load in LOADS if load.what != "multi"]:
                    figures = _redis_benchmark(cluster, load, setup.seconds)
                    setup.add(f"redis-benchmark, {_name(load)}", cluster, figures)
    with Raftline(setup.folder, setup.port) as nodes:
        for load in LOADS:
            if load.what == "get":
                nodes.fill(KEYS)
            found = {spoken: _measure(nodes, load, spoken, setup.seconds) for spoken in SPOKEN}
            ours, line = found["resp"], found["line"]
            ours["of a line's"] = ours["servers, µs"] / line["servers, µs"]
            for spoken, figures in found.items():
                setup.rows.add(_name(load), SPOKEN[spoken], figures)


def _name(load: Load) -> str:
    return f"{load.what}, 64" + f" x {load.in_flight} in flight" * (load.in_flight > 1)


def _measure(nodes: Raftline, load: Load, spoken: str, seconds: float) -> dict[str, float]:
    _wait_until_idle(nodes)
    port = nodes.port(nodes.wait_for_leader())
    timed = Load(load.what, load.connections, load.in_flight, seconds=seconds)
    found = Run(timed, spoken, port, nodes.pids()).result()
    return {
        "per_s": found["ops_s"],
        "p50_ms": found["p50_ms"],
        "p99_ms": found["p99_ms"],
        "servers, µs": found["servers_cpu_s"] / found["ops"] * US,
    }


def _wait_until_idle(nodes: Raftline) -> None:
    """Wait until nothing is left of the load before, whose last requests nobody waits for."""

    def idle() -> bool | None:
        before_s = _used_s(nodes.pids())
        time.sleep(LOOK_S)
        return _used_s(nodes.pids()) - before_s < IDLE * LOOK_S or None

    wait_until(idle, "the nodes did not become idle")


def _redis_benchmark(cluster: Cluster, load: Load, seconds: float) -> dict[str, float]:
    """Return the figures of redis-benchmark, whose requests have a number and not a time."""
    port = cluster.port(cluster.wait_for_leader())
    rate = told(port, load, FEW)["rps"]
    requests, before_s = int(max(FEW, rate * seconds)), _used_s(cluster.pids())
    found = told(port, load, requests)
    return {
        "per_s": found["rps"],
        "p50_ms": found["p50_latency_ms"],
        "p99_ms": found["p99_latency_ms"],
        "servers, µs": (_used_s(cluster.pids()) - before_s) / requests * US,
    }


def _used_s(pids: Iterable[int]) -> float:
    return sum(map(cpu_s, pids))


def told(port: int, load: Load, requests: int) -> dict[str, float]:
    """Return the columns that redis-benchmark prints.

    Raises:
        BenchError: it failed, or was refused something.
    """
    options = {
        **{"-p": port, "-t": load.what, "-n": requests, "-c": load.connections},
        **{"-P": load.in_flight, "-d": load.value_bytes, "-r": load.keys},
    }
    words = [str(word) for pair in options.items() for word in pair]
    done = subprocess.run(
        ["redis-benchmark", *words, "--csv"], capture_output=True, text=True, check=False
    )
    rows = list(csv.DictReader(done.stdout.splitlines()))
    if done.returncode or done.stderr or len(rows) != 1 or "rps" not in rows[0]:
        said = " ".join(f"{done.stderr} {done.stdout}".split())
        raise BenchError(f"redis-benchmark failed: {said[:200]}")
    return {name: float(value) for name, value in rows[0].items() if name != "test"}


ROWS = {"door": door}


def systems() -> list[tuple[object, str]]:
    """Return the version of each other system that the row measures, and how to install it."""
    return [(redis_server.version(), redis_server.INSTALL)]
