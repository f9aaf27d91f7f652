"""The real folder: locks, order of calls, full and read-only disks, odd paths."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raftline.common.address import Address
from raftline.common.config import FILE_NAME, Configuration
from raftline.node.program.joining import begun, register, settle_configuration
from raftline.node.program.startup import Startup
from raftline.raft.effects import Effects
from raftline.raft.log import Entry, Snapshot
from raftline.storage import birth
from raftline.storage.disk import DiskFailed, FilesRefused
from raftline.storage.folder import Folder
from raftline.storage.hard_state import HardStateFile, Mark
from raftline.storage.log_reader import LogReader
from raftline.storage.repair import repair_before_start
from raftline.storage.snapshot_file import SnapshotFile
from raftline_testing.files.node_files import BASE, boot, entries, known, vote, write
from raftline_testing.files.snapshot_writing import write_snapshot

HOLDER = """
import sys
from raftline.storage.folder import Folder
folder = Folder(sys.argv[1])
folder.lock("s1")
print("locked", flush=True)
sys.stdin.read()
"""


def hold_lock(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def fail_with(number: int) -> object:
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list in which calls that reach the disk will be noted, by name."""
    calls: list[str] = []
    for name in ("write", "fdatasync", "replace", "fsync"):
        real = getattr(os, name)

        def record(*arguments: object, name: str = name, real: object = real) -> object:
            calls.append(name)
            return real(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(os, name, record)
    return calls


@pytest.mark.needs("processes")
def test_second_server_on_the_same_files_is_refused(tmp_path: Path) -> None:
    """The refusal names the process that holds the files."""
    holder = hold_lock(tmp_path)
    try:
        with pytest.raises(FilesRefused, match=rf"s1 is running already: process {holder.pid} "):
            boot(Folder(tmp_path))
        assert not (tmp_path / "s1.log").exists()
    finally:
        holder.kill()
        holder.communicate()
    manager, _ = boot(Folder(tmp_path))
    manager.close()


@pytest.mark.needs("file locks")
def test_a_stale_lock_file_alone_blocks_no_node(tmp_path: Path) -> None:
    (tmp_path / "s1.lock").write_text("1\n")
    manager, _ = boot(Folder(tmp_path))
    assert (tmp_path / "s1.lock").read_text() == f"{os.getpid()}\n"
    with pytest.raises(FilesRefused, match="running already"):
        boot(Folder(tmp_path))
    manager.close()
    manager, _ = boot(Folder(tmp_path))
    manager.close()


def test_two_nodes_share_a_folder(tmp_path: Path) -> None:
    first, _ = boot(Folder(tmp_path), "s1")
    second, _ = boot(Folder(tmp_path), "s2")
    assert {"s1.log", "s2.log"} <= set(os.listdir(tmp_path))
    first.close()
    second.close()


def test_replaced_file_is_synced_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file is synced, then its name, before the call returns."""
    folder = Folder(tmp_path)
    calls = recorded(monkeypatch)
    folder.replace("s1.storage", [b"one\n", b"two\n"])
    assert calls == ["write", "write", "fdatasync", "replace", "fsync"]
    assert (tmp_path / "s1.storage").read_bytes() == b"one\ntwo\n"


def test_a_write_in_place_goes_to_the_file_that_has_the_name(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for content in (b"first", b"other"):
        folder.replace("s1.storage", [content])
        folder.overwrite("s1.storage", 1, b"---")
        assert (tmp_path / "s1.storage").read_bytes() == content[:1] + b"---" + content[4:]
    folder.close()


def test_a_renamed_file_has_its_name_durably(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    (tmp_path / "s1.log.new").write_bytes(BASE)
    calls = recorded(monkeypatch)
    folder.rename("s1.log.new", "s1.log")
    assert calls == ["replace", "fsync"]
    assert (tmp_path / "s1.log").read_bytes() == BASE


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EPERM])
@pytest.mark.parametrize("is_made", [False, True])
def test_a_failed_rename_is_harmless_if_it_was_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_made: bool
) -> None:
    """A server of files may report an error for a rename that it has made."""
    folder, really = Folder(tmp_path), os.replace
    (tmp_path / "s1.state_machine").write_bytes(b"old")
    (tmp_path / "s1.state_machine.tmp").write_bytes(b"new")

    def replace(old: str, new: str) -> None:
        if is_made:
            really(old, new)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(DiskFailed) as failed:
        folder.rename("s1.state_machine.tmp", "s1.state_machine")
    assert failed.value.changed_nothing is not is_made


def test_unsynced_bytes_of_a_killed_process_are_synced_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start syncs what a killed process left unsynced."""
    (tmp_path / "s1.log").write_bytes(BASE)
    folder = Folder(tmp_path)
    synced: list[int] = []
    real = os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    folder.open_append("s1.log").close()
    assert synced == [os.stat(tmp_path / "s1.log").st_ino, os.stat(tmp_path).st_ino]


@pytest.mark.pure  # compiled code knows its system from the build on
def test_macos_sync_of_files_and_folders_empties_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS, each sync of a file or folder flushes the drive's cache."""
    (tmp_path / "s1.log").write_bytes(BASE)
    folder = Folder(tmp_path)
    synced: list[int] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda opened, _: synced.append(os.fstat(opened).st_ino))
    log = folder.open_append("s1.log")
    log.truncate(3)
    log.close()
    inodes = [os.stat(path).st_ino for path in (tmp_path / "s1.log", tmp_path)]
    assert synced == [*inodes, inodes[0]]


