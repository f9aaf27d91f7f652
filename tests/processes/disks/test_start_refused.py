"""Starts that must not succeed: one line, the right exit status, nothing touched."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from raftline import server
from raftline.access.secret import make_secret
from raftline.common.config import FILE_NAME
from raftline_testing.doubles.in_process import run_main
from raftline_testing.nodes.cluster import STEADY, Cluster, NodeProcess
from raftline_testing.nodes.processes import free_ports


def refused(node: NodeProcess, *options: str) -> tuple[int, str]:
    """Start a node that won't; return its exit status and its one line of complaint."""
    node.launch(*options)
    status = node.ended()
    complaints = [line for line in node.said if line.startswith("[!] ") or "error: " in line]
    assert len(complaints) == 1, node.transcript()
    return status, complaints[0].removeprefix("[!] ")


def refused_here(node: NodeProcess, *options: str) -> tuple[int, str]:
    """Start, in this process, a node that must not get as far as its port; return the same."""
    done = run_main(server.main, "server.py", *node.arguments, *options)
    assert done.stderr.count("\n") == 1, done.stderr
    return done.returncode, done.stderr.rstrip("\n").removeprefix("[!] ")


@pytest.fixture
def idle(tmp_path: Path) -> Cluster:
    """Return three nodes that are configured and not started."""
    return Cluster(tmp_path, 3)


def test_a_name_that_the_configuration_lacks_is_refused(idle: Cluster) -> None:
    with idle:
        node = idle["s1"]
        node.name = "s9"
        path = idle.folder / FILE_NAME
        assert refused_here(node) == (
            2,
            f"s9 is not in {path} (it names: s1 s2 s3); add a line 's9 localhost {node.port}' "
            "there, or start with --register, or with --join HOST:PORT to join a cluster that runs "
            "already",
        )
        assert not (idle.folder / "s9.log").exists()


@pytest.mark.parametrize("name", ["../x", "", "1s", "s 1", "x" * 65, "s1\n"])
def test_an_invalid_name_is_refused(idle: Cluster, name: str) -> None:
    with idle:
        node = idle["s1"]
        node.name = name
        before = sorted(idle.folder.rglob("*"))
        for options in ((), ("--register",)):
            assert refused_here(node, *options)[0] == 2
        assert sorted(idle.folder.rglob("*")) == before


@pytest.mark.parametrize("port", ["0", "70000", "abc", "-1", "1e4", "١٠٠٠٠", ""])
def test_an_invalid_port_is_refused(idle: Cluster, port: str) -> None:
    with idle:
        node = idle["s1"]
        node.port = port  # type: ignore[assignment]
        status, complaint = refused_here(node)
        assert status == 2
        assert "port" in complaint.lower()


def test_a_port_in_use_is_reported_before_any_file_is_touched(idle: Cluster) -> None:
    node = idle["s1"]
    with idle, socket.create_server(("127.0.0.1", node.port)):
        assert refused(node) == (
            2,
            f"port {node.port} on localhost is in use: another node or program listens there; "
            f"stop it (`ss -ltnp sport = :{node.port}` names it) or choose another port",
        )
        assert not node.log.exists()


@pytest.mark.parametrize("text", [None, "# mine\ns9 localhost 1", "s9 localhost 1\n"])
def test_a_start_that_fails_leaves_no_name_in_the_configuration(
    idle: Cluster, text: str | None
) -> None:
    node, path = idle["s1"], idle.folder / FILE_NAME
    path.unlink()
    if text is not None:
        path.write_text(text)
    with idle:
        with socket.create_server(("127.0.0.1", node.port)):
            assert refused(node, "--register")[0] == 2
        (idle.folder / "s1.log").mkdir()
        assert refused(node, "--register")[0] == 3
        assert (path.read_text() if path.exists() else None) == text


def test_a_failed_start_keeps_a_configured_name(idle: Cluster) -> None:
    node, path = idle["s1"], idle.folder / FILE_NAME
    before = path.read_text()
    with idle, socket.create_server(("127.0.0.1", node.port)):
        assert refused(node, "--register")[0] == 2
        assert path.read_text() == before


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("s1 a 1001\ns1 b 1002\n", "2: s1 appears twice; every node needs its own name"),
        ("s1 localhost 1\ns2 127.0.0.1 1\n", "2: s2 and s1 share 127.0.0.1:1; give each its own"),
        ("s1 localhost\n", "1: 'localhost' is not a port: a number from 1 to 65535"),
        ("s1 localhost 99999\n", "1: '99999' is not a port: a number from 1 to 65535"),
        ("s1 local host 1001\n", "1: 4 words, not NAME HOST PORT, as in: s1 localhost 10000"),
        ("# nobody\n", " names no node; write one line per node: s1 localhost 10000"),
    ],
)  # fmt: skip
def test_a_configuration_that_contradicts_itself_is_refused(
    idle: Cluster, text: str, complaint: str
) -> None:
    path = idle.folder / FILE_NAME
    path.write_text(text)
    with idle:
        assert refused_here(idle["s1"]) == (2, f"{path}:{complaint}")
        assert list(idle.folder.iterdir()) == [path]


def test_missing_configuration_is_refused_with_lines_to_write(idle: Cluster) -> None:
    """Without a configuration, the refusal shows the lines to write."""
    path = idle.folder / FILE_NAME
    path.unlink()
    with idle:
        assert refused_here(idle["s1"]) == (
            2,
            f"{path}: is missing; write one line per node into it: s1 localhost 10000",
        )


