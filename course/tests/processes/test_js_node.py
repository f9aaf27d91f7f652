"""The node in JavaScript, course/labs/conform/node.js, at the kit and among two other programs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from course.tests.processes.mixed_cluster import (
    JUDGED_S,
    CNode,
    MixedCluster,
    lead_in_turn,
    serve_amid_faults,
)

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "course" / "labs" / "conform" / "node.js"
LINES_MAX = 800
# Of each level some checks in which a double, a late answer or a missing sync would show.
SLICE = (
    "get-set-delete", "escapes", "in-order", "numbers-beyond-2-53", "one-vote", "late-vote",
    "majority-of-four", "conflict", "missing", "own-term-alone", "rounds-beyond-2-53",
    "synced-before-answer", "torn-write", "vote-kept", "first-read", "read-confirmed",
)  # fmt: skip
pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="there is no `node` here")


def _judged(source: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "src" / "cli.py"), "conform", "--jobs", "2", *words]
    command += ["--", "node", str(source), "{name}", "{port}", "{dir}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=JUDGED_S, check=False)


@pytest.fixture
def cluster(tmp_path: Path, binary: Path) -> Iterator[MixedCluster]:
    """One node in C, one in JavaScript, one of raftline."""
    with MixedCluster(tmp_path, [[str(binary)], ["node", str(SOURCE)]], 1) as mixed:
        yield mixed.start()


def test_it_is_one_file_that_can_be_read_and_needs_no_package() -> None:
    lines = SOURCE.read_text("utf-8").splitlines()
    assert len(lines) <= LINES_MAX
    needed = {line.split("require(")[1].rstrip(");") for line in lines if "require(" in line}
    assert needed == {"'fs'", "'net'", "'path'"}


@pytest.mark.timeout(JUDGED_S)
def test_it_passes_a_slice_of_the_first_five_levels() -> None:
    done = _judged(SOURCE, *(word for name in SLICE for word in ("--only", name)))
    assert done.returncode == 0, done.stdout


@pytest.mark.nightly
@pytest.mark.parametrize("is_mixed", [False, True], ids=["alone", "beside-raftline"])
def test_it_passes_the_first_five_levels(is_mixed: bool) -> None:
    others = (
        f"{sys.executable} {ROOT / 'src' / 'server.py'} {{name}} {{port}} --dir {{dir}} --floor"
    )
    done = _judged(SOURCE, "--level", "1-5", *(["--with", others] if is_mixed else []))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ("return number <= NUMBER_MAX", "return number <= 1n << 53n", "numbers-beyond-2-53"),
        ("BigInt(one) : one));", "BigInt(Number(one)) : one));", "rounds-beyond-2-53"),
        ("&& termAt(index) === term) commitIndex", ") commitIndex", "own-term-alone"),
        ("  fs.fdatasyncSync(logFile);\n  lines = '';", "  lines = '';", "synced-before-answer"),
    ],
)
def test_without_a_rule_the_check_of_that_rule_fails(
    tmp_path: Path, old: str, new: str, check: str
) -> None:
    text = SOURCE.read_text("utf-8")
    assert text.count(old) == 1
    (tmp_path / "node.js").write_text(text.replace(old, new), "utf-8")
    done = _judged(tmp_path / "node.js", "--only", check)
    assert done.returncode == 1, done.stdout
    assert f" {check} " in done.stdout


@pytest.mark.nightly
def test_each_of_three_programs_leads_is_killed_and_catches_up(cluster: MixedCluster) -> None:
    lead_in_turn(cluster, lambda node: node.name, {"s1", "s2", "s3"}, most=60)
    assert all(isinstance(node, CNode) for node in cluster.nodes[:2])


def test_what_clients_saw_amid_faults_is_linearizable(cluster: MixedCluster) -> None:
    serve_amid_faults(cluster)
