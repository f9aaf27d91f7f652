"""PySyncObj under measurement, with its journal, which does not fsync; callers in process."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from clusters import Cluster, wait_until
from generator import BenchError, Load

NODE = Path(__file__).resolve().parent / "pysyncobj_node.py"
INSTALL = "PySyncObj is not installed: `.venv/bin/pip install -e '.[bench]'`"


class PySyncObj(Cluster):
    """Three processes that talk to each other; each gets orders over its stdin."""

    name = "PySyncObj"

    def command(self, number: int) -> list[str]:
        (self.folder / str(number)).mkdir(exist_ok=True)
        addresses = [f"127.0.0.1:{self.port(n)}" for n in range(self.count)]
        place = [str(self.folder / str(number)), str(number), *addresses]
        return [sys.executable, str(NODE), *place]

    def _order(self, number: int, order: dict[str, Any], seconds: float) -> dict[str, Any]:
        answer = self.folder / str(number) / "answer"
        answer.unlink(missing_ok=True)
        stdin = self.processes[number].running.stdin
        if stdin is None:
            raise BenchError("PySyncObj takes no orders")
        stdin.write(json.dumps(order).encode() + b"\n")
        stdin.flush()
        wait_until(lambda: answer.exists() or None, "PySyncObj does not answer", seconds)
        figures: dict[str, Any] = json.loads(answer.read_text())
        return figures

    def leader(self) -> int | None:
        view = self._order(0, {}, 30)
        addresses = [f"127.0.0.1:{self.port(n)}" for n in range(self.count)]
        return addresses.index(view["leader"]) if view["leader"] in addresses else None

    def fdatasyncs(self) -> int:
        return 0

    def measure(self, load: Load) -> dict[str, float]:
        leader = self.wait_for_leader()
        order = {
            "callers": load.connections * load.in_flight, "seconds": load.seconds,
            "warm_up": load.warm_up, "value_bytes": load.value_bytes, "keys": load.keys,
        }  # fmt: skip
        began_s, used = time.monotonic(), sum(map(cpu_seconds, self.pids()))
        found = self._order(leader, order, load.seconds + load.warm_up + 60)
        if found.pop("errors") or not found["per_s"]:
            raise BenchError("PySyncObj refused or lost sets")
        elapsed = time.monotonic() - began_s
        found["servers_cpu"] = (sum(map(cpu_seconds, self.pids())) - used) / elapsed
        return {name: float(value) for name, value in found.items()} | {"fdatasyncs_s": 0.0}


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def version() -> str | None:
    """Return PySyncObj's version, or None if it isn't installed."""
    if importlib.util.find_spec("pysyncobj") is None:
        return None
    return importlib.metadata.version("pysyncobj")
