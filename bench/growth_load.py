"""Growth rows of a load on a cluster of some size: log, connections, values, nodes."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from pathlib import Path

from clusters import memory_bytes
from etcd_nodes import Etcd
from generator import Load
from growth_setup import Setup
from raftline_nodes import NEVER_COMPACT, Raftline

VALUES = {"10 B": 10, "1 KiB": 1 << 10, "64 KiB": 1 << 16, "1 MiB": 1 << 20}
ETCD_VALUE_MAX = 16_000  # of our generator
IDLE = 2_000


def log_length(setup: Setup) -> None:
    """Sets with a log of a thousand, a hundred thousand, a million entries (compaction off)."""
    with Raftline(setup.folder, setup.port, 3, NEVER_COMPACT) as nodes:
        count = 0
        for entries in sorted({1_000, setup.entries // 10, setup.entries}):
            nodes.fill(Load(connections=8, in_flight=64, requests=max(1, entries - count)))
            count = nodes.number(nodes.wait_for_leader(), "last_index")
            name = f"log of {entries:,} entries"
            setup.add(name, nodes, nodes.measure(Load(seconds=setup.seconds)))


def connections(setup: Setup) -> None:
    """Sets at 1 to 1,024 connections."""
    with Raftline(setup.folder, setup.port) as nodes:
        for count in (1, 8, 64, 256, 1_024):
            load = Load(connections=count, seconds=setup.seconds)
            setup.add(_connections(count), nodes, nodes.measure(load))


def _connections(count: int) -> str:
    return f"{count:,} connection{'s' * (count > 1)}"


def idle_connections(setup: Setup) -> None:
    """Sets of 64 connections alone and among 2,000 idle ones, and the memory of an idle one."""
    with Raftline(setup.folder, setup.port) as nodes:
        leader = nodes.processes[nodes.wait_for_leader()].pid
        setup.add("64, alone", nodes, nodes.measure(Load(seconds=setup.seconds)))
        before = memory_bytes(leader)
        few = Load("ping", connections=1, seconds=60, warm_up=0, idle=IDLE, per_second=10)
        run = nodes.begin(few)
        time.sleep(3)
        idle_bytes = (memory_bytes(leader) - before) / IDLE
        run.finish()
        figures = nodes.measure(Load(seconds=setup.seconds, idle=IDLE))
        setup.add(f"64 among {IDLE:,} idle", nodes, {**figures, "KiB per idle": idle_bytes / 1024})


def values(setup: Setup) -> None:
    """Values of 10 B to 1 MiB at 8 connections, next to the rates of the disk and of loopback."""
    for name, size in VALUES.items():
        load = Load(connections=8, value_bytes=size, keys=16, seconds=setup.seconds)
        for kind in (Raftline, Etcd) if size <= ETCD_VALUE_MAX and setup.etcd else (Raftline,):
            with kind(setup.folder, setup.port) as nodes:
                figures = nodes.measure(load)
                setup.add(name, nodes, {"MB/s": figures["per_s"] * size / 1e6, **figures})
        bare = {"disk": disk_rate(setup.folder, size), "loopback": loopback_rate(size)}
        for system, per_second in bare.items():
            setup.rows.add(name, system, {"MB/s": per_second * size / 1e6, "per_s": per_second})


def disk_rate(folder: Path, size: int, seconds: float = 1.0) -> float:
    """Return how often a second this number of bytes can be appended to a file and synced."""
    data = b"v" * size
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        began_s, count = time.monotonic(), 0
        while time.monotonic() < began_s + seconds:
            os.write(file.fileno(), data)
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.monotonic() - began_s)


def loopback_rate(size: int, seconds: float = 1.0) -> float:
    """Return the sends a second, of this number of bytes each, over a loopback connection."""
    received = 0

    def take_in(listener: socket.socket) -> None:
        nonlocal received
        connection, _ = listener.accept()
        buffer = bytearray(1 << 18)
        while count := connection.recv_into(buffer):
            received += count
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        taker = threading.Thread(target=take_in, args=(listener,))
        taker.start()
        data, began_s = b"v" * size, time.monotonic()
        with socket.create_connection(listener.getsockname()) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.monotonic() < began_s + seconds:
                connection.sendall(data)
        taker.join()
        return received / size / (time.monotonic() - began_s)


def delay(setup: Setup) -> None:
    """Sets with 1 and 5 ms between the nodes, each way; the client is next to the leader."""
    for delay_ms in (0, 1, 5):
        for kind in (Raftline, Etcd) if setup.etcd else (Raftline,):
            for count in (1, 64, 256):
                with kind(setup.folder, setup.port, delay_ms=delay_ms) as nodes:
                    figures = nodes.measure(Load(connections=count, seconds=setup.seconds))
                    setup.add(f"{delay_ms} ms, {_connections(count)}", nodes, figures)


def node_count(setup: Setup) -> None:
    """Sets of 64 connections with 1, 3, 5, 7 nodes on this one machine."""
    for count in (1, 3, 5, 7):
        with Raftline(setup.folder, setup.port, count) as nodes:
            name = f"{count} node{'s' * (count > 1)}"
            setup.add(name, nodes, nodes.measure(Load(seconds=setup.seconds)))
