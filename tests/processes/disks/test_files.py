"""Damaged files, full disks and disks that fail, under real nodes."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.common.config import FILE_NAME
from raftline_testing.nodes.altered import break_core, fail_syncs
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.namespaces import BALLAST
from raftline_testing.runner.at_night import at_night


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A node that has served and stopped; tests put its files back."""
    with Cluster(tmp_path_factory.mktemp("stopped"), 1) as cluster:
        cluster.start()
        for number in range(8):
            cluster.ask(f"client4@set k{number} value {number}")
        cluster["s1"].terminate()
        yield cluster


@contextlib.contextmanager
def files_put_back(cluster: Cluster) -> Iterator[NodeProcess]:
    kept = {path: path.read_bytes() for path in cluster.folder.iterdir() if path.is_file()}
    try:
        yield cluster["s1"]
    finally:
        cluster["s1"].kill()
        for path, data in kept.items():
            path.write_bytes(data)


def refusal(node: NodeProcess) -> str:
    """Start a node that must refuse its files; return its one line."""
    assert node.launch().ended() == 3, node.transcript()
    complaints = [line for line in node.said if line.startswith("[!] ")]
    assert len(complaints) == 1, node.transcript()
    return complaints[0]


@pytest.mark.parametrize("seed", [0, 1, 2, 3, *at_night(*range(4, 16))])
def test_a_flipped_byte_in_the_log_is_refused_with_file_and_line(
    stopped: Cluster, seed: int
) -> None:
    with files_put_back(stopped) as node:
        data = bytearray(node.log.read_bytes())
        place = random.Random(seed).randrange(len(data))
        data[place] ^= 1 << random.Random(seed).randrange(8)
        node.log.write_bytes(data)
        complaint = refusal(node)
        assert complaint.startswith("[!] s1.log, line ")
        assert "s1 does not start before its files are repaired: raftline fsck" in complaint
        assert node.log.read_bytes() == data


@pytest.mark.parametrize("change", ["delete", "double", "exchange"])
def test_a_line_too_few_or_too_many_in_the_log_is_refused(stopped: Cluster, change: str) -> None:
    with files_put_back(stopped) as node:
        lines = node.log.read_bytes().splitlines(keepends=True)
        if change == "delete":
            del lines[3]
        elif change == "double":
            lines.insert(3, lines[3])
        else:
            lines[3], lines[5] = lines[5], lines[3]
        node.log.write_bytes(b"".join(lines))
        assert refusal(node).startswith("[!] s1.log, line ")


@pytest.mark.parametrize("tail", [b"10 1 set torn ", b"10 1 set torn off\n", b"\0" * 512, b"#"])
def test_a_torn_tail_is_cut_off_and_reported_at_the_start(stopped: Cluster, tail: bytes) -> None:
    with files_put_back(stopped) as node:
        before = node.log.read_bytes()
        node.log.write_bytes(before + tail)
        node.start()
        said = node.wait_for_line("dropped")
        assert said.startswith(f"[!] s1.log: dropped {len(tail)} bytes after entry ")
        assert node.log.read_bytes().startswith(before)
        assert stopped.ask("client4@get k7") == "GET response: value 7"
        assert stopped.ask("client4@get torn") == "GET response, no such key: torn"


def refusal_of_the_only_member(node: NodeProcess) -> str:
    """Start a node that lost something and has nobody to catch up from; return what it lost."""
    assert node.launch().ended() == 3, node.transcript()
    *lost, refused = (line for line in node.said if line.startswith("[!] "))
    assert "is the only member: there is no node to catch up from." in refused
    assert "raftline recover s1" in refused
    return lost[0]


@pytest.mark.parametrize("place", [5, 20, -3])
def test_only_member_refuses_a_damaged_storage_file(stopped: Cluster, place: int) -> None:
    """The only member of a cluster refuses to start from a damaged storage file."""
    with files_put_back(stopped) as node:
        path = stopped.folder / "s1.storage"
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)
        said = refusal_of_the_only_member(node)
        assert said.startswith("[!] s1.storage is damaged, since line ")
        kept = list(stopped.folder.glob("s1.storage.damaged-*"))
        assert bytes(data) in [path.read_bytes() for path in kept]


