"""`raftline backup --from`: what a stopped node's files hold, or why that cannot be said."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from zlib import crc32

import pytest

from raftline import cli
from raftline.clients.requests.backup_copy import Backup
from raftline.clients.requests.conversation import Client
from raftline.common.config import ConfigError
from raftline.storage.disk import EXIT_DISK, EXIT_FILES
from raftline.storage.folder import Folder
from raftline.storage.snapshot_lines import format_snapshot
from raftline.tools.node_files.backup import _fetch, of_node, restore
from raftline.tools.node_files.fsck import fsck
from raftline.tools.tests.damages import COMPACTED
from raftline_testing.doubles.user_machine import UserMachine
from raftline_testing.files.node_files import boot, vote, write

EARLIER = "9f86d081884c7d65"  # the identity of the cluster that is backed up


def test_offline_backup_refuses_commands_of_a_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An offline backup refuses commands of a program's machine."""
    (tmp_path / "logs").mkdir()
    manager, _ = boot(Folder(tmp_path / "logs"))
    vote(manager, 1, "s1")
    write(manager, 1, 1, "set a 1", 'machine bank {"to": "ann"}')
    manager.close()
    backup = tmp_path / "backup.txt"
    assert of_node(tmp_path / "logs", "s1", str(backup)) == EXIT_FILES
    assert capsys.readouterr().err == (
        "raftline: s1.log holds commands for a state machine of a program, which only "
        "that program can execute; start the nodes from it and back up the running cluster\n"
    )
    assert not backup.exists()


def test_backup_restore_and_fsck_end_with_4_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for name, content in COMPACTED.items():
        (logs / name).write_bytes(content)
    backup, members = str(tmp_path / "backup.txt"), ["s1=localhost:10000"]
    assert of_node(logs, "s1", backup) == 0

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    statuses = [
        of_node(logs, "s1", str(tmp_path / "another.txt")),
        restore(backup, str(tmp_path / "new"), members),
    ]
    (logs / "s1.storage").unlink()
    statuses.append(fsck(["s1"], str(logs), repairs=True, as_json=False))
    assert statuses == [EXIT_DISK] * 3 == [4] * 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert all("No space left on device" in line for line in said)


@pytest.mark.parametrize("what", ["backup", "restore"])
@pytest.mark.parametrize("kind", ["fdatasync", "fsync", "replace"])
def test_failed_backup_or_restore_blocks_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, kind: str
) -> None:
    """Each call of one kind fails once: the first, then the second, until there is none."""
    logs, new, file = tmp_path / "logs", tmp_path / "new", tmp_path / "backup.txt"
    logs.mkdir()
    for name, content in COMPACTED.items():
        (logs / name).write_bytes(content)
    real, left = getattr(os, kind), [0]

    def fail(*arguments: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.EIO, "Input/output error")
        real(*arguments)

    def work() -> int:
        if what == "backup":
            return of_node(logs, "s1", str(file))
        return restore(str(file), str(new), ["s1=localhost:10000,s2=localhost:10001"])

    if what == "restore":
        assert of_node(logs, "s1", str(file)) == 0
    statuses: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, kind, fail)
        while left[0] <= 0:
            left[0] = len(statuses) + 1
            statuses.append(work())
            assert not [*tmp_path.glob("**/*.tmp"), *tmp_path.glob("*.new-*")]
            if statuses[-1] == EXIT_DISK:
                assert not new.exists()
                assert what == "restore" or not file.exists()
            elif what == "backup":
                file.unlink()
            else:
                assert len(list(new.iterdir())) == 9
                shutil.rmtree(new)
    assert set(statuses[:-1]) - {0} == {EXIT_DISK}  # a folder's own name need not be synced
    assert statuses[-1] == work() == 0


