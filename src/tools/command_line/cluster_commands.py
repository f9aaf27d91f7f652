"""The arguments of `raftline up`, `status` and `transfer`, and of the commands that change
members."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...clients.requests.address_options import named_nodes
from ...clients.terminal.options import access_of, add_asking_options, word_first
from ...common import config
from ...common.arguments import as_number, as_port, as_seconds
from ...wire.commands.command_table import COMMANDS
from .. import course

if TYPE_CHECKING:
    from ...common.arguments import Commands, Parser

NODES_MAX = 99
UP_OPTIONS = {
    "--log-times": "the nodes print the time before each line",
    "--course-console": "the nodes print only the messages and votes of the course's figures",
}


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    _add_up(commands)
    _add_status(commands)
    _add_transfer(commands)
    _add_members(commands)
    _add_check(commands)


def _add_up(commands: Commands) -> None:
    up = commands.add_parser(
        "up",
        help="a local cluster in this terminal",
        description="Start a local cluster. Ctrl-C stops all of it, and so does "
        "the end of a pipe's reader: exit code 0. Without -n, --dir and "
        "--base-port it is the cluster of the nearest logs/server-configuration.txt.",
    )
    count = as_number("number of nodes", 1, NODES_MAX)
    up.add_argument("-n", dest="count", type=count, metavar="N", help="nodes s1…sN (3)")
    up.add_argument("--dir", metavar="D", help="where the nodes keep their files (./logs)")
    up.add_argument("--base-port", type=as_port, metavar="P", help="the port of s1 (10000)")
    up.add_argument("--client", action="store_true", help="a client in front; all end with it")
    up.add_argument("--pace", choices=sorted(config.PACES), default="fast")
    up.add_argument("--verbose", action="store_true", help="heartbeats, too")
    _add_flags(up, UP_OPTIONS)
    up.add_argument(
        "--view",
        type=as_port,
        nargs="?",
        const=8765,
        metavar="PORT",
        help="a picture in a browser (port 8765)",
    )
    up.set_defaults(module="tools.local_cluster.up", carry_out=_up)


def add_course_options(commands: Commands) -> None:
    """Add the course's options for `up`. This is a separate step, since finding the course takes
    time."""
    up, options = commands.choices["up"], course.up_options()
    for option, port in course.up_ports().items():
        what = options.pop(option)
        up.add_argument(option, type=as_port, nargs="?", const=port, metavar="PORT", help=what)
    _add_flags(up, options)


def _add_flags(parser: Parser, options: Mapping[str, str]) -> None:
    for option, what in options.items():
        parser.add_argument(option, action="store_true", help=what)


def _add_status(commands: Commands) -> None:
    status = commands.add_parser(
        "status",
        help="a table of the cluster",
        description="Ask every node for its status. Exit code 0: a leader serves; 3: none does, or "
        "a voter that answers does not follow; 5: unknown, since no node answers, or nodes "
        "refuse this client: no login, or a bad certificate. "
        "With --watch, the code is that of the last look before Ctrl-C.",
    )
    add_asking_options(status, 2.0)
    status.add_argument("--json", action="store_true", help="for programs")
    seconds = "again every SECONDS (2), until Ctrl-C"
    status.add_argument(
        "--watch", type=as_seconds, nargs="?", const=2.0, help=seconds, metavar="SECONDS"
    )
    status.set_defaults(module="tools.status.status_report", carry_out=_status)


def _add_transfer(commands: Commands) -> None:
    transfer = commands.add_parser(
        "transfer",
        help="hand the leadership over",
        description="Make another node the leader, for example before work on the leader's "
        "machine. Exit code 0: it leads; 3: no leader to ask; 4: outcome unknown; 5: refused, or "
        "not let in.",
    )
    transfer.add_argument("to", metavar="NAME", nargs="?", help="which node (any that can)")
    add_asking_options(transfer, 15.0)
    transfer.set_defaults(module="tools.requests.members", carry_out=_transfer)


def _add_members(commands: Commands) -> None:
    """Add `member add` and similar commands. `add` works without `member`, too, but the help omits
    it."""
    member = commands.add_parser(
        "member",
        help="list the members; add, remove, replace, promote, demote one",
        description="List or change the members of a running cluster.",
    )
    actions = member.add_subparsers(metavar="ACTION", required=True)
    _add_actions(actions, {"members": "list"})
    _add_actions(commands, {})


def with_action(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `member`, action first. The default action is `list`."""
    typed = word_first(arguments)
    is_named = typed and (not typed[0].startswith("-") or typed[0] in ("-h", "--help"))
    return typed if is_named else ["list", *typed]