def test_the_only_member_does_not_start_without_its_storage_file(stopped: Cluster) -> None:
    with files_put_back(stopped) as node:
        (stopped.folder / "s1.storage").unlink()
        assert refusal_of_the_only_member(node).startswith("[!] s1.storage is gone: this ")


def test_a_stray_temporary_file_is_removed(stopped: Cluster) -> None:
    with files_put_back(stopped) as node:
        stray = stopped.folder / "s1.log.tmp"
        stray.write_bytes(b"half")
        node.start()
        assert not stray.exists()


def test_values_of_every_kind_come_back_the_same_after_a_restart(tmp_path: Path) -> None:
    values = [r"two\nlines", r"\r\n\t", "a@b - c", "1 1 set x y", "# 3 entries synced", r"\x00\xff",
              " spaces ", "", "é漢字😀", r"\\n", "0 0 base s1=x"]  # fmt: skip
    with Cluster(tmp_path, 1) as cluster:
        cluster.start()
        for number, value in enumerate(values):
            assert (
                cluster.ask(f"c@set k{number} {value}") == f"SET response: k{number} set to {value}"
            )
        cluster["s1"].kill()
        cluster.start()
        found = [cluster.ask(f"c@get k{number}") for number in range(len(values))]
        assert found == [f"GET response: {value}" for value in values]


def test_leader_with_a_failed_fdatasync_acknowledges_nothing(tmp_path: Path) -> None:
    """If fdatasync fails, the leader stops and acknowledges nothing."""
    flag = tmp_path / "failing"
    with Cluster(tmp_path, 3) as cluster:
        node = cluster["s1"]
        fail_syncs(node, flag)
        for other in cluster.nodes[1:]:
            other.options += ["--pace", "human"]  # so that s1 leads
        cluster.start("--new")
        assert cluster.ask("client4@set b old") == "SET response: b set to old"
        cluster["s3"].pause()  # the two others would be a majority without the leader's own disk
        flag.write_text("")
        with node.connect() as client:
            client.send("client4@set b new")
            assert "SET response" not in client.read_line()
        assert node.ended() == 4
        cluster["s3"].resume()
        assert flag.read_text() == "called\n"
        flag.unlink()
        node.start()
        value = cluster.ask("client4@get b")
        assert value in ("GET response: old", "GET response: new")
        assert cluster.ask("client4@get b") == value


def test_single_node_with_a_failed_fdatasync_tries_no_second(tmp_path: Path) -> None:
    """If fdatasync fails, a single node stops without a retry."""
    flag = tmp_path / "failing"
    with Cluster(tmp_path, 1) as cluster:
        node = cluster["s1"]
        fail_syncs(node, flag)
        node.start()
        assert cluster.ask("client4@set b old") == "SET response: b set to old"
        flag.write_text("")
        with node.connect() as client:
            reply = client.ask("client4@set b new")
        assert reply in ("", "s1@Sorry, outcome unknown: this server failed")
        assert node.ended() == 4
        assert [line for line in node.said if line.startswith("[!]")] == [
            f"[!] s1 stops: {node.log}: cannot sync: Input/output error. No part of it "
            "was acknowledged, and the node stops; check the disk, then start the node again"
        ]
        assert flag.read_text() == "called\n"
        flag.unlink()
        node.start()
        assert cluster.ask("client4@get b") in ("GET response: old", "GET response: new")


def test_follower_with_a_failed_fdatasync_stops_alone(tmp_path: Path) -> None:
    """If fdatasync fails at a follower, only that follower stops."""
    flag = tmp_path / "failing"
    with Cluster(tmp_path, 3) as cluster:
        fail_syncs(cluster["s3"], flag)
        cluster["s3"].options += ["--pace", "human"]  # so that it never leads
        cluster.start("--new")
        cluster.ask("client4@set b old")
        flag.write_text("")
        assert cluster.ask("client4@set b new") == "SET response: b set to new"
        assert cluster["s3"].ended() == 4
        assert cluster.ask("client4@set b newer") == "SET response: b set to newer"
        flag.unlink()
        cluster["s3"].start()
        cluster.wait_until_equal()


