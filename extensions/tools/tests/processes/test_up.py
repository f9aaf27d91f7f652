"""`raftline up` with real nodes: how it is ended from a script, and whom it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect

from raftline.clients.connections.client_access import ClientAccess
from raftline.common import config
from raftline.tools.status import status
from raftline_testing.nodes.cluster import NodeProcess
from raftline_testing.nodes.processes import (
    DEADLINE_S,
    eventually,
    free_ports,
    is_free,
    ports_in_a_row,
)

CLI = Path(__file__).resolve().parents[4] / "src" / "cli.py"


class Up:
    """A `raftline up` in a script, with a `&`; `lines` are those that were read."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.lines: list[str] = []
        script = '"$@" & echo "process $!"; wait $!; echo "status $?"'
        command = [sys.executable, str(CLI), "up", "--dir", str(folder), *options]
        self._shell = subprocess.Popen(
            ["sh", "-c", script, "sh", *command],
            stdin=subprocess.DEVNULL,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.process = int(self.read_until("process ").split()[1])

    def read_until(self, part: str) -> str:
        """Read on and return the first line that holds `part`."""
        assert self._shell.stdout
        for line in self._shell.stdout:
            self.lines.append(line.rstrip("\n"))
            if part in line:
                return self.lines[-1]
        raise AssertionError(f"{part!r} was never said, but: {self.lines}")

    def interrupt(self) -> None:
        """Do as `kill -INT` and wait for the end."""
        os.kill(self.process, signal.SIGINT)
        assert self.read_until("status ") == "status 0"
        self._shell.wait(DEADLINE_S)

    def kill(self) -> None:
        if self._shell.poll() is None:
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.communicate(timeout=DEADLINE_S)


@contextlib.contextmanager
def up(folder: Path, *options: str) -> Iterator[Up]:
    started = Up(folder, *options)
    try:
        yield started
    finally:
        started.kill()


def carry_out(folder: Path, *words: str) -> str:
    """Return what a command says that succeeds."""
    command = [sys.executable, str(CLI), *words, "--dir", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_up_with_an_ampersand_is_ended_by_kill_int(tmp_path: Path) -> None:
    """There the shell has SIGINT ignored."""
    with up(tmp_path, "--base-port", str(ports_in_a_row(3))) as cluster:
        cluster.read_until("Ctrl-C stops all")
        cluster.interrupt()
    assert cluster.lines[-2:] == ["[*] 3 nodes stopped", "status 0"]
    assert sum(line.endswith("has shut down cleanly.") for line in cluster.lines) == 3


def test_up_starts_the_members_of_the_log_and_names_the_others(tmp_path: Path) -> None:
    first, port = ports_in_a_row(3), next(free_ports)
    s4 = NodeProcess("s4", port, tmp_path, [])
    try:
        with up(tmp_path, "--base-port", str(first)) as cluster:
            cluster.read_until("Ctrl-C stops all")
            s4.start("--join", f"localhost:{first}")
            wait_for_voters(tmp_path, 4)
            carry_out(tmp_path, "remove", "s3")
            wait_for_voters(tmp_path, 3)
            cluster.interrupt()
        # s4 goes on, in its terminal: `up` counts its own nodes, and ignores s4.
        removed = "s3 (not a member in the newest log)"
        with up(tmp_path) as cluster:
            assert cluster.read_until("not started: ") == (
                f"[*] not started: {removed}, s4 (already runs on localhost:{port})"
            )
            cluster.read_until(f"[*] 2 nodes up: s1 s2 on ports {first}-{first + 1}; Ctrl-C")
            cluster.interrupt()
        assert s4.terminate() == 0
        with up(tmp_path) as cluster:
            assert cluster.read_until("not started: ") == f"[*] not started: {removed}"
            cluster.read_until(f"[*] 3 nodes up: s1 s2 s4 on ports {first} {first + 1} {port}; Ctr")
            wait_for_voters(tmp_path, 3)
            cluster.interrupt()
    finally:
        s4.close()


def wait_for_voters(folder: Path, count: int) -> None:
    """Wait until a leader serves with that number of voters, each of which answers and has a
    vote."""

    def settled() -> bool:
        nodes = status.ask_all(config.load(folder).members, ClientAccess(), 5.0)
        leader = status.leader_of(nodes)
        answers = {node.name: node.answer for node in nodes if node.answer}
        if leader is None or leader.answer is None or leader.answer.get("outgoing"):
            return False
        voters = leader.answer["voters"]
        return len(voters) == count and all(
            name in answers and not answers[name].get("recovering") for name in voters
        )

    eventually(settled, f"{count} voters")


def test_up_starts_only_nodes_of_a_fresh_folder_with_new(tmp_path: Path) -> None:
    first = ports_in_a_row(3)
    said = "votes at once: it never ran before (--new)"
    folder = tmp_path / "fresh"
    for is_new in (True, False):
        with up(folder, "--base-port", str(first)) as started:
            started.read_until("3 nodes up")
            assert sum(said in line for line in started.lines) == 3 * is_new
            started.interrupt()
    empty = tmp_path / "there already"
    empty.mkdir()
    with up(empty, "--base-port", str(first)) as started:
        started.read_until("3 nodes up")
        assert not any(said in line for line in started.lines)
        started.interrupt()


def test_no_node_outlives_the_terminal_of_its_up(tmp_path: Path) -> None:
    port = ports_in_a_row(2)
    arguments = [str(CLI), "up", "-n", "2", "--dir", str(tmp_path), "--base-port", str(port)]
    terminal = pexpect.spawn(sys.executable, arguments, timeout=DEADLINE_S, encoding="utf-8")
    terminal.expect_exact("Ctrl-C stops all")
    assert not any(map(is_free, (port, port + 1)))
    os.close(terminal.child_fd)  # `close` would send more signals than that terminal does
    terminal.closed = terminal.ptyproc.closed = True
    eventually(lambda: all(map(is_free, (port, port + 1))), "both nodes have ended")
    terminal.ptyproc.wait()