def killed_at(step: int, act: Callable[[], int]) -> bool:
    """Do `act` in a process that SIGKILLs itself before the `step`th call that changes a folder or
    makes it durable; return whether it came so far."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = [step]

    def counting(real: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **more: object) -> object:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **more)

        return counted

    for name in ("open", "write", "mkdir", "rename", "replace", "fsync", "fdatasync", "chmod"):
        setattr(os, name, counting(getattr(os, name)))
    os._exit(act())


@pytest.mark.slow
@pytest.mark.parametrize("was_there", [False, True])
def test_a_restore_that_is_killed_leaves_no_file_in_the_folder(
    tmp_path: Path, was_there: bool
) -> None:
    logs, new, file = tmp_path / "logs", tmp_path / "new", tmp_path / "backup.txt"
    logs.mkdir()
    for name, content in COMPACTED.items():
        (logs / name).write_bytes(content)
    assert of_node(logs, "s1", str(file)) == 0
    if was_there:
        new.mkdir(mode=0o700)
    members = ["s1=localhost:10000,s2=localhost:10001"]
    step, seen, is_killed = 1, set(), True
    while is_killed:
        is_killed = killed_at(step, lambda: restore(str(file), str(new), members))
        seen.add(len(list(new.iterdir())) if new.exists() else -1)
        if new.exists():
            assert not was_there or stat.S_IMODE(new.stat().st_mode) == 0o700
            shutil.rmtree(new)
        if was_there:
            new.mkdir(mode=0o700)
        step += 1
    assert seen == {0 if was_there else -1, 9}
    assert step > 40


def test_a_restore_refuses_a_folder_whose_place_it_can_t_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "backup.txt"
    file.write_bytes(COMPACTED["s1.state_machine"])
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    with pytest.raises(ConfigError, match="your current folder; name a new folder inside it"):
        restore(str(file), str(place), ["s1=localhost:10000"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == place)
    with pytest.raises(ConfigError, match=f"inside it: {place}/restored"):
        restore(str(file), str(place), ["s1=localhost:10000"])
    assert not list(place.iterdir())


def test_a_restored_cluster_has_an_identity_of_its_own(tmp_path: Path) -> None:
    """A node of the old cluster that is still about is refused, whatever its address."""
    (tmp_path / "logs").mkdir()
    manager, _ = boot(Folder(tmp_path / "logs"))
    vote(manager, 1, "s1")
    write(manager, 1, 1, "noop", f"cluster {EARLIER} level 1", "set a 1")
    manager.close()
    backup, members = str(tmp_path / "backup.txt"), ["s1=localhost:10000,s2=localhost:10001"]
    assert of_node(tmp_path / "logs", "s1", backup) == 0
    assert f" snapshot cluster {EARLIER} level 1 sum " in Path(backup).read_text()
    found = []
    for folder in ("new", "newer"):
        assert restore(backup, str(tmp_path / folder), members) == 0
        for name in ("s1", "s2"):
            restored, recovered = boot(Folder(tmp_path / folder), name)
            restored.close()
            assert recovered.cluster == recovered.base_cluster
            found.append(recovered.cluster)
    assert found[0] == found[1] != found[2] == found[3]
    assert EARLIER not in found


def test_backup_and_restore_keep_what_is_known_of_each_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token that a program kept, and a lease, mean the same in the cluster that is restored."""
    (tmp_path / "logs").mkdir()
    manager, _ = boot(Folder(tmp_path / "logs"))
    vote(manager, 1, "s1")
    commands: tuple[str, ...] = ("set a 1", "cluster 9f86d081884c7d65 level 1", "lease 10")
    commands += ("under lease-3 set b two words", "set c ")
    commands += ("setex d 20 4", "expire a 30")
    write(manager, 1, 1, *commands)
    manager.close()
    backup, members = str(tmp_path / "backup.txt"), ["s1=localhost:10000,s2=localhost:10001"]
    assert of_node(tmp_path / "logs", "s1", backup) == 0
    assert restore(backup, str(tmp_path / "new"), members) == 0
    assert fsck(["s1", "s2"], str(tmp_path / "new"), repairs=False, as_json=False) == 0
    capsys.readouterr()
    assert cli.main(["backup", "--check", backup]) == 0
    held = "4 keys, 2 with a time of their own, 1 lease, the state after entry 7 of term 1"
    assert capsys.readouterr().out == f"{backup} is sound: {held}\n"
    restored, _ = boot(Folder(tmp_path / "new"), "s2")
    store = restored.store
    assert not store.is_at_floor
    assert dict(store) == {"a": "1", "b": "two words", "c": "", "d": "4"}
    own = {"d": "own-6-20", "a": "own-7-30"}
    known = [(1, own["a"], ""), (4, "lease-3", ""), (5, "", ""), (6, own["d"], "")]
    assert [store.facts(key) for key in "abcd"] == known
    leased = {"lease-3": {"b"}, **{lease: {key} for key, lease in own.items()}}
    assert (store.leased, store.leases.granted) == (leased, {"lease-3": 10_000})
    restored.close()