@pytest.mark.parametrize("marked", [False, True])
def test_batch_after_a_failed_sync_is_rewritten_before_syncing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marked: bool
) -> None:
    """After a failed sync, Linux marks the pages as clean and returns them on a read."""
    manager, _ = boot(Folder(tmp_path))
    vote(manager, 1, None)
    write(manager, 1, 1, "set a 1")
    before = os.stat(tmp_path / "s1.log").st_size
    works = [Effects(append=entries(2, 1, "set b 2", "set c 3"))]
    if marked:
        manager.persist(works)
    else:
        manager.write(works)
    manager.close()
    data = (tmp_path / "s1.log").read_bytes()
    steps: list[tuple[bytes, int] | str] = []
    real, sync = os.pwrite, os.fsync

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if offset:
            steps.append((data, offset))
        return real(descriptor, data, offset)

    def fsync(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == os.stat(tmp_path / "s1.log").st_ino:
            steps.append("sync")
        sync(descriptor)

    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(os, "fsync", fsync)
    manager, recovered = boot(Folder(tmp_path))
    manager.close()
    assert steps == ([] if marked else [(data[before:], before)]) + ["sync"]
    assert (tmp_path / "s1.log").read_bytes() == data
    assert recovered.log.commands == ["set a 1", "set b 2", "set c 3"]


def test_a_tail_that_was_cut_off_is_gone_durably(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s1.log").write_bytes(BASE + b"1 1 se")
    file = Folder(tmp_path).open_append("s1.log")
    calls = recorded(monkeypatch)
    file.truncate(len(BASE))
    assert calls == ["fsync"]
    assert (tmp_path / "s1.log").read_bytes() == BASE
    file.close()


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path)
    folder.replace("s1.log", [BASE])
    file = folder.open_append("s1.log")
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:3])))
    file.append(b"1 1 noop\n")
    assert (tmp_path / "s1.log").read_bytes() == BASE + b"1 1 noop\n"
    file.close()


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EIO, "check the disk"),
        (errno.EROFS, "choose another folder"),
        (errno.EACCES, "allow this user to write there"),
    ],
)
@pytest.mark.parametrize("call", ["write", "fdatasync", "replace"])
def test_failed_replace_keeps_the_old_file_and_names_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, advice: str
) -> None:
    """A failed replace keeps the old file, and its error names a remedy."""
    folder = Folder(tmp_path)
    folder.replace("s1.storage", [b"old"])
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail_with(number))
        with pytest.raises(DiskFailed, match=advice) as failed:
            folder.replace("s1.storage", [b"new"])
    assert str(tmp_path / "s1.storage") in str(failed.value)
    assert (tmp_path / "s1.storage").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["s1.storage"]


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt])
def test_a_replace_that_fails_in_its_bytes_leaves_the_old_file(
    tmp_path: Path, problem: type[BaseException]
) -> None:
    def half() -> Iterator[bytes]:
        yield b"new"
        raise problem

    folder = Folder(tmp_path)
    folder.replace("s1.storage", [b"old"])
    with pytest.raises(problem):
        folder.replace("s1.storage", half())
    assert (tmp_path / "s1.storage").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["s1.storage"]


def test_a_file_that_cannot_be_made_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    monkeypatch.setattr(os, "open", fail_with(errno.ENOSPC))
    with pytest.raises(DiskFailed, match="No space left on device") as failed:
        folder.create("s1.log.new")
    assert failed.value.changed_nothing
    folder.remove("s1.log.new")  # nor is it an error that it is not there


