"""Growth row of many connections that begin at once, and whether the leader survives them."""

from __future__ import annotations

from pathlib import Path

from generator import Load
from growth_setup import Setup
from raftline_nodes import Raftline
from raftline_wheel import RaftlineWheel

CONNECTIONS = 1_024
BURSTS = 3  # for one cluster, one after the other


def burst(setup: Setup) -> None:
    """1,024 connections that begin at once: with one set each, and with sets for some seconds."""
    loads = {
        "one set each": Load(connections=CONNECTIONS, requests=CONNECTIONS, burst=True),
        "sets go on": Load(connections=CONNECTIONS, seconds=setup.seconds, warm_up=0, burst=True),
    }
    systems = [Raftline, *([RaftlineWheel] if setup.wheel else [])]
    for name, load in loads.items():
        for system in systems:
            with system(setup.folder, setup.port) as nodes:
                for _ in range(BURSTS):
                    setup.add(f"{CONNECTIONS:,} at once, {name}", nodes, _one(nodes, load))


def _one(nodes: Raftline, load: Load) -> dict[str, float]:
    """Return the waits of one burst, from the connect; and its errors."""
    term, dropped = nodes.number(nodes.wait_until_level(), "term"), _dropped()
    figures = nodes.begin(load).result(errors_count=True)
    return {
        "first p50 ms": figures["first_p50_ms"],
        "first p99 ms": figures["first_p99_ms"],
        "first, longest ms": figures["first_max_ms"],
        "longest ms": max(figures["max_ms"], figures["unanswered_ms"]),
        "per_s": figures["ops_s"],
        "new terms": nodes.number(nodes.wait_until_level(), "term") - term,
        "failed": figures["errors"],
        "SYNs dropped": _dropped() - dropped,
    }


def _dropped() -> int:
    """Return how many connections this machine has delayed because a queue was full: the caller's
    kernel retries each one after a second, and then after two more."""
    names, numbers = (
        line.split() for line in Path("/proc/net/netstat").read_text().splitlines()[:2]
    )
    return int(dict(zip(names, numbers, strict=True))["ListenDrops"])
