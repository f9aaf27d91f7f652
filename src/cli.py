"""The `raftline` command: all commands, the node and the client under one name."""

from __future__ import annotations

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.quiet_exit import end_quietly

    end_quietly()

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from raftline.common import config
from raftline.common.arguments import EXIT_USAGE, Parser
from raftline.common.console import open_closed_streams
from raftline.common.quiet_exit import EXIT_INTERRUPTED
from raftline.common.signals import raised
from raftline.tools import (
    accesscommands,
    clustercommands,
    course,
    repaircommands,
    user,
    viewcommands,
)
from raftline.wire.commands import AT_THE_SHELL

PASSED_ON = ("server", "client")  # also the names of their modules
HELD = {
    "lock": "run a command while holding a lock",
    "elect": "run a command while elected, again after a loss",
}
SHELLS = ("bash", "zsh")

if TYPE_CHECKING:
    from raftline.common.arguments import Commands


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code: 0 done, 2 usage or configuration."""
    open_closed_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["help"]:
            arguments = [*arguments[1:2], "--help"]
        if arguments and arguments[0] in {*PASSED_ON, *AT_THE_SHELL, *HELD, *course.COMMANDS}:
            return _pass_on(arguments[0], arguments[1:])  # they parse their options
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
    except BrokenPipeError:  # `raftline status | head`: the reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"raftline: {config.complaint(error)}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options. A usage error ends this process, in the command's name."""
    parser, commands = _parser()
    if "up" in arguments:
        clustercommands.add_course_options(commands)
    if not arguments[0].startswith("-") and arguments[0] not in commands.choices:
        parser.error(_no_command(arguments[0], commands.choices))
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        of_command = commands.choices.get(arguments[0], parser)
        of_command.error(f"unrecognized arguments: {' '.join(unknown)}")
    if "carry_out" not in options:  # unknown options are reported above
        parser.error("a command is missing")
    return options


def _pass_on(command: str, arguments: list[str]) -> int:
    if command in AT_THE_SHELL:
        from raftline.tools import ask

        return ask.main(command, arguments)
    if command in HELD:
        from raftline.tools import lock

        return lock.main(command, arguments)
    if command in course.COMMANDS:
        return course.main(command, arguments)
    code: int = importlib.import_module(f"raftline.{command}").main(arguments)
    return code


def _no_command(typed: str, commands: Collection[str]) -> str:
    import difflib  # only needed after a mistake

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
    clustercommands.add_commands(commands)
    repaircommands.add_commands(commands)
    user.add_command(commands)
    accesscommands.add_commands(commands)
    viewcommands.add_commands(commands)
    # Only for the list in --help: main() hands these on before anything is parsed.
    commands.add_parser("server", help="one node: raftline server NAME PORT", add_help=False)
    commands.add_parser("client", help="a client: raftline client PORT", add_help=False)
    for verb, does in {**AT_THE_SHELL, **HELD, **course.COMMANDS}.items():
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
    from raftline import client
    from raftline.node import boot
    from raftline.tools import ask, completion, lock

    commands = _parser()[1]
    clustercommands.add_course_options(commands)
    parsers = {**commands.choices}
    parsers["server"] = boot.parser()
    parsers["client"] = client.parser()
    parsers |= course.parsers()
    parsers |= {verb: ask.parser(verb) for verb in AT_THE_SHELL}
    parsers |= {verb: lock.parser(verb) for verb in HELD}
    print(completion.script(options.shell, parsers), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
