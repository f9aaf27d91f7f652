"""Programs that share objects and do what programs do: fork, cancel, call back, die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import raftline
from raftline.clients.requests.pool import Clients
from raftline.objects.embedded_server import Leadership, LeadershipView
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports

ROOT = Path(__file__).resolve().parents[4]
FORKS = """
import os, signal, sys, raftline
node = raftline.Node("node1", members={members!r}, dir="logs")
os.chdir("/")
node.wait_until_leader(timeout=20)
count = raftline.ReplicatedCounter("count", node=node)
own = raftline.ReplicatedDict("own", node=node)
held = node.kv.lock("door").acquire()
count.add(0)
begun = os.fork()
name = "parent" if begun else "child"
for number in range(100):
    count.add()
    own[name] = number
    assert own[name] == number
if begun:
    assert os.WIFSTOPPED(os.waitpid(begun, os.WUNTRACED)[1])
    print(count.value, own.copy(), held.is_held, begun, flush=True)
    sys.stdin.read()
assert not node.is_running and not held.is_held
for asked in (node.get_leader, node.wait_for_leader, node.status, lambda: node.on_leader(print)):
    try:
        asked()
    except raftline.NodeError as error:
        assert "which forked this one" in str(error)
    else:
        raise AssertionError(asked)
node.close()
os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.fixture
def clients(cluster: Cluster) -> Iterator[Clients]:
    addresses = [f"localhost:{node.port}" for node in cluster.nodes]
    with Clients(*addresses, timeout=DEADLINE_S) as found:
        yield found


def test_forking_process_keeps_its_node_and_the_child_may_ask(tmp_path: Path) -> None:
    """A process that forks keeps its node and its child may ask as well."""
    members = {"node1": f"127.0.0.1:{next(free_ports)}"}
    program = FORKS.format(members=members)
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        cwd=tmp_path,
    )
    assert parent.stdout
    assert parent.stderr
    said = parent.stdout.readline()
    assert said.startswith("200 {"), parent.stderr.read()
    assert "'parent': 99" in said
    assert "'child': 99" in said
    held, child = said.split()[-2:]
    parent.kill()
    parent.wait()
    try:
        # the child lives yet
        with raftline.Node("node1", members=members, dir=tmp_path / "logs") as node:
            assert raftline.ReplicatedCounter("count", node=node) == 200
        os.kill(int(child), 0)
    finally:
        os.kill(int(child), signal.SIGKILL)
        parent.communicate()
    assert held == "True"


CHILD = """
import os, signal
from raftline.clients.requests.pool import Clients
clients = Clients("127.0.0.1:1")
with {lock}:  # as a thread has it that asks just now
    child = os.fork()
    if not child:
        signal.alarm(20)
        {does}
        os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
HEALTH = "clients.addresses.health"


@pytest.mark.parametrize(
    ("lock", "does"),
    [
        ("clients._lock", "clients.close()"),
        (f"{HEALTH}._lock", "clients.close()"),
        (f"{HEALTH}._lock", f"{HEALTH}.failed(1.0, '', ''); {HEALTH}.served(2.0)"),
    ],
    ids=["the connections are closed", "the state is closed", "the state is changed"],
)
def test_forked_child_waits_for_no_lock_of_another_thread(lock: str, does: str) -> None:
    """A forked child waits for no lock that another thread held."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(lock=lock, does=does)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.stdout == "0\n"


def heard_by(leadership: Leadership) -> list[str]:
    """Write down the callbacks: the roles that follow one another."""
    roles: list[str] = []
    leadership.on_role(lambda: roles.append("leads"), leads=True)
    leadership.on_role(lambda: roles.append("follows"), leads=False)
    leadership.start()
    return roles


class Seen:
    """The part of a core's state that tells who leads."""

    def __init__(self, leader: str, term: int) -> None:
        self.leader = leader or None
        self.term = term


@pytest.mark.parametrize(
    ("views", "roles"),
    [
        ("b", "follows"),
        ("b - b c - b", "follows"),
        ("a", "leads"),
        ("a - a", "leads follows leads"),
        ("b a b a -", "follows leads follows leads follows"),
        ("- -", ""),
        ("a b c", "leads follows"),
    ],
)
def test_leader_callbacks_alternate_under_any_messages(views: str, roles: str) -> None:
    leadership = Leadership("a")
    heard = heard_by(leadership)
    over = threading.Event()
    for term, leader in enumerate(views.split(), start=1):
        leadership.look(Seen(leader.strip("-"), term))  # type: ignore[arg-type]
    leadership.listen(lambda _: over.set())
    assert over.wait(DEADLINE_S)
    leadership.stop()
    assert heard == roles.split()


def test_a_wait_for_a_leader_is_not_delayed_by_callbacks() -> None:
    leadership = Leadership("a")
    found: list[bool] = []
    go_on, done = threading.Event(), threading.Event()

    def listen(view: LeadershipView) -> None:
        if view.leader == "b":
            found.append(leadership.wait_for(lambda each: each.leader == "c", DEADLINE_S))
            go_on.wait(DEADLINE_S)
            done.set()

    leadership.listen(listen)
    leadership.start()
    leadership.look(Seen("b", 1))  # type: ignore[arg-type]
    eventually(lambda: leadership.view.leader == "b")
    leadership.look(Seen("c", 2))  # type: ignore[arg-type]
    assert leadership.wait_for(lambda view: view.leader == "c", DEADLINE_S)
    assert not done.is_set()
    go_on.set()
    assert done.wait(DEADLINE_S)
    assert found == [True]
    leadership.stop()
