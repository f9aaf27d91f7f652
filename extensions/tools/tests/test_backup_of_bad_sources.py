"""Backups of bad sources: files that fsck refuses, a void log, damage on the way, odd contents."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import cast
from zlib import crc32

import pytest

from raftline.clients.connections.node_connection import Refused
from raftline.clients.requests.backup_copy import Backup, fetch, write_new
from raftline.clients.requests.conversation import Client
from raftline.raft.membership import all_vote
from raftline.storage.disk import EXIT_FILES, FilesRefused
from raftline.storage.folder import Folder
from raftline.storage.snapshot_lines import MachineState, format_snapshot
from raftline.storage.start_plan import Cure, read_plan
from raftline.tools.node_files.backup import of_node, restore
from raftline.tools.node_files.fsck import fsck
from raftline.tools.tests.damages import COMPACTED, DAMAGES, WHOLE
from raftline_testing.files.node_files import GOOD, MEMBERS, boot, log_file, storage_file

SOUND = {"whole": WHOLE, "compacted": COMPACTED}
DRAWN = 40  # damages of each kind of file


def placed(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def pairs_of(folder: Path, name: str = "s1") -> dict[str, str]:
    """Return the keys of a node as it has them once it has applied its log."""
    manager, recovered = boot(Folder(folder), name)
    log = recovered.log
    if recovered.snapshot is not None and log.base_index < recovered.snapshot.index:
        log.compact(recovered.snapshot.index)
    manager.apply(log.entries(log.base_index + 1, log.last_index))
    manager.close()
    return dict(manager.store)


def restored(folder: Path, file: Path) -> dict[str, str]:
    assert restore(str(file), str(folder), ["s1=localhost:10000"]) == 0
    return pairs_of(folder)


def damaged() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield sound files, those of the tests of fsck, and others with one damage from a seed."""
    yield from SOUND.items()
    for what, (files, *_) in DAMAGES.items():
        yield what, {**WHOLE, **files}
    for seed in range(DRAWN):
        chance = Random(seed)
        for kind, files in SOUND.items():
            name = chance.choice(sorted(files))
            content = bytearray(files[name])
            place = chance.randrange(len(content))
            if chance.random() < 0.3:
                del content[place:]
            else:
                content[place] ^= 1 << chance.randrange(8)
            yield f"{kind} {name} {seed}", {**files, name: bytes(content)}


@pytest.mark.slow
def test_a_backup_is_what_a_start_would_know_or_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses = {0: 0, EXIT_FILES: 0}
    for number, (what, files) in enumerate(damaged()):
        logs = placed(tmp_path / f"{number}", files)
        try:
            found = read_plan(Folder(logs), "s1")
            is_sound = all(problem.cure is Cure.CUT_TAIL for problem in found.problems)
        except FilesRefused:
            is_sound = False
        file = tmp_path / f"{number}.txt"
        status = of_node(logs, "s1", str(file))
        assert {
            path.name: path.read_bytes() for path in logs.iterdir() if path.suffix != ".lock"
        } == files, what
        said = capsys.readouterr().err
        if status == 0:
            assert is_sound, what
            assert restored(tmp_path / f"{number}-new", file) == pairs_of(logs), what
        else:
            assert (status, said.count("\n"), file.exists()) == (EXIT_FILES, 1, False), what
            assert not is_sound or "holds no entries" in said, what
        statuses[status] += 1
    assert min(statuses.values()) > 3  # of each some


def test_a_backup_holds_no_entry_of_a_void_log(tmp_path: Path) -> None:
    """The snapshot of another leader's entry was put in force, and the node died before its log was
    written again: what that log holds is void, also after the snapshot's index."""
    members = all_vote(MEMBERS)
    state = MachineState(3, 2, members, ['{"forgotten": false}'], {"of_the_snapshot": "1"})
    void = log_file(b"1 1 noop\n2 1 set a 4\n3 1 set b 30\n4 1 set of_the_void_log 1\n")
    files = {
        "s1.log": void, "s1.storage": storage_file(2, mark=(3, 2)),
        "s1.state_machine": b"".join(format_snapshot(state)),
    }  # fmt: skip
    logs = placed(tmp_path / "logs", files)
    assert of_node(logs, "s1", str(tmp_path / "backup.txt")) == 0
    assert restored(tmp_path / "new", tmp_path / "backup.txt") == {"of_the_snapshot": "1"}


