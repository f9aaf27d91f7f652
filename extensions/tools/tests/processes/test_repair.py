"""Broken nodes and broken clusters: fsck, recover, backup and restore, as docs/repair.md says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.tools.harness.restored import restored_cluster
from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.newcomers import joined, newcomer
from raftline_testing.nodes.processes import eventually


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of three nodes that have served, taken snapshots, and stopped."""
    folder = tmp_path_factory.mktemp("stopped")
    with Cluster(folder, 3, "--compact-at", "1500") as cluster:
        cluster.start()
        for number in range(40):
            cluster.ask(f"client4#{number}@append k{number} value {number}")
        cluster.wait_until_equal()
        eventually(lambda: len(list(folder.glob("*.state_machine"))) == 3, "snapshots")
        for node in cluster.nodes:
            node.terminate()
        yield folder


def _copied(folder: Path, into: Path) -> Path:
    for path in folder.iterdir():
        (into / path.name).write_bytes(path.read_bytes())
    return into


def _flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


# --- fsck ----------------------------------------------------------------------------------


def test_fsck_finds_sound_files_sound(stopped: Path) -> None:
    done = raftline("fsck", stopped)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["s1", "s2", "s3"]
    assert all(": sound: term " in line and "after a snapshot" in line for line in lines)


def test_fsck_names_the_damage_and_repairs_without_deleting(stopped: Path, tmp_path: Path) -> None:
    folder = _copied(stopped, tmp_path)
    with (folder / "s1.log").open("ab") as file:
        file.write(b"99 1 set torn")
    _flip(folder / "s2.log", -30)
    damaged = (folder / "s2.log").read_bytes()
    found = raftline("fsck", "s1", "s2", "--dir", folder, "--json")
    assert found.returncode == 1
    first, second = json.loads(found.stdout)
    assert first["problems"][0]["problem"].startswith("s1.log ends in 13 torn bytes")
    assert second["problems"][0]["problem"].startswith("s2.log, line ")
    assert not first["problems"][0]["repaired"]
    assert raftline("fsck", folder, "--repair").returncode == 0
    assert raftline("fsck", folder).returncode == 0
    assert (folder / "s1.log.damaged-1").read_bytes() == b"99 1 set torn"
    kept = (folder / "s2.log").read_bytes() + (folder / "s2.log.damaged-1").read_bytes()
    assert kept == damaged