def test_a_damaged_backup_is_found_before_it_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manager, _ = boot(Folder(tmp_path))
    vote(manager, 1, "s1")
    write(manager, 1, 1, "set a 1")
    manager.close()
    backup = tmp_path / "backup.txt"
    assert of_node(tmp_path, "s1", str(backup)) == 0
    whole = backup.read_bytes()
    capsys.readouterr()
    for damaged in (whole.replace(b"1", b"2"), whole[:-1], whole + b"x", b""):
        backup.write_bytes(damaged)
        assert cli.main(["backup", str(backup), "--check"]) == 3
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert "The backup is damaged; use another one. Nothing was changed" in printed.err
    assert cli.main(["backup", str(tmp_path / "gone"), "--check"]) == 3
    assert "there is no such file" in capsys.readouterr().err


def test_a_backup_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It holds each value, and the files of a protected node let nobody else read them."""
    logs, file = tmp_path / "logs", tmp_path / "backup.txt"
    manager, _ = boot(Folder(logs, is_private=True))
    vote(manager, 1, "s1")
    write(manager, 1, 1, "set a 1")
    manager.close()
    assert of_node(logs, "s1", str(file)) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    replies = {
        "backup": f"BACKUP response: 1-1 of 1 bytes crc32 {crc32(b'x'):08x}",
        "backup from 0": 'BACKUP response: from 0 "x"',
    }
    client = cast(Client, SimpleNamespace(request=replies.__getitem__))
    assert _fetch(client, tmp_path / "fetched.txt") == Backup(1, 1, 1)
    assert stat.S_IMODE((tmp_path / "fetched.txt").stat().st_mode) == 0o600


def test_the_files_of_a_restored_node_are_for_its_owner_alone(tmp_path: Path) -> None:
    """They hold each value, as the backup does; the file of the members holds none."""
    logs, new, file = tmp_path / "logs", tmp_path / "new", tmp_path / "backup.txt"
    logs.mkdir()
    for name, content in COMPACTED.items():
        (logs / name).write_bytes(content)
    assert of_node(logs, "s1", str(file)) == 0
    umask = os.umask(0o022)
    try:
        assert restore(str(file), str(new), ["s1=localhost:10000"]) == 0
    finally:
        os.umask(umask)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in new.iterdir()}
    assert modes.pop("server-configuration.txt") == 0o644
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}


def test_a_restore_tells_to_start_nodes_with_their_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "backup.txt"
    file.write_bytes(COMPACTED["s1.state_machine"])
    assert restore(str(file), str(tmp_path / "new"), ["s1=localhost:1", "s2=192.0.2.12:2"]) == 0
    *_, first, second, last, then = capsys.readouterr().out.splitlines()
    settings = "as before, with its settings for TLS and a secret"
    assert first.startswith(f"start s1 {settings}: ")
    assert first.endswith(f" server s1 1 --dir {tmp_path / 'new'}")
    assert second == f"start s2 on 192.0.2.12 {settings}, from a copy of its files"
    assert last.startswith(
        "If the cluster had TLS or a secret, start the nodes with these settings"
    )
    assert last.endswith(": without them a node lets in anyone who reaches it.")
    assert then.startswith("Restart every program that was connected, ")


def test_a_restore_of_users_tells_that_they_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its nodes ask for a login at once, whatever they are started with."""
    machine, file = UserMachine(), tmp_path / "backup.txt"
    file.write_bytes(b"".join(format_snapshot(machine.manager.freeze())))
    assert restore(str(file), str(tmp_path / "new"), ["s1=localhost:1"]) == 0
    users, last, _ = capsys.readouterr().out.splitlines()[-3:]
    assert (
        users == "The 2 users are in the backup: each node asks for a login from its first start."
    )
    assert last.endswith(": without the secret, anyone who reaches a node can pose as a member.")
