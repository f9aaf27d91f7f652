"""The evening's copy at work: at the kit, at the grader, and in clusters, also with raftline."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from course.tests.processes.mixed_cluster import (
    JUDGED_S,
    CNode,
    MixedCluster,
    lead_in_turn,
    serve_amid_faults,
)

from labs.solutions.model import SMALL, evenings_copy, write
from raftline_course.grading.isolation import sandbox
from raftline_course.grading.judging import marks_of
from raftline_course.grading.milestones import MILESTONES, POINTS
from raftline_course.grading.selftests.cheats import MISTAKES, TEN, Cheat
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually, free_ports

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "course" / "docs" / "evening.md"
PROGRAM = [sys.executable, str(SMALL / "server.py")]
RAFTLINE = f"{sys.executable} {ROOT / 'src' / 'server.py'} {{name}} {{port}} --dir {{dir}} --floor"
# Of each level some checks in which a wrong rule, a late answer or a missing sync would show.
SLICE = (
    "escapes", "in-order", "pre-vote", "one-vote", "conflict", "own-term-alone", "quorum-checked",
    "synced-before-answer", "torn-write", "first-read", "read-confirmed", "retries-in-any-order",
    "yields-to-a-leader", "replaced-write",
)  # fmt: skip


def _judged(server: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "src" / "cli.py"), "conform", "--jobs", "2", *words]
    command += ["--", sys.executable, str(server), "{name}", "{port}", "{dir}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=JUDGED_S, check=False)


# --- the kit --------------------------------------------------------------------------------------


@pytest.mark.timeout(JUDGED_S)
def test_small_server_passes_a_slice_of_the_kit() -> None:
    done = _judged(SMALL / "server.py", *(word for name in SLICE for word in ("--only", name)))
    assert done.returncode == 0, done.stdout


@pytest.mark.nightly
@pytest.mark.parametrize("is_mixed", [False, True], ids=["alone", "beside-raftline"])
def test_small_server_passes_six_levels(is_mixed: bool) -> None:
    words = ["--with", RAFTLINE] if is_mixed else []
    done = _judged(SMALL / "server.py", "--level", "1-6", *words)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "old", "new", "check"),
    [
        ("raft.py", " and self.log.term_at(index) == self.term:", ":", "own-term-alone"),
        ("logmanager.py", "        os.fsync(self._file)\n", "", "synced-before-answer"),
        ("raft.py", "if term not in (None, entry.term)", "if term", "no-cut-without-conflict"),
        ("raft.py", "self.reads[0][0] <= confirmed", "confirmed >= 0", "read-confirmed"),
        ("raft.py", "self.save(self.term, asked.sender)", "pass", "one-vote"),
        ("logmanager.py", "        os.truncate(self._log_path, end)", "        pass", "torn-write"),
        (
            "server.py",
            'if self._node.role != "leader":  # first',
            "if False:  # first",
            "replaced-write",
        ),
    ],
)
def test_a_missing_rule_fails_its_check(
    tmp_path: Path, file: str, old: str, new: str, check: str
) -> None:
    """Each change that the page proposes."""
    assert f"(`{check}`)" in PAGE.read_text("utf-8")
    for path in SMALL.glob("*.py"):
        shutil.copy(path, tmp_path)
    text = (tmp_path / file).read_text("utf-8")
    assert text.count(old) == 1
    (tmp_path / file).write_text(text.replace(old, new), "utf-8")
    done = _judged(tmp_path / "server.py", "--only", check)
    assert done.returncode == 1, done.stdout
    assert f" {check} " in done.stdout


@pytest.mark.nightly
@pytest.mark.parametrize(
    "mistake", [one for one in MISTAKES if one.check], ids=lambda one: one.check
)
def test_a_mistake_of_students_fails_its_check(tmp_path: Path, mistake: Cheat) -> None:
    """The kit names the rule; the grader's own test has the same mistakes."""
    for path in SMALL.glob("*.py"):
        shutil.copy(path, tmp_path)
    write(mistake.files(), tmp_path)
    done = _judged(tmp_path / "server.py", "--only", mistake.check)
    assert done.returncode == 1, done.stdout
    assert re.search(rf"^FAILED +\d {mistake.check} .*\n.+\n +rule: .+\((Raft|thesis)", done.stdout)


