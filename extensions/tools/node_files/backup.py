"""The state of a cluster as one text file: `raftline backup FILE` and `raftline restore FILE DIR`.

A backup comes from a running cluster or from a stopped node. A new cluster can begin with it. It
holds each value, so only its owner can read it, like the files of a protected node.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.requests.backup_copy import Backup, Fetching, fetch
from raftline.clients.requests.conversation import Client
from raftline.common import config
from raftline.common.address import Address, is_loopback, split
from raftline.common.arguments import typed
from raftline.common.config import ConfigError, Configuration, check_name
from raftline.common.effects import own_parts
from raftline.common.identities import new_cluster
from raftline.common.process.wakeup import no_pause
from raftline.logmanager import LogManager, parts_of
from raftline.raft.identity import name_of_part
from raftline.raft.log import Log
from raftline.raft.membership import Membership, all_vote
from raftline.state.commands.machines import UnknownMachine
from raftline.state.lease_table import own_ms
from raftline.state.sessions import next_epoch
from raftline.state.user_table import read_users
from raftline.storage.birth import format_trace, trace
from raftline.storage.disk import BuildRefused, FilesRefused, StorageError
from raftline.storage.folder import Folder, new_folder
from raftline.storage.hard_state import HardStateFile, LogState, Mark, Promise
from raftline.storage.log_file import whole_file
from raftline.storage.log_reader import LogRead
from raftline.storage.snapshot_lines import (
    LoadedSnapshot,
    MachineState,
    SnapshotReader,
    format_snapshot,
)
from raftline.storage.start_plan import Cure, read_plan

from ..asking import asking
from ..asking_options import add_asking_options, add_quiet
from ..progress_bar import Bar
from ..status import status
from .fsck import (
    RESTART_PROGRAMS,
    WatchedFolder,
    report_failure,
    report_unwritten,
    warn_of_last_epoch,
)

if TYPE_CHECKING:
    from raftline.common.arguments import Commands


@asking
def _of_cluster(
    options: argparse.Namespace, members: Mapping[str, Address], access: ClientAccess
) -> int:
    """Fetch the state of a running cluster into a file and print a description.

    It is the state after one entry. It holds every write that was acknowledged before this request
    (the leader confirms that it leads). Returns 0: done; 3: no leader; 4: the file can't be
    written; 5: refused or unreachable; 6: login; 8: TLS.
    """
    path = _new_file(options.file)
    try:
        with status.client_of(members, access, options.timeout) as client:
            backup = _fetch(client, path)
    except StorageError as failure:
        return report_unwritten(failure, options.file)
    entry = f"entry {backup.index} of term {backup.term}"
    print(f"{options.file}: the state after {entry}, {backup.bytes:,} bytes")
    return 0


def _fetch(client: Client, path: Path) -> Backup:
    def write(fetching: Fetching) -> None:
        with Bar("backup", fetching.backup.bytes, lambda: fetching.fetched):
            Folder(path.parent, is_private=True).write_new(path.name, fetching.pieces())

    return fetch(client, write)


def of_node(folder: Path, node: str, file: str) -> int:
    """Write the state of a stopped node into `file`. The node's files are only read.

    Returns 0: done; 3: the node runs, or its files are not sound; 4: the file can't be written.
    """
    check_name(node)
    path = _new_file(file)
    try:
        if not (folder / f"{node}.log").exists():
            raise FilesRefused(f"{folder}: has no {node}.log; name the folder with --dir")
        with contextlib.closing(WatchedFolder(folder)) as place:
            place.lock(node, reads=True)
            state = _sound_state(place, node)
            to = Folder(path.parent, is_private=True)
            to.write_new(path.name, format_snapshot(state))
    except StorageError as failure:
        return report_failure(failure, file)
    print(
        f"{file}: the state after entry {state.index} of term {state.term}, all that {node} holds, "
        f"{path.stat().st_size:,} bytes. Its last entries may not be committed, "
        "and it may lack committed ones"
    )
    return 0


def _sound_state(place: WatchedFolder, node: str) -> MachineState:
    """Return the state in a node's files.

    Raises:
        FilesRefused: the files are damaged, or have no state.
    """
    with Bar(f"{node}: reading", place.size(f"{node}.log"), place.position):
        plan = read_plan(place, node)
    bad = [p for p in plan.problems if p.cure is not Cure.CUT_TAIL]
    if bad or plan.log is None:
        what = str(bad[0]) if bad else f"{node}.log is not in raftline's form"
        raise FilesRefused(f"{what}. See: raftline fsck {node}")
    state = _state_of(node, place, plan.log, plan.snapshot)
    if not state.index:
        raise FilesRefused(f"{node} holds no entries, so there is nothing to back up")
    if not state.members.names:
        raise FilesRefused(
            f"{node} was joining, and has not reached the entry that names the members, so "
            "back up another node"
        )
    return state


def _state_of(
    node: str, place: Folder, read: LogRead, loaded: LoadedSnapshot | None
) -> MachineState:
    """Return the state from the snapshot and log of a node."""
    machine, log = LogManager(node, place, {}), read.log
    machine.state.members = read.members
    if loaded is not None:
        machine.arrived(loaded)
        machine.take_over(loaded.snapshot)
        read.begin_after(loaded)
    try:
        machine.apply(log.entries(log.base_index + 1, log.last_index))
    except UnknownMachine:
        raise FilesRefused(
            f"{node}.log holds commands for a state machine of a program, which only that "
            "program can execute; start the nodes from it and back up the running cluster"
        ) from None
    return machine.freeze()


def _new_file(file: str) -> Path:
    if not file:
        raise ConfigError("FILE: names no file")
    if file == "-":
        raise ConfigError("FILE: - is not a file, and a backup is not printed; name a file")
    path = Path(file)
    if path.exists():
        raise ConfigError(f"{file}: already exists; name a new file")
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent}: is not a folder")
    return path


def check(file: str) -> int:
    """Read a backup as `restore` would, and print its contents. Returns 0: it is sound; 3: it is
    damaged; 4: it can't be read."""
    try:
        loaded = _read(Path(file))
    except StorageError as failure:
        return report_failure(failure, file)
    snapshot = loaded.snapshot
    parts = {"key": len(loaded.pairs), "lease": len(loaded.leases)}
    keys, leases = [f"{count:,} {what}{'s' * (count != 1)}" for what, count in parts.items()]
    timed = sum(len(loaded.leased[lease]) for lease in loaded.leased if own_ms(lease))
    if timed:
        keys += f", {timed:,} with a time of {'its' if timed == 1 else 'their'} own"
    print(
        f"{file} is sound: {keys}, {leases}, the state after entry {snapshot.index} "
        f"of term {snapshot.term}"
    )
    return 0


