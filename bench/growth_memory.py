"""Growth rows of a node's memory and of its restart from its files."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Callable

import redis_server
from clusters import Cluster, memory_bytes, wait_until
from costs import cpu_s
from etcd_nodes import Etcd
from generator import Load
from growth_disturbed import BEFORE_S, PATIENCE_S, load_of, recorded, window
from growth_million import back_up
from growth_setup import Setup
from raftline_nodes import NEVER_COMPACT, Raftline
from redis_server import Redis

Copy = Callable[[Cluster], None]
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
    """The memory of a log entry and of a key (16-byte keys, 100-byte values) in a lone node. The
    same keys in Redis and etcd: memory, a start, and sets while a copy of all keys is fetched."""
    fill = Load(connections=8, in_flight=64, requests=setup.entries, keys=1)
    with Raftline(setup.folder, setup.port, 1, NEVER_COMPACT) as nodes:
        empty = memory_bytes(nodes.processes[0].pid)
        nodes.fill(fill)
        entry = (memory_bytes(nodes.processes[0].pid) - empty) / setup.entries
    setup.add("an entry", nodes, {"bytes": entry})
    kinds: list[tuple[type[Cluster], Copy]] = [(Raftline, _copied)]
    if redis_server.version() is not None:
        kinds.append((Redis, _copied_by_redis))
    if setup.etcd:
        kinds.append((Etcd, _copied_by_etcd))
    for kind, copy in kinds:
        with kind(setup.folder, setup.port, 1) as server:
            setup.add(f"{setup.entries:,} keys", server, _alone(setup, server, copy))


def _alone(setup: Setup, server: Cluster, copy: Copy) -> dict[str, float]:
    """Fill a lone node with keys, copy them during sets, and start it again."""
    pid = server.processes[0].pid
    empty, own = memory_bytes(pid), memory_bytes(pid, "RssAnon")
    server.fill(Load("load", connections=8, in_flight=64, keys=setup.entries))
    filled, in_ram = memory_bytes(pid), memory_bytes(pid, "RssAnon")
    run, before_s = server.begin(load_of(server, connections=1)), time.monotonic()
    time.sleep(BEFORE_S)
    begin = time.monotonic()
    copy(server)
    end = time.monotonic()
    waits = recorded(run, server)
    calm, busy = window(waits, before_s + 1, begin), window(waits, begin, end)
    server.end(0)
    began_s = time.monotonic()
    server.start(0)
    server.wait_for_leader()
    pid = server.processes[0].pid
    return {
        "empty MiB": empty / 2**20,
        "bytes per key": (filled - empty) / setup.entries,
        "without mapped files": (in_ram - own) / setup.entries,  # etcd maps its file
        "set p99 ms": calm["p99_ms"],
        "copy s": end - begin,
        "set p99 ms meanwhile": busy["p99_ms"],
        "longest ms meanwhile": busy["longest ms"],
        "start s": time.monotonic() - began_s,
        "start CPU s": cpu_s(pid),
        "started MiB": memory_bytes(pid) / 2**20,
    }


def _copied(server: Cluster) -> None:
    back_up(server.port(0))


def _copied_by_redis(server: Cluster) -> None:
    command = ["redis-cli", "-p", str(server.port(0))]
    at_once = [*command, "config", "set", "repl-diskless-sync-delay", "0"]  # 5 s for more replicas
    for words in (at_once, [*command, "--rdb", str(server.folder / "copy")]):
        subprocess.run(words, check=True, capture_output=True)


def _copied_by_etcd(server: Cluster) -> None:
    address = f"http://127.0.0.1:{server.port(0)}/v3/maintenance/snapshot"
    with urllib.request.urlopen(address, b"{}", timeout=PATIENCE_S) as pieces:
        while pieces.read(1 << 20):
            pass


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