@pytest.mark.parametrize("check", ["vote-kept", "term-kept"])
def test_a_node_that_stands_by_itself_breaks_no_rule(tmp_path: Path, check: str) -> None:
    """An election timeout of 8 ms is over before the kit asks for a vote, as on a slow machine."""
    for path in SMALL.glob("*.py"):
        shutil.copy(path, tmp_path)
    text = (tmp_path / "server.py").read_text("utf-8")
    assert text.count("=500, heartbeat_ms=100") == 1
    fast = text.replace("=500, heartbeat_ms=100", "=8, heartbeat_ms=2")
    (tmp_path / "server.py").write_text(fast, "utf-8")
    done = _judged(tmp_path / "server.py", "--only", check)
    assert "FAILED" not in done.stdout
    assert done.stdout.startswith(("not judged", "ok "))  # a try may be undisturbed


# --- the grader -----------------------------------------------------------------------------------


@pytest.mark.nightly
@pytest.mark.skipif(not sandbox.can_lock(), reason="no list of allowed calls here")
@pytest.mark.parametrize("number", range(1, TEN + 1))
def test_small_core_stands_all_schedules(number: int) -> None:
    """Its raft.py is handed in as it is, with the machine of its logmanager.py."""
    found = marks_of(evenings_copy(), MILESTONES[number - 1])
    assert (found.points, found.failures) == (POINTS, [])


# --- clusters -------------------------------------------------------------------------------------


def _name_of(node: NodeProcess) -> object:
    return node.name


def _kind_of(node: NodeProcess) -> object:
    return type(node) is NodeProcess


def test_a_killed_leader_loses_no_acknowledged_write(tmp_path: Path) -> None:
    """Three small servers; each of two leaders is killed after a write, and then all of them."""
    with MixedCluster(tmp_path, [PROGRAM] * 3, 0) as cluster:
        cluster.start()
        written: dict[str, str] = {}
        for number in range(2):
            leader = cluster.write(f"k{number}", f"{number} é \\n")
            written[f"k{number}"] = f"GET response: {number} é \\n"
            leader.kill()
            assert {key: cluster.read(key) for key in written} == written
            leader.start()
        cluster.kill()
        cluster.start()
        assert {key: cluster.read(key) for key in written} == written
        entries = cluster.wait_until_alike()
        assert any(entry.endswith("set k0 0 é \\n\n") for entry in entries)


def test_small_servers_and_raftline_form_a_cluster(tmp_path: Path) -> None:
    """Two small servers and one of raftline: a leader is killed, and all logs come to agree."""
    with MixedCluster(tmp_path, [PROGRAM] * 2, 1) as cluster:
        lead_in_turn(cluster.start(), lambda node: "any", {"any"}, most=1)


@pytest.mark.nightly
def test_small_servers_and_raftline_lead_in_turn(tmp_path: Path) -> None:
    with MixedCluster(tmp_path, [PROGRAM] * 2, 1) as cluster:
        lead_in_turn(cluster.start(), _kind_of, {True, False}, most=60)


@pytest.mark.nightly
@pytest.mark.parametrize("count", [2, 3])
def test_clients_see_a_linearizable_history(tmp_path: Path, count: int) -> None:
    """During faults, with and without a node of raftline."""
    with MixedCluster(tmp_path, [PROGRAM] * count, 3 - count) as cluster:
        serve_amid_faults(cluster.start())


def test_server_serves_again_after_too_many_connections(tmp_path: Path) -> None:
    """It has 30 descriptors, and clients take all of them."""
    limited = ["sh", "-c", 'ulimit -n 30; exec "$0" "$@"', *PROGRAM]
    cluster = Cluster(tmp_path, 1)
    cluster.nodes = [CNode(limited, node.name, node.port, tmp_path) for node in cluster.nodes]
    with cluster, ExitStack() as opened:
        node = cluster.start().nodes[0]
        eventually(lambda: "GET response" in node.ask("get a"), "a leader")

        def take_all() -> None:
            for _ in range(40):
                opened.enter_context(node.connect(0.5)).ask("get a")

        with pytest.raises(TimeoutError):
            take_all()
        opened.close()
        assert "a set to 1" in node.ask("set a 1")