def test_a_node_that_runs_is_not_backed_up_from_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = placed(tmp_path / "logs", WHOLE)
    manager, _ = boot(Folder(logs))
    assert of_node(logs, "s1", str(tmp_path / "backup.txt")) == EXIT_FILES
    assert "s1 is running already" in capsys.readouterr().err
    assert not (tmp_path / "backup.txt").exists()
    manager.close()


def test_a_node_that_holds_nothing_gives_no_backup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs"
    boot(Folder(logs))[0].close()
    assert of_node(logs, "s1", str(tmp_path / "backup.txt")) == EXIT_FILES
    assert "s1 holds no entries" in capsys.readouterr().err
    assert not (tmp_path / "backup.txt").exists()


# --- on the way -------------------------------------------------------------------------------

CONTENT = b"".join(
    format_snapshot(
        MachineState(
            5,
            2,
            all_vote(MEMBERS),
            ['{"forgotten": false}'],
            {f"k{n}": "v" * 50 for n in range(40)},
        )
    )
)
PIECE_BYTES = 700
Answer = Callable[[int], tuple[int, bytes]]  # to the place that was asked for


def whole(place: int) -> tuple[int, bytes]:
    return place, CONTENT[place : place + PIECE_BYTES]


class Node:
    """Answers `backup` and `backup from N` as `answer` does."""

    def __init__(self, answer: Answer, size: int = len(CONTENT)) -> None:
        self._answer, self._size = answer, size

    def request(self, command: str) -> str:
        if command == "backup":
            return f"BACKUP response: 5-2 of {self._size} bytes crc32 {crc32(CONTENT):08x}"
        place, data = self._answer(int(command.removeprefix("backup from ")))
        text = json.dumps(data.decode("utf-8", "surrogateescape"))
        return f"BACKUP response: from {place} {text}"


def changed(place: int) -> tuple[int, bytes]:
    data = bytearray(whole(place)[1])
    if place >= PIECE_BYTES:  # not in the first piece
        data[-1] ^= 1
    return place, bytes(data)


