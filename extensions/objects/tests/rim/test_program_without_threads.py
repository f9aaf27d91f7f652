"""A node in a program that gets no thread as it starts leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

import raftline
from raftline_testing.nodes.processes import free_ports
from raftline_testing.nodes.refused_threads import expect_free, refuse
from raftline_testing.runner.at_night import in_the_rest

OF_A_PROGRAM = ["console", "s1 owner", "s1 writer", "s1 applier", "s1 snapshots", "s1 accept"]
OF_A_PROGRAM += ["s1 state file", "s1 leadership", "s1 node"]


@pytest.mark.parametrize("name", [OF_A_PROGRAM[0], *map(in_the_rest, OF_A_PROGRAM[1:])])
def test_node_without_a_thread_releases_its_port_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A node in a program without a thread releases its port and its files."""
    port = next(free_ports)
    with monkeypatch.context() as patched:
        refuse(patched, name)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            node_in_a_program(tmp_path, port)
    expect_free(port)
    node_in_a_program(tmp_path, port).close()


def test_a_node_in_a_program_has_the_tls_of_its_keywords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables of a client name the TLS of another cluster, or a file that is gone."""
    monkeypatch.setenv("RAFTLINE_TLS_CA", str(tmp_path / "no-such-file"))
    with node_in_a_program(tmp_path, next(free_ports)) as node:
        pairs = raftline.ReplicatedDict("pairs", node)
        pairs["a"] = 5
        assert pairs["a"] == 5


def node_in_a_program(place: Path, port: int) -> raftline.Node:
    members = {"s1": f"localhost:{port}"}
    return raftline.Node("s1", members=members, dir=place, state_file_every=60.0)
