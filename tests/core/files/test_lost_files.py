"""A node whose files are removed, renamed, cut, extended or replaced while it runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from raftline.logmanager import LogManager
from raftline.node.snapshots.file_check import RETRY_CHECKS, FileCheck
from raftline.raft.effects import Effects, HardState
from raftline.raft.log import Entry
from raftline.storage.disk import EXIT_DISK, DiskFailed, FilesRefused
from raftline.storage.folder import Folder
from raftline.storage.lost_files import FileState, Found, LossStep, compare, decide
from raftline_testing.files.node_files import boot
from raftline_testing.files.snapshot_writing import write_snapshot

OURS = (1, 7)
ENTRIES = [Entry(1, 1, "noop"), *(Entry(n, 1, f"set k{n} {n}") for n in range(2, 9))]
LOG, STORAGE, SNAPSHOT, BORN = "s1.log", "s1.storage", "s1.state_machine", ".s1.born"


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (Found(OURS, 90), FileState.WHOLE),
        (Found(OURS, 91), FileState.LONGER),
        (Found(OURS, 89), FileState.CUT),
        (Found(OURS, 0), FileState.CUT),
        (None, FileState.GONE),
        (Found((1, 8), 0), FileState.GONE),  # as `create` of logrotate leaves it
        (Found((1, 8), 90), FileState.FOREIGN),
        (Found((2, 7), 90), FileState.FOREIGN),
        (Found((1, 8), 0, is_file=False), FileState.FOREIGN),
    ],
)
def test_a_name_is_compared_with_the_file_that_is_written(
    found: Found | None, state: FileState
) -> None:
    assert compare(found, OURS, 90) is state


@pytest.mark.parametrize(
    ("lost", "before", "step"),
    [
        ("", "", LossStep.NOTHING),
        ("a", "", LossStep.WRITE_AGAIN),
        ("a", "a", LossStep.WAIT),
        ("a", "ab", LossStep.WAIT),
        ("ab", "a", LossStep.WRITE_AGAIN),
        ("", "ab", LossStep.DONE),
    ],
)
def test_what_a_look_leads_to(lost: str, before: str, step: LossStep) -> None:
    for state in (FileState.GONE, FileState.CUT, FileState.LONGER):
        states = {name: state if name in lost else FileState.WHOLE for name in "abc"}
        assert decide(states, list(before)) is step


class Node:
    """The files of s1, which has a snapshot, and the look at them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manager = boot(Folder(folder))[0]
        self.said: list[str] = []
        self.asked = 0
        self.check = FileCheck(self.manager, self.ask, self.said.append)
        self._left = list(ENTRIES)
        self.manager.persist([Effects(save=HardState(1, "s1"), recovered=True)])
        self.write(3)
        self.take_a_snapshot()

    def ask(self) -> None:
        self.asked += 1

    def write(self, count: int) -> None:
        entries, self._left = self._left[:count], self._left[count:]
        self.manager.persist([Effects(append=entries)])
        self.manager.apply(entries)

    def take_a_snapshot(self) -> None:
        """Take one as the job of snapshots does, and begin the log after it."""
        manager = self.manager
        snapshot = write_snapshot(manager.snapshots, manager.freeze())
        manager.check_places()
        manager.snapshots.publish(snapshot)
        old = manager.finish_rewrite(manager.begin_rewrite(snapshot), [])
        if old is not None:
            old.close()

    def killed(self) -> tuple[bool, LogManager | None]:
        """Return whether the next process has a vote and all of its memory; None: no start."""
        self.manager.close()
        try:
            manager, recovered = boot(Folder(self.folder))
        except FilesRefused:
            return False, None
        log = recovered.log
        manager.apply(log.entries(log.base_index + 1, log.last_index))
        return not (recovered.recovering or recovered.newborn), manager


def unlink(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def rotate(folder: Path) -> None:
    (folder / LOG).rename(folder / f"{LOG}.1")


def rotate_and_create(folder: Path) -> None:
    rotate(folder)
    (folder / LOG).touch()


def truncate(name: str, part: float) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, int((folder / name).stat().st_size * part))


def extend(name: str) -> Callable[[Path], None]:
    """As `echo rotated >> NAME.log` or a log agent does."""

    def append(folder: Path) -> None:
        with (folder / name).open("a") as file:
            file.write("rotated\n")

    return append


def empty(folder: Path) -> None:
    for each in folder.iterdir():
        each.unlink()


