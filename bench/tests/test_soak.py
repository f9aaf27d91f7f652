"""The soak: what it tells, what it takes for growth, and what it refuses."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raftline_testing.nodes.processes import ports_in_a_row

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
TINY = (
    *("--minutes", "0.1", "--window", "0.5", "--leases", "30", "--watches", "1000"),
    *("--connections", "2", "--per-second", "200", "--compact-at", "20000"),
)


def soak(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / "soak.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.skipif(shutil.which("cc") is None, reason="the generator needs cc")
def test_soak_replaces_members_and_reports_its_quarters(tmp_path: Path) -> None:
    """A short soak replaces members and ends with its quarters."""
    subprocess.run(["make", "-C", "bench", "build/loadgen"], cwd=ROOT, check=True, timeout=100)
    places = ("--dir", str(tmp_path), "--json", str(tmp_path / "json"))
    done = soak(*TINY, *places, "--base-port", str(ports_in_a_row(20)))
    # How much grew within seconds depends on the machine. Nothing else may be wrong: each kind of
    # event came at least once.
    troubles = [line for line in done.stderr.splitlines() if "; the bound is " not in line]
    assert troubles == []
    assert done.returncode == (1 if done.stderr else 0)
    for title in ("memory of s1 and s2", "descriptors of all three", "p99 of a set"):
        assert title in done.stdout
    (saved,) = (tmp_path / "json").glob("trial-soak-*.json")
    (row,) = json.loads(saved.read_text())["rows"]
    assert len(set(map(len, row["figures"].values()))) == 1
    assert min(row["figures"]["threads"]) > 3
    assert max(row["figures"]["events_s"]) > 0
    assert max(row["figures"]["consoles"]) > 0
    assert {"sync_ms", "collection_ms"} <= {*row["figures"]}
    again = subprocess.run(
        [sys.executable, str(BENCH / "soak_bounds.py"), str(saved)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "| memory of s1 and s2, MiB |" in again.stdout


NOTES = """
import gc, io, sys, time
from pathlib import Path
import timed_node
from soak_nodes import SoakNodes
timed_node.LEAST_S = 0.0
nodes = SoakNodes(Path(sys.argv[1]), 29000, ())
with open(nodes._pauses(0), "a") as file:
    timed_node.timed(file, lambda descriptor: time.sleep(0.02))(0)
since_s = time.monotonic()
with open(nodes._pauses(1), "a") as file:
    timed_node.timed(file, lambda descriptor: None)(0)
    gc.callbacks.append(timed_node.collections(file))
    gc.collect()
    gc.callbacks.pop()
print(nodes.pauses(0.0), nodes.pauses(since_s), sep="\\n")
"""


def test_long_pauses_of_any_node_are_those_of_their_window(tmp_path: Path) -> None:
    """Only what ended within a window counts there, of whichever node it was the longest."""
    done = subprocess.run(
        [sys.executable, "-c", NOTES, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=BENCH,
    )
    whole, last = map(ast.literal_eval, done.stdout.splitlines())
    assert whole["sync_ms"] >= 20 > last["sync_ms"], done.stderr
    assert whole["collection_ms"] == last["collection_ms"] > 0


PROGRAM = """
import json, sys
from soak_bounds import judge
print(json.dumps(judge(json.loads(sys.argv[1]))[1]))
"""


@pytest.mark.parametrize(
    ("name", "last", "is_growth"),
    [("memory", 112, False), ("memory", 114, True), ("descriptors", 113, True),
     ("threads", 113, True), ("files", 160, True), ("p99_ms", 154, False), ("p99_ms", 156, True),
     ("per_s", 900, False), ("consoles", 900, False)],
)  # fmt: skip
def test_growth_is_what_exceeds_the_bound_of_the_first_quarter(
    name: str, last: float, is_growth: bool
) -> None:
    """Growth is the last quarter beyond the bound of the first."""
    figures = {name: [100.0, 100.0, 500.0, 100.0, 100.0, 100.0, last, last]}
    assert bool(growth(**figures)) == is_growth


@pytest.mark.parametrize(
    ("last", "others", "is_growth"),
    [([100, 900], 1.0, True), ([100, 900], 1.3, False), ([200, 900], 1.3, True)],
)
def test_waits_on_a_busy_machine_count_in_calm_windows_only(
    last: list[float], others: float, is_growth: bool
) -> None:
    """Waits during more work of others are judged by the calm windows."""
    found = growth(p99_ms=[100.0] * 6 + last, others_cpu=[1.0] * 6 + [others] * 2)
    assert bool(found) == is_growth


def growth(**figures: list[float]) -> list[str]:
    """Return what is judged to have grown; a figure that is not named stays the same."""
    names = ("memory", "descriptors", "threads", "files", "p99_ms", "consoles", "p50_ms", "per_s",
             "events_s", "others_cpu")  # fmt: skip
    all_figures = {each: [100.0] * 8 for each in names} | figures
    command = [sys.executable, "-c", PROGRAM, json.dumps(all_figures)]
    done = subprocess.run(command, cwd=BENCH, capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "arguments",
    [("--minutes", "1"), ("--minutes", "-1"), ("--watches", "10001"), ("--leases", "0")],
)
def test_a_soak_that_can_not_be_is_refused(arguments: tuple[str, ...]) -> None:
    done = soak(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("soak.py: error: ")
