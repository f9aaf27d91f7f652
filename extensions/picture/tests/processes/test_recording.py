"""Real nodes with --record: what they wrote down replays, and the file is theirs alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from raftline_testing.nodes.cluster import SERVER, Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually

REPLAY = [sys.executable, str(SERVER.with_name("cli.py")), "replay"]


def recorded(folder: Path, count: int, *options: str) -> Cluster:
    """Return a cluster whose nodes record into NAME.steps."""
    cluster = Cluster(folder, count, *options)
    for node in cluster.nodes:
        node.options += ["--record", str(recording(node))]
    return cluster


def recording(node: NodeProcess) -> Path:
    return node.folder / f"{node.name}.steps"


def replayed(path: Path) -> int:
    """Replay a recording in another process; return how many steps had the same Effects."""
    done = subprocess.run([*REPLAY, path], capture_output=True, text=True, timeout=120, check=False)
    found = re.fullmatch(r"(\d+) steps replayed, the same Effects\n", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert done.returncode == 0
    return int(found[1])


def test_three_recorded_nodes_and_a_killed_leader_replay(tmp_path: Path) -> None:
    with recorded(tmp_path, 3) as cluster:
        first = cluster.start().leader()
        for number in range(20):
            assert cluster.ask(f"set k{number} é{number}").startswith("SET")
        cluster.ask("get k1")
        # Steps are gathered for 50 ms, and a kill loses those.
        assert eventually(lambda: "set k19" in recording(first).read_text())
        first.kill()
        second = cluster.leader()
        assert second is not first
        cluster.ask("set after 1")
        assert replayed(recording(second)) > 20  # while it goes on
        first.start()
        cluster.wait_until_whole()
        cluster.ask("set whole 1")
        cluster.ask("incr n")
    for node in cluster.nodes:
        assert replayed(recording(node)) > (0 if node is first else 20)  # it was killed soon
        assert (node.folder / f"{node.name}.steps.1").exists() == (node is first)
    assert replayed(tmp_path / f"{first.name}.steps.1") > 20
    text = recording(second).read_text()
    assert "\n@" in text
    assert "set after 1" in text


def test_a_snapshot_a_new_member_and_a_transfer_replay(tmp_path: Path) -> None:
    with recorded(tmp_path, 3, "--compact-at", "2000", "--follower-reads", "--reads", "lease") as c:
        c.start().leader()
        lagging = c.followers()[0]
        lagging.kill()
        for number in range(120):
            c.ask(f"set k{number % 7} {'v' * 50}")
        lagging.start()
        c.wait_until_whole()
        for node in c.nodes:
            node.ask("get k1")
        c.leader().ask("transfer")
        c.leader()
        c.ask("set end 1")
    for node in c.nodes:
        replayed(recording(node))
    assert "SnapshotTaken" in "".join(recording(node).read_text() for node in c.nodes)


def test_a_file_of_another_kind_is_not_recorded_over(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1)
    (tmp_path / "notes").write_text("mine\n")
    for file in ("notes", "s1.log", "none/steps"):
        program = [sys.executable, str(SERVER), "s1", str(cluster.nodes[0].port)]
        done = subprocess.run(
            [*program, "--dir", str(tmp_path), "--record", str(tmp_path / file)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "notes").read_text() == "mine\n"
    assert not (tmp_path / "s1.log").exists()
