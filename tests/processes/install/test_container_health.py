"""The health check of the image: what Docker learns of a node, and about its certificate."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.access import authority
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import free_ports

CHECK = Path(__file__).resolve().parents[3] / "deploy" / "container" / "healthcheck.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("cryptography")
    folder = tmp_path_factory.mktemp("certs")
    authority.make(folder, ["s1=s1"], [])
    return folder


@pytest.fixture
def node(tmp_path: Path, folder: Path) -> Iterator[NodeProcess]:
    with Cluster(tmp_path, 1) as cluster:
        door = next(free_ports)
        files = ["cert", "s1.pem", "key", "s1.key", "ca", "ca.pem"]
        for what, file in zip(files[::2], files[1::2], strict=True):
            cluster["s1"].options += [f"--tls-{what}", str(folder / file)]
        cluster["s1"].options += ["--tls-only", "--tls-require", "--http", str(door)]
        yield cluster["s1"]


def check(node: NodeProcess, authority: Path, name: str = "s1") -> tuple[int, str]:
    door = node.options[node.options.index("--http") + 1]
    settings = {"HTTP": door, "PORT": str(node.port), "NAME": name, "TLS_CA": str(authority),
                "TLS_CERT": node.options[1], "TLS_KEY": node.options[3]}  # fmt: skip
    environment = {f"RAFTLINE_SERVER_{name}": text for name, text in settings.items()}
    done = subprocess.run(
        [sys.executable, str(CHECK)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_container_is_healthy_only_with_its_certificate(node: NodeProcess, folder: Path) -> None:
    """A node is healthy with a valid certificate, and unhealthy once it is gone."""
    node.start()
    assert check(node, folder / "ca.pem") == (0, "")
    node.kill()
    status, printed = check(node, folder / "ca.pem")
    assert (status, "refused" in printed) == (1, True)


def test_foreign_certificate_makes_a_container_unhealthy(
    node: NodeProcess, folder: Path, tmp_path: Path
) -> None:
    """A certificate of another CA or for another name makes a node unhealthy."""
    authority.make(tmp_path / "others", [], ["app"])
    node.start()
    status, printed = check(node, tmp_path / "others" / "ca.pem")
    assert (status, "CERTIFICATE_VERIFY_FAILED" in printed) == (1, True)
    status, printed = check(node, folder / "ca.pem", name="s2")
    assert (status, "Hostname mismatch" in printed) == (1, True)