# --- the programs ---------------------------------------------------------------------------------


def test_client_follows_the_leader(tmp_path: Path) -> None:
    """Lines from a pipe; the client begins at a server that may be none."""
    with MixedCluster(tmp_path, [PROGRAM] * 3, 0) as cluster:
        cluster.start()
        leader = cluster.write("k", "1")
        other = next(node for node in cluster.nodes if node is not leader)
        typed = "set b 5\nget b\nshow b\nsing\n"
        done = _client(str(other.port), "4", typed=typed)
    assert done.stdout.splitlines()[:3] == [
        "SET response: b set to 5", "GET response: 5", 'SHOW response: {"b": "5"}',
    ]  # fmt: skip
    assert done.stdout.splitlines()[3].startswith("Sorry, I don't understand: sing")


def _client(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SMALL / "client.py"), *words]
    return subprocess.run(
        command, input=typed, capture_output=True, text=True, timeout=60, check=False
    )


def test_client_lives_on_when_the_leader_dies(tmp_path: Path) -> None:
    """The others name the dead one until one of them leads; later the client's own server ends and
    comes back."""
    cluster = Cluster(tmp_path, 3)
    cluster.nodes = [CNode(PROGRAM, node.name, node.port, tmp_path) for node in cluster.nodes]
    with cluster:
        cluster.start()
        assert "set to 1" in _client(str(cluster.nodes[0].port), typed="set a 1\n").stdout
        leader = next(node for node in cluster.nodes if "GET response" in node.ask("get a"))
        own = next(node for node in cluster.nodes if node is not leader)
        with _typing(own) as ask:
            assert ask("get a") == "GET response: 1\n"
            leader.kill()
            assert ask("incr a") == "INCR response: 2\n"  # the next leader hears it, too
            assert ask("get a") == "GET response: 2\n"
            leader.start()
            own.kill()
            own.start()
            assert ask("set a 3") == "SET response: a set to 3\n"


@contextmanager
def _typing(node: NodeProcess) -> Iterator[Callable[[str], str]]:
    """Give the client of a person who types a line and waits for the reply."""
    command = [sys.executable, str(SMALL / "client.py"), str(node.port)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        keys, screen = client.stdin, client.stdout

        def ask(line: str) -> str:
            keys.write(f"{line}\n")
            return screen.readline()

        yield ask


def test_a_client_sends_a_lost_request_again_with_its_number() -> None:
    """Its first server executes the request, and ends before the reply."""
    lines: list[bytes] = []
    with socket.create_server(("localhost", 0)) as listener:

        def serve() -> None:
            for reply in (b"", b"s1@INCR response: 1\n"):
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as stream:
                    lines.append(stream.readline())
                    connection.sendall(reply)

        server = threading.Thread(target=serve)
        server.start()
        done = _client(str(listener.getsockname()[1]), "7", typed="incr a\n")
        server.join()
    assert done.stdout == "INCR response: 1\n"
    assert lines[0] == lines[1]
    assert re.fullmatch(rb"client7#[0-9]+@incr a\n", lines[0])


def test_wrong_start_says_what_to_do(tmp_path: Path) -> None:
    port = str(next(free_ports))
    (tmp_path / "server-configuration.txt").write_bytes(b"s1 \xff 10000\n")
    for words, why in (
        (["s1"], "usage: python course/small/server.py NAME PORT"),
        (["s1", "²"], "usage: python course/small/server.py NAME PORT"),
        (["s1", port, str(tmp_path / "server-configuration.txt" / "a")], "Not a directory"),
        (["s1", port, str(tmp_path)], "can't decode byte 0xff"),
    ):
        done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert why in done.stderr
        assert "Traceback" not in done.stderr
    done = _client("0x1")
    assert "usage: python course/small/client.py PORT" in done.stderr
    done = _client(port)
    assert f"no server at port {port}" in done.stderr