LOSSES: dict[str, Callable[[Path], object]] = {
    "log": unlink(LOG),
    "storage": unlink(STORAGE),
    "snapshot": unlink(SNAPSHOT),
    "log and storage": unlink(LOG, STORAGE),
    "rotate": rotate,
    "rotate and create": rotate_and_create,
    "copytruncate": truncate(LOG, 0),
    "cut log": truncate(LOG, 0.5),
    "cut storage": truncate(STORAGE, 0.2),
    "cut snapshot": truncate(SNAPSHOT, 0.5),
    "longer log": extend(LOG),
    "longer storage": extend(STORAGE),
    "longer snapshot": extend(SNAPSHOT),
    "all": empty,
    "folder": shutil.rmtree,
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_crash_before_the_loss_is_mended_is_a_loss_of_memory(tmp_path: Path, loss: str) -> None:
    """This holds whether or not the node noticed: no file has what it acknowledged since."""
    for looks in (0, 1):
        node = Node(tmp_path / str(looks))
        LOSSES[loss](node.folder)
        node.write(1)
        if looks:
            assert node.check.look()
        node.write(1)
        if looks and loss.split()[-1] == "storage" and "log" not in loss:
            continue  # it is whole again at once
        is_whole, manager = node.killed()
        assert not is_whole
        if manager is not None:
            manager.close()


@pytest.mark.needs("file locks")
@pytest.mark.parametrize("loss", LOSSES)
def test_lost_files_are_written_again_from_memory(tmp_path: Path, loss: str) -> None:
    node = Node(tmp_path)
    assert node.check.look()
    assert (node.said, node.check.lost) == ([], [])
    LOSSES[loss](tmp_path)
    node.write(2)
    assert node.check.look()
    (line,) = node.said
    assert line.startswith("[!] s1: ")
    assert " by another program. After a crash this node would lack" in line
    assert all(name in line for name in node.check.lost)
    assert node.asked == 1
    node.write(1)
    node.take_a_snapshot()
    node.write(1)
    assert node.check.look()
    assert node.said[1:] == [f"[*] s1: its files in {tmp_path} are whole again"]
    assert node.check.lost == []
    assert node.check.look()
    assert len(node.said) == 2
    node.write(1)
    with pytest.raises(FilesRefused, match="s1 is running already"):
        Folder(tmp_path).lock("s1")
    store = dict(node.manager.store)
    is_whole, manager = node.killed()
    assert is_whole
    assert manager is not None
    assert dict(manager.store) == store
    manager.close()


def test_a_cut_file_is_kept_next_to_the_new_one(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.write(2)
    truncate(LOG, 0.5)(tmp_path)
    left = (tmp_path / LOG).read_bytes()
    node.check.look()
    assert (tmp_path / f"{LOG}.cut-1").read_bytes() == left


def test_an_extended_file_is_kept_next_to_the_new_one(tmp_path: Path) -> None:
    node = Node(tmp_path)
    extend(LOG)(tmp_path)
    node.write(2)
    left = (tmp_path / LOG).read_bytes()
    node.check.look()
    assert (tmp_path / f"{LOG}.longer-1").read_bytes() == left


@pytest.mark.parametrize("of_log", ["cut", "longer"])
@pytest.mark.parametrize("of_storage", ["cut", "longer"])
def test_each_changed_file_is_kept_next_to_the_new_one(
    tmp_path: Path, of_log: str, of_storage: str
) -> None:
    node = Node(tmp_path)
    ways = {LOG: of_log, STORAGE: of_storage}
    for name, way in ways.items():
        (truncate(name, 0.5) if way == "cut" else extend(name))(tmp_path)
    left = {name: (tmp_path / name).read_bytes() for name in ways}
    node.check.look()
    assert {name: (tmp_path / f"{name}.{ways[name]}-1").read_bytes() for name in ways} == left


@pytest.mark.parametrize("name", [LOG, STORAGE, SNAPSHOT])
@pytest.mark.parametrize("by", ["look", "snapshot"])
def test_another_file_is_never_overwritten(tmp_path: Path, name: str, by: str) -> None:
    node = Node(tmp_path)
    if (by, name) == ("snapshot", STORAGE):
        return  # it is compared by a look alone
    (tmp_path / name).rename(tmp_path / "away")
    (tmp_path / name).write_text("somebody's")
    with pytest.raises(DiskFailed, match=f"{name}: another program put a file of this name") as no:
        node.check.look() if by == "look" else node.take_a_snapshot()
    assert no.value.exit_status == EXIT_DISK
    assert (tmp_path / name).read_text() == "somebody's"
    with pytest.raises(DiskFailed):
        node.write(1)


def test_a_folder_on_another_disk_is_not_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder's file system is no longer mounted, so its path leads to another one."""
    node = Node(tmp_path / "logs")
    shutil.rmtree(tmp_path / "logs")
    monkeypatch.setattr("raftline.storage.folder._device_of", lambda path: -1)
    with pytest.raises(DiskFailed, match="is no longer mounted there"):
        node.check.look()
    assert not (tmp_path / "logs").exists()


def test_files_that_can_t_be_written_yet_are_tried_again(tmp_path: Path) -> None:
    node = Node(tmp_path)
    rotate(tmp_path)
    for _ in range(2 * RETRY_CHECKS + 1):
        node.check.look()
    assert (len(node.said), node.asked) == (1, 3)
    assert node.check.lost == [LOG]


@pytest.mark.parametrize("loss", ["log", "rotate", "storage", "log and storage", "all"])
def test_files_lost_again_once_written_are_noticed_at_next_look(tmp_path: Path, loss: str) -> None:
    node = Node(tmp_path)
    for count in (1, 2):
        LOSSES[loss](tmp_path)
        node.check.look()
        assert len([line for line in node.said if line.startswith("[!] ")]) == count
        assert node.asked == count
        node.take_a_snapshot()