def test_fsck_only_looks_at_a_node_that_runs(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        cluster.start()
        cluster.ask("client4@set a 4")
        with cluster["s1"].log.open("ab") as file:
            file.write(b"half of a line")
        before = cluster["s1"].log.read_bytes()
        done = raftline("fsck", "s1", "--repair", "--dir", tmp_path)
        assert done.returncode == 1
        assert "s1: is running: nothing is repaired" in done.stdout
        assert cluster["s1"].log.read_bytes() == before


def test_fsck_without_files_reports_it(tmp_path: Path) -> None:
    done = raftline("fsck", tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"raftline: {tmp_path}: holds no files of a node\n"
    assert raftline("fsck", "s9", "--dir", tmp_path).returncode == 2


def test_fsck_reads_the_configuration_too(stopped: Path, tmp_path: Path) -> None:
    folder = _copied(stopped, tmp_path)
    (folder / "server-configuration.txt").write_text("s1 localhost 10000\ns1 localhost 10001\n")
    done = raftline("fsck", folder)
    assert done.returncode == 1
    assert "server-configuration.txt:2: s1 appears twice" in done.stdout


@pytest.mark.parametrize("end", [".log", ".state_machine"])
def test_a_node_keeps_a_damaged_file_aside_and_catches_up(tmp_path: Path, end: str) -> None:
    with Cluster(tmp_path, 3, "--compact-at", "1000") as cluster:
        cluster.start().wait_until_whole()
        for number in range(40):
            cluster.ask(f"client4@set k{number} value {number}")
        cluster.wait_until_equal()
        node = cluster.followers()[0]
        path = tmp_path / f"{node.name}{end}"
        eventually(path.exists)
        node.terminate()
        _flip(path, path.stat().st_size // 2)
        rotten = path.read_bytes()
        node.start()
        node.wait_for_line(f"[!] {path.name}, line ")
        node.wait_for_line(f"[*] {node.name} has caught up and votes again")
        cluster.wait_until_equal()
        aside = (tmp_path / f"{path.name}.damaged-1").read_bytes()
        assert aside
        assert rotten.endswith(aside)
        cluster.leader().kill()
        assert cluster.ask("client4@get k39") == "GET response: value 39"


# --- recover -------------------------------------------------------------------------------


def test_recovered_survivor_continues_undisturbed_by_old_members(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        cluster.start().wait_until_whole().wait_until_begun()
        cluster.ask("client4@set a 4")
        cluster.wait_until_equal()
        survivor = cluster["s1"]
        survivor.kill()
        assert cluster.ask("client4@set lost 1") == "SET response: lost set to 1"
        cluster.kill()
        asked = raftline("recover", "s1", "--dir", tmp_path)
        assert asked.returncode == 1
        assert "LOST: every acknowledged write after entry " in asked.stdout
        assert "To confirm, add --yes." in asked.stdout
        done = raftline("recover", "s1", "--dir", tmp_path, "--yes")
        assert done.returncode == 0
        assert "s1 is the only member from entry " in done.stdout
        survivor.start()
        assert eventually(lambda: survivor.status()["role"] == "leader")
        assert survivor.ask("client4@set b 5") == "s1@SET response: b set to 5"
        # The old majority comes back, against all advice: two clusters, but this one stays.
        cluster["s2"].start()
        cluster["s3"].start()
        eventually(lambda: cluster["s2"].status()["leader"] in ("s2", "s3"), "the old majority")
        new = survivor.status()["cluster"]
        cluster["s2"].wait_for_line(f"[!] s1 at localhost:{survivor.port} is of cluster {new}")
        survivor.kill()
        survivor.start()
        assert eventually(lambda: survivor.status().get("role") == "leader")
        assert survivor.ask("client4@get b") == "s1@GET response: 5"
        assert survivor.ask("client4@get lost") == "s1@GET response, no such key: lost"
        assert survivor.status()["voters"] == ["s1"]


def test_new_members_join_the_survivor_and_it_is_a_cluster_again(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        cluster.start()
        cluster.ask("client4@set a 4")
        cluster.wait_until_equal()
        cluster.kill()
        assert raftline("recover", "s1", "--dir", tmp_path, "--yes").returncode == 0
        survivor = cluster["s1"].start()
        for _ in range(2):
            joined(newcomer(cluster, survivor))
        alive = [cluster["s1"], cluster["s4"], cluster["s5"]]
        assert sorted(survivor.status()["voters"]) == ["s1", "s4", "s5"]
        survivor.ask("client4@set b 5")
        survivor.kill()

        def answer() -> str:
            for node in alive[1:]:
                reply = node.ask("client4@get b").partition("@")[2]
                if not reply.startswith("Sorry, "):
                    return reply
            return ""

        assert eventually(answer) == "GET response: 5"


def test_recover_refuses_a_node_that_runs_and_one_without_files(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        cluster.start()
        cluster.ask("client4@set a 4")
        done = raftline("recover", "s1", "--dir", tmp_path, "--yes")
        assert done.returncode == 3
        assert "s1 is running already" in done.stderr
        done = raftline("recover", "s7", "--dir", tmp_path, "--yes")
        assert done.returncode == 2
        assert "has neither s7.log nor s7.state_machine" in done.stderr


# --- backup and restore --------------------------------------------------------------------


class Stream:
    """Writes without end, a numbered key each time, and knows how many were acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        self.acknowledged = 0
        self._cluster = cluster
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Stream:
        self._thread.start()
        eventually(lambda: self.acknowledged > 10, "first writes")
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(30)

    def _write(self) -> None:
        with self._cluster.leader().connect() as leader:
            while not self._enough.is_set():
                number = self.acknowledged
                if "SET response" in leader.ask(f"client4@set n{number} é{number}"):
                    self.acknowledged = number + 1


def test_backup_under_load_holds_all_acknowledged_writes(tmp_path: Path) -> None:
    """A backup under load holds all earlier acknowledged writes."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    backup = tmp_path / "backup.txt"
    with Cluster(tmp_path / "old", 3, *STEADY) as cluster:
        cluster.start().led_by("s1")
        first = cluster.ask("client7#1@incr visits")
        with Stream(cluster) as stream:
            before = stream.acknowledged
            done = raftline("backup", backup, "--dir", tmp_path / "old")
            assert done.returncode == 0, done.stderr
            after = stream.acknowledged
        again = raftline("backup", backup, "--dir", tmp_path / "old")
        assert again.returncode == 2
        assert "already exists" in again.stderr
    with restored_cluster(backup, tmp_path / "new" / "logs", 3) as restored:
        restored.start()
        assert restored.ask("client7#1@incr visits") == first  # the session has come along
        held = [
            number
            for number in range(after + 1)
            if restored.ask(f"client4@get n{number}") == f"GET response: é{number}"
        ]
        assert len(held) >= before
        assert held == list(range(len(held)))  # of one moment: no gap
        assert restored.ask("client4@set more 1") == "SET response: more set to 1"


def test_a_stopped_nodes_files_make_a_backup_too(stopped: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.txt"
    before = {path: path.read_bytes() for path in stopped.iterdir() if path.suffix != ".lock"}
    done = raftline("backup", backup, "--from", "s2", "--dir", stopped)
    assert done.returncode == 0, done.stderr
    assert "Its last entries may not be committed" in done.stdout
    assert all(path.read_bytes() == data for path, data in before.items())
    (tmp_path / "new").mkdir()
    with restored_cluster(backup, tmp_path / "new" / "logs", 1) as restored:
        restored.start()
        assert restored.ask("client4@get k39") == "GET response: value 39"
        assert restored.ask("client4#39@append k39 x") == (
            "Sorry, request 39 of client4 was another command; nothing was executed"
        )


@pytest.mark.parametrize("place", [30, 300, 700, -20])
def test_flipped_byte_in_a_backup_restores_nothing(
    stopped: Path, tmp_path: Path, place: int
) -> None:
    """A flipped byte in a backup is named and nothing restored."""
    backup = tmp_path / "backup.txt"
    assert raftline("backup", backup, "--from", "s1", "--dir", stopped).returncode == 0
    _flip(backup, place)
    done = raftline("restore", backup, tmp_path / "new", "--members", "s1=localhost:21999")
    assert done.returncode == 3
    assert done.stderr.startswith(f"raftline: {backup}, line ")
    assert "The backup is damaged; use another one. Nothing was changed" in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        (["s1"], "'s1' is not NAME=HOST:PORT"),
        (["s1=localhost:x"], "is not a port"),
        (["s1=localhost:21999,s1=localhost:21998"], "s1 appears twice"),
    ],
)
def test_wrong_members_are_refused(
    stopped: Path, tmp_path: Path, members: list[str], complaint: str
) -> None:
    done = raftline("restore", stopped / "s1.state_machine", tmp_path / "n", "--members", *members)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert not (tmp_path / "n").exists()


def test_restore_leaves_a_folder_that_is_not_empty_alone(stopped: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    done = raftline(
        "restore", stopped / "s1.state_machine", tmp_path, "--members", "s1=localhost:21999"
    )
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_backup_takes_two_requests_and_ends_the_connection(cluster: Cluster) -> None:
    """A backup takes two requests and ends with the connection."""
    cluster.ask("client4@set a 4")
    leader = cluster.leader()
    follower = cluster.followers()[0]
    assert "Sorry, I am not the leader." in follower.ask("backup")
    assert leader.ask("backup from 0") == (
        f"{leader.name}@Sorry, no backup was begun on this connection; begin with: backup"
    )
    assert leader.ask("backup it").endswith("the form is: backup, then backup from BYTE")
    with leader.connect() as person:
        begun = person.ask("backup").split(" ")
        assert begun[:2] == [f"{leader.name}@BACKUP", "response:"]
        assert begun[3:4] + begun[5:6] == ["of", "bytes"]
        text = person.ask("backup from 0").partition(" from 0 ")[2]
        assert len(json.loads(text)) == int(begun[4])
        assert " a 4\n" in json.loads(text)
        assert person.ask(f"backup from {begun[4]}").endswith(f' from {begun[4]} ""')
