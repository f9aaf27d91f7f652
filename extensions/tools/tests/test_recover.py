"""The state that `raftline recover` continues with: all that a last survivor has left."""

from __future__ import annotations

import json
import re
import sys
from collections import deque
from collections.abc import Generator, Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from raftline.common.config import FILE_NAME, ConfigError, Configuration
from raftline.common.identities import continues, new_cluster
from raftline.common.process.wakeup import no_pause
from raftline.logmanager import LogManager
from raftline.node.program.startup import check_member
from raftline.raft.effects import Effects
from raftline.raft.identity import identity_command
from raftline.raft.log import Snapshot
from raftline.raft.membership import Configurations
from raftline.raft.node import node_from_disk
from raftline.raft.node_view import NodeView
from raftline.raft.state import Options
from raftline.state.sessions import EPOCH_MAX, EPOCH_TERMS
from raftline.storage.disk import FilesRefused
from raftline.storage.folder import Folder
from raftline.storage.start_plan import read_plan
from raftline.tools.node_files.fsck import fsck
from raftline.tools.node_files.recover import recover, take_over
from raftline.tools.tests.damages import COMPACTED, DAMAGES, WHOLE
from raftline_testing.files.faulty_folder import Died, Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import (
    THIRD,
    boot,
    entries,
    log_file,
    storage_file,
    vote,
    write,
)


def test_a_survivor_without_its_log_continues_from_its_snapshot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in COMPACTED.items():
        if name != "s1.log":
            (tmp_path / name).write_bytes(content)
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    said = capsys.readouterr().out
    assert "\n4. Restart every program that was connected, " in said
    assert "Entries up to 3 were committed for certain: its snapshot holds them." in said
    assert "s1 HAS LOST FILES" in said
    manager = LogManager("s1", Folder(tmp_path), {})
    recovered = manager.recover()
    manager.close()
    log = recovered.log
    latest = Configurations(log.base_index, recovered.members, log.commands).latest
    assert latest.names == ("s1",)
    assert (log.last_index, log.last_term) == (4, 2 * EPOCH_TERMS)
    assert not recovered.recovering


@pytest.mark.parametrize(("term", "warns"), [(5, False), (EPOCH_MAX * EPOCH_TERMS, True)])
def test_a_recovery_warns_if_no_era_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], term: int, warns: bool
) -> None:
    """A forged term within the limit of a leap reaches the last epoch in one step."""
    for name, content in (WHOLE | {"s1.storage": storage_file(term, "s2", (5, 2))}).items():
        (tmp_path / name).write_bytes(content)
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    warning = "fencing tokens and names of sessions may come again"
    assert (warning in capsys.readouterr().err) == warns


def test_a_second_recovery_changes_nothing_and_reports_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["raftline"])  # whatever runs this test
    for name, content in COMPACTED.items():
        (tmp_path / name).write_bytes(content)
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    said = capsys.readouterr().out
    assert said.startswith("s1 is already the only member, with entries up to 6.")
    assert "Nothing was changed. Start it as before, with its settings: raftline server s1 " in said
    assert said.count("\n") == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_survivor_continues_at_the_address_that_its_own_file_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that moved has a line in its file, and the old address in its log."""
    monkeypatch.setattr(sys, "argv", ["raftline"])
    for name, content in COMPACTED.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / FILE_NAME).write_text("s1 h 7\n")
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    said = capsys.readouterr().out
    assert f"with its settings: raftline server s1 7 --dir {tmp_path}\n" in said
    assert "--join h:7, and without old files. If the cluster has users, an admin adds it" in said
    assert b" members s1=h:7,voter\n" in (tmp_path / "s1.log").read_bytes()


def test_node_with_private_files_restarts_with_its_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A start without TLS and users would serve everybody who reaches it."""
    for name, content in {**COMPACTED, "s1.lock": b""}.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    for _ in range(2):
        assert recover(str(tmp_path), "s1", confirmed=True) == 0
        said = capsys.readouterr().out
        assert "Start it as before, with its settings for TLS, secret and users (systemctl" in said
        assert " server s1 " not in said
    assert {path.stat().st_mode & 0o077 for path in tmp_path.glob("s1.*")} == {0}


def test_a_lone_member_that_lost_files_can_be_recovered(tmp_path: Path) -> None:
    for name, content in COMPACTED.items():
        (tmp_path / name).write_bytes(content)
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    (tmp_path / "s1.storage").unlink()
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    manager = LogManager("s1", Folder(tmp_path), {})
    recovered = manager.recover()
    manager.close()
    assert (recovered.log.last_term, recovered.recovering) == (4 * EPOCH_TERMS, False)


