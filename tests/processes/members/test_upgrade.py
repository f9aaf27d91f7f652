"""Nodes of an older level become nodes of this one, one by one, and back while that is possible."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from raftline.common.build_level import LEVEL
from raftline.common.version import RELEASE
from raftline_testing.nodes.cluster import STEADY, Cluster, NodeProcess
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports
from raftline_testing.runner.at_night import at_night
from tests.processes.members.versions import (
    LEVEL_3,
    LEVEL_4,
    unpacked,
    with_new_verb,
)

SNAPSHOTS = ("--compact-at", "3000")
# The old build meets a line or a level that is new to it, by how far the level has spread.
REFUSED = re.compile(r"\.storage.* newer version.*Start the node with|Start the node with a newer")


@dataclass
class Versions:
    """The programs of a node, by level; `new` has this one."""

    old: dict[int, list[str]]
    new: list[str]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    folder = tmp_path_factory.mktemp("versions")
    older: dict[int, list[str]] = {}
    for level, commit in enumerate([LEVEL_3, LEVEL_4], start=3):
        older[level] = unpacked(commit, folder / str(level))
    return Versions(older, with_new_verb(folder / "new"))


@pytest.fixture(params=[*at_night(3), 4], ids=lambda level: f"from level {level}")
def level(request: pytest.FixtureRequest) -> int:
    """The level of the nodes that are upgraded."""
    return int(request.param)


@pytest.fixture
def old(versions: Versions, level: int, tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes of an older level, led by s1, which take a snapshot every some ten writes."""
    with Cluster(tmp_path, 3, *STEADY, *SNAPSHOTS) as cluster:
        for node in cluster.nodes:
            node.program = versions.old[level]
        cluster.start()
        eventually(lambda: levels(cluster) == [level] * 3, f"level {level} on all nodes")
        yield cluster.led_by("s1")


