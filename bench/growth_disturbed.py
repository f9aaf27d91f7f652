"""Growth rows of a disturbed load: a snapshot, a follower behind, a partition."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path

from clusters import Cluster, wait_until
from etcd_nodes import Etcd
from generator import Load, Run, answers
from growth_setup import Setup
from raftline_nodes import NEVER_COMPACT, Raftline

BEFORE_S = 3.0
LEVEL = 2_000  # entries that a follower may lag while writes continue
PATIENCE_S = 600.0  # longest time that a step may take


def load_of(cluster: Cluster, connections: int = 64) -> Load:
    """Return a load of sets, which runs until it is stopped."""
    record = cluster.folder / "answers"
    return Load(connections=connections, seconds=3_600, warm_up=0, record=record)


def window(found: Sequence[tuple[float, float]], begin: float, end: float) -> dict[str, float]:
    """Return the rate and the waits of the requests answered between two moments."""
    waits = sorted(wait for at, wait in found if begin <= at < end) or [0.0]
    count, last = sum(begin <= at < end for at, _ in found), len(waits) - 1
    return {
        "per_s": count / (end - begin),
        "p50_ms": waits[last // 2],
        "p99_ms": waits[int(0.99 * last)],
        "longest ms": waits[last],
        "seconds": end - begin,
    }


def recorded(run: Run, cluster: Cluster) -> list[tuple[float, float]]:
    run.finish()
    return answers(cluster.folder / "answers")


def snapshot(setup: Setup) -> None:
    """Sets while every node takes a snapshot of a million keys and compacts its log."""
    with Raftline(setup.folder, setup.port, 3, NEVER_COMPACT) as nodes:
        nodes.fill(Load("load", connections=8, in_flight=64, keys=setup.entries))
        nodes.wait_until_level()
        logs = [nodes.folder / f"s{number + 1}.log" for number in range(nodes.count)]
        size = max(log.stat().st_size for log in logs)
        for number in range(nodes.count):
            nodes.end(number)
        nodes.options = ["--compact-at", str(size + 20 * setup.entries)]
        for number in range(nodes.count):
            nodes.start(number)
        nodes.wait_until_level()
        run, began_s = nodes.begin(load_of(nodes)), time.monotonic()
        begin = _first_of([log.with_suffix(".state_machine.tmp") for log in logs], run)
        wait_until(
            lambda: all(nodes.number(n, "base_index") > 0 for n in range(nodes.count)) or None,
            "not every node compacted its log",
            PATIENCE_S,
        )
        end = time.monotonic()
        figures = recorded(run, nodes)
        quiet = began_s + min(1.0, (begin - began_s) / 2)  # warmed up
        setup.add("before", nodes, window(figures, quiet, begin))
        setup.add("while all take a snapshot", nodes, window(figures, begin, end))


def _first_of(paths: Sequence[Path], run: Run) -> float:
    def look() -> float | None:
        if run.process.poll() is not None:
            run.result()
        return time.monotonic() if any(path.exists() for path in paths) else None

    return wait_until(look, "no node took a snapshot", PATIENCE_S)


def catch_up(setup: Setup) -> None:
    """Sets while a follower that was down catches up by a million entries (compaction off)."""
    with Raftline(setup.folder, setup.port, 3, NEVER_COMPACT) as nodes:
        leader = nodes.wait_until_level()
        behind = (leader + 1) % nodes.count
        nodes.end(behind, signal.SIGKILL)
        nodes.fill(Load(connections=8, in_flight=64, requests=setup.entries))
        run, began_s = nodes.begin(load_of(nodes)), time.monotonic()
        time.sleep(BEFORE_S)
        begin = time.monotonic()
        nodes.start(behind)
        _wait_until_level(nodes, leader, behind)
        end = time.monotonic()
        time.sleep(BEFORE_S)
        figures = recorded(run, nodes)
        setup.add("before", nodes, window(figures, began_s + 0.5, begin))
        setup.add("while a follower catches up", nodes, window(figures, begin, end))
        setup.add("after", nodes, window(figures, end, end + BEFORE_S))


def partition(setup: Setup) -> None:
    """Sets around a minute in which a follower is stopped (SIGSTOP), second by second after it."""
    for kind in (Raftline, Etcd) if setup.etcd else (Raftline,):
        with kind(setup.folder, setup.port) as nodes:
            _partition(setup, nodes)


def _partition(setup: Setup, nodes: Raftline | Etcd) -> None:
    leader = nodes.wait_until_level()
    away = (leader + 1) % nodes.count
    run, began_s = nodes.begin(load_of(nodes)), time.monotonic()
    time.sleep(BEFORE_S)
    begin = time.monotonic()
    nodes.processes[away].pause()
    time.sleep(setup.away)
    end = time.monotonic()
    nodes.processes[away].resume()
    level_s = {}
    if isinstance(nodes, Raftline):
        _wait_until_level(nodes, leader, away)
        level_s = {"level after s": time.monotonic() - end}
    time.sleep(max(0.0, end + 10.5 - time.monotonic()))
    figures = recorded(run, nodes)
    setup.add("before", nodes, window(figures, began_s + 0.5, begin))
    setup.add(f"{setup.away:g} s without a follower", nodes, window(figures, begin, end))
    for second in (1, 2, 3, 5, 10):
        after = window(figures, end + second - 1, end + second)
        setup.add(f"second {second} after", nodes, after | (level_s if second == 1 else {}))


def _wait_until_level(nodes: Raftline, leader: int, follower: int) -> None:
    def look() -> bool | None:
        applied = nodes.number(follower, "last_applied")
        return True if nodes.number(leader, "last_applied") - applied < LEVEL else None

    wait_until(look, "the follower did not catch up", PATIENCE_S)
