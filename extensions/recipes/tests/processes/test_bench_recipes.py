"""The growth row of reads, locks, queues and imports, and the systems next to it."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from raftline_testing.nodes.processes import ports_in_a_row

BENCH = Path(__file__).resolve().parents[4] / "bench"


def test_row_names_the_systems_that_it_has_to_leave_out(tmp_path: Path) -> None:
    program = "import growth; print(*growth.missing_for(['recipes'], etcd=True, wheel=False))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=BENCH,
        env=os.environ | {"PATH": str(tmp_path)},  # without redis-server and java
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "apt-get install redis-server" in done.stdout, done.stderr
    assert "apt-get install zookeeper" in done.stdout


def test_row_ends_when_its_jobs_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rate is that of the time until then, however fast the machine is."""
    monkeypatch.syspath_prepend(str(BENCH))
    names = ("growth", "growth_recipes", "growth_clients", "generator")
    _, recipes, clients, generator = map(importlib.import_module, names)
    clock = [0.0]
    for module in (recipes, clients):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    left = [120]

    @contextlib.contextmanager
    def way(_port: int, _number: int) -> Iterator[Callable[[], int]]:
        def do() -> int:
            clock[0] += 0.125  # the warm-up takes eight of them
            taken = min(10, left[0])
            left[0] -= taken
            return taken

        yield do

    assert recipes._figures(way, 0, 1, 1000.0)["per_s"] == 50 / 0.625
    left[0] = 10
    with pytest.raises(generator.BenchError, match="within the warm-up"):
        recipes._figures(way, 0, 1, 1000.0)


@pytest.mark.nightly
def test_each_recipe_has_a_rate_beside_each_system_that_is_there(tmp_path: Path) -> None:
    command = [
        *(sys.executable, str(BENCH / "growth.py"), "--only", "recipes", "--rounds", "1"),
        *("--seconds", "0.5", "--dir", str(tmp_path), "--json", str(tmp_path / "json")),
        *("--base-port", str(ports_in_a_row(80))),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert "ended early" not in done.stderr
    (path,) = (tmp_path / "json").iterdir()
    rows = json.loads(path.read_text())["rows"]
    ours = [row["name"] for row in rows if row["system"] == "raftline"]
    by_callers = [f"{what}, {count}" for what in ("read", "lock", "queue") for count in (1, 8)]
    assert {*by_callers, "import"} <= {*ours}
    assert all(row["figures"]["per_s"][0] > 0 for row in rows)
    if shutil.which("redis-server"):
        assert {row["name"] for row in rows if row["system"] == "redis"} >= {"import"}
