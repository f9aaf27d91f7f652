"""An entry edited by hand on one disk is found by the running nodes, and a restart mends it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.edited_entry import edit_entry
from raftline_testing.nodes.processes import DEADLINE_S, eventually

ROOT = Path(__file__).parents[3]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        yield cluster.start().led_by("s1").wait_until_begun()


def status(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "src" / "cli.py"), "status", "--dir", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)


def test_an_edited_entry_is_found_and_a_restart_mends_it(cluster: Cluster, tmp_path: Path) -> None:
    assert cluster.ask("client1@set a 1").endswith("set to 1")
    assert cluster.ask("client1@set b 1").endswith("set to 1")
    cluster.wait_until_on_all_disks()
    edited = cluster["s3"]
    edit_entry(edited, b" set a 1\n", b" set a 2\n")
    edited.wait_for_line("[!] s3 differs from its leader s1: ")
    cluster["s1"].wait_for_line("[!] s3 differs from s1: the entries that it applied")
    assert cluster["s1"].status()["differs"].keys() == {"s3"}
    assert "differs from that of the others" in edited.ask("client1@get a read local")
    shown = status(tmp_path)
    assert shown.returncode == 3
    assert "s3 differs from the others" in shown.stdout
    edited.terminate()
    edited.ended()
    assert " state diverged " in (tmp_path / "s3.storage").read_text()
    edited.start()
    eventually(lambda: not edited.status()["recovering"], "a vote of s3")
    cluster.wait_until_equal()
    assert edited.ask("client1@get a read local").endswith("response: 1")
    assert b"set a 2\n" in (tmp_path / "s3.log.differs-1").read_bytes()
    eventually(lambda: not cluster["s1"].status()["differs"], "equal replicas")


def test_status_shows_at_once_that_no_quorum_decides(cluster: Cluster, tmp_path: Path) -> None:
    """s2 is away, so either of the others may be wrong. It decides as soon as it is back."""
    assert cluster.ask("client1@set a 1").endswith("set to 1")
    assert cluster.ask("client1@set b 1").endswith("set to 1")
    cluster.wait_until_on_all_disks()
    away, edited = cluster["s2"], cluster["s3"]
    away.terminate()
    away.ended()
    edit_entry(edited, b" set a 1\n", b" set a 2\n")
    words = "and the leader have other states, and no quorum says which is right"
    eventually(lambda: words in status(tmp_path).stdout, "the words of status")
    assert status(tmp_path).returncode == 3
    away.start()
    edited.wait_for_line("[!] s3 differs from ")
    eventually(lambda: "s3 differs from the others" in status(tmp_path).stdout, "the verdict")
    assert not cluster["s1"].status()["recovering"]
    assert not away.status()["recovering"]
