"""Growth rows of a node's memory and of its restart from its files."""

from __future__ import annotations

import time

import redis_server
from clusters import Cluster, memory_bytes, wait_until
from etcd_nodes import Etcd
from generator import Load
from growth_setup import Setup
from raftline_nodes import NEVER_COMPACT, Raftline
from redis_server import Redis

ENOUGH = 100_000  # entries whose log exceeds the default limit of a node


def restart(setup: Setup) -> None:
    """The time of a lone node from its start to serving, and its memory for that."""
    for name, options in (("from the log", NEVER_COMPACT), ("from a snapshot", _soon(setup))):
        with Raftline(setup.folder, setup.port, 1, options) as nodes:
            nodes.fill(Load("load", connections=8, in_flight=64, keys=setup.entries))
            if options != NEVER_COMPACT:
                _wait_for_compaction(nodes)
            running = memory_bytes(nodes.processes[0].pid)
            nodes.end(0)
            began_s = time.monotonic()
            nodes.start(0)
            nodes.wait_for_leader()
            seconds, pid = time.monotonic() - began_s, nodes.processes[0].pid
            peak, view = memory_bytes(pid, "VmHWM"), nodes.status(0)
            setup.add(
                f"{setup.entries:,} keys, {name}",
                nodes,
                {
                    "s": seconds,
                    "peak MiB": peak / 2**20,
                    "running MiB": running / 2**20,
                    "peak / running": peak / running,
                    "entries in the log": _held(nodes),
                    "snapshot MiB": int(str(view["snapshot_bytes"])) / 2**20,
                },
            )


def memory(setup: Setup) -> None:
    """The memory of a log entry and of a key in a node (16-byte keys, 100-byte values), and of
    the same keys in Redis and etcd."""
    fill = Load(connections=8, in_flight=64, requests=setup.entries, keys=1)
    with Raftline(setup.folder, setup.port, 1, NEVER_COMPACT) as nodes:
        empty = memory_bytes(nodes.processes[0].pid)
        nodes.fill(fill)
        entry = (memory_bytes(nodes.processes[0].pid) - empty) / setup.entries
    with Raftline(setup.folder, setup.port, 1, _soon(setup)) as nodes:
        nodes.fill(Load("load", connections=8, in_flight=64, keys=setup.entries))
        _wait_for_compaction(nodes)
        nodes.end(0)
        nodes.start(0)
        nodes.wait_for_leader()
        key_bytes = memory_bytes(nodes.processes[0].pid) - empty - entry * _held(nodes)
    setup.add(
        "a node",
        nodes,
        {
            "empty MiB": empty / 2**20,
            "bytes per log entry": entry,
            "bytes per key": key_bytes / setup.entries,
        },
    )
    for kind in (Redis, Etcd):
        if (kind is Redis and redis_server.version() is None) or (kind is Etcd and not setup.etcd):
            continue
        with kind(setup.folder, setup.port, 1) as server:
            setup.add("a node", server, _beside(setup, server))


def _beside(setup: Setup, server: Cluster) -> dict[str, float]:
    """Return the memory of the same keys in other systems; etcd maps its file, and keeps
    entries."""
    pid = server.processes[0].pid
    empty, own = memory_bytes(pid), memory_bytes(pid, "RssAnon")
    server.fill(Load("load", connections=8, in_flight=64, keys=setup.entries))
    return {
        "empty MiB": empty / 2**20,
        "bytes per key": (memory_bytes(pid) - empty) / setup.entries,
        "without mapped files": (memory_bytes(pid, "RssAnon") - own) / setup.entries,
    }


def _soon(setup: Setup) -> tuple[str, ...]:
    """Return the options that let a node compact its log: the default, unless there are too few
    entries."""
    return () if setup.entries >= ENOUGH else ("--compact-at", str(50 * setup.entries))


def _held(nodes: Raftline) -> int:
    return nodes.number(0, "last_index") - nodes.number(0, "base_index")


def _wait_for_compaction(nodes: Raftline) -> None:
    """Wait until there is a snapshot and no other one is in progress."""
    snapshot = nodes.folder / "s1.state_machine"
    beside = snapshot.with_suffix(".state_machine.tmp")

    def look() -> bool | None:
        base = nodes.number(0, "base_index")
        time.sleep(1)
        is_done = snapshot.exists() and not beside.exists()
        return True if is_done and 0 < base == nodes.number(0, "base_index") else None

    wait_until(look, "no snapshot was taken", 120)