def test_a_full_disk_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager, _ = boot(Folder(tmp_path))
    vote(manager, 1, None)
    manager.close()

    def full(descriptor: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("raftline.storage.folder.write_all", full)
    folder = Folder(tmp_path)
    with pytest.raises(DiskFailed, match="No space left on device") as failed:
        folder.replace("s1.storage", [b"x"])
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_files_that_may_not_be_written_are_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    manager, _ = boot(Folder(tmp_path))
    vote(manager, 1, "s1")
    write(manager, 1, 1, "noop")
    manager.close()
    real = os.open

    def read_only(path: str, flags: int, *mode: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(number, os.strerror(number))
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(FilesRefused, match=r"allow this user to write there"):
        boot(Folder(tmp_path))


def test_a_folder_that_refuses_new_files_is_found_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager, _ = boot(Folder(tmp_path))
    manager.close()
    real = os.open

    def no_new_files(path: str, flags: int, *mode: int) -> int:
        if flags & os.O_CREAT and not os.path.exists(path):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", no_new_files)
    with pytest.raises(FilesRefused, match=r"s1\.storage: cannot replace: Permission denied"):
        boot(Folder(tmp_path))


def test_a_log_that_is_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    manager, _ = boot(Folder(tmp_path))
    manager.close()
    (tmp_path / "s1.log").unlink()
    (tmp_path / "s1.log").mkdir()
    with pytest.raises(FilesRefused, match=r"s1\.log: cannot be read: Is a directory"):
        boot(Folder(tmp_path))


def test_a_file_without_permission_does_not_count_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    monkeypatch.setattr(os, "stat", fail_with(errno.EACCES))
    with pytest.raises(FilesRefused, match="Permission denied"):
        folder.exists("s1.storage")


@pytest.mark.needs("hard links")
@pytest.mark.parametrize("make", ["node", "registered", "begun", "joining"])
def test_new_folders_get_durable_names_from_the_top_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: str
) -> None:
    """The name of each new folder is made durable, outermost first."""
    data = tmp_path / "a" / "b" / "c"
    path = data / "server-configuration.txt"
    synced = synced_folders(monkeypatch)
    {
        "node": lambda: Folder(data),
        "registered": lambda: register(path, "s1", 1),
        "begun": lambda: begun(path, "s1 1\n"),
        "joining": lambda: settle_configuration(str(data), "s1", "h", 1, joins=Address("h", 2)),
    }[make]()
    parents = (tmp_path, tmp_path / "a", tmp_path / "a" / "b")
    assert synced[:3] == [os.stat(parent).st_ino for parent in parents]


def test_existing_folder_has_a_durable_name_before_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of an existing folder is made durable before any file is created in it."""
    (tmp_path / "data").mkdir()  # by a person, or a node that was killed right after it
    (tmp_path / "link").symlink_to(tmp_path / "data")
    synced = synced_folders(monkeypatch)
    Folder(tmp_path / "link")
    assert synced == [os.stat(tmp_path).st_ino]
    monkeypatch.setattr(os, "fsync", fail_with(errno.EACCES))
    Folder(tmp_path / "data")  # whose parent nobody may read: no reason to refuse it


def synced_folders(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list in which each folder that is synced will be noted, by its inode."""
    synced: list[int] = []
    real = os.fsync

    def record(descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            synced.append(found.st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return synced


@pytest.mark.parametrize("name", ["with space", "grüße-日本", "a/b/c"])
def test_any_path_works_and_is_made(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        manager, recovered = boot(Folder(tmp_path / name))
        vote(manager, 2, "s2")
        manager.close()
    assert recovered.hard_state.term == 2


def test_a_linked_folder_and_a_linked_log_stay_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    manager, _ = boot(Folder(tmp_path / "link"))
    vote(manager, 1, None)
    write(manager, 1, 1, "a", "b")
    manager.close()
    (tmp_path / "real" / "s1.log").rename(tmp_path / "disk" / "s1.log")
    (tmp_path / "link" / "s1.log").symlink_to(tmp_path / "disk" / "s1.log")
    folder = Folder(tmp_path / "link")
    manager, _ = boot(folder)
    folder.replace("s1.log", [(tmp_path / "disk" / "s1.log").read_bytes()])
    manager.close()
    assert (tmp_path / "real" / "s1.log").is_symlink()
    _, recovered = boot(Folder(tmp_path / "link"))
    assert known(recovered) == [Entry(1, 1, "a"), Entry(2, 1, "b")]


def move_to_another_disk(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a link in the place of a file, which no name of the folder can be given to any more."""
    disk = folder.parent / "disk"
    disk.mkdir()
    (folder / name).rename(disk / name)
    (folder / name).symlink_to(disk / name)
    real = os.replace

    def replace(old: str, new: str) -> None:
        if os.path.dirname(old) != os.path.dirname(new):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(old, new)

    monkeypatch.setattr(os, "replace", replace)
    return disk / name


def test_linked_log_on_another_disk_is_begun_again_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, the node stops at its first compaction, and at each later start."""
    folder = Folder(tmp_path / "logs")
    manager, _ = boot(folder)
    vote(manager, 1, None)
    write(manager, 1, 1, "set a 1", "set b 2")
    there = move_to_another_disk(tmp_path / "logs", "s1.log", monkeypatch)
    manager.apply(entries(1, 1, "set a 1"))
    manager.snapshots.publish(write_snapshot(manager.snapshots, manager.freeze()))
    rewrite = manager.begin_rewrite(Snapshot(1, 1, 0, 0))
    manager.finish_rewrite(rewrite, entries(2, 1, "set b 2"))
    write(manager, 3, 1, "set c 3")
    manager.close()
    assert there.read_bytes().startswith(b"1 1 base ")
    assert (tmp_path / "logs" / "s1.log").is_symlink()
    manager, recovered = boot(Folder(tmp_path / "logs"))
    manager.close()
    assert recovered.log.commands == ["set b 2", "set c 3"]
    assert os.listdir(there.parent) == ["s1.log"]


def test_damaged_linked_log_on_another_disk_is_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged log behind a link to another disk is set aside."""
    manager, _ = boot(Folder(tmp_path / "logs"))
    manager.close()
    there = move_to_another_disk(tmp_path / "logs", "s1.log", monkeypatch)
    there.write_bytes(b"0 0 base ?\n")
    said = repair_before_start(Folder(tmp_path / "logs"), "s1")
    assert said[-1] == "s1.log is kept as s1.log.damaged-1"
    assert (tmp_path / "logs" / "s1.log.damaged-1").read_bytes() == b"0 0 base ?\n"
    manager, recovered = boot(Folder(tmp_path / "logs"))
    manager.close()
    assert recovered.recovering


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FilesRefused, match="choose another folder"):
            Folder(path)


def test_files_of_an_interrupted_replace_are_removed(tmp_path: Path) -> None:
    manager, _ = boot(Folder(tmp_path))
    manager.close()
    for name in ("s1.log.tmp", "s1.storage.tmp", "s1.log.seed.tmp"):
        (tmp_path / name).write_bytes(b"half")
    manager, _ = boot(Folder(tmp_path))
    manager.close()
    assert set(os.listdir(tmp_path)) == {"s1.log", "s1.storage", "s1.lock", ".s1.born"}


def test_no_decision_rests_on_a_files_time(tmp_path: Path) -> None:
    manager, _ = boot(Folder(tmp_path))
    vote(manager, 1, None)
    write(manager, 1, 1, "a")
    manager.close()
    for name, moment in (("s1.log", 0), ("s1.storage", 2**32)):
        os.utime(tmp_path / name, (moment, moment))
    _, recovered = boot(Folder(tmp_path))
    assert known(recovered) == [Entry(1, 1, "a")]
    assert not recovered.recovering


def test_log_deleted_under_a_running_node_is_noticed_at_start(tmp_path: Path) -> None:
    """If the log is deleted while the node runs, the next start notices it."""
    manager, _ = boot(Folder(tmp_path))
    vote(manager, 1, None)
    write(manager, 1, 1, "a")
    (tmp_path / "s1.log").unlink()
    write(manager, 2, 1, "b")
    manager.close()
    _, recovered = boot(Folder(tmp_path))
    assert recovered.recovering
    assert "ends at entry 0, but entry 2 was synced before" in recovered.notes[1]


# --- a node that is protected ---------------------------------------------------------------------


def modes(path: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.iterdir()}


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize(("is_private", "mode"), [(True, 0o600), (False, 0o644)])
def test_files_of_a_protected_node_are_for_their_owner_alone(
    tmp_path: Path, is_private: bool, mode: int
) -> None:
    """This holds for files that are created, replaced or compacted."""
    folder = Folder(tmp_path, is_private=is_private)
    manager, _ = boot(folder)
    folder.replace("s1.state_machine", [b"a"])
    folder.create("s1.log.new").close()
    assert set(modes(tmp_path).values()) == {mode}
    assert {"s1.log", "s1.storage", "s1.lock", ".s1.born"} <= set(modes(tmp_path))
    manager.close()


@pytest.mark.usefixtures("usual_umask")
def test_repair_of_a_protected_node_keeps_files_for_its_owner(tmp_path: Path) -> None:
    """The damaged parts of a log contain values, and the node may never start again."""
    manager, _ = boot(Folder(tmp_path, is_private=True))
    vote(manager, 1, None)
    write(manager, 1, 1, "set password old")
    write(manager, 2, 1, "set password new")
    manager.close()
    log = tmp_path / "s1.log"
    log.write_bytes(log.read_bytes().replace(b"new", b"mew"))
    said = repair_before_start(Folder(tmp_path), "s1")
    assert "is kept as s1.log.damaged-1" in said[-1]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.needs("file permissions")
def test_older_files_are_closed_at_the_next_protected_start(tmp_path: Path) -> None:
    """Files from before a node was protected lose their permissions for others at the next
    start."""
    boot(Folder(tmp_path))[0].close()
    others = tmp_path / "s2.log", tmp_path / "s1.pem", tmp_path / "server-configuration.txt"
    for path in others:
        path.touch()
    boot(Folder(tmp_path, is_private=True))[0].close()
    found = modes(tmp_path)
    assert {found.pop(path.name) for path in others} == {0o644}
    assert set(found.values()) == {0o600}


@pytest.mark.parametrize("name", ["s1.lock", "s1.storage", "s1.log.new"])
def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path, name: str) -> None:
    """Otherwise, anyone who can write to the folder could make the node overwrite any file of its
    user."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    (nodes / name).symlink_to(victim)
    with pytest.raises(FilesRefused, match=f"{name}: is a link, which a node does not follow"):
        boot(Folder(nodes))
    assert victim.read_text() == "precious"


def test_a_link_that_is_made_while_a_node_runs_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    nodes = tmp_path / "nodes"
    folder = Folder(nodes)
    for name in ("s1.log.new", "s1.state_machine.tmp", "s1.storage"):
        (nodes / name).symlink_to(victim)
    for act in (
        lambda: folder.create("s1.log.new"),
        lambda: folder.replace("s1.state_machine", [b"a"]),
        lambda: folder.overwrite("s1.storage", 0, b"a"),
    ):
        with pytest.raises(DiskFailed, match=os.strerror(errno.ELOOP)):
            act()
    assert victim.read_text() == "precious"


def test_a_protected_node_says_that_others_can_replace_its_files(tmp_path: Path) -> None:
    said: list[str] = []
    members = {"s1": Address("localhost", 10000)}
    for mode, count in ((0o755, 0), (0o1777, 0), (0o775, 1), (0o777, 2)):
        tmp_path.chmod(mode)
        configuration = Configuration(tmp_path / FILE_NAME, members)
        startup = Startup("s1", configuration, said.append, is_private=True)
        startup.recover()[0].close()
        warnings = [line for line in said if line.startswith("[!]")]
        assert len(warnings) == count
        assert all("can be written by other users of this machine" in line for line in warnings)
    Startup("s1", configuration, said.append).recover()[0].close()
    assert [line for line in said if line.startswith("[!]")] == warnings


class _Broken(io.RawIOBase):
    """A file on a disk that fails when it is read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.pure  # a method of a compiled object can't be replaced
@pytest.mark.parametrize(
    ("end", "look"),
    [
        ("storage", lambda folder: HardStateFile(folder, "s1").load()),
        ("log", lambda folder: LogReader(folder, "s1.log", Mark(0, 0)).read()),
        ("state_machine", lambda folder: SnapshotFile(folder, "s1").read()),
        ("log", lambda folder: birth.is_hand_written(folder, "s1.log")),
        ("log", lambda folder: birth.is_as_born(folder, "s1.log")),
    ],
)
def test_unreadable_file_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, look: Callable[[Folder], object]
) -> None:
    """A file that the disk cannot read is refused by name."""
    folder = Folder(tmp_path)
    folder.replace(f"s1.{end}", [b"text\n"])
    monkeypatch.setattr(folder, "read", lambda name: io.BufferedReader(_Broken()))
    with pytest.raises(FilesRefused, match=rf"s1\.{end}: cannot be read: Input/output error"):
        look(folder)
