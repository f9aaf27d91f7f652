"""The lab on replicated objects, run as its sheet says, and ended in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import raftline
from labs.leftovers import LabFolder
from labs.replicas.lab import NODE, running
from raftline.client import Client
from raftline_testing.nodes.processes import (
    DEADLINE_S,
    Process,
    eventually,
    free_ports,
    ports_in_a_row,
)

CHECK = Path(__file__).resolve().parents[3] / "course" / "labs" / "replicas" / "check.py"
PROGRAM = CHECK.with_name("mine.py")


def test_every_row_of_the_objects_lab_holds() -> None:
    ended = subprocess.run(
        [sys.executable, str(CHECK)], capture_output=True, text=True, timeout=280, check=False
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    rows = {line.split()[1] for line in ended.stdout.splitlines() if line.startswith("ok ")}
    assert rows == {f"002-{number:02}" for number in range(1, 14)}, said


def test_the_objects_lab_program_shares_its_value_as_documented(tmp_path: Path) -> None:
    program = PROGRAM.read_text("utf-8")
    ports = [next(free_ports) for _ in range(3)]
    for number, port in enumerate(ports):
        program = program.replace(f":{8000 + number}", f":{port}")
    (tmp_path / "mine.py").write_text(program, encoding="utf-8")
    programs = [
        subprocess.Popen(
            [sys.executable, "mine.py", name],
            cwd=tmp_path,
            text=True,
            bufsize=1,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(CHECK.parents[3] / "src")},
        )
        for name in ("node1", "node2", "node3")
    ]
    try:
        assert {said(each).rpartition(" ")[2] for each in programs} == {"None\n"}
        for each in programs:
            assert type_in(each, "mine").endswith("the value is mine\n")
        programs[0].kill()
        for each in programs[1:]:
            assert type_in(each, "yours").endswith("the value is yours\n")
    finally:
        for each in programs:
            each.kill()
            each.communicate()


def said(program: subprocess.Popen[str]) -> str:
    assert program.stdout
    return program.stdout.readline()


def type_in(program: subprocess.Popen[str], line: str) -> str:
    assert program.stdin
    program.stdin.write(f"{line}\n")
    return said(program)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is missing")
def test_the_terminal_panes_are_opened_once_and_left_empty(tmp_path: Path) -> None:
    # A person's own shell may hold a lock just as its pane ends, and wait for it ever after.
    nobodys = {**os.environ, "SHELL": "/bin/sh", "HOME": "/nonexistent"}
    shell = {**nobodys, "LAB_SOCKET": f"raftline-test-{os.getpid()}", "LAB_DIR": str(tmp_path)}
    terminals = CHECK.with_name("setup_terminals.sh")
    try:
        done = script(terminals, "--empty", environment=shell)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("Six panes are open. To see them: tmux -L raftline-test-")
        again = script(terminals, "--empty", environment=shell)
        assert again.returncode == 1
        assert again.stderr.startswith("The six panes are open already")
        assert [*tmp_path.iterdir()] == []
    finally:
        done = script(CHECK.with_name("stop_terminals.sh"), environment=shell)
    assert (done.returncode, done.stdout) == (0, "stopped: nothing ran\n")


def test_without_tmux_the_six_terminals_are_opened_by_hand(tmp_path: Path) -> None:
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    done = script(CHECK.with_name("setup_terminals.sh"), environment={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr.startswith("tmux is missing (apt-get install tmux); or open six terminals")


def script(
    path: Path, *words: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(path), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_story_names_the_nodes_that_could_not_start(tmp_path: Path) -> None:
    first = ports_in_a_row(5)
    with socket.create_server(("127.0.0.1", first + 2)):
        ended = subprocess.run(
            [sys.executable, str(CHECK.with_name("lab.py")), "--base-port", str(first), "story"],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert ended.returncode == 1
    refused, said = ended.stderr.splitlines()
    assert refused.startswith(f"[!] port {first + 2} on 127.0.0.1 is in use")
    assert said == "lab.py: node3 could not start: see above; try another --base-port"
    assert not [*tmp_path.iterdir()]


def test_the_story_changes_no_cluster_that_has_its_ports(tmp_path: Path) -> None:
    first = ports_in_a_row(5)
    theirs = {"node1": f"127.0.0.1:{first}"}
    with raftline.Node("node1", members=theirs, dir=tmp_path / "theirs") as node:
        node.wait_until_leader(timeout=DEADLINE_S)
        ended = subprocess.run(
            [sys.executable, str(CHECK.with_name("lab.py")), "--base-port", str(first), "story"],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        with Client("127.0.0.1", first) as client:
            kept = client.request("show")
    assert ended.returncode == 1
    assert "node1 could not start: see above" in ended.stderr
    assert "HACKATHON" not in kept


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_interrupted_checker_leaves_no_node_and_no_file(end: int, tmp_path: Path) -> None:
    """A checker that is ended in the middle leaves no node and no file."""
    check = subprocess.Popen(
        [sys.executable, str(CHECK)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert check.stdout
    assert any(line.startswith("ok 002-05") for line in check.stdout)
    (folder,) = tmp_path.iterdir()
    nodes = {name: process for name, process in running(folder).items() if process}
    assert len(nodes) >= 2  # by now it may have ended the leader, which is its next row but one
    check.send_signal(end)
    check.communicate(timeout=DEADLINE_S)
    assert check.returncode == (143 if end == signal.SIGTERM else -end)
    eventually(lambda: not [*tmp_path.iterdir()], "an empty folder for temporary files")
    eventually(lambda: not any(map(is_there, nodes.values())), "the end of the nodes")


def test_node_outliving_its_lab_is_killed_before_cleanup() -> None:
    """A running node would create the removed folder again, and keep it."""
    with LabFolder() as scene:
        options = ["--node", "1", "--nodes", "1", "--base-port", str(next(free_ports))]
        command = [sys.executable, str(NODE), *options, "--dir", str(scene.folder)]
        node = Process("node1", command).launch()
        eventually(lambda: running(scene.folder) == {"node1": node.pid}, "a running node")
    assert node.ended() == -signal.SIGKILL
    assert not scene.folder.exists()


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