class Writer(threading.Thread):
    """Sets one key after the other, each until it is acknowledged; `acknowledged` has them all."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self.acknowledged: dict[str, str] = {}
        self._cluster = cluster
        self._over = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._over.is_set():
            key, value = f"key{number % 50}", str(number)
            if self._write(key, value):
                self.acknowledged[key] = value
                number += 1

    def _write(self, key: str, value: str) -> bool:
        """Ask every node in turn; return whether one of them did it."""
        for node in self._cluster.nodes:
            try:
                if node.ask(f"writer@set {key} {value}").endswith(f"{key} set to {value}"):
                    return True
            except (OSError, ValueError):
                pass
        return False

    def wrote(self, count: int) -> None:
        """Wait until so many more writes are acknowledged."""
        until = int(max(self.acknowledged.values(), key=int, default="0")) + count

        def is_there() -> bool:
            return any(int(value) >= until for value in list(self.acknowledged.values()))

        eventually(is_there, f"{count} more writes")

    def finish(self) -> dict[str, str]:
        self._over.set()
        self.join(DEADLINE_S)
        assert not self.is_alive()
        return self.acknowledged


def replace(node: NodeProcess, program: list[str]) -> None:
    """Stop a node as a person does, and start it with another version."""
    node.running.send_signal(signal.SIGTERM)
    assert node.ended() == 0
    node.program = program
    node.start()


def levels(cluster: Cluster) -> list[object]:
    return [node.status().get("level") for node in cluster.nodes]


def waits_for(node: NodeProcess, level: int, *names: str) -> bool:
    """Whether a node refuses a new verb since exactly these are to be upgraded."""
    named = " and ".join(f"{name} (VERSION)" for name in names)
    are = "is" if len(names) == 1 else "are"
    reply = re.sub(r"\((?!not heard)[^)]+\)", "(VERSION)", node.ask("client4@getdel a"))
    return reply == (
        f"{node.name}@Sorry, this cluster is at level {level} until {named} {are} upgraded. "
        "Nothing was done."
    )


def pairs(node: NodeProcess) -> dict[str, str]:
    """Return what a node holds, as it has applied it."""
    found, _ = json.JSONDecoder().raw_decode(node.ask("show read local").partition(": ")[2])
    return {str(key): str(value) for key, value in found.items()}


def start_refused(node: NodeProcess, program: list[str]) -> str:
    """Start a version that must not go on with the files; return what it says at its end."""
    node.program = program
    node.launch()
    assert node.ended() == 3
    return node.said[-1]


def upgraded(cluster: Cluster, versions: Versions) -> Cluster:
    """Upgrade all nodes at once; wait until the level has risen everywhere."""
    for node in cluster.nodes:
        replace(node, versions.new)
    eventually(lambda: levels(cluster) == [LEVEL] * 3, "the level of the new build on all nodes")
    return cluster


@pytest.mark.parametrize(
    ("level", "order"),
    [(4, "s3 s2 s1"), *at_night((3, "s1 s2 s3"))],
)
def test_a_cluster_is_upgraded_node_by_node_under_load(
    old: Cluster, versions: Versions, level: int, order: str
) -> None:
    first, second, third = (old[name] for name in order.split())
    writer = Writer(old)
    writer.start()
    writer.wrote(40)
    replace(first, versions.new)
    eventually(lambda: waits_for(first, level, *sorted([second.name, third.name])), "a refusal")
    writer.wrote(40)
    replace(first, versions.old[level])  # no file says yet that a newer version was here
    writer.wrote(40)
    replace(first, versions.new)
    replace(second, versions.new)
    for node in (first, second):
        eventually(lambda node=node: waits_for(node, level, third.name), "a refusal")
    assert "I don't understand: getdel a" in third.ask("client4@getdel a")
    writer.wrote(40)
    replace(third, versions.new)
    eventually(lambda: levels(old) == [LEVEL] * 3, "the level of the new build on all nodes")
    writer.wrote(40)
    acknowledged = writer.finish()
    old.wait_until_equal()
    assert old.ask("client4@getdel key0") == f"GETDEL response: {acknowledged.pop('key0')}"
    old.wait_until_equal()
    assert len({node.status()["cluster"] for node in old.nodes} - {""}) == 1
    for node in old.nodes:
        assert pairs(node) == acknowledged
        assert node.status()["snapshot_index"] > 0


def test_a_node_of_the_old_version_refuses_files_of_a_later_level(
    old: Cluster, versions: Versions, level: int
) -> None:
    for number in range(40):
        old.ask(f"c@set k{number} {'x' * 100}")
    upgraded(old, versions)
    node = old.followers()[0]
    node.close()
    files = [old.folder / f"{node.name}.{end}" for end in ("log", "storage", "state_machine")]
    before = [path.read_bytes() for path in files]
    assert REFUSED.search(start_refused(node, versions.old[level]))
    assert [path.read_bytes() for path in files] == before
    node.program = versions.new
    node.start()
    old.wait_until_whole()


def test_a_node_of_the_old_version_that_lost_its_files_is_sent_nothing(
    old: Cluster, versions: Versions, level: int
) -> None:
    """A node that kept its log finds the later level there, and does not start."""
    upgraded(old, versions)
    node = old.followers()[0]
    node.close()
    for end in (".storage", ".log", ".state_machine"):
        (old.folder / f"{node.name}{end}").unlink(missing_ok=True)
    node.program = versions.old[level]
    node.start()
    leader = old.leader()
    warning = f"[!] {node.name} runs a build of level {level}, and this cluster is at level {LEVEL}"
    leader.wait_for_line(warning)
    for number in range(5):
        old.ask(f"c@set k{number} 1")
    assert old.ask("client4@getdel k0") == "GETDEL response: 1"
    silent = node.status()
    assert (silent["last_applied"], silent["leader"], silent["recovering"]) == (0, None, True)
    replace(node, versions.new)
    old.wait_until_whole()
    assert pairs(node) == pairs(leader)


def test_a_node_below_the_level_is_not_added(old: Cluster, versions: Versions, level: int) -> None:
    leader = upgraded(old, versions).leader()
    folder = old.folder / "s4"
    folder.mkdir()
    joining = ["--join", f"localhost:{leader.port}"]
    newcomer = NodeProcess("s4", next(free_ports), folder, joining)
    newcomer.program = versions.old[level]
    old.nodes.append(newcomer)
    newcomer.start()
    newcomer.wait_for_line(
        f"[!] s4 is not added yet: s4 runs a build of level {level}, and this cluster is at level "
        f"{LEVEL}: start s4 with a newer version. Nothing was changed."
    )
    assert leader.status()["learners"] == []
    replace(newcomer, versions.new)
    eventually(lambda: "s4" in leader.status()["voters"], "a vote for s4")
    eventually(lambda: newcomer.status().get("level") == LEVEL, "its level at s4")


@pytest.mark.parametrize("count", [1, 3])
def test_a_new_cluster_is_at_the_level_of_its_build(
    versions: Versions, tmp_path: Path, count: int
) -> None:
    with Cluster(tmp_path, count) as cluster:
        for node in cluster.nodes:
            node.program = versions.new
        cluster.start()
        eventually(lambda: levels(cluster) == [LEVEL] * count, "its level")
        facts = cluster.leader().status()
        assert (facts["level"], facts["build_level"]) == (LEVEL, LEVEL)
        assert facts["version"] == f"{RELEASE}.dev0"  # of a copy without .git
        assert cluster.ask("client4@getdel a") == "GETDEL response, no such key: a"
        cluster.wait_until_on_all_disks()
        raised = f" level {LEVEL} cluster {facts['cluster']}\n"
        assert raised in cluster.leader().log.read_text()


def test_a_cluster_with_a_member_that_is_away_stays_where_it_is(
    versions: Versions, tmp_path: Path
) -> None:
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        for node in cluster.nodes:
            node.program = versions.new
        s1, s2, s3 = cluster.nodes
        s1.start()
        s2.start()
        cluster.leader()
        away = "until s3 (not heard yet) is upgraded. Nothing was done."
        for node in (s1, s2):
            eventually(lambda node=node: node.ask("client4@getdel a").endswith(away), away)
        assert s1.status()["level"] == 1
        s3.start()
        eventually(lambda: levels(cluster) == [LEVEL] * 3, "its level")