@pytest.mark.parametrize("options", [(), ("--register",)])
def test_a_folder_that_is_a_file_is_refused(idle: Cluster, options: tuple[str, ...]) -> None:
    with idle:
        node = idle["s1"]
        obstacle = idle.folder / "obstacle"
        obstacle.write_text("no folder\n")
        node.where = ["--dir", str(obstacle)]
        status, complaint = refused_here(node, *options)
        assert status == 2
        assert complaint.startswith(str(obstacle))
        assert obstacle.read_text() == "no folder\n"


def test_a_log_that_is_a_folder_is_refused(idle: Cluster) -> None:
    with idle:
        (idle.folder / "s1.log").mkdir()
        (idle.folder / "s1.log" / "x").touch()
        status, complaint = refused(idle["s1"])
        assert status == 3
        assert "s1.log" in complaint


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody without rights")
def test_unwritable_folder_is_refused_at_the_start(idle: Cluster) -> None:
    """A node refuses to start in a folder that it cannot write to."""
    with idle:
        node = idle["s1"]
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("setpriv is not installed")
        node.program = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", *node.program]
        for above in (idle.folder, *idle.folder.parents):  # to be reached, not to be written
            if above.owner() == "root" and above != Path("/"):
                above.chmod(above.stat().st_mode | 0o555)
        idle.folder.chmod(0o555)
        status, complaint = refused(node)
        assert status == 3
        assert "Permission denied" in complaint
        assert "allow this user to write there, or choose another folder" in complaint


def test_a_second_server_on_the_same_files_is_refused(idle: Cluster) -> None:
    with idle:
        node = idle["s1"].start()
        assert node.process is not None
        second = NodeProcess("s1", next(free_ports), idle.folder, [])
        status, complaint = refused(second)
        second.close()
        assert status == 3
        assert complaint == (
            f"s1 is running already: process {node.process.pid} holds {idle.folder}/s1.lock; "
            "stop it first, or start this node under another name or with another --dir"
        )
        node.kill()
        node.start()  # the lock file of a dead process stops nobody


def test_another_node_s_files_are_refused(idle: Cluster) -> None:
    with idle:
        idle.start()
        idle.ask("client4@set a 4")
        idle.wait_until_equal()
        for node in idle.nodes:
            node.terminate()
        for ending in ("log", "storage"):
            shutil.copy(idle.folder / f"s2.{ending}", idle.folder / f"s3.{ending}")
        status, complaint = refused(idle["s3"])
        assert status == 3
        assert complaint.startswith("s3.storage belongs to node 's2', not to s3")


def test_second_s2_collects_no_votes_next_to_the_first(
    idle: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A second s2 elsewhere gets no votes while the first one is connected."""
    with idle:
        for node in idle.nodes:
            node.options += STEADY  # a leader speaks again before others may speak for it
        leader = idle.start().led_by("s1").leader()
        idle.wait_until_equal()
        follower = idle.followers()[0]
        reply = follower.ask(f"{leader.name}@RequestVote 999-999-998")
        assert reply == (
            f"{follower.name}@Sorry, {leader.name} speaks on another connection; "
            "nobody else does for it"
        )
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        shutil.copy(idle.folder / FILE_NAME, elsewhere / FILE_NAME)
        double = NodeProcess(leader.name, next(free_ports), elsewhere, []).start()
        double.wait_for_line("asking for PreVotes")
        assert idle.ask("client4@set a 4") == "SET response: a set to 4"
        assert not any("I am Leader" in line for line in double.said)
        double.close()


def test_a_network_address_is_refused_without_its_option(idle: Cluster) -> None:
    with idle:
        status, complaint = refused(idle["s1"], "--host", "0.0.0.0")
        assert status == 2
        assert complaint == (
            "--host 0.0.0.0 lets other machines reach this node; if this is intended, add "
            "--open-to-network. Without --host only this machine can"
        )
        idle["s1"].start("--host", "0.0.0.0", "--open-to-network", "--insecure")


def test_a_node_that_others_reach_does_not_start_unprotected(
    idle: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("secrets") / "secret"
    make_secret(secret)
    reached = ("--host", "0.0.0.0", "--open-to-network")
    with idle:
        status, complaint = refused(idle["s1"], *reached)
        assert status == 2
        assert complaint == (
            "--host 0.0.0.0 lets others reach this node, and anyone who does could pose as a "
            "member: add --secret FILE (`raftline secret FILE` makes one), or --tls-only and "
            "--tls-ca FILE; if this is intended, add --insecure"
        )
        offer = ("--secret", str(secret), "--secret-mode", "offer")
        status, complaint = refused(idle["s1"], *reached, *offer)
        assert status == 2
        assert complaint == (
            "--secret-mode offer accepts members that prove nothing, and others can reach this "
            "node; leave it out, or add --insecure while the secret is turned on node by node"
        )
        assert not (idle.folder / "s1.log").exists()
        idle["s1"].start(*reached, "--secret", str(secret))
        idle["s1"].wait_for_line("[!] while the cluster has no users, every client ")
        idle["s2"].start(*reached, *offer, "--insecure")
        idle["s2"].wait_for_line("[!] --secret-mode offer accepts members that prove nothing: ")


@pytest.mark.parametrize("option", ["--pace=slow", "--reads=never", "--max-connections=x"])
def test_an_unknown_option_is_refused(idle: Cluster, option: str) -> None:
    with idle:
        status, complaint = refused_here(idle["s1"], option)
        assert status == 2
        assert complaint.startswith("server.py: error: ")
