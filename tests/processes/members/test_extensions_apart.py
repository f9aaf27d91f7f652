"""Nodes of builds with different extensions, or that apply the same commands otherwise."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from raftline_testing.runner.tree_copy import copy_tree

FILES_REFUSED = 3
PACE = ("--pace", "class")
APPEND = 'client1@object a list.append "b"'
LACKS = "lacks the extension objects"
OTHERWISE = "applies the extension objects otherwise"
KERNEL_ELSE = "need the kernel as an earlier or later build applies it"
_APPEND, _PREPEND = ": list.append,", ": lambda items, item: items.insert(0, item),"
_JOINED, _JOINED_ELSE = (
    f"text = unescape({one}) + unescape({other})"
    for one, other in (("current", "tail"), ("tail", "current"))
)


def program(tree: Path) -> list[str]:
    return [sys.executable, str(tree / "src" / "server.py")]


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The program of a node of a build without `objects`."""
    tree = tmp_path_factory.mktemp("without") / "tree"
    copy_tree(tree)
    shutil.rmtree(tree / "extensions" / "objects")
    return program(tree)


@pytest.fixture(scope="module")
def otherwise(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The program of a node of a build in which an appended element comes first."""
    tree = tmp_path_factory.mktemp("otherwise") / "tree"
    copy_tree(tree)
    kinds = tree / "extensions" / "objects" / "object_kinds.py"
    text = kinds.read_text("utf-8")
    assert _APPEND in text
    kinds.write_text(text.replace(_APPEND, _PREPEND, 1), "utf-8")
    return program(tree)


@pytest.fixture(scope="module")
def other_kernel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The program of a node of a build in which `append` puts a text in front."""
    tree = tmp_path_factory.mktemp("kernel") / "tree"
    copy_tree(tree)
    commands = tree / "src" / "state" / "commands" / "key_commands.py"
    text = commands.read_text("utf-8")
    assert text.count(_JOINED) == 1
    commands.write_text(text.replace(_JOINED, _JOINED_ELSE), "utf-8")
    return program(tree)


def exchange(cluster: Cluster, node: NodeProcess, of: list[str]) -> None:
    """Stop a node, and start it from another build."""
    node.terminate()
    node.program = of
    node.start()
    serves(cluster, node)


def serves(cluster: Cluster, node: NodeProcess) -> None:
    """Wait until a node follows or leads, and has applied what its leader has."""

    def has_caught_up() -> bool:
        leader = cluster.leader()
        return node.status().get("last_applied") == leader.status()["last_applied"]

    eventually(has_caught_up, f"{node.name} has caught up", DEADLINE_S)


def asked(cluster: Cluster, line: str) -> str:
    """Return the final reply of the leader to a line."""

    def reply() -> str:
        text = cluster.leader().ask(line).partition("@")[2]
        return "" if text.startswith("Sorry, ") and "ry again" in text else text

    return eventually(reply, line, DEADLINE_S)


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes of this build."""
    with Cluster(tmp_path, 3, *PACE) as cluster:
        yield cluster.start()


def give_lead(cluster: Cluster, name: str) -> None:
    """Make this node lead."""

    def leads() -> bool:
        leader = cluster.leader()
        if leader.name != name:
            leader.ask(f"transfer {name}")
        return leader.name == name

    eventually(leads, f"{name} leads", DEADLINE_S)


def has(node: NodeProcess, value: str) -> bool:
    return node.ask("get a read local").partition("@")[2] == f"GET response: {value}"


def refused(node: NodeProcess, of: list[str]) -> str:
    """Start a node from another build on its files; return the line with which it ends. The files
    stay as they are."""
    node.terminate()
    before, node.program = node.program, of
    files = [node.folder / f"{node.name}.{end}" for end in ("log", "storage")]
    held = [file.read_bytes() for file in files]
    assert node.launch().ended() == FILES_REFUSED
    assert held == [file.read_bytes() for file in files]
    node.program = before
    return next(line for line in node.said if "its entries need" in line)


def test_extension_comes_to_a_running_cluster(tmp_path: Path, without: list[str]) -> None:
    with Cluster(tmp_path, 3, *PACE) as cluster:
        here = cluster["s1"].program
        for node in cluster.nodes:
            node.program = without
        cluster.start()
        assert "I don't understand" in asked(cluster, APPEND)
        exchange(cluster, cluster["s1"], here)
        exchange(cluster, cluster["s2"], here)
        give_lead(cluster, "s1")
        assert asked(cluster, APPEND).startswith("Sorry, s3 (")
        assert LACKS in asked(cluster, APPEND)
        in_a_transaction = asked(cluster, "txn set b 1 ; object a list.append 1")
        assert LACKS in in_a_transaction
        assert asked(cluster, "set c 2") == "SET response: c set to 2"
        exchange(cluster, cluster["s3"], here)
        assert asked(cluster, APPEND) == "OBJECT response: null"
        for node in cluster.nodes:
            eventually(lambda node=node: has(node, '["b"]'), f"the list on {node.name}")
            assert node.ask("get b read local").endswith("no such key: b")


def test_extension_that_nobody_used_is_removed(whole: Cluster, without: list[str]) -> None:
    assert asked(whole, "set a 1") == "SET response: a set to 1"
    for node in whole.nodes:
        exchange(whole, node, without)
    assert "I don't understand" in asked(whole, APPEND)
    assert asked(whole, "get a") == "GET response: 1"


@pytest.mark.parametrize("line", [APPEND, "txn set q 1 ; object a list.append 1"])
def test_extension_that_was_used_is_not_removed(
    whole: Cluster, without: list[str], line: str
) -> None:
    assert "response" in asked(whole, line)
    for node in whole.nodes:
        serves(whole, node)
    why = refused(whole["s3"], without)
    assert "s3.log: its entries need the extension objects, which this build of raftline" in why
    whole["s3"].start()
    serves(whole, whole["s3"])


def test_unused_extension_is_exchanged_node_by_node(whole: Cluster, otherwise: list[str]) -> None:
    exchange(whole, whole["s2"], otherwise)
    exchange(whole, whole["s3"], otherwise)
    assert OTHERWISE in asked(whole, APPEND)
    exchange(whole, whole["s1"], otherwise)
    assert asked(whole, APPEND) == "OBJECT response: null"


def test_changed_effect_comes_by_a_backup(
    whole: Cluster, otherwise: list[str], tmp_path: Path
) -> None:
    assert asked(whole, APPEND) == "OBJECT response: null"
    for node in whole.nodes:
        serves(whole, node)
    line = refused(whole["s3"], otherwise)
    assert "need the extension objects as an earlier or later build applies it" in line
    move(whole, otherwise, tmp_path)
    assert asked(whole, APPEND.replace('"b"', '"c"')) == "OBJECT response: null"
    assert asked(whole, "get a") == 'GET response: ["c", "b"]'


def test_changed_effect_of_the_kernel_comes_by_a_backup(
    whole: Cluster, other_kernel: list[str], tmp_path: Path
) -> None:
    for value in "12":
        assert asked(whole, f"append a {value}").startswith("APPEND response: ")
    for node in whole.nodes:
        serves(whole, node)
    assert KERNEL_ELSE in refused(whole["s3"], other_kernel)
    move(whole, other_kernel, tmp_path)
    assert asked(whole, "append a 3").startswith("APPEND response: ")
    assert asked(whole, "get a") == "GET response: 312"
    for node in whole.nodes:
        eventually(lambda node=node: has(node, "312"), f"the value on {node.name}")


def test_node_with_another_kernel_is_sent_nothing(tmp_path: Path, other_kernel: list[str]) -> None:
    """In a new cluster, also of two builds of one day; the node follows once it has the others'."""
    with Cluster(tmp_path, 3, *PACE) as cluster:
        here, odd = cluster["s1"].program, cluster["s3"]
        odd.program = other_kernel
        cluster.start()
        eventually(lambda: cluster.leader() is not odd, "a leader that the others follow")
        for value in "12":
            assert asked(cluster, f"append a {value}").startswith("APPEND response: ")
        said = f"[!] s3 can't follow: entries of this cluster {KERNEL_ELSE}"
        cluster.leader().wait_for_line(said)
        assert odd.status()["last_applied"] == 0
        exchange(cluster, odd, here)
        eventually(lambda: has(odd, "12"), "the value on s3")


def move(whole: Cluster, to: list[str], tmp_path: Path) -> None:
    """Take a backup, restore it with another build, and start all nodes from that."""
    shell = [to[0], str(Path(to[1]).with_name("cli.py"))]
    addresses = [f"{node.name}=localhost:{node.port}" for node in whole.nodes]
    at, kept, restored = addresses[0].partition("=")[2], tmp_path / "kept", tmp_path / "restored"
    subprocess.run([*shell, "backup", kept, "--at", at], check=True, capture_output=True)
    for node in whole.nodes:
        node.terminate()
    subprocess.run(
        [*shell, "restore", kept, restored, "--members", *addresses],
        check=True,
        capture_output=True,
    )
    for node in whole.nodes:
        node.program, node.folder = to, restored
        node.where = ["--dir", str(restored)]
        node.start()
