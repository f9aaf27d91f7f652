"""The exit status of a node that its disk (4) or the system (71) ends while it starts.

Another try may help.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from raftline import server
from raftline.common.config import FILE_NAME
from raftline.storage import folder
from raftline.storage.disk import EXIT_DISK, EXIT_FILES, EXIT_SYSTEM
from raftline_testing.nodes.processes import free_ports

NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE)
Raise = Callable[..., None]


def raise_with(number: int) -> Raise:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def status_of_a_start(place: Path, *options: str) -> int:
    port = next(free_ports)
    return server.main(["s1", str(port), "--dir", str(place), *options])


def with_members(place: Path) -> Path:
    (place / FILE_NAME).write_text("s1 localhost 10000\n")
    return place


@pytest.mark.parametrize("number", OF_THE_DISK)
@pytest.mark.parametrize("call", ["write_all", "sync_bytes", "_sync_folder", "make_folder"])
def test_a_start_that_the_disk_ends_has_a_status_of_its_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    call: str,
    number: int,
) -> None:
    with_members(tmp_path)
    monkeypatch.setattr(folder, call, raise_with(number))
    assert status_of_a_start(tmp_path) == EXIT_DISK
    said = capsys.readouterr().err
    assert said.startswith("[!] ")
    assert os.strerror(number) in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("number", NO_DESCRIPTOR)
@pytest.mark.parametrize(
    ("owner", "call"), [(folder, "write_all"), (folder, "make_folder"), (Path, "open")]
)
def test_start_without_a_descriptor_exits_with_system_status(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    owner: object,
    call: str,
    number: int,
) -> None:
    """If a start runs out of descriptors, it exits with the status of a system error."""
    with_members(tmp_path)
    monkeypatch.setattr(owner, call, raise_with(number))
    assert status_of_a_start(tmp_path) == EXIT_SYSTEM
    said = capsys.readouterr().err
    assert said.startswith("[!] ")
    assert os.strerror(number) in said
    assert said.count("\n") == 1
    if owner is folder and call == "write_all":
        assert "(ulimit -n)" in said


def test_a_file_that_the_disk_does_not_give_back_has_it_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_members(tmp_path)
    (tmp_path / "s1.storage").write_bytes(b"")
    monkeypatch.setattr("builtins.open", raise_with(errno.EIO))
    assert status_of_a_start(tmp_path) == EXIT_DISK


@pytest.mark.parametrize("number", NO_DESCRIPTOR)
def test_file_without_a_descriptor_asks_for_more_of_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    """If no descriptor is left for a file, the message asks for more of them."""
    with_members(tmp_path)
    (tmp_path / "s1.storage").write_bytes(b"")
    monkeypatch.setattr("builtins.open", raise_with(number))
    assert status_of_a_start(tmp_path) == EXIT_SYSTEM
    said = capsys.readouterr().err
    assert "(ulimit -n)" in said
    assert "check the disk" not in said


def test_unreadable_member_list_exits_with_disk_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk cannot read the list of members, the node exits with the status of a disk
    error."""
    with_members(tmp_path)
    monkeypatch.setattr(Path, "open", raise_with(errno.EIO))
    assert status_of_a_start(tmp_path) == EXIT_DISK


def test_joiner_folder_on_a_full_disk_exits_with_disk_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk has no space for the folder, a joining node exits with the status of a disk
    error."""
    monkeypatch.setattr(os, "makedirs", raise_with(errno.ENOSPC))
    place = tmp_path / "new"
    assert status_of_a_start(place, "--join", "localhost:1") == EXIT_DISK


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOENT, errno.EISDIR])
def test_a_start_that_rights_or_names_end_needs_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with_members(tmp_path)
    monkeypatch.setattr(folder, "write_all", raise_with(number))
    assert status_of_a_start(tmp_path) == EXIT_FILES