def test_lone_member_without_its_rotten_snapshot_lost_its_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lone member without its rotten snapshot has lost what that held."""
    alone = b"s1=localhost:10000"
    for name, content in COMPACTED.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "s1.log").write_bytes(log_file(THIRD, base=b"3 1 base %b\n" % alone))
    (tmp_path / "s1.state_machine").write_bytes(COMPACTED["s1.state_machine"][:-9])
    assert fsck([str(tmp_path)], None, repairs=True, as_json=False) == 0
    manager = LogManager("s1", Folder(tmp_path), {"s1": "localhost:10000"})
    manager.recover()  # as a start does, which is refused, and leaves a log without entries
    manager.close()
    capsys.readouterr()
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    said = capsys.readouterr().out
    assert "s1 HAS LOST FILES" in said
    assert "LOST: every acknowledged write after entry 0, if there was one." in said


def test_without_log_and_snapshot_there_is_nothing_to_recover(tmp_path: Path) -> None:
    (tmp_path / "s1.storage").write_bytes(COMPACTED["s1.storage"])
    with pytest.raises(ConfigError, match=r"neither s1\.log nor s1\.state_machine"):
        recover(str(tmp_path), "s1", confirmed=True)
    assert [path.name for path in tmp_path.iterdir()] == ["s1.storage"]


@pytest.mark.parametrize("name", [*DAMAGES, "no log"])
def test_fsck_sends_an_only_member_with_files_to_recover(tmp_path: Path, name: str) -> None:
    """`fsck` sends an only member to `recover` if something is left."""
    files, *_ = DAMAGES.get(name, ({},))
    for file, content in {**WHOLE, **files}.items():
        (tmp_path / file).write_bytes(content)
    if name == "no log":
        (tmp_path / "s1.log").unlink()
    (problem,) = read_plan(Folder(tmp_path), "s1").problems
    fsck([str(tmp_path)], None, repairs=True, as_json=False)
    is_left = any((tmp_path / f"s1.{end}").exists() for end in ("log", "state_machine"))
    if problem.costs_the_vote and "only member" in problem.means:
        assert ("raftline recover" in problem.means) is is_left
        assert ("restore all its files from one backup" in problem.means) is not is_left
    else:
        assert is_left


def test_fsck_reports_the_last_term_and_index_of_a_survivor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in COMPACTED.items():
        (tmp_path / name).write_bytes(content)
    assert fsck([str(tmp_path)], None, repairs=False, as_json=True) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["last_term"], report["last_index"]) == (2, 5)  # the log's; its term is 5


# --- the identity of the cluster ------------------------------------------------------------------

EARLIER = "9f86d081884c7d65"
IDENTITY = re.compile(rb"cluster ([0-9a-f]{16})")


def identified(*, has_snapshot: bool) -> MemoryFolder:
    """Return the files of s1, a member of three in a cluster with an identity."""
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, "s1")
    commands = ["noop", identity_command(EARLIER), "set a 1"]
    write(manager, 1, 1, *commands)
    manager.persist([Effects(cluster=EARLIER)])
    manager.apply(entries(1, 1, *commands))
    if has_snapshot:
        publish(manager)
    write(manager, 4, 1, "set b 2")
    manager.close()
    return folder.kill()


def publish(manager: LogManager) -> None:
    """Make a node take a snapshot."""
    writing = manager.snapshots.writing(manager.freeze(), no_pause)
    taken: list[Any] = []
    deque(_kept(writing, taken), maxlen=0)
    assert manager.snapshots.publish(*taken)


def _kept(writing: Generator[None, None, Snapshot], into: list[Snapshot]) -> Iterator[None]:
    into.append((yield from writing))


def taken_over(folder: MemoryFolder) -> None:
    """Recover s1, as the command does once it is confirmed."""
    manager = LogManager("s1", folder, {})
    take_over(manager, manager.recover(), "s1", "h:1")
    manager.close()


def identities(folder: MemoryFolder) -> set[str]:
    """Return the identities that the files name."""
    return {
        found.decode() for data in folder.contents().values() for found in IDENTITY.findall(data)
    }


def start(folder: MemoryFolder) -> NodeView:
    """Return what s1 knows as it starts from these files.

    Raises:
        FilesRefused: it does not start from them.
    """
    manager, found = boot(folder)
    manager.close()
    if found.not_ours:
        raise FilesRefused(found.not_ours)
    options = Options(cluster_if_new=new_cluster())
    node = node_from_disk(
        "s1", found.members, found.log, found.hard_state, options, lambda: 1, 0,
        snapshot=found.snapshot, base_cluster=found.base_cluster, cluster=found.cluster,
    )  # fmt: skip
    check_member(node.view, Configuration(Path("memory"), {}))
    return node.view


@pytest.mark.parametrize("has_snapshot", [False, True])
def test_the_recovered_cluster_has_another_identity(has_snapshot: bool) -> None:
    """So nothing is taken from an old member that starts from its files again."""
    folder = identified(has_snapshot=has_snapshot)
    assert identities(folder) == {EARLIER}
    taken_over(folder)
    (new,) = identities(folder)
    view = start(folder.kill())
    assert view.cluster == new != EARLIER
    assert continues(new, EARLIER)
    assert [entry.command for entry in view.log.entries(4, 5)] == [
        "set b 2",
        "members s1=h:1,voter",
    ]


@pytest.mark.parametrize("kind", [Kind.DIE_BEFORE, Kind.DIE_AFTER, Kind.TEAR])
@pytest.mark.parametrize("has_snapshot", [False, True])
def test_interrupted_recovery_blocks_starts_until_finished(has_snapshot: bool, kind: Kind) -> None:
    """No start takes files of an interrupted recovery and another ends it."""
    whole, refusals = identified(has_snapshot=has_snapshot), set[str]()
    for step in count(1):
        folder = whole.kill()
        folder.fault = Fault(step, kind)
        try:
            taken_over(folder)
            break
        except Died:
            left = folder.crash(Random(step))
        try:
            view = start(left.kill())
            assert view.cluster == view.identity.latest
        except FilesRefused as problem:
            refusals.add(str(problem).partition(". ")[2])
            problems = read_plan(left.kill(), "s1").problems
            refusals |= {one.means for one in problems}
        is_earlier = EARLIER.encode() in left.contents()["s1.log"]
        taken_over(left)
        (new,) = identities(left)
        assert continues(new, EARLIER) or has_snapshot or not is_earlier
        assert start(left.kill()).membership.names == ("s1",)
    (advice,) = refusals
    assert advice.startswith("If `raftline recover s1` was interrupted, run it again; otherwise ")


def test_cluster_without_an_identity_gets_it_from_its_leader() -> None:
    """A cluster without an identity gets it from its first leader."""
    folder = MemoryFolder(WHOLE)
    taken_over(folder)
    assert identities(folder) == set()