def restore(file: str, folder: str, members: Sequence[str]) -> int:
    """Write the files of every member of a new cluster into `folder`, from a backup.

    All members begin with the same state, and vote at once. The log continues after the backup's
    entry, so that sessions stay valid. The terms begin far above the backup's, so that messages
    from nodes of the old cluster have no effect. The new cluster has its own identity. Returns 0:
    done; 3: the backup is damaged; 4: the disk failed.
    """
    if not folder:
        raise ConfigError("DIR: names no folder")
    configuration = _members_to_be(Path(folder), members)
    try:
        loaded = _read(Path(file))
        if loaded.cluster:  # at the floor, its first leader draws one
            loaded.cluster = new_cluster()
        loaded.needs = _own_needs(file, loaded.needs)
        names = list(configuration.members)
        written = [0]
        with Bar("restore", loaded.snapshot.size * len(names), lambda: written[0]):
            _write(configuration, loaded, written)
    except StorageError as failure:
        return report_failure(failure, folder)
    index, keys = loaded.snapshot.index, len(loaded.pairs)
    print(
        f"{folder}: {len(names)} node{'s' * (len(names) != 1)} ({' '.join(names)}) with {keys:,} "
        f"key{'s' * (keys != 1)}, the state after entry {index}"
    )
    for name, address in configuration.members.items():
        if is_loopback(address.host):
            where, command = "", f": {typed()} server {name} {address.port} --dir {folder}"
        else:
            where, command = f" on {address.host}", ", from a copy of its files"
        print(f"start {name}{where} as before, with its settings for TLS and a secret{command}")
    warn_of_last_epoch(loaded.snapshot.term)
    _report_protection(len(read_users(loaded.users)))
    print(RESTART_PROGRAMS)
    return 0


