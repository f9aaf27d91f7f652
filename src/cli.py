"""The `raftline` command: `up`, `status`, and the node and the client under one name."""

from __future__ import annotations

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.quiet_exit import end_quietly

    end_quietly()

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from raftline.common import config
from raftline.common.arguments import EXIT_USAGE, Parser, as_port, as_seconds
from raftline.common.console import open_closed_streams
from raftline.common.quiet_exit import EXIT_INTERRUPTED
from raftline.common.signals import raised
from raftline.tools import accesscommands, repaircommands, user
from raftline.wire.commands import AT_THE_SHELL, COMMANDS

NODES_MAX = 99
# With their modules.
PASSED_ON = {
    "server": "server", "client": "client", "simulate": "simulator", "grade": "tools.grade",
}  # fmt: skip
HELD = {
    "lock": "run a command while holding a lock",
    "elect": "run a command while elected, again after a loss",
}
SHELLS = ("bash", "zsh")

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]

UP_OPTIONS = {
    "--controller": "the nodes obey `raftline controller`, for teaching and tests",
    "--controller-udp": "by datagrams as well, on port 5555 of each node's own address",
    "--controller-lines": "the nodes print the lines of the course's controller lab",
    "--log-times": "the nodes print the time before each line",
    "--course-console": "the nodes say no more of messages and votes than the course's figures",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code: 0 done, 2 usage or configuration."""
    open_closed_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["help"]:
            arguments = [*arguments[1:2], "--help"]
        if arguments and arguments[0] in {*PASSED_ON, *AT_THE_SHELL, *HELD}:
            return _pass_on(arguments[0], arguments[1:])  # they know their own options
        if not arguments:
            _parser()[0].print_help()
            return 0
        options = _options(arguments)
        carry_out: Callable[[argparse.Namespace], int] = options.carry_out
        importlib.import_module(f"raftline.{options.module}")  # before Ctrl-C is an exception
        with raised():
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
        return EXIT_INTERRUPTED


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for. A usage error ends this process, in the command's own name."""
    parser, commands = _parser()
    if not arguments[0].startswith("-") and arguments[0] not in commands.choices:
        parser.error(_no_command(arguments[0], commands.choices))
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        of_command = commands.choices.get(arguments[0], parser)
        of_command.error(f"unrecognized arguments: {' '.join(unknown)}")
    if "carry_out" not in options:  # an option that there is not was complained of
        parser.error("a command is missing")
    return options


def _pass_on(command: str, arguments: list[str]) -> int:
    if command in AT_THE_SHELL:
        from raftline.tools import ask

        return ask.main(command, arguments)
    if command in HELD:
        from raftline.tools import lock

        return lock.main(command, arguments)
    code: int = importlib.import_module(f"raftline.{PASSED_ON[command]}").main(arguments)
    return code


def _no_command(typed: str, commands: Collection[str]) -> str:
    import difflib  # only who mistypes needs it

    near = difflib.get_close_matches(typed, commands, 1)
    return f"there is no command {typed!r}" + "".join(f"; did you mean {word}?" for word in near)


def _parser() -> tuple[Parser, Commands]:
    parser = Parser(
        prog="raftline",
        description="A key-value store replicated by Raft, whose every byte a person can read.",
        epilog="raftline help COMMAND, or raftline COMMAND --help, tells more of one.",
    )
    parser.tell_version()
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_up(commands)
    _add_status(commands)
    _add_transfer(commands)
    _add_members(commands)
    repaircommands.add_commands(commands)
    user.add_command(commands)
    accesscommands.add_commands(commands)
    _add_controller(commands)
    _add_view(commands)
    _add_picture(commands)
    # Only for the list in --help: main() hands these on before anything is parsed.
    commands.add_parser("server", help="one node: raftline server NAME PORT", add_help=False)
    commands.add_parser("client", help="a client: raftline client PORT", add_help=False)
    simulate = "a cluster under load and faults, and a report: raftline simulate METRICS"
    commands.add_parser("simulate", help=simulate, add_help=False)
    grade = "hand-ins of the lab write Raft, in a clone: raftline grade FOLDER"
    commands.add_parser("grade", help=grade, add_help=False)
    for verb, does in {**AT_THE_SHELL, **HELD}.items():
        commands.add_parser(verb, help=does, add_help=False)
    _add_completion(commands)
    return parser, commands


def _add_completion(commands: Commands) -> None:
    completion = commands.add_parser(
        "completion",
        help="let a shell complete commands and options",
        description='Print what makes a shell complete them: eval "$(raftline completion bash)", '
        "in ~/.bashrc for good; with zsh in both places for zsh.",
    )
    completion.add_argument("shell", choices=SHELLS)
    completion.add_argument(
        "--nodes", action="store_true", help="only the nodes' names, as the script asks for them"
    )
    completion.add_argument("--dir", metavar="D", help="the folder that names the nodes")
    completion.set_defaults(module="tools.completion", carry_out=_completion)


def _completion(options: argparse.Namespace) -> int:
    if options.nodes:
        print(*config.load(options.dir).members, sep="\n")
        return 0
    from raftline import client, simulator
    from raftline.node import boot
    from raftline.tools import ask, completion, lock

    parsers = {**_parser()[1].choices}
    parsers["server"] = boot.parser()
    parsers |= {"client": client.parser(), "simulate": simulator.parser()}
    parsers |= {verb: ask.parser(verb) for verb in AT_THE_SHELL}
    parsers |= {verb: lock.parser(verb) for verb in HELD}
    print(completion.script(options.shell, parsers), end="")
    return 0


def _add_up(commands: Commands) -> None:
    up = commands.add_parser(
        "up",
        help="a local cluster in this terminal",
        description="Start a local cluster; Ctrl-C stops all of it, and so does the end of whoever "
        "reads its lines from a pipe: exit code 0. Without -n, --dir and "
        "--base-port it is the cluster of the nearest logs/server-configuration.txt.",
    )
    up.add_argument("-n", dest="count", type=_node_count, metavar="N", help="nodes s1…sN (3)")
    up.add_argument("--dir", metavar="D", help="where the nodes keep their files (./logs)")
    up.add_argument("--base-port", type=as_port, metavar="P", help="the port of s1 (10000)")
    up.add_argument("--client", action="store_true", help="a client in front; it ends, all ends")
    up.add_argument("--pace", choices=sorted(config.PACES), default="fast")
    up.add_argument("--verbose", action="store_true", help="heartbeats, too")
    for option, what in UP_OPTIONS.items():
        up.add_argument(option, action="store_true", help=what)
    up.add_argument("--view", type=as_port, nargs="?", const=8765, metavar="PORT",
                    help="a picture in a browser (port 8765), with --controller")  # fmt: skip
    up.set_defaults(module="tools.up", carry_out=_up)


def _add_status(commands: Commands) -> None:
    status = commands.add_parser(
        "status",
        help="a table of the cluster",
        description="Ask every node how it is. Exit code 0: a leader serves; 3: none does; with "
        "--watch, as of the last look before Ctrl-C.",
    )
    status.know_cluster(2.0)
    status.add_argument("--json", action="store_true", help="for programs")
    seconds = "again and again, SECONDS (2) apart, until Ctrl-C"
    status.add_argument("--watch", type=as_seconds, nargs="?", const=2.0, help=seconds,
                        metavar="SECONDS")  # fmt: skip
    status.set_defaults(module="tools.statusreport", carry_out=_status)


def _add_transfer(commands: Commands) -> None:
    transfer = commands.add_parser(
        "transfer",
        help="hand the leadership over",
        description="Let another node lead, before the leader's machine is worked on, say. Exit "
        "code 0: it leads; 3: no leader to ask; 4: outcome unknown; 5: refused.",
    )
    transfer.add_argument("to", metavar="NAME", nargs="?", help="which node (any that can)")
    transfer.know_cluster(15.0)
    transfer.set_defaults(module="tools.members", carry_out=_transfer)


def _add_members(commands: Commands) -> None:
    for verb, row in COMMANDS.items():
        if row.access.kind != "members":
            continue
        words = row.operands.form.split()
        command = commands.add_parser(verb, help=row.does, description=f"{row.does}.")
        for word in words:
            command.add_argument(word.lower(), metavar=word)
        command.know_cluster()
        command.set_defaults(module="tools.members", carry_out=_members, json=False)
        if verb == "members":
            command.add_argument("--json", action="store_true", help="for programs")
        command.set_defaults(words=[verb, *(word.lower() for word in words)])


def _add_controller(commands: Commands) -> None:
    controller = commands.add_parser(
        "controller",
        help="an order to a node that was started with --controller",
        description="Give one order to one node: STORE KEY VALUE, RETRIEVE, LEADER_INFO, "
        "CONVERT_FOLLOWER, TIMEOUT, SHUTDOWN, RESTART, PARTITION NAME…, HEAL [NAME…], DROP "
        "PERCENT% [NAME…], DELAY TIME [NAME…], SKIP-REPLICATION on|off, HEARTBEAT TIME|normal "
        "[for TIME], DELETE-LOG. Exit code 0: done; 2: usage; 3: not the leader, who is named if "
        "known; 4: outcome unknown; 5: refused or unreachable.",
    )
    controller.add_argument("target", metavar="TARGET", help="a node's name, or HOST:PORT")
    controller.add_argument("words", metavar="REQUEST", nargs="+", help="the order and its words")
    controller.know_cluster(30.0)
    controller.add_argument("--json", action="store_true", help="one object, for programs")
    controller.set_defaults(module="controller.command", carry_out=_controller)


def _add_view(commands: Commands) -> None:
    view = commands.add_parser(
        "view",
        help="a picture of the running cluster, in a browser on this machine",
        description="Serve a page that shows each step of each node, until Ctrl-C: messages as "
        "arrows, roles, terms, votes, logs, and why a node decided so. With --save, write such a "
        "page of the next seconds, to hand in.",
    )
    view.add_argument("--dir", metavar="D", help="the folder that names the nodes (./logs)")
    view.add_argument("--port", type=as_port, metavar="P", help="of the page (8765)")
    view.add_argument("--save", metavar="FILE.html", help="observe for a while, and write one page")
    view.add_argument("--for", dest="seconds", type=as_seconds, default=10.0, metavar="SECONDS",
                      help="how long --save observes (10)")  # fmt: skip
    view.set_defaults(module="view.command", carry_out=_view)


def _add_picture(commands: Commands) -> None:
    picture = commands.add_parser(
        "picture",
        help="the picture of recordings, as one page",
        description="Draw what `raftline server --record FILE` wrote, of one node or of several of "
        "a cluster, as one page like that of `raftline view`. Exit code 3: a FILE is no recording.",
    )
    picture.add_argument("files", metavar="FILE", nargs="+", help="a recording of a node")
    picture.add_argument("--out", metavar="PAGE.html", default="picture.html",
                         help="the page (picture.html)")  # fmt: skip
    picture.set_defaults(module="tools.picture", carry_out=_picture)


def _picture(options: argparse.Namespace) -> int:
    from raftline.tools import picture

    return picture.picture(options.files, options.out)


def _view(options: argparse.Namespace) -> int:
    from raftline.view import command

    configuration = config.load(options.dir)
    if options.save is not None:
        return command.save(configuration, Path(options.save), options.seconds)
    return command.view(configuration, options.port or command.DEFAULT_PORT)


def _controller(options: argparse.Namespace) -> int:
    from raftline.controller.command import order

    return order(
        options.target, options.words, options.dir, options.timeout, options.json
    )


def _members(options: argparse.Namespace) -> int:
    from raftline.tools import members

    verb, *names = options.words
    words = [verb, *(getattr(options, name) for name in names)]
    return members.carry_out(config.load(options.dir), words, options.timeout, options.json)


def _up(options: argparse.Namespace) -> int:
    from raftline.tools import up

    configuration = up.choose(options.dir, options.count, options.base_port)
    return up.up(
        configuration,
        pace=config.PACES[options.pace],
        verbose=options.verbose,
        client_wanted=options.client,
        view_port=options.view,
        options=[
            option for option in UP_OPTIONS
            if getattr(options, option[2:].replace("-", "_"))
            or (option == "--controller" and options.view)
        ],
    )


def _status(options: argparse.Namespace) -> int:
    from raftline.tools import statusreport

    configuration = config.load(options.dir)
    return statusreport.report(configuration, options.timeout, options.json, options.watch)


def _transfer(options: argparse.Namespace) -> int:
    from raftline.tools import members

    return members.transfer(config.load(options.dir), options.to, options.timeout)


def _node_count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= NODES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of nodes from 1 to {NODES_MAX}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
