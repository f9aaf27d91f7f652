"""The growth row of Redis's protocol: what redis-benchmark told, and RESP next to lines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raftline_testing.nodes.processes import ports_in_a_row

ROOT = Path(__file__).resolve().parents[4]
BENCH = ROOT / "bench"
TOLD = '"test","rps","p50_latency_ms","p99_latency_ms"\n"INCR","9000.50","0.5","1.5"\n'
PROGRAM = """
import growth  # it finds the row
from generator import Load
from growth_door import told
print(sorted(told(1, Load("incr", 64, 16), 100).items()))
"""


@pytest.mark.parametrize(
    ("output", "status", "found"),
    [
        (TOLD, 0, "[('p50_latency_ms', 0.5), ('p99_latency_ms', 1.5), ('rps', 9000.5)]"),
        ("MOVED 0 localhost:1\n", 0, "redis-benchmark failed: MOVED 0 localhost:1"),
        (TOLD, 1, "redis-benchmark failed: "),
    ],
)
def test_redis_benchmark_is_believed_if_nothing_was_refused(
    tmp_path: Path, output: str, status: int, found: str
) -> None:
    program = tmp_path / "redis-benchmark"
    program.write_text(f"#!/bin/sh\necho \"$@\" >{tmp_path}/asked\ncat {tmp_path}/output\n"
                       f"exit {status}\n")  # fmt: skip
    program.chmod(0o755)
    (tmp_path / "output").write_text(output)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=BENCH,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found in done.stdout + done.stderr
    assert "-t incr -n 100 -c 64 -P 16 " in (tmp_path / "asked").read_text()


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("cc") is None, reason="the generator needs cc")
def test_each_resp_load_has_the_same_load_by_lines(tmp_path: Path) -> None:
    """Each load by RESP is compared with the same load by lines."""
    subprocess.run(["make", "-C", "bench", "build/loadgen"], cwd=ROOT, check=True, timeout=100)
    command = [
        *(sys.executable, str(BENCH / "growth.py"), "--only", "door", "--rounds", "1"),
        *("--seconds", "1.5", "--dir", str(tmp_path), "--json", str(tmp_path / "json")),
        *("--base-port", str(ports_in_a_row(80))),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert "ended early" not in done.stderr
    (path,) = (tmp_path / "json").iterdir()
    rows = json.loads(path.read_text())["rows"]
    by_resp = [row for row in rows if row["system"] == "raftline, RESP"]
    assert len(by_resp) == 12  # four kinds, each with one request, 100 and 1,000 in flight
    assert all(row["figures"]["of a line's"][0] > 0 for row in by_resp)
    beside = {row["system"] for row in rows if row["name"].startswith("redis-benchmark")}
    assert beside == ({"redis", "raftline"} if shutil.which("redis-benchmark") else set())