def _own_needs(file: str, needs: str) -> str:
    """Return what entries after a backup need as this build applies them: no entry of an earlier
    build follows.

    Raises:
        FilesRefused: this build lacks an extension.
    """
    own = own_parts()
    names = [*map(name_of_part, needs.split())]
    if absent := [name for name in names if name not in own]:
        raise FilesRefused(
            f"{file}: its state is of the extension {' and '.join(absent)}, which this build of "
            "raftline lacks: restore it with a build that has it"
        )
    return " ".join(f"{name}={own[name]}" for name in names)


def _report_protection(users: int) -> None:
    """Print what protects the restored nodes. Users are in the backup; certificates and the secret
    are not."""
    means = "without them a node lets in anyone who reaches it"
    if users:
        are = "user is" if users == 1 else "users are"
        print(
            f"The {users:,} {are} in the backup: each node asks for a login from its first start."
        )
        means = "without the secret, anyone who reaches a node can pose as a member"
    print(
        f"If the cluster had TLS or a secret, start the nodes with these settings again: {means}."
    )


def _members_to_be(folder: Path, members: Sequence[str]) -> Configuration:
    """Return the future members. Nothing is written yet.

    Raises:
        ConfigError: the folder is not empty, or a member is not written NAME=HOST:PORT.
    """
    if folder.exists():
        if not folder.is_dir() or os.listdir(folder):
            raise ConfigError(f"{folder}: is not empty; name an empty or a new folder")
        if os.path.ismount(folder) or folder.samefile(os.curdir):
            # The new folder replaces this one. A mount point does not allow that, and a shell in
            # the folder would not see it.
            raise ConfigError(
                f"{folder}: is a mount point, or your current folder; "
                f"name a new folder inside it: {folder / 'restored'}"
            )
    lines = []
    for member in (word for words in members for word in words.split(",") if word):
        name, equals, address = member.partition("=")
        host, port = split(address)
        if not (equals and ":" in address):
            raise ConfigError(f"--members: {member!r} is not NAME=HOST:PORT")
        lines.append(f"{name} {host} {port}\n")
    if not lines:
        raise ConfigError("--members: names no node; name each one as NAME=HOST:PORT")
    members_of = config.parse(Path("--members"), "".join(lines)).members
    return Configuration(folder / config.FILE_NAME, members_of)


def _read(path: Path) -> LoadedSnapshot:
    """Return the content of a backup.

    Raises:
        FilesRefused: it fails its checks (the message names the line), or can't be read.
    """
    if not path.is_file():
        why = "is not a file" if path.exists() else "there is no such file"
        raise FilesRefused(f"{path}: {why}")
    folder = WatchedFolder(path.parent)
    try:
        with Bar("checking", path.stat().st_size, folder.position), folder.read(path.name) as file:
            loaded = SnapshotReader(file, no_pause).read()
        parts_of(loaded)
    except OSError as error:
        raise FilesRefused(f"{path}: cannot be read: {error.strerror}") from error
    except BuildRefused as error:
        raise BuildRefused(f"{path}: {error}") from None
    except ValueError as error:
        raise FilesRefused(
            f"{path}, {error}. The backup is damaged; use another one. Nothing was changed"
        ) from None
    return loaded


