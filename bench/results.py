"""Results as JSON in `build/bench/`: rows, each with every round's figures.

{"kind": "bench", "date": …, "machine": {…}, "settings": {…},
 "rows": [{"name": "set, 64", "system": "raftline", "figures": {"per_s": [41000.0, …], …}}, …]}
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import age
import etcd_nodes
import pysyncobj_nodes
import pythons
import raftline_wheel
import redis_server
import zookeeper_nodes
from generator import BenchError

FOLDER = Path(__file__).resolve().parent.parent / "build" / "bench"
ROUNDS = 3  # fewer have no useful median
UNFIT = ("tmpfs", "ramfs", "overlay")  # an fdatasync there says nothing about a disk, or may not


@dataclass
class Row:
    """One line of a table: each figure with its value in every round."""

    name: str
    system: str
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, round_: Mapping[str, float]) -> None:
        for figure, value in round_.items():
            self.figures.setdefault(figure, []).append(round(value, 6))


@dataclass(frozen=True)
class Results:
    """One file."""

    kind: str
    date: str
    machine: dict[str, str]
    settings: dict[str, str]
    rows: list[Row]


class Rows:
    """A collection of rounds by row name and system."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}

    def add(self, name: str, system: str, round_: Mapping[str, float]) -> None:
        self._rows.setdefault((name, system), Row(name, system)).add(round_)

    def all(self) -> list[Row]:
        """Return the rows in the order of their names' first appearance, with a row's systems
        together."""
        names = list(dict.fromkeys(name for name, _ in self._rows))
        return sorted(self._rows.values(), key=lambda row: names.index(row.name))


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def machine_facts(folder: Path) -> dict[str, str]:
    """Return the facts about this machine that a reader needs, without its name."""
    cores, load = os.cpu_count() or 0, os.getloadavg()[0]
    return {
        "commit": age.commit() or "unknown",
        "processor": f"{_processor()}, {cores} cores",
        "memory": f"{_memory_bytes() / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "file system": file_system(folder),
        "load at start": f"{load:.1f}",
        "Python": pythons.of_nodes().text,
        "Python of clients": pythons.described(sys.executable),
        "raftline-wheel": raftline_wheel.version() or "none",
        "etcd": etcd_nodes.version() or "none",
        "PySyncObj": pysyncobj_nodes.version() or "none",
        "redis": redis_server.version() or "none",
        "ZooKeeper": zookeeper_nodes.version() or "none",
    }


def file_system(folder: Path) -> str:
    """Return the kind of file system that a folder is on."""
    path, best, kind = str(folder.resolve()), "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, found, *_ = line.split()
        inside = path == place or path.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best):
            best, kind = place, found
    return kind


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def today() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def save(results: Results, folder: Path = FOLDER) -> Path:
    """Write a new file for these results; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    path = folder / f"{results.kind}-{stamp}.json"
    path.write_text(json.dumps(asdict(results), indent=1) + "\n")
    return path


def load(path: Path) -> Results:
    """Return the results in a file.

    Raises:
        BenchError: it can't be read, or isn't a results file.
    """
    try:
        content = json.loads(path.read_text())
        rows = [Row(row["name"], row["system"], row["figures"]) for row in content["rows"]]
        return Results(
            content["kind"], content["date"], content["machine"], content["settings"], rows
        )
    except OSError as error:
        raise BenchError(f"can't read {path}: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BenchError(f"{path} holds no results of a measurement") from None


def newest(kind: str, folder: Path = FOLDER) -> Path | None:
    """Return the latest file of a kind, or None."""
    return max(folder.glob(f"{kind}-{'[0-9]' * 8}-{'[0-9]' * 6}.json"), default=None)
