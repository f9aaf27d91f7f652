"""Nodes of this build become nodes of the next release, and files of earlier builds are refused."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.access.secret import make_secret
from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.client_login import Credentials, log_in
from raftline.clients.requests.pool import Clients
from raftline.common.effects import own_parts
from raftline.common.version import RELEASE
from raftline.harness.added_users import add_users
from raftline.wire.commands.rights import UserRole
from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.cluster import STEADY, Cluster, NodeProcess
from raftline_testing.nodes.known_users import ROOT, first_admin
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports
from raftline_testing.runner.at_night import at_night
from tests.processes.members.versions import EARLIER, next_release, unpacked

PASSWORD = "correct horse battery"
SNAPSHOTS = ("--compact-at", "3000")
OTHERWISE = "need the kernel as an earlier or later build applies it"


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The program of a node of the next release."""
    return next_release(tmp_path_factory.mktemp("next"))


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes of this build, led by s1, which take a snapshot every some ten writes."""
    with Cluster(tmp_path, 3, *STEADY, *SNAPSHOTS) as cluster:
        cluster.start()
        cluster.wait_until_whole()
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


def upgraded_kernel(cluster: Cluster) -> bool:
    """Whether each node has applied the entry after which entries may need the next release."""
    needs = [str(node.status().get("needs", "")) for node in cluster.nodes]
    return all("kernel=" in each and own_parts()["kernel"] not in each for each in needs)


def give_lead(cluster: Cluster, name: str) -> None:
    """Hand the leadership to a node."""

    def leads() -> bool:
        leader = cluster.leader()
        if leader.name != name:
            leader.ask(f"c@transfer {name}")
        return leader.name == name

    eventually(leads, f"{name} leads")


def waits_for(cluster: Cluster, name: str) -> bool:
    """Whether the leader refuses a new verb since this member is to be upgraded."""
    return f"Sorry, {name} (" in (reply := cluster.leader().ask("client4@getdel a")) and (
        "applies the kernel otherwise than " in reply
    )


def pairs(node: NodeProcess) -> dict[str, str]:
    """Return what a node holds, as it has applied it."""
    found, _ = json.JSONDecoder().raw_decode(node.ask("show read local").partition(": ")[2])
    return {str(key): str(value) for key, value in found.items()}


def start_refused(node: NodeProcess, program: list[str]) -> str:
    """Start a version that must not continue with the files; return what it says at its end."""
    node.program = program
    node.launch()
    assert node.ended() == 3
    return node.said[-1]


def upgraded(cluster: Cluster, newer: list[str]) -> Cluster:
    """Upgrade all nodes at once; wait until each log names the new kernel."""
    for node in cluster.nodes:
        replace(node, newer)
    eventually(lambda: upgraded_kernel(cluster), "the new kernel in all logs")
    return cluster


@pytest.mark.parametrize("order", ["s3 s2 s1", *at_night("s1 s2 s3")])
def test_cluster_is_upgraded_node_by_node(old: Cluster, newer: list[str], order: str) -> None:
    """The upgrade happens under load, and one node goes back in between."""
    first, second, third = (old[name] for name in order.split())
    before = first.program
    writer = Writer(old)
    writer.start()
    writer.wrote(40)
    replace(first, newer)
    writer.wrote(40)
    replace(first, before)  # no file says yet that a newer version was here
    writer.wrote(40)
    replace(first, newer)
    replace(second, newer)
    give_lead(old, first.name)
    eventually(lambda: waits_for(old, third.name), "a refusal")
    writer.wrote(40)
    replace(third, newer)
    eventually(lambda: upgraded_kernel(old), "the new kernel in all logs")
    writer.wrote(40)
    acknowledged = writer.finish()
    old.wait_until_equal()
    assert old.ask("client4@getdel key0") == f"GETDEL response: {acknowledged.pop('key0')}"
    old.wait_until_equal()
    assert len({node.status()["cluster"] for node in old.nodes} - {""}) == 1
    for node in old.nodes:
        assert pairs(node) == acknowledged
        assert node.status()["snapshot_index"] > 0


def log_in_everywhere(cluster: Cluster, users: list[str]) -> None:
    """Log in on a new connection to each node. Raises LoginFailed."""
    for node in cluster.nodes:
        for user in users:
            with contextlib.closing(node.connect()) as connection:
                log_in(connection, Credentials(user, PASSWORD), "c", DEADLINE_S)


def transfer(cluster: Cluster, name: str) -> None:
    """Hand the leadership to a node, as the first admin does."""
    known = Credentials(ROOT, PASSWORD)

    def leads() -> bool:
        leader = cluster.leader()
        if leader.name != name:
            with Clients(f"localhost:{leader.port}", access=ClientAccess(known)) as clients:
                clients.request(f"transfer {name}")
        return cluster.leader().name == name

    eventually(leads, f"{name} leads")


def test_users_log_in_at_every_node_during_an_upgrade(newer: list[str], tmp_path: Path) -> None:
    """Either build may lead; a user who is added in the meantime is known to both."""
    (tmp_path / "nodes").mkdir()
    make_secret(tmp_path / "secret")
    options = [*first_admin(tmp_path, PASSWORD)[:2], "--anonymous", "reader"]
    options += ["--secret", str(tmp_path / "secret")]
    users = [ROOT]
    with Cluster(tmp_path / "nodes", 3, *STEADY, *SNAPSHOTS, *options) as cluster:
        cluster.start()
        at = ",".join(f"localhost:{node.port}" for node in cluster.nodes)
        for name in ("s3", "s2", "s1"):
            for leader in ("s1", "s3"):
                transfer(cluster, leader)
                users.append(f"user{len(users)}")
                add_users(at, {users[-1]: (UserRole.WRITER, ("app/",))}, PASSWORD)
                log_in_everywhere(cluster, users)
            assert not upgraded_kernel(cluster)
            replace(cluster[name], newer)
            cluster.wait_until_whole()
            log_in_everywhere(cluster, users)
        eventually(lambda: upgraded_kernel(cluster), "the new kernel in all logs")
        log_in_everywhere(cluster, users)


def test_old_build_refuses_files_of_a_later_kernel(old: Cluster, newer: list[str]) -> None:
    """The files stay unchanged, and the new build continues with them."""
    before = old["s1"].program
    for number in range(40):
        old.ask(f"c@set k{number} {'x' * 100}")
    node = upgraded(old, newer).followers()[0]
    node.close()
    files = [old.folder / f"{node.name}.{end}" for end in ("log", "storage", "state_machine")]
    held = [path.read_bytes() for path in files]
    assert OTHERWISE in start_refused(node, before)
    assert [path.read_bytes() for path in files] == held
    node.program = newer
    node.start()
    old.wait_until_whole()


def test_old_build_without_files_is_sent_nothing(old: Cluster, newer: list[str]) -> None:
    """A node that kept its log finds the later kernel there and does not start."""
    before = old["s1"].program
    node = upgraded(old, newer).followers()[0]
    node.close()
    for end in (".storage", ".log", ".state_machine"):
        (old.folder / f"{node.name}{end}").unlink(missing_ok=True)
    node.program = before
    node.start()
    leader = old.leader()
    leader.wait_for_line(f"[!] {node.name} can't follow: entries of this cluster {OTHERWISE}")
    for number in range(5):
        old.ask(f"c@set k{number} 1")
    assert old.ask("client4@getdel k0") == "GETDEL response: 1"
    silent = node.status()
    assert (silent["last_applied"], silent["leader"], silent["recovering"]) == (0, None, True)
    replace(node, newer)
    old.wait_until_whole()
    assert pairs(node) == pairs(leader)


def test_node_with_the_kernel_before_is_not_added(old: Cluster, newer: list[str]) -> None:
    """It joins once it runs the newer build."""
    before = old["s1"].program
    leader = upgraded(old, newer).leader()
    folder = old.folder / "s4"
    folder.mkdir()
    joining = ["--join", f"localhost:{leader.port}"]
    newcomer = NodeProcess("s4", next(free_ports), folder, joining)
    newcomer.program = before
    old.nodes.append(newcomer)
    newcomer.start()
    newcomer.wait_for_line(
        f"[!] s4 is not added yet: s4 can't follow: entries of this cluster {OTHERWISE}"
    )
    assert leader.status()["learners"] == []
    replace(newcomer, newer)
    eventually(lambda: "s4" in leader.status()["voters"], "a vote for s4")
    eventually(lambda: pairs(newcomer) == pairs(leader), "the state at s4")


@pytest.mark.parametrize(("count", "up"), [(1, 1), (3, 3), (3, 2)])
def test_new_cluster_has_the_verbs_of_its_build(
    newer: list[str], tmp_path: Path, count: int, up: int
) -> None:
    """This holds even if one member never starts."""
    with Cluster(tmp_path, count) as cluster:
        for node in cluster.nodes[:up]:
            node.program = newer
            node.start()
        del cluster.nodes[up:]
        assert cluster.ask("client4@getdel a") == "GETDEL response, no such key: a"
        facts = cluster.nodes[0].status()
        assert facts["version"] == f"{RELEASE}.dev0"  # of a copy without .git
        cluster.wait_until_on_all_disks()
        (first,) = re.findall(r"^\d+ \d+ (cluster .*)$", cluster.nodes[0].log.read_text(), re.M)
        assert first.startswith(f"cluster {facts['cluster']} level 1 with kernel=")


def test_files_of_an_earlier_build_are_refused(tmp_path: Path) -> None:
    """The refusal says how to keep the data, and that works."""
    program = unpacked(EARLIER, tmp_path / "earlier")
    (tmp_path / "nodes").mkdir()
    with Cluster(tmp_path / "nodes", 1) as cluster:
        (node,) = cluster.nodes
        now, node.program = node.program, program
        node.start()
        assert cluster.ask("client4@set a two words") == "SET response: a set to two words"
        saved, at = tmp_path / "saved", f"localhost:{node.port}"
        cli = [program[0], str(tmp_path / "earlier" / "src" / "cli.py")]
        subprocess.run([*cli, "export", "--at", at, str(saved)], check=True, capture_output=True)
        node.close()
        assert (
            ": it was written by a build from before the first release, whose format is "
            "not read any more. To keep the data, start that build, save the pairs with `raftline "
            "export FILE`, and load them into a new cluster with `raftline import FILE`"
        ) in start_refused(node, now)
        for file in (tmp_path / "nodes").glob("*s1*"):
            file.unlink()
        node.start()
        assert raftline("import", "--at", at, saved).returncode == 0
        assert cluster.ask("client4@get a") == "GET response: two words"
