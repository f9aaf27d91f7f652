"""The kernel alone, as `make kernel DIR=…` writes it: it serves, says what it lacks, and passes
its tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import free_ports
from raftline_testing.runner.kernel import copy_kernel
from raftline_testing.runner.without import NAMES, folders_of, run_tests

# Folders and files whose tests run; all others are collected, so that all imports are tried.
SLICE = "elections or test_store or loop or watches"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("kernel") / "tree"
    copy_kernel(tree)
    return tree


def test_kernel_has_no_extension_and_says_its_size(kernel: Path) -> None:
    assert not any((kernel / folder).exists() for name in NAMES for folder in folders_of(name))
    page = (kernel / "README.md").read_text(encoding="utf-8")
    assert re.match(r"# The kernel of raftline\n\nThis tree is \d\d,\d{3} lines of Python", page)


def test_kernel_serves_a_client(kernel: Path, tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        (node,) = cluster.nodes
        node.program = [sys.executable, str(kernel / "src" / "server.py")]
        cluster.start()
        client = [sys.executable, str(kernel / "src" / "client.py"), str(node.port)]
        done = subprocess.run(
            [*client, "set", "a", "5"], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stdout.strip()) == (0, "SET response: a set to 5")
        assert node.ask("get a") == "s1@GET response: 5"
        assert "this build has no picture" in node.ask("observe")


@pytest.mark.parametrize(
    ("option", "why"), [("--record", "no picture"), ("--http", "no pages of figures")]
)
def test_kernel_refuses_the_options_of_extensions(
    kernel: Path, tmp_path: Path, option: str, why: str
) -> None:
    value = str(next(free_ports)) if option == "--http" else str(tmp_path / "s1.steps")
    program = [sys.executable, str(kernel / "src" / "server.py")]
    words = ["s1", str(next(free_ports)), "--register", "--dir", str(tmp_path), option, value]
    done = subprocess.run(
        [*program, *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"this build has {why}" in done.stderr


def test_kernel_passes_its_tests(kernel: Path) -> None:
    assert run_tests(kernel, ["tests", "-k", SLICE]) == 0
