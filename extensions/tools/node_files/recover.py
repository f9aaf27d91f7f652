"""`raftline recover NAME`: make a node the only member of its cluster."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from raftline.common import config
from raftline.common.address import Address
from raftline.common.arguments import typed
from raftline.common.config import ConfigError, Configuration
from raftline.logmanager import LogManager
from raftline.raft.effects import Effects, HardState
from raftline.raft.log import Entry
from raftline.raft.membership import Configurations, Membership
from raftline.state.sessions import next_epoch
from raftline.storage.disk import FilesRefused, StorageError
from raftline.storage.folder import Folder
from raftline.storage.hard_state import DIFFERS, HardStateFile
from raftline.storage.recovery import Recovered

from .fsck import RESTART_PROGRAMS, report_failure, warn_of_last_epoch

if TYPE_CHECKING:
    from raftline.common.arguments import Commands


def recover(folder: str | None, node: str, *, confirmed: bool) -> int:
    """Make a stopped node the only member of its cluster, with its current log.

    Returns 0: done, or done already; 1: not confirmed; 3: the node runs, or its files are refused;
    4: its disk failed.

    Raises:
        ConfigError: the node does not exist.
    """
    place = _folder_of(folder, node)
    try:
        with contextlib.closing(LogManager(node, Folder(place), {})) as manager:
            return _recover(manager, place, confirmed=confirmed)
    except StorageError as failure:
        return report_failure(failure)


def _recover(manager: LogManager, place: Path, *, confirmed: bool) -> int:
    node = manager.name
    _check_state(place, node)
    recovered = manager.recover()
    log = recovered.log
    members = Configurations(log.base_index, recovered.members, log.commands).latest
    address = _address(place, node, members)
    start = _start(node, address, place)
    is_alone = members.names == (node,) and log.last_index > 0
    if is_alone and not recovered.recovering:  # another recovery would only raise the term again
        print(
            f"{node} is already the only member, with entries up to "
            f"{log.last_index}. Nothing was changed. Start it{start}"
        )
        return 0
    _check_holdings(node, recovered)
    _explain(node, recovered, members)
    if not (confirmed or _is_confirmed(node)):
        print("Nothing was changed.")
        return 1
    warn_of_last_epoch(max(recovered.hard_state.term, log.last_term))
    index, term = take_over(manager, recovered, node, address)
    print(
        f"{node} is the only member from entry {index} on, in term {term}.\n"
        f"1. Start it{start}\n"
        "2. Move the files of every other old member away. The cluster has a new identity: a node "
        "that starts from them is ignored.\n"
        f"3. Start each new member with --join {address}, and without old files. If the cluster "
        f"has users, an admin adds it: {typed()} member add NAME HOST PORT\n"
        f"4. {RESTART_PROGRAMS}"
    )
    return 0


def _check_state(place: Path, node: str) -> None:
    """Raise FilesRefused if a start would keep the files aside, since their state differs from that
    of the others."""
    storage = HardStateFile(Folder(place), node)
    try:
        promise = storage.load()
    except FilesRefused:
        return  # the recovery reports it
    if promise is not None and promise.state in DIFFERS:
        raise FilesRefused(
            f"{node} differs from the other members, so its state can't be trusted. Recover "
            "another survivor. If there is none: restore a backup (raftline restore)"
        )


def _start(node: str, address: str, place: Path) -> str:
    """Return how to start the node. If only the owner can read its files, the node had TLS, a
    secret or users: without these settings it would let in anyone who reaches it."""
    files = [place / f"{node}{end}" for end in (".log", ".state_machine")]
    if any(path.stat().st_mode & 0o077 for path in files if path.exists()):
        port = Address.parse(address).port
        return f" as before, with its settings: {typed()} server {node} {port} --dir {place}"
    return (
        f" as before, with its settings for TLS, secret and users (systemctl start raftline@{node},"
        " for example)"
    )


def _folder_of(folder: str | None, node: str) -> Path:
    config.check_name(node)
    place = Path(folder) if folder is not None else config.locate().parent
    if not any((place / f"{node}{end}").is_file() for end in (".log", ".state_machine")):
        raise ConfigError(
            f"{place}: has neither {node}.log nor {node}.state_machine, so there is nothing "
            "to recover; name the node's folder with --dir, or choose another survivor"
        )
    return place


def _address(place: Path, node: str, members: Membership) -> str:
    """Return the node's address. Its own configuration file takes precedence, as at a start.

    Raises:
        FilesRefused: no file has the address.
    """
    configuration = Configuration(place / config.FILE_NAME, {})
    if configuration.path.exists():
        configuration = config.read(configuration.path)
    here = configuration.members.get(node)
    if here is None and node not in members.addresses:
        raise FilesRefused(
            f"neither {node}.log nor {configuration.path} has the address of {node}; add a line "
            f"to it: {node} HOST PORT"
        )
    return members.addresses[node] if here is None else str(here)


def _check_holdings(node: str, recovered: Recovered) -> None:
    """Raise FilesRefused if the node holds nothing to recover."""
    if not recovered.log.last_index and not recovered.hard_state.term:
        why = "it has never been part of a cluster"
        if recovered.recovering:
            why = (
                "its files were lost. Restore all of them from one backup, or choose another "
                f"survivor. To start over, empty, remove {node}.log, {node}.storage, "
                f"{node}.state_machine and .{node}.born"
            )
        raise FilesRefused(f"{node} holds nothing to recover: {why}")


def _explain(node: str, recovered: Recovered, members: Membership) -> None:
    """Print a warning of possible losses and dangers."""
    log = recovered.log
    others = [name for name in members.names if name != node]
    known = recovered.snapshot.index if recovered.snapshot is not None else 0
    print(f"{node} would continue without {' '.join(others) or 'anybody'}, with these entries:")
    print(f"  its log ends at entry {log.last_index} of term {log.last_term}.")
    if others or recovered.recovering:
        print(f"  LOST: every acknowledged write after entry {log.last_index}, if there was one.")
    if known:
        print(f"  Entries up to {known} were committed for certain: its snapshot holds them.")
    if log.last_index > known:
        print(
            f"  Entries {known + 1}-{log.last_index} become committed, even those that never "
            "were: a write may take effect whose client got no reply, or `outcome unknown`."
        )
    if recovered.recovering:
        print(f"  {node} HAS LOST FILES: it may lack entries that it had acknowledged itself.")
    if others:
        print(
            f"  If {' and '.join(others)} still have a majority, or get one again, there will be "
            "TWO clusters, each with writes that the other lacks. Stop them for good first."
        )


def _is_confirmed(node: str) -> bool:
    """Return whether the person at the terminal agrees. Without a terminal, return False: --yes
    confirms there."""
    if not sys.stdin.isatty():
        print("Not asked, since this is not a terminal. To confirm, add --yes.")
        return False
    try:
        return input(f"Type {node} to continue: ").strip() == node
    except EOFError:  # Ctrl-D
        print()
        return False


def take_over(
    manager: LogManager, recovered: Recovered, node: str, address: str
) -> tuple[int, int]:
    """Give the cluster a new identity. Append the configuration of one member, in a term far above
    the terms of the old members."""
    log = recovered.log
    manager.rename_cluster(recovered)
    term = next_epoch(max(recovered.hard_state.term, log.last_term))  # above the old members' terms
    alone = Membership((node,), addresses={node: address})
    entry = Entry(log.last_index + 1, term, alone.format())
    manager.persist([Effects(save=HardState(term, None), append=[entry], recovered=True)])
    return entry.index, term


def add_commands(commands: Commands) -> None:
    """Add the command to the command line."""
    recover = commands.add_parser(
        "recover",
        help="a new cluster from one surviving node",
        description="Make a stopped node the only member of its cluster, when a majority is gone "
        "for good. It lists possible losses and asks first. Exit code 0: done, "
        "or done already; 1: not confirmed; "
        "2: usage; 3: the node runs, or its files are refused; 4: the disk failed.",
    )
    recover.add_argument("node", metavar="NAME", help="the surviving node")
    recover.add_argument("--dir", metavar="D", help="the folder of its files")
    recover.add_argument("--yes", action="store_true", help="do not ask")
    recover.set_defaults(carry_out=_carry_out)


def _carry_out(options: argparse.Namespace) -> int:
    return recover(options.dir, options.node, confirmed=options.yes)
