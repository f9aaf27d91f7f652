"""A leader whose applying thread hangs: another node leads and serves, and status says why."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.altered import hang_applier
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import eventually, free_ports

LONG_ENTRY = f"client4@txn if a exists then set long {'z' * 900_000} else get a"


def test_a_leader_that_applies_nothing_gives_way(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        flags = {node.name: tmp_path / f"{node.name}.hangs" for node in cluster.nodes}
        doors = {node.name: next(free_ports) for node in cluster.nodes}
        for node in cluster.nodes:
            hang_applier(node, flags[node.name])
            node.options += ["--http", str(doors[node.name])]
        cluster.start().wait_until_begun()
        cluster.ask("client4@set a 1")
        old = cluster.leader()
        flags[old.name].touch()
        with old.connect() as writer:
            writer.send(LONG_ENTRY)
            eventually(lambda: old.status()["applies_nothing"], "it notices")
            eventually(lambda: old.status()["leader"] != old.name, "it gives way")
        assert cluster.leader() is not old
        assert cluster.ask("client4@set b 2") == "SET response: b set to 2"
        assert cluster.leader().ask("client4@stat long").startswith(f"{cluster.leader().name}@STAT")
        assert any("has not applied entry" in line for line in old.said)
        assert "it applies no entry" in not_ready(doors[old.name])
        told = raftline("status", folder=tmp_path)
        assert told.returncode == 3
        assert f"{old.name} applies no entries" in told.stdout + told.stderr
        flags[old.name].unlink()
        assert old.terminate() == 0
        old.start()
        cluster.wait_until_equal()
        assert old.status()["applies_nothing"] is False


def not_ready(door: int) -> str:
    """Return why a node is not ready."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{door}/ready", timeout=30)
    assert refused.value.code == 503
    return refused.value.read().decode()
