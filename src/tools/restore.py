"""`raftline restore FILE DIR --members …`: the files with which a new cluster begins."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from raftline.common import config
from raftline.common.address import split
from raftline.common.arguments import typed
from raftline.common.config import ConfigError
from raftline.raft.log import Log
from raftline.raft.membership import all_vote
from raftline.state.entry_numbers import next_era
from raftline.state.sessions import Sessions
from raftline.storage.birth import spell_trace, trace
from raftline.storage.errors import DiskFailed, FilesRefused, system_says
from raftline.storage.folder import Folder
from raftline.storage.hardstate import HardStateFile, LogState, Mark, Promise
from raftline.storage.logfile import whole_file
from raftline.storage.snapshotfile import no_pause
from raftline.storage.snapshotlines import (
    LoadedSnapshot,
    MachineState,
    SnapshotReader,
    spell_snapshot,
)
from raftline.tools.bar import Bar
from raftline.tools.fsck import WatchedFolder


def restore(file: str, folder: str, members: Sequence[str]) -> int:
    """Write the files of every member of a new cluster into `folder`, from a backup.

    All begin with the same state, and vote at once. The log goes on behind the backup's entry, so
    that sessions keep their meaning; the terms begin far beyond its own, so that nothing a
    node of the old cluster may say counts. Returns 0 done, 3 the backup is damaged, 4 the disk
    failed.
    """
    if not folder:
        raise ConfigError("DIR: names no folder")
    configuration = _configuration(Path(folder), members)
    try:
        loaded = _read(Path(file))
        names = list(configuration.members)
        written = [0]
        with Bar("restore", loaded.snapshot.size * len(names), lambda: written[0]):
            _write(configuration, loaded, written)
    except DiskFailed as failure:
        print(f"raftline: {folder}: can't be written: {system_says(failure)}", file=sys.stderr)
        return failure.exit_status
    except FilesRefused as failure:
        print(f"raftline: {failure}", file=sys.stderr)
        return failure.exit_status
    index, keys = loaded.snapshot.index, len(loaded.pairs)
    print(
        f"{folder}: {len(names)} node{'s' * (len(names) != 1)} ({' '.join(names)}) with {keys:,} "
        f"key{'s' * (keys != 1)}, the state after entry {index}"
    )
    for name, address in configuration.members.items():
        print(f"start {name}: {typed()} server {name} {address.port} --dir {folder}")
    return 0


def _configuration(folder: Path, members: Sequence[str]) -> config.Configuration:
    """Return who the members will be; nothing is written yet.

    Raises:
        ConfigError: the folder holds something, or a member is not spelled NAME=HOST:PORT.
    """
    if folder.exists() and (not folder.is_dir() or os.listdir(folder)):
        raise ConfigError(f"{folder}: is not empty; name a folder that is, or is not there yet")
    lines = []
    for member in (word for words in members for word in words.split(",") if word):
        name, equals, address = member.partition("=")
        host, port = split(address)
        if not (equals and ":" in address):
            raise ConfigError(f"--members: {member!r} is not NAME=HOST:PORT")
        lines.append(f"{name} {host} {port}\n")
    members_of = config.parse(Path("--members"), "".join(lines)).members
    return config.Configuration(folder / config.FILE_NAME, members_of)


def _read(path: Path) -> LoadedSnapshot:
    """Return what a backup holds.

    Raises:
        FilesRefused: it fails its checks, and where; or it can't be read.
    """
    if not path.is_file():
        why = "is no file" if path.exists() else "there is no such file"
        raise FilesRefused(f"{path}: {why}")
    folder = WatchedFolder(path.parent)
    try:
        with Bar("checking", path.stat().st_size, folder.position), folder.read(path.name) as file:
            loaded = SnapshotReader(file, no_pause).read()
        Sessions.load(loaded.sessions)
    except OSError as error:
        raise FilesRefused(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise FilesRefused(
            f"{path}, {error}{'' if str(error).endswith('?') else '.'} The backup is damaged, so "
            "nothing was restored; use another one"
        ) from None
    return loaded


def _write(
    configuration: config.Configuration, loaded: LoadedSnapshot, written: list[int]
) -> None:
    folder = Folder(configuration.folder)
    members = all_vote({name: str(where) for name, where in configuration.members.items()})
    index, term = loaded.snapshot[:2]
    state = MachineState(index, term, members, loaded.sessions, loaded.pairs)
    for name in members.names:
        def counted() -> Iterator[bytes]:
            for data in spell_snapshot(state):
                written[0] += len(data)
                yield data

        folder.replace(f"{name}.state_machine", counted())
        folder.replace(f"{name}.log", whole_file(members, Log(index, term)))
        promise = Promise(next_era(term), None, LogState.WHOLE, Mark(index, term))
        HardStateFile(folder, name).save(promise)
        folder.replace(trace(name), [spell_trace(name)])
    lines = [f"{name} {host} {port}\n" for name, (host, port) in configuration.members.items()]
    folder.replace(config.FILE_NAME, [(config.HEADER + "".join(lines)).encode()])
