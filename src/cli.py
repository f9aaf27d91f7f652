"""The `raftline` command: `up`, `status`, and the node and the client under one name."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from raftline import config, repaircommands
from raftline.console import open_closed_streams

VERSION = "0.1.0"
EXIT_USAGE = 2
NODES_MAX = 99
MEMBER_COMMANDS = {
    "members": ((), "who the members are, and who of them votes"),
    "add": (("NAME", "HOST", "PORT"), "a new member: it catches up first, then votes"),
    "remove": (("NAME",), "take a member out"),
    "replace": (("OLD", "NEW", "HOST", "PORT"), "a new member instead of an old one, in one step"),
    "promote": (("NAME",), "let a learner vote"),
    "demote": (("NAME",), "let a voter learn only"),
}

UP_OPTIONS = {
    "--controller": "the nodes obey `raftline controller`, for teaching and tests",
    "--controller-udp": "by datagrams as well, on port 5555 of each node's own address",
    "--controller-lines": "the nodes print the lines of the course's controller lab",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code: 0 done, 2 usage or configuration."""
    open_closed_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments and arguments[0] in ("server", "client", "simulate"):
            return _pass_on(arguments[0], arguments[1:])  # they know their own options
        parser = _parser()
        if not arguments:
            parser.print_help()
            return 0
        options = parser.parse_args(arguments)
        carry_out: Callable[[argparse.Namespace], int] = options.carry_out
        return carry_out(options)
    except config.ConfigError as error:
        print(f"raftline: {error}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:  # `raftline status | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"raftline: {config.complaint(error)}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return 130


def _pass_on(command: str, arguments: list[str]) -> int:
    if command == "server":
        from raftline import server

        return server.main(arguments)
    if command == "simulate":
        from raftline import simulator

        return simulator.main(arguments)
    from raftline import client

    return client.main(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="raftline",
        description="A key-value store replicated by Raft, whose every byte a person can read.",
    )
    parser.add_argument("--version", action="version", version=f"raftline {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_up(commands)
    _add_status(commands)
    _add_transfer(commands)
    _add_members(commands)
    repaircommands.add_commands(commands)
    _add_controller(commands)
    # Only for the list in --help: main() hands these on before anything is parsed.
    commands.add_parser("server", help="one node: raftline server NAME PORT", add_help=False)
    commands.add_parser("client", help="a client: raftline client PORT ID", add_help=False)
    simulate = "a cluster under load and faults, and a report: raftline simulate METRICS"
    commands.add_parser("simulate", help=simulate, add_help=False)
    return parser


def _add_up(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    up = commands.add_parser(
        "up",
        help="a local cluster in this terminal",
        description="Start a local cluster; Ctrl-C stops all of it, and so does the end of whoever "
        "reads its lines from a pipe: exit code 0. Without -n, --dir and "
        "--base-port it is the cluster of the nearest logs/server-configuration.txt.",
    )
    up.add_argument("-n", dest="count", type=_node_count, metavar="N", help="nodes s1…sN (3)")
    up.add_argument("--dir", metavar="D", help="where the nodes keep their files (./logs)")
    up.add_argument("--base-port", type=_port, metavar="P", help="the port of s1 (10000)")
    up.add_argument("--client", action="store_true", help="a client in front; it ends, all ends")
    up.add_argument("--pace", choices=sorted(config.PACES), default="fast")
    up.add_argument("--verbose", action="store_true", help="heartbeats, too")
    for option, what in UP_OPTIONS.items():
        up.add_argument(option, action="store_true", help=what)
    up.set_defaults(carry_out=_up)


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = commands.add_parser(
        "status",
        help="a table of the cluster",
        description="Ask every node how it is. Exit code 0: a leader serves; 3: none does.",
    )
    status.add_argument("--dir", metavar="D", help="the folder of server-configuration.txt")
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument("--timeout", type=_seconds, default=2.0, metavar="S", help="seconds (2)")
    status.set_defaults(carry_out=_status)


def _add_transfer(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    transfer = commands.add_parser(
        "transfer",
        help="hand the leadership over",
        description="Let another node lead, before the leader's machine is worked on, say. Exit "
        "code 0: it leads; 3: no leader to ask; 4: outcome unknown; 5: refused.",
    )
    transfer.add_argument("to", metavar="NAME", nargs="?", help="which node (any that can)")
    transfer.add_argument("--dir", metavar="D", help="the folder of server-configuration.txt")
    transfer.add_argument("--timeout", type=_seconds, default=15.0, metavar="S", help="(15)")
    transfer.set_defaults(carry_out=_transfer)


def _add_members(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for verb, (words, what) in MEMBER_COMMANDS.items():
        command = commands.add_parser(verb, help=what, description=f"{what}.")
        for word in words:
            command.add_argument(word.lower(), metavar=word)
        command.add_argument("--dir", metavar="D", help="the folder of server-configuration.txt")
        command.add_argument("--timeout", type=_seconds, metavar="S", help="seconds")
        command.set_defaults(carry_out=_members, words=[verb, *(word.lower() for word in words)])


def _add_controller(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    controller = commands.add_parser(
        "controller",
        help="an order to a node that was started with --controller",
        description="Give one order to one node: STORE KEY VALUE, RETRIEVE, LEADER_INFO, "
        "CONVERT_FOLLOWER, TIMEOUT, SHUTDOWN, RESTART, PARTITION NAME…, HEAL [NAME…], DROP "
        "PERCENT% [NAME…], DELAY TIME [NAME…], SKIP-REPLICATION on|off, HEARTBEAT TIME|normal "
        "[for TIME], DELETE-LOG. Exit code 0: done; 2: usage; 3: another leads; 4: outcome "
        "unknown; 5: refused or unreachable.",
    )
    controller.add_argument("target", metavar="TARGET", help="a node's name, or HOST:PORT")
    controller.add_argument("words", metavar="REQUEST", nargs="+", help="the order and its words")
    controller.add_argument("--dir", metavar="D", help="the folder of server-configuration.txt")
    controller.add_argument("--json", action="store_true", help="for programs")
    controller.add_argument("--timeout", type=_seconds, default=30.0, metavar="S", help="(30)")
    controller.set_defaults(carry_out=_controller)


def _controller(options: argparse.Namespace) -> int:
    from raftline import controller

    return controller.order(
        options.target, options.words, options.dir, options.timeout, options.json
    )


def _members(options: argparse.Namespace) -> int:
    from raftline import members

    verb, *names = options.words
    words = [verb, *(getattr(options, name) for name in names)]
    return members.carry_out(config.load(options.dir), words, options.timeout)


def _up(options: argparse.Namespace) -> int:
    from raftline import up

    configuration = up.choose(options.dir, options.count, options.base_port)
    return up.up(
        configuration,
        pace=config.PACES[options.pace],
        verbose=options.verbose,
        client_wanted=options.client,
        options=[
            option for option in UP_OPTIONS if getattr(options, option[2:].replace("-", "_"))
        ],
    )


def _status(options: argparse.Namespace) -> int:
    from raftline import status

    return status.report(config.load(options.dir), options.timeout, options.json)


def _transfer(options: argparse.Namespace) -> int:
    from raftline import transfer

    return transfer.transfer(config.load(options.dir), options.to, options.timeout)


def _node_count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= NODES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of nodes from 1 to {NODES_MAX}")
    return int(text)


def _port(text: str) -> int:
    try:
        return config.port_number(text, "--base-port")
    except config.ConfigError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to 65535") from error


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 3600:  # nan fails this, too
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds: above 0, up to 3600")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