def _add_actions(commands: Commands, names: Mapping[str, str]) -> None:
    for verb, row in COMMANDS.items():
        if row.handling.kind != "members":
            continue
        words = row.operands.form.split()
        name = names.get(verb, verb)
        command = commands.add_parser(name, help=row.does, description=f"{row.does}.")
        for word in words:
            command.add_argument(word.lower(), metavar=word)
        add_asking_options(command)
        command.set_defaults(module="tools.requests.members", carry_out=_members, json=False)
        if verb == "members":
            command.add_argument("--json", action="store_true", help="for programs")
        command.set_defaults(words=[verb, *(word.lower() for word in words)])


def _add_check(commands: Commands) -> None:
    check = commands.add_parser(
        "check",
        help="test whether a running cluster bears a load: raftline check perf",
        description="Check a running cluster.",
    )
    actions = check.add_subparsers(metavar="WHAT", required=True)
    perf = actions.add_parser(
        "perf",
        help="a minute of writes, and a verdict",
        description="Write values of 256 bytes at a given rate, under a prefix that is cleared "
        "afterwards, and report whether the cluster bore it. Exit code 0: it did; 1: it did not; "
        "3: no leader; 5: refused or unreachable.",
    )
    perf.add_argument(
        "--load",
        choices=("s", "m", "l"),
        default="s",
        help="150, 1,000 or 4,000 writes a second (s)",
    )
    perf.add_argument(
        "--for", dest="seconds", type=as_seconds, default=60.0, metavar="SECONDS", help="(60)"
    )
    prefix = "raftline-check-perf/"
    perf.add_argument("--prefix", default=prefix, metavar="PREFIX", help=f"of its keys ({prefix})")
    perf.add_argument("--json", action="store_true", help="for programs")
    add_asking_options(perf, 10.0)
    perf.set_defaults(module="tools.requests.perf", carry_out=_perf)


def _perf(options: argparse.Namespace) -> int:
    from ...clients.asyncio.asker import AioAsker
    from ..requests import perf

    if not options.prefix:
        raise config.ConfigError("--prefix: is empty, and would mean all keys; choose another one")
    nodes, access = named_nodes(options.at, options.dir), access_of(options)
    asker = AioAsker([*nodes.values()], "raftline", options.timeout, access.credentials, access.tls)
    load = perf.LOADS[options.load]
    return perf.check(asker, load, options.seconds, options.prefix, options.json)


def _members(options: argparse.Namespace) -> int:
    from ..requests import members

    verb, *names = options.words
    words = [verb, *(getattr(options, name) for name in names)]
    nodes, access = named_nodes(options.at, options.dir), access_of(options)
    return members.carry_out(nodes, access, words, options.timeout, options.json)


def _up(options: argparse.Namespace) -> int:
    from ..local_cluster import choosing, up

    configuration = choosing.choose(options.dir, options.count, options.base_port)
    all_options = {**UP_OPTIONS, **course.up_options()}
    return up.up(
        configuration,
        pace=config.PACES[options.pace],
        verbose=options.verbose,
        client_wanted=options.client,
        view_port=options.view,
        options=[word for option in all_options for word in _words_of(option, options)],
    )


def _words_of(option: str, options: argparse.Namespace) -> list[str]:
    """Return the arguments that pass an option of `up` on to a node; none if it was not given."""
    value = getattr(options, option[2:].replace("-", "_"))
    if value or (option == "--controller" and options.view):
        return [option] if isinstance(value, bool) else [option, str(value)]
    return []


def _status(options: argparse.Namespace) -> int:
    from ..status import status_report

    nodes, access = named_nodes(options.at, options.dir), access_of(options)
    return status_report.report(nodes, access, options.timeout, options.json, options.watch)


def _transfer(options: argparse.Namespace) -> int:
    from ..requests import members

    nodes, access = named_nodes(options.at, options.dir), access_of(options)
    return members.transfer(nodes, access, options.to, options.timeout)
