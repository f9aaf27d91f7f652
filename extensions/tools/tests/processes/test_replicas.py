"""`raftline check replicas`: one entry at which all members are compared, and the first key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_testing.doubles import in_process
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.edited_entry import edit_entry
from tests.processes.typed import at


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        yield cluster.start().led_by("s1").wait_until_begun()


def test_check_replicas_shows_the_first_key_that_differs(cluster: Cluster) -> None:
    for key in "cab":
        assert cluster.ask(f"client1@set {key} 1").endswith("set to 1")
    done = in_process.raftline("check", "replicas", "--at", at(cluster))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[*] all 3 members are equal after entry " in done.stdout
    cluster.wait_until_on_all_disks()
    edited = cluster["s3"]
    edit_entry(edited, b" set b 1\n", b" set b 2\n")
    edited.wait_for_line("[!] s3 differs from its leader s1: ")
    done = in_process.raftline("check", "replicas", "--at", at(cluster))
    assert done.returncode == 1, done.stdout + done.stderr
    *_, verdict, first, second = done.stdout.splitlines()
    assert verdict.startswith("[!] s3 differs from s1 after entry ")
    assert verdict.endswith("; the first key is b")
    assert (first.strip()[-4:], second.strip()[-4:]) == (" b 1", " b 2")
    assert "s1: " in first
    assert "s3: " in second
    found = json.loads(
        in_process.raftline("check", "replicas", "--json", "--at", at(cluster)).stdout
    )
    assert not found["ok"]
    assert found["members"]["s3"]["equal"] is False
    assert found["first_keys"]["s3"]["key"] == "b"


def test_check_replicas_names_a_member_that_is_down(cluster: Cluster) -> None:
    cluster["s3"].terminate()
    cluster["s3"].ended()
    done = in_process.raftline("check", "replicas", "--at", f"localhost:{cluster['s1'].port}")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "s3  not compared: " in done.stdout
    assert "[!] s3 was not compared" in done.stdout
