"""Locks on leases at real nodes: one try is enough, and tokens only grow."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import raftline
from raftline.tools.harness.restored import restored_cluster
from raftline_testing.doubles.in_process import raftline as command
from raftline_testing.doubles.scripted_node import SOURCE
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.processes.typed import at

# It says its token, then gives the lock up and tries for it, as it is asked.
HOLDS = """
import raftline, sys
lock = raftline.connect(sys.argv[1], name="holds").lock("door", ttl=5)
for line in sys.stdin:
    if line == "release\\n":
        print(held.release(), flush=True)
    else:
        held = lock.acquire(timeout=float(line))
        print(held and held.token, flush=True)
"""


@pytest.fixture
def kv(nodes: Cluster) -> Iterator[raftline.KV[str]]:
    with raftline.connect(at(nodes), name="tries") as kv:
        yield kv


@contextlib.contextmanager
def holder(nodes: Cluster) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, at(nodes)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def answer_of(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return process.stdout.readline().rstrip("\n")


def test_single_try_gets_the_lock_of_a_dead_holder_in_time(
    nodes: Cluster, kv: raftline.KV[str]
) -> None:
    """A single try gets the lock of a dead holder after its time."""

    def once() -> raftline.api.Held | None:
        """Try as a program does that has never looked at the lock before."""
        return kv.lock("door").acquire(timeout=0)

    with holder(nodes) as process:
        token = int(answer_of(process, "30"))
        until_s = time.monotonic() + 6.5
        while time.monotonic() < until_s:
            assert once() is None  # it is renewed
        found = kv.lock("door").holder()
        assert found is not None
        assert found.startswith("holds on ")
        process.kill()
        died_s = time.monotonic()
        got: list[raftline.api.Held] = []
        eventually(lambda: got.extend(filter(None, [once()])) or got, "one try that gets it")
        assert time.monotonic() - died_s < DEADLINE_S
    assert got[0].check() == got[0].token > token
    got[0].release()
    assert kv.lock("door").holder() is None


def token_of(kv: raftline.KV[str]) -> int:
    with kv.lock("door") as held:
        return held.token


def test_tokens_grow_over_failover_recovery_and_restore(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    with Cluster(tmp_path / "old", 3, *STEADY) as cluster:
        cluster.start().led_by("s1")
        with raftline.connect(at(cluster), timeout=DEADLINE_S) as kv:
            tokens = [token_of(kv)]
            cluster["s1"].kill()
            tokens.append(token_of(kv))
            cluster["s1"].start()
            tokens.append(token_of(kv))
            backup = tmp_path / "backup.txt"
            done = command("backup", backup, "--dir", tmp_path / "old")
            assert done.returncode == 0, done.stderr
            cluster.wait_until_equal()
            cluster["s1"].kill()
            tokens += [token_of(kv) for _ in range(3)]  # neither s1 nor the backup knows of these
        cluster.kill()
        done = command("recover", "s1", "--dir", tmp_path / "old", "--yes")
        assert done.returncode == 0, done.stderr
        survivor = cluster["s1"].start()
        with raftline.connect(f"localhost:{survivor.port}", timeout=DEADLINE_S) as kv:
            assert token_of(kv) > tokens[-1]
    assert tokens == sorted(set(tokens))
    with restored_cluster(backup, tmp_path / "new" / "logs", 3) as restored:
        restored.start()
        with raftline.connect(at(restored), timeout=DEADLINE_S) as kv:
            assert token_of(kv) > tokens[-1]
