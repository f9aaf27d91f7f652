"""The kernel alone, as `make kernel DIR=…` writes it: it serves, says what it lacks, and passes
its tests."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from raftline.common.process.quiet_exit import EXIT_BROKEN, NO_LIBRARY
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import Process, end_all, free_ports, ports_in_a_row
from raftline_testing.runner.kernel import copy_kernel
from raftline_testing.runner.sizes import code_lines
from raftline_testing.runner.without import run_tests

# Folders and files whose tests run; all others are collected, so that all imports are tried.
SLICE = "elections or test_store or loop or watches"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("kernel") / "tree"
    copy_kernel(tree)
    return tree


def test_kernel_has_no_extension_and_says_its_size(kernel: Path) -> None:
    """The first page counts as `make -C testing sizes` does, and promises no extension."""
    assert not (kernel / "extensions").exists()
    page = (kernel / "README.md").read_text(encoding="utf-8")
    said = re.match(
        r"# The kernel of raftline\n\nThe folder `src/` is ([0-9,]+) lines of code", page
    )
    sources = [path.read_text("utf-8") for path in (kernel / "src").rglob("*.py")]
    assert said is not None
    assert said[1] == f"{sum(map(code_lines, sources)):,}"
    assert "Blank lines, comments and docstrings are not counted" in page
    assert "Celery" not in page


def test_commands_of_the_first_page_start_nodes_and_a_client(kernel: Path) -> None:
    """They are typed as they stand there, at free ports."""
    page = (kernel / "README.md").read_text(encoding="utf-8")
    first = ports_in_a_row(3)
    members = kernel / "logs" / "server-configuration.txt"
    ports = {f"{10000 + n}": f"{first + n}" for n in range(3)}
    kept = members.read_text("utf-8")

    def typed(text: str) -> list[str]:
        text = re.sub(r"\b1000[0-2]\b", lambda found: ports[found[0]], text)
        return [sys.executable, *text.split("#")[0].split()[1:]]

    (server,) = re.findall(r"^python src/server\.py s1 10000.*", page, re.MULTILINE)
    (client,) = re.findall(r"^python src/client\.py 10000.*", page, re.MULTILINE)
    starts = [server, *(server.replace("s1 10000", each) for each in ("s2 10001", "s3 10002"))]
    assert all(name in server for name in ("s2 10001", "s3 10002"))
    nodes = [Process(start.split()[2], typed(start)) for start in starts]
    try:
        members.write_text(re.sub(r"1000[0-2]", lambda found: ports[found[0]], kept))
        for node in nodes:
            node.working_folder = kernel
            node.launch()
        nodes[0].wait_for_line("Server started")
        done = subprocess.run(
            [*typed(client), "set", "a", "5"],
            cwd=kernel, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "SET response: a set to 5\n"), done.stderr
    finally:
        end_all(nodes)
        shutil.rmtree(kernel / "logs")
        members.parent.mkdir()
        members.write_text(kept)


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


@pytest.fixture(scope="module")
def node_alone(kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree without the library, too."""
    tree = tmp_path_factory.mktemp("node") / "tree"
    shutil.copytree(kernel / "src", tree / "src")
    return tree


def test_node_without_library_serves_lines_and_is_joined(node_alone: Path, tmp_path: Path) -> None:
    program = [sys.executable, str(node_alone / "src" / "server.py")]
    with Cluster(tmp_path, 3) as cluster:
        for node in cluster.nodes:
            node.program = program
        leader = cluster.start().leader()
        assert leader.ask("set a 5") == f"{leader.name}@SET response: a set to 5"
        newcomer = NodeProcess(
            "s4", next(free_ports), tmp_path, ["--join", f"localhost:{leader.port}"]
        )
        newcomer.program = program
        cluster.nodes.append(newcomer)
        newcomer.start().wait_for_line("ADD response: s4 added as a learner, votes from entry")


@pytest.mark.parametrize("words", [("client.py", "10000", "1"), ("cli.py", "status")])
def test_command_says_that_the_library_is_missing(node_alone: Path, words: Sequence[str]) -> None:
    command = [sys.executable, str(node_alone / "src" / words[0]), *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (EXIT_BROKEN, "")
    assert done.stderr == f"[!] {NO_LIBRARY}\n"


def test_package_without_library_lacks_its_names(node_alone: Path) -> None:
    """As for any name that is not there, so `hasattr` and `from raftline import` work."""
    program = f"import sys; sys.path.insert(0, {str(node_alone / 'src')!r}); import raftline"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"{program}; print(hasattr(raftline, 'connect'))"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_kernel_passes_its_tests(kernel: Path) -> None:
    assert run_tests(kernel, ["tests", "-k", SLICE]) == 0