@contextlib.contextmanager
def tiny_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of 256 KiB on `folder`, where that is allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "raftline-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system can't be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no room on the disk of a folder."""
    with (folder / BALLAST).open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass


def test_a_node_takes_no_writes_while_its_disk_is_nearly_full(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk") as folder, Cluster(folder, 1) as cluster:
        node = cluster["s1"].start()
        cluster.leader()
        done = 0
        with node.connect() as client:
            for number in range(100):
                reply = client.ask(f"client4@set k{number} " + "v" * 10_000)
                if "SET response" not in reply:
                    break
                done += 1
        assert 10 < done < 30
        assert "the leader's disk is nearly full. Nothing was done" in reply
        node.wait_for_line("[!] The disk is nearly full")
        subprocess.run(["mount", "-o", "remount,size=4m", str(folder)], check=True)
        value = "v" * 10_000
        for number in range(done):
            assert cluster.ask(f"client4@get k{number}") == f"GET response: {value}"
        assert cluster.ask("client4@set room again") == "SET response: room set to again"


def test_a_disk_that_another_program_fills_stops_a_node(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk") as folder, Cluster(folder, 1) as cluster:
        node = cluster["s1"].start()
        assert cluster.ask("client4@set a 1") == "SET response: a set to 1"
        fill(folder)
        with node.connect() as client:
            assert "SET response" not in client.ask("client4@set b " + "v" * 10_000)
        assert node.ended() == 4
        assert (
            f"[!] s1 stops: {node.log}: cannot write: No space left on device. No part of it "
            "was acknowledged, and the node stops; free some space on this disk, then start the "
            "node again"
        ) in node.said
        (folder / BALLAST).unlink()
        node.start()
        assert cluster.ask("client4@get a") == "GET response: 1"


def test_full_disk_at_start_ends_a_node_as_it_would_later(tmp_path: Path) -> None:
    """A node that starts on a full disk ends in the same way as one whose disk fills up later."""
    with tiny_disk(tmp_path / "disk") as folder, Cluster(folder, 1) as cluster:
        node = cluster["s1"].start()
        assert cluster.ask("client4@set a 1") == "SET response: a set to 1"
        node.terminate()
        (folder / ".s1.born").unlink()  # a file that each start writes if it is not there
        fill(folder)
        assert node.launch().ended() == 4
        assert ": cannot replace: No space left on device" in node.transcript()
        (folder / BALLAST).unlink()
        node.start()
        assert cluster.ask("client4@get a") == "GET response: 1"


def test_a_full_disk_of_a_follower_leaves_the_others_serving(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk") as folder, Cluster(tmp_path, 3) as cluster:
        node = cluster["s3"]
        (folder / FILE_NAME).write_bytes((tmp_path / FILE_NAME).read_bytes())
        node.folder = folder
        node.where = ["--dir", str(folder)]
        node.options += ["--pace", "human"]  # so that it never leads
        cluster.start("--new")
        for number in range(60):
            reply = cluster.ask(f"client4@set k{number} " + "v" * 10_000)
            assert reply.startswith(f"SET response: k{number} set to ")
        node.wait_for_line("[!] The disk is nearly full")
        subprocess.run(["mount", "-o", "remount,size=4m", str(folder)], check=True)
        cluster.wait_until_equal()


def test_unforeseen_error_in_the_core_ends_with_a_report(tmp_path: Path) -> None:
    """An unexpected error in the core ends the process with a report."""
    with Cluster(tmp_path, 1) as cluster:
        node = cluster["s1"]
        break_core(node)
        node.start()
        assert cluster.ask("client4@set b 5") == "SET response: b set to 5"
        with node.connect() as client:
            assert "SET response" not in client.ask("client4@set b break the core")
        assert node.ended() == 70
        assert "[!] s1 stops: RuntimeError: a bug that no test has met" in node.said
        assert any(line.lstrip().startswith('File "') for line in node.said)  # its place
        node.start()
        assert cluster.ask("client4@get b") == "GET response: 5"
