"""Promises: who reaches a node."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.access import authority
from raftline.access.secret import make_secret
from raftline_testing.nodes.cluster import Cluster, NodeProcess

EVERYWHERE = ("--host", "0.0.0.0", "--open-to-network")
PRIVATE = "127.0.0.2"  # an address of this machine, on which nothing listens by default


def answers_at(host: str, node: NodeProcess) -> bool:
    try:
        with socket.create_connection((host, node.port), 5):
            return True
    except ConnectionRefusedError:
        return False


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    (tmp_path / "nodes").mkdir()
    with Cluster(tmp_path / "nodes", 1) as cluster:
        yield cluster["s1"]


def options_for(way: str, folder: Path) -> list[str]:
    """Return the options with which a node may listen on a network in this way."""
    if way == "a secret":
        make_secret(folder / "secret")
        return ["--secret", str(folder / "secret")]
    if way == "TLS":
        authority.make(folder, ["s1=localhost"], [])
        files = {"cert": "s1.pem", "key": "s1.key", "ca": "ca.pem"}
        return [
            "--tls-only",
            *(w for o, f in files.items() for w in (f"--tls-{o}", str(folder / f))),
        ]
    return [way] if way else []


def test_a_node_answers_its_own_machine_alone(node: NodeProcess) -> None:
    """Access is closed by default: a node listens on its own machine only, and on a network only
    with a secret, TLS or `--insecure`."""
    node.start()
    assert (answers_at("127.0.0.1", node), answers_at(PRIVATE, node)) == (True, False)


@pytest.mark.parametrize("way", ["", "--insecure", "a secret", "TLS"])
def test_a_network_takes_protection_or_a_word(node: NodeProcess, way: str, tmp_path: Path) -> None:
    """Access is closed by default: a node listens on its own machine only, and on a network only
    with a secret, TLS or `--insecure`."""
    protected = options_for(way, tmp_path)
    for host in (EVERYWHERE[:2], EVERYWHERE):
        options = [*host, *protected]
        if way and host == EVERYWHERE:
            node.start(*options)
            assert answers_at(PRIVATE, node)
        else:
            assert node.launch(*options).ended() == 2
            assert "--open-to-network" in node.transcript() or "--insecure" in node.transcript()
