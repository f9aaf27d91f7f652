"""Locks on leases at real nodes: one try is enough, old programs are seen, tokens only grow."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import raftline
from raftline_course.harness.cluster import Cluster
from raftline_course.harness.processes import DEADLINE_S, eventually
from tests.processes.test_repair import _restored
from tests.processes.test_repair import raftline as command
from tests.processes.typed import at, three_nodes
from tests.processes.versions import before_levels
from tests.scripted_node import SOURCE

# It says its token, then gives the lock up and tries for it, as it is asked.
HOLDS = """
import raftline, sys
clients = raftline.Clients(*sys.argv[1].split(","), name="holds")
lock = raftline.ReplicatedLock("door", node=clients, lease=1.0)
for line in sys.stdin:
    if line == "release\\n":
        print(lock.release(), flush=True)
    else:
        print(lock.token if lock.acquire(timeout=float(line)) else None, flush=True)
"""


@pytest.fixture
def clients(nodes: Cluster) -> Iterator[raftline.Clients]:
    with raftline.Clients(*at(nodes).split(","), name="tries") as clients:
        yield clients


@contextlib.contextmanager
def holder(nodes: Cluster, source: Path = SOURCE) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, at(nodes)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(source)},
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


def test_who_tries_once_gets_the_lock_of_a_dead_holder_after_its_time(
    nodes: Cluster, clients: raftline.Clients
) -> None:
    def once() -> raftline.ReplicatedLock | None:
        """Return the lock that a program has which has never looked at it before."""
        lock = raftline.ReplicatedLock("door", node=clients, lease=1.0)
        return lock if lock.acquire(timeout=0) else None

    with holder(nodes) as process:
        token = int(answer_of(process, "5"))
        until_s = time.monotonic() + 3.0
        while time.monotonic() < until_s:
            assert once() is None  # it is renewed
        found = raftline.ReplicatedLock("door", node=clients).holder()
        assert found is not None
        assert str(found["owner"]).startswith("holds process ")
        assert (found["token"], found["lease_ms"]) == (token, 1000)
        stored = json.loads(clients.request("get door").partition(": ")[2])
        assert stored["lease_ms"] > 10**15  # so long a program of the old version would wait
        process.kill()
        died_s = time.monotonic()
        got: list[raftline.ReplicatedLock] = []
        eventually(lambda: got.extend(filter(None, [once()])) or got, "one try that gets it")
        assert time.monotonic() - died_s < DEADLINE_S
    assert got[0].check() == got[0].token > token
    held = got[0].holder()
    assert held is not None
    assert held["token"] == got[0].token
    got[0].release()
    assert not got[0].locked()
    assert got[0].holder() is None


def test_a_program_of_the_old_version_and_one_of_this_exclude_each_other(
    nodes: Cluster, clients: raftline.Clients, tmp_path: Path
) -> None:
    before_levels(tmp_path)
    lock = raftline.ReplicatedLock("door", node=clients, lease=1.0)
    with holder(nodes, tmp_path) as old:
        first = int(answer_of(old, "5"))
        assert not lock.acquire(timeout=3.0)  # its beats are seen
        assert answer_of(old, "release") == "None"
        assert lock.acquire(timeout=DEADLINE_S)
        second = lock.token
        assert answer_of(old, "3") == "None"  # no beat comes, and it waits for none
        assert lock.check() == second
        lock.release()
        third = int(answer_of(old, str(DEADLINE_S)))
        old.kill()
        assert lock.acquire(timeout=DEADLINE_S)  # in one wait, as nobody ends a lock of beats
        assert first < second < third < lock.token
        lock.release()


def token_of(kv: raftline.KV[str]) -> int:
    """Return the token of one that gets both kinds of lock."""
    lock = raftline.ReplicatedLock("door", node=kv)
    with kv.lock("door") as token, lock:
        assert token < lock.token
        return lock.token


def test_tokens_grow_over_failover_recovery_and_restore(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    with three_nodes(tmp_path / "old") as cluster:
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
    with _restored(backup, tmp_path / "new" / "logs", 3) as restored:
        restored.start()
        with raftline.connect(at(restored), timeout=DEADLINE_S) as kv:
            assert token_of(kv) > tokens[-1]
