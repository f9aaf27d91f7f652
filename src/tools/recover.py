"""A cluster begun anew: of what one node is left with, or of a backup.

`raftline recover NAME` makes that node the only member. `raftline restore FILE DIR --members …`
writes the files with which a new cluster begins.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from raftline.common import config
from raftline.common.address import Address, split
from raftline.common.arguments import typed
from raftline.common.config import ConfigError, Configuration
from raftline.logmanager import LogManager
from raftline.raft.effects import Effects, HardState
from raftline.raft.entries import Entry
from raftline.raft.log import Log
from raftline.raft.membership import Configurations, Membership, all_vote
from raftline.state.sessions import Sessions, next_era
from raftline.storage.birth import spell_trace, trace
from raftline.storage.disk import DiskFailed, FilesRefused, StorageError, system_says
from raftline.storage.folder import Folder
from raftline.storage.hardstate import HardStateFile, LogState, Mark, Promise
from raftline.storage.logfile import whole_file
from raftline.storage.recovery import Recovered
from raftline.storage.snapshotfile import no_pause
from raftline.storage.snapshotlines import (
    LoadedSnapshot,
    MachineState,
    SnapshotReader,
    spell_snapshot,
)
from raftline.tools.fsck import Bar, WatchedFolder


def recover(folder: str | None, node: str, *, confirmed: bool) -> int:
    """Make a stopped node the only member of its cluster, as its log stands.

    Returns 0 done, or done already; 1 not confirmed, 3 the node runs or its files are refused,
    4 its disk failed.

    Raises:
        ConfigError: there is no such node.
    """
    place = _folder_of(folder, node)
    manager = LogManager(node, Folder(place), {})
    try:
        recovered = manager.recover()
        try:
            members = _members(recovered)
            address = _address(place, node, members)
            start = f"{typed()} server {node} {Address.parse(address).port} --dir {place}"
            if _is_done(recovered, node, members):
                print(
                    f"{node} is the only member already, with what it holds up to entry "
                    f"{recovered.log.last_index}. Nothing was changed. Start it: {start}"
                )
                return 0
            _explain(node, recovered, members)
            if not (confirmed or _is_confirmed(node)):
                print("Nothing was changed.")
                return 1
            index, term = _take_over(manager, recovered, node, address)
        finally:
            manager.close()
    except StorageError as failure:
        print(f"raftline: {failure}", file=sys.stderr)
        return failure.exit_status
    print(
        f"{node} is the only member from entry {index} on, in term {term}.\n"
        f"1. Start it: {start}\n"
        "2. Delete the files of every other old member, or keep them elsewhere. None may start "
        "from them again.\n"
        f"3. Start each new member with --join {address}, best under a new name."
    )
    return 0


def _is_done(recovered: Recovered, node: str, members: Membership) -> bool:
    """Whether the node needs nobody else as it is: a second recovery would but leap once more."""
    is_alone = members.names == (node,) and recovered.log.last_index > 0
    return is_alone and not recovered.recovering


def _folder_of(folder: str | None, node: str) -> Path:
    config.check_name(node)
    place = Path(folder) if folder is not None else config.locate().parent
    if not any((place / f"{node}{end}").is_file() for end in (".log", ".state_machine")):
        raise ConfigError(
            f"{place}: has neither {node}.log nor {node}.state_machine, so there is nothing to go "
            "on with; name the node's folder with --dir, or choose another survivor"
        )
    return place


def _members(recovered: Recovered) -> Membership:
    log = recovered.log
    return Configurations(log.base_index, recovered.members, log.commands).latest


def _address(place: Path, node: str, members: Membership) -> str:
    """Return where the node is reached.

    Raises:
        FilesRefused: nothing says so.
    """
    configuration = Configuration(place / config.FILE_NAME, {})
    if configuration.path.exists():
        configuration = config.read(configuration.path)
    here = configuration.members.get(node)
    if here is None and node not in members.addresses:
        raise FilesRefused(
            f"neither {node}.log nor {configuration.path} says where {node} is reached; add a line "
            f"there: {node} HOST PORT"
        )
    return members.addresses.get(node) or str(here)


def _explain(node: str, recovered: Recovered, members: Membership) -> None:
    """Say loudly what may be lost, and what may come to pass."""
    log = recovered.log
    others = [name for name in members.names if name != node]
    known = recovered.snapshot.index if recovered.snapshot is not None else 0
    print(f"{node} would go on alone, without {' '.join(others) or 'anybody'}, with what it has:")
    print(f"  its log ends at entry {log.last_index} of term {log.last_term}.")
    if others:
        print(f"  LOST: every acknowledged write behind entry {log.last_index}, if there was one.")
    if known:
        print(f"  Entries up to {known} were committed for certain: its snapshot holds them.")
    if log.last_index > known:
        print(
            f"  Entries {known + 1}-{log.last_index} become committed, also those that never were: "
            "a write that its client was not told of, or told to be unknown, may take effect."
        )
    if recovered.recovering:
        print(f"  {node} HAS LOST FILES: it may lack entries that it had acknowledged itself.")
    if others:
        print(
            f"  If {' and '.join(others)} still have a majority, or get one again, there will be "
            "TWO clusters, each with writes that the other lacks. Stop them for good first."
        )


def _is_confirmed(node: str) -> bool:
    """Whether the person at the terminal says so. Without one nobody does: --yes is for that."""
    if not sys.stdin.isatty():
        print("Not asked, as this is no terminal. To confirm, add --yes.")
        return False
    try:
        return input(f"Type {node} to go on: ").strip() == node
    except EOFError:  # Ctrl-D
        print()
        return False


def _take_over(
    manager: LogManager, recovered: Recovered, node: str, address: str
) -> tuple[int, int]:
    """Append the configuration of one, in a term far beyond all that the old members know."""
    log = recovered.log
    if not log.last_index and not recovered.hard_state.term:
        raise FilesRefused(f"{node} holds nothing to recover: it has never been part of a cluster")
    term = next_era(max(recovered.hard_state.term, log.last_term))  # the old ones are of the past
    alone = Membership((node,), addresses={node: address})
    entry = Entry(log.last_index + 1, term, alone.spell())
    manager.persist([Effects(save=HardState(term, None), append=[entry], recovered=True)])
    return entry.index, term


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