def _state_for(members: Membership, loaded: LoadedSnapshot) -> MachineState:
    """Return the state of a backup with these members in it."""
    return MachineState(
        *loaded.snapshot[:2],
        members,
        loaded.sessions,
        loaded.pairs,
        leases=loaded.leases,
        cluster=loaded.cluster,
        users=loaded.users,
        chain=loaded.chain,
        removals=loaded.removals,
        needs=loaded.needs,
    )


def _write(configuration: Configuration, loaded: LoadedSnapshot, written: list[int]) -> None:
    """Write the files of all members into the folder, which appears with all files or not at
    all."""
    members = all_vote({name: str(where) for name, where in configuration.members.items()})
    index, term = loaded.snapshot[:2]
    state = _state_for(members, loaded)

    def counted() -> Iterator[bytes]:
        for data in format_snapshot(state):
            written[0] += len(data)
            yield data

    with (
        new_folder(configuration.folder) as place,
        contextlib.closing(Folder(place, is_private=True)) as folder,
    ):
        for name in members.names:
            folder.write_new(f"{name}.state_machine", counted())
            empty = Log(index, term)
            log = whole_file(members, empty, loaded.cluster, loaded.chain)
            folder.write_new(f"{name}.log", log)
            mark = Mark(index, term)
            promise = Promise(next_epoch(term), None, LogState.WHOLE, mark, 0, loaded.cluster)
            HardStateFile(folder, name).save(promise)
            folder.write_new(trace(name), [format_trace(name)])
        lines = [f"{name} {host} {port}\n" for name, (host, port) in configuration.members.items()]
        listed = [(config.HEADER + "".join(lines)).encode()]
        Folder(place).write_new(config.FILE_NAME, listed)  # for everybody to read


def add_commands(commands: Commands) -> None:
    """Add `backup` and `restore` to the command line."""
    _add_backup(commands)
    _add_restore(commands)


def _add_backup(commands: Commands) -> None:
    backup = commands.add_parser(
        "backup",
        help="write the state of the cluster into a file",
        description="Write the keys and sessions after one entry into a text file with a "
        "checksum. A backup of a running cluster holds every earlier acknowledged write. Exit "
        "code 0: done; 2: usage; 3: no leader, or the node runs or is damaged; 4: the file can't "
        "be written, or no node answered to the end; 5: refused or unreachable; 6: login; 8: TLS.",
    )
    backup.add_argument("file", metavar="FILE", help="a file that does not exist yet")
    source = backup.add_mutually_exclusive_group()
    source.add_argument("--from", dest="node", metavar="NAME", help="read a stopped node's files")
    source.add_argument("--check", action="store_true", help="read FILE and print what it holds")
    add_asking_options(backup, 60.0)
    add_quiet(backup, _backup)


def _add_restore(commands: Commands) -> None:
    restore = commands.add_parser(
        "restore",
        help="begin a new cluster with a backup",
        description="Write the files of every member of a new cluster. Exit code 0: done; 2: "
        "usage, or the folder is not empty; 3: the backup is damaged; 4: the disk failed.",
    )
    restore.add_argument("file", metavar="FILE", help="a backup, or a NAME.state_machine")
    restore.add_argument("folder", metavar="DIR", help="an empty or a new folder")
    restore.add_argument(
        "--members", nargs="+", required=True, metavar="NAME=HOST:PORT", help="the members"
    )
    restore.set_defaults(carry_out=_restore)


def _backup(options: argparse.Namespace) -> int:
    if options.check:
        return check(options.file)
    if options.node is None:
        return _of_cluster(options)
    return of_node(config.locate(options.dir).parent, options.node, options.file)


def _restore(options: argparse.Namespace) -> int:
    return restore(options.file, options.folder, options.members)