def in_another_order(place: int) -> tuple[int, bytes]:
    return place, whole(PIECE_BYTES * ((place // PIECE_BYTES) ^ 1))[1]


DAMAGED_ON_THE_WAY: dict[str, Answer] = {
    "a bit": changed,
    "pieces that change places": in_another_order,
    "an end that is missing": lambda place: (place, CONTENT[:-1][place : place + PIECE_BYTES]),
    "a piece of another place": lambda place: (0, whole(0)[1]),
    "a piece twice": lambda place: (place, whole(max(0, place - PIECE_BYTES))[1]),
    "more than was announced": lambda place: (place, whole(place)[1] + b"#\n" * (place > 0)),
}


def fetched(folder: Path, node: Node) -> Backup:
    path = folder / "backup.txt"
    return fetch(cast(Client, node), lambda fetching: write_new(path, fetching.pieces()))


def test_a_backup_that_arrives_in_pieces_is_the_file_of_the_node(tmp_path: Path) -> None:
    assert len(CONTENT) > 3 * PIECE_BYTES
    assert fetched(tmp_path, Node(whole)) == Backup(5, 2, len(CONTENT))
    assert (tmp_path / "backup.txt").read_bytes() == CONTENT


@pytest.mark.parametrize("what", DAMAGED_ON_THE_WAY)
def test_a_backup_that_is_damaged_on_the_way_is_not_kept(tmp_path: Path, what: str) -> None:
    misplaced = what == "a piece of another place"
    why = "a different piece" if misplaced else "differs from the announced"
    with pytest.raises(Refused, match=why):
        fetched(tmp_path, Node(DAMAGED_ON_THE_WAY[what]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("piece", ['"half', "5", '"\\ud800"', "[" * 100_000, ""])
def test_a_piece_that_is_not_one_string_of_json_is_refused(tmp_path: Path, piece: str) -> None:
    class Odd(Node):
        def request(self, command: str) -> str:
            whole = super().request(command)
            return whole if command == "backup" else f"BACKUP response: from 0 {piece}"

    with pytest.raises(Refused, match="not one string of JSON"):
        fetched(tmp_path, Odd(whole))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_made_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    def meanwhile(place: int) -> tuple[int, bytes]:
        if place:
            (tmp_path / "backup.txt").write_text("another's")
        return whole(place)

    with pytest.raises(FileExistsError):
        fetched(tmp_path, Node(meanwhile))
    (left,) = tmp_path.iterdir()
    assert left.read_text() == "another's"


def test_node_announcing_more_than_it_sends_is_not_believed(tmp_path: Path) -> None:
    """A node that announces more than it sends is not believed."""
    with pytest.raises(Refused, match="differs from the announced"):
        fetched(tmp_path, Node(whole, size=len(CONTENT) + 1))
    assert list(tmp_path.iterdir()) == []


# --- what a backup says -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sessions", "leases"])
def test_a_backup_whose_lines_no_node_would_take_is_not_restored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Its checksums are right: a newer build wrote it, or a person."""
    good = {"sessions": ['{"forgotten": false}'], "leases": ["lease-3 10"]}
    odd = {"sessions": ['{"no": "session"}'], "leases": ["lease-3 ten"]}
    file = tmp_path / "backup.txt"
    for lines, status in ((good, 0), ({**good, kind: odd[kind]}, EXIT_FILES)):
        state = MachineState(
            5,
            2,
            all_vote(MEMBERS),
            lines["sessions"],
            {},
            leases=lines["leases"],
            cluster="9f86d081884c7d65",
        )
        file.write_bytes(b"".join(format_snapshot(state)))
        new = tmp_path / f"new-{status}"
        assert restore(str(file), str(new), ["s1=localhost:10000"]) == status
        assert new.exists() is (status == 0)
    assert "Nothing was changed" in capsys.readouterr().err


def test_restored_node_starts_beyond_the_old_terms(tmp_path: Path) -> None:
    """A restored node starts beyond the terms of the old cluster."""
    logs = placed(tmp_path / "logs", {**WHOLE, "s1.log": GOOD})
    assert of_node(logs, "s1", str(tmp_path / "backup.txt")) == 0
    assert restored(tmp_path / "new", tmp_path / "backup.txt")
    manager, recovered = boot(Folder(tmp_path / "new"))
    manager.close()
    assert recovered.hard_state.term >= 1_000_000
    assert recovered.hard_state.vote is None
    assert (recovered.recovering, recovered.newborn) == (False, False)


@pytest.mark.parametrize("has_lock", [True, False])
def test_files_that_can_only_be_read_are_checked_and_backed_up(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    has_lock: bool,
) -> None:
    """A file system that had an error takes no write any more, or the files are another user's."""
    folder = placed(tmp_path / "nodes", WHOLE)
    if has_lock:
        (folder / "s1.lock").write_text("1\n")
    real = os.open

    def refuses(path: str, flags: int, *more: int) -> int:
        if Path(path).parent == folder and flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", refuses)
    assert fsck(["s1"], str(folder), repairs=False, as_json=False) == 0
    assert of_node(folder, "s1", str(tmp_path / "file")) == 0
    assert capsys.readouterr().out.startswith("s1: sound: term 5, entries 1-5, sum ")
    held = Folder(folder)
    if has_lock:
        monkeypatch.undo()
        held.lock("s1")
        assert of_node(folder, "s1", str(tmp_path / "another")) == EXIT_FILES
        assert "s1 is running already" in capsys.readouterr().err
    held.close()
