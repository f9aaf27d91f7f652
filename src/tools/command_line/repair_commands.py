"""The arguments of `raftline fsck`, `recover`, `backup`, `restore`, `replay` and `unit`."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from ...clients.requests.address_options import named_nodes
from ...clients.terminal.options import access_of, add_asking_options
from ...common import config

if TYPE_CHECKING:
    from ...common.arguments import Commands


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    _add_fsck(commands)
    _add_recover(commands)
    _add_backup(commands)
    _add_restore(commands)
    _add_replay(commands)
    _add_unit(commands)


def _add_fsck(commands: Commands) -> None:
    fsck = commands.add_parser(
        "fsck",
        help="check the files of nodes, and repair them",
        description="Check all files of the nodes in a folder and explain what is wrong. --repair "
        "deletes nothing: removed parts are kept as FILE.damaged-N. Exit code 0: all "
        "is sound, or was repaired; 1: not all; 2: usage; 3: a file can't be read; 4: the disk "
        "failed.",
    )
    fsck.add_argument("wanted", metavar="DIR|NAME", nargs="*", help="folders, or nodes (all)")
    fsck.add_argument("--dir", metavar="D", help="the folder in which to look for each NAME")
    fsck.add_argument("--repair", action="store_true", help="make the safe repairs")
    fsck.add_argument("--json", action="store_true", help="for programs")
    fsck.set_defaults(module="tools.node_files.fsck", carry_out=_fsck)


def _add_recover(commands: Commands) -> None:
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
    recover.set_defaults(module="tools.node_files.recover", carry_out=_recover)


def _add_backup(commands: Commands) -> None:
    backup = commands.add_parser(
        "backup",
        help="write the state of the cluster into a file",
        description="Write the keys and sessions after one entry into a text file with a "
        "checksum. A backup of a running cluster holds every earlier acknowledged write. Exit "
        "code 0: done; 2: usage; 3: no leader, or the node runs or is damaged; 4: the file can't "
        "be written, or no node answered to the end; 5: refused or unreachable.",
    )
    backup.add_argument("file", metavar="FILE", help="a file that does not exist yet")
    source = backup.add_mutually_exclusive_group()
    source.add_argument("--from", dest="node", metavar="NAME", help="read a stopped node's files")
    source.add_argument("--check", action="store_true", help="read FILE and print what it holds")
    add_asking_options(backup, 60.0)
    backup.set_defaults(module="tools.node_files.backup", carry_out=_backup)


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
    restore.set_defaults(module="tools.node_files.backup", carry_out=_restore)


def _add_replay(commands: Commands) -> None:
    replay = commands.add_parser(
        "replay",
        help="replay a node's recording (--record)",
        description="Step a fresh core through the inputs of a recording (raftline server "
        "--record FILE) and compare the results. Exit code 0: the same Effects; 1: different ones; "
        "the first difference is shown; 2: usage, or there is no such file; 3: the file is "
        "not a recording, or is damaged.",
    )
    replay.add_argument("file", metavar="FILE", help="a recording, or its predecessor FILE.1")
    replay.set_defaults(module="tools.node_files.replay_command", carry_out=_replay)


def _fsck(options: argparse.Namespace) -> int:
    from ..node_files import fsck

    return fsck.fsck(options.wanted, options.dir, repairs=options.repair, as_json=options.json)


def _recover(options: argparse.Namespace) -> int:
    from ..node_files import recover

    return recover.recover(options.dir, options.node, confirmed=options.yes)


def _backup(options: argparse.Namespace) -> int:
    from ..node_files import backup

    if options.check:
        return backup.check(options.file)
    if options.node is None:
        nodes, access = named_nodes(options.at, options.dir), access_of(options)
        return backup.of_cluster(nodes, access, options.file, options.timeout)
    return backup.of_node(config.locate(options.dir).parent, options.node, options.file)


def _restore(options: argparse.Namespace) -> int:
    from ..node_files import backup

    return backup.restore(options.file, options.folder, options.members)


def _replay(options: argparse.Namespace) -> int:
    from ..node_files import replay_command as replay

    return replay.replay_file(options.file)


def _add_unit(commands: Commands) -> None:
    unit = commands.add_parser(
        "unit",
        help="print a systemd unit for nodes of this machine",
        description="Print a systemd template unit, with one instance for each node: raftline "
        "unit > /etc/systemd/system/raftline@.service, then systemctl enable --now raftline@s1.",
    )
    unit.add_argument(
        "--user", type=_user, default="raftline", metavar="USER", help="their user (raftline)"
    )
    unit.set_defaults(module="tools.local_cluster.unit", carry_out=_unit)


def _user(text: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a user name")
    return text


def _unit(options: argparse.Namespace) -> int:
    from ..local_cluster import unit

    return unit.show(options.user)
