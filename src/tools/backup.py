"""`raftline backup FILE`: the state of a running cluster, or a stopped node, as one text file."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from raftline.clients.connection import ClientError, Refused, say_waiting
from raftline.clients.conversation import Client
from raftline.common.config import ConfigError, Configuration, check_name
from raftline.logmanager import LogManager
from raftline.state.machines import UnknownMachine
from raftline.storage.disk import EXIT_DISK, DiskFailed, FilesRefused, StorageError, system_says
from raftline.storage.examine import Cure, Examination
from raftline.storage.folder import Folder
from raftline.storage.logreader import LogRead
from raftline.storage.snapshotlines import LoadedSnapshot, MachineState, spell_snapshot
from raftline.tools import status
from raftline.tools.fsck import Bar, WatchedFolder
from raftline.wire.protocol import error

_N = "([0-9]{1,19})"
BEGUN = re.compile(rf"BACKUP response: {_N}-{_N} of {_N} bytes crc32 ([0-9a-f]{{8}})")
PIECE = re.compile(rf"BACKUP response: from {_N} ")
TRIES = 3  # a leader that dies takes the copy with it


def of_cluster(configuration: Configuration, file: str, timeout_s: float) -> int:
    """Fetch the state of a running cluster into `file`; say what it is.

    It is the state after one entry, and holds every write that was acknowledged before this was
    asked for (a leader confirms itself first). Returns 0 done, 3 no leader, 4 the file can't be
    written, 5 refused or unreachable.
    """
    path = _new_file(file)
    first, *others = status.whom_to_ask(configuration)
    try:
        with Client(
            *first, "admin", timeout_s, follow=True, also=others, on_wait=say_waiting
        ) as client:
            for left in reversed(range(TRIES)):
                try:
                    index, term, size = _fetch(client, path)
                    break
                except Refused:
                    if not left:
                        raise
    except ClientError as failure:
        print(error(str(failure)), file=sys.stderr)
        return failure.outcome
    except StorageError as failure:
        print(f"raftline: {file}: can't be written: {system_says(failure)}", file=sys.stderr)
        return EXIT_DISK
    print(f"{file}: the state after entry {index} of term {term}, {size:,} bytes")
    return 0


def _fetch(client: Client, path: Path) -> tuple[int, int, int]:
    begun = BEGUN.fullmatch(client.request("backup"))
    if begun is None:
        raise Refused("the node does not know how to back up; is it of an older version?")
    size, expected = int(begun[3]), int(begun[4], 16)
    got = [0, 0]  # bytes, CRC-32

    def pieces() -> Iterator[bytes]:
        while got[0] < size:
            text = client.request(f"backup from {got[0]}")
            head = PIECE.match(text)
            if head is None or int(head[1]) != got[0]:
                raise Refused("the node sent another piece than was asked for")
            data = json.loads(text[head.end() :]).encode("utf-8", "surrogateescape")
            got[:] = got[0] + len(data), crc32(data, got[1])
            if not data:
                break
            yield data
        if got != [size, expected]:
            raise Refused("what arrived is not what was announced")

    with Bar("backup", size, lambda: got[0]):
        Folder(path.parent).replace(path.name, pieces())
    return int(begun[1]), int(begun[2]), size


def of_node(folder: Path, node: str, file: str) -> int:
    """Write the state that a stopped node's files hold into `file`; its files are only read.

    Returns 0 done, 3 the node runs, or its files are not sound, 4 the file can't be written.
    """
    check_name(node)
    path = _new_file(file)
    try:
        if not (folder / f"{node}.log").exists():
            raise FilesRefused(f"{folder}: has no {node}.log; name the folder with --dir")
        with contextlib.closing(WatchedFolder(folder)) as place:
            place.lock(node)
            state = _sound_state(place, node)
            Folder(path.parent).replace(path.name, spell_snapshot(state))
    except DiskFailed as failure:
        print(f"raftline: {file}: can't be written: {system_says(failure)}", file=sys.stderr)
        return failure.exit_status
    except FilesRefused as failure:
        print(f"raftline: {failure}", file=sys.stderr)
        return failure.exit_status
    print(
        f"{file}: the state after entry {state.index} of term {state.term}, all that {node} holds, "
        f"{path.stat().st_size:,} bytes. Its last entries may never have been committed, and "
        "others may have been that it lacks"
    )
    return 0


def _sound_state(place: WatchedFolder, node: str) -> MachineState:
    """Return the state that a node's files hold.

    Raises:
        FilesRefused: they are not sound, or hold none.
    """
    with Bar(f"{node}: reading", place.size(f"{node}.log"), place.position):
        found = Examination(place, node).run()
    bad = [p for p in found.problems if p.cure is not Cure.CUT_TAIL]
    if bad or found.log is None:
        what = str(bad[0]) if bad else f"{node}.log is not in raftline's form"
        raise FilesRefused(f"{what}. See: raftline fsck {node}")
    state = _state_of(node, place, found.log, found.snapshot)
    if not state.index:
        raise FilesRefused(f"{node} holds no entries, so there is nothing to back up")
    if not state.members.names:
        raise FilesRefused(
            f"{node} was joining, and has not come to the entry that names the members, so "
            "back up another node"
        )
    return state


def _state_of(
    node: str, place: Folder, read: LogRead, loaded: LoadedSnapshot | None
) -> MachineState:
    """Return the state that snapshot and log of a node make."""
    machine, log = LogManager(node, place, {}), read.log
    machine.members = read.members
    if loaded is not None:
        machine.arrived(loaded)
        machine.take_over(loaded.snapshot)
        if log.term_at(loaded.snapshot.index) == loaded.snapshot.term:
            log.compact(loaded.snapshot.index)
        else:  # void, as a start would find
            log.reset(loaded.snapshot.index, loaded.snapshot.term)
    try:
        machine.apply(log.entries(log.base_index + 1, log.last_index))
    except UnknownMachine:
        raise FilesRefused(
            f"{node}.log holds commands for a state machine of a program, which only that program "
            "can carry out; start the nodes from it and back up the running cluster"
        ) from None
    return machine.freeze()


def _new_file(file: str) -> Path:
    if not file:
        raise ConfigError("FILE: names no file")
    path = Path(file)
    if path.exists():
        raise ConfigError(f"{file}: is there already; name a file that is not")
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent}: is no folder")
    return path
