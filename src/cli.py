"""The `raftline` command: all commands, the node and the client under one name."""

from __future__ import annotations

if __name__ == "__main__":  # first, because the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from raftline.clients.terminal.options import (
    ASKING_WITH_VALUE,
    with_action,
    word_first,
)
from raftline.common import config
from raftline.common.arguments import EXIT_USAGE, Parser
from raftline.common.extensions import is_missing, joined
from raftline.common.process.console import open_closed_streams
from raftline.common.process.quiet_exit import EXIT_INTERRUPTED
from raftline.common.process.signals import raised
from raftline.common.process.standard_streams import EXIT_OUTPUT, drop_output

PASSED_ON = ("server", "client")  # also the names of their modules
TOOLS = next(iter(joined("commands")), None)  # None: only the node and the client are here

if TYPE_CHECKING:
    from raftline.common.arguments import Commands


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code: 0 done, 2 usage or configuration."""
    open_closed_streams()
    arguments = word_first(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _carry_out(arguments)
        finally:
            sys.stdout.flush()
    except config.ConfigError as error:
        print(f"raftline: {error}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:  # `raftline status | head`: the reader is gone
        drop_output()
        return 0
    except OSError as error:  # for example a full disk under `> file`
        is_full = drop_output()
        what = "can't print: " if is_full else ""
        print(f"raftline: {what}{config.complaint(error)}", file=sys.stderr)
        return EXIT_OUTPUT if is_full else EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _carry_out(arguments: list[str]) -> int:
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    if arguments == ["version"]:
        arguments = ["--version"]
    if arguments and arguments[0] in {*PASSED_ON, *_parsed()}:
        return _pass_on(arguments[0], arguments[1:])  # they parse their own options
    if "_ARGCOMPLETE" in os.environ and TOOLS is not None:  # a shell completes a typed line
        return _complete(TOOLS)
    if not arguments:
        _parser()[0].print_help()
        return 0
    options = _options(arguments)
    carry_out: Callable[[argparse.Namespace], int] = options.carry_out
    with raised():
        return carry_out(options)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options. A usage error ends this process; its message names the command."""
    parser, commands = _parser(arguments[0])
    if arguments[0] in ASKING_WITH_VALUE:
        parser.error("a command is missing")
    if TOOLS is not None and arguments[0] == "up":
        TOOLS.add_course_options(commands)
    if TOOLS is not None and arguments[0] in TOOLS.WITH_ACTIONS:
        arguments = [arguments[0], *with_action(arguments[1:])]
    if not arguments[0].startswith("-") and arguments[0] not in commands.choices:
        parser.error(_no_command(arguments[0], commands.choices))
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        of_command = commands.choices.get(arguments[0], parser)
        of_command.error(f"unrecognized arguments: {' '.join(unknown)}")
    if "carry_out" not in options:  # unknown options were reported above
        parser.error("a command is missing")
    return options


def _parsed() -> Mapping[str, str]:
    """Return the commands that parse their own options, besides the node and the client."""
    return TOOLS.PARSED if TOOLS is not None else {}


def _no_command(typed: str, commands: Collection[str]) -> str:
    if TOOLS is None:
        return f"there is no command {typed!r} in this build"
    complaint: str = TOOLS.no_command(typed, commands)
    return complaint


def _pass_on(command: str, arguments: list[str]) -> int:
    if TOOLS is not None and command in TOOLS.PARSED:
        code: int = TOOLS.carry_out(command, arguments)
        return code
    if command == "client" and not arguments:
        from raftline.clients.connections.address_options import VARIABLE, discover_nodes

        nodes = discover_nodes(None, "raftline client HOST:PORT")
        named = os.environ.get(VARIABLE) or ",".join(map(str, nodes.values()))
        arguments = ["--at", named]
    also = {}
    if TOOLS is not None and command == "client":
        also = {"explaining": TOOLS.explaining}
    code = importlib.import_module(f"raftline.{command}").main(arguments, **also)
    return code


class _Front(Parser):
    """Prints the commands in groups."""

    def format_help(self) -> str:
        helps = {
            each.dest: each.help or ""
            for action in self._subparsers._group_actions  # type: ignore[union-attr]
            for each in getattr(action, "_choices_actions", ())
        }
        lines = [self.format_usage(), self.description or "", ""]
        groups = TOOLS.GROUPS if TOOLS is not None else {"commands": PASSED_ON}
        for group, names in groups.items():
            rows = [f"  {name:<11} {helps[name]}" for name in names if name in helps]
            lines += [f"{group}:", *rows, ""] if rows else []
        return "\n".join([*lines, self.epilog or "", ""])


def _parser(command: str | None = None) -> tuple[Parser, Commands]:
    """Return the parser of one command, or else of all commands."""
    parser = _Front(
        prog="raftline",
        description="A key-value store replicated by Raft, whose every byte is human-readable.",
        epilog="raftline help COMMAND prints its options; raftline --version prints the build.\n"
        "Commands ask the nodes in --at HOST:PORT[,…], else in $RAFTLINE, else in the nearest\n"
        "server-configuration.txt.",
    )
    parser.add_version()
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    modules = TOOLS.MODULES if TOOLS is not None else {}
    found = modules.get(command or "")
    for module in (found,) if found else dict.fromkeys(modules.values()):
        _add_commands(module, commands)
    # Only for the list in --help: main() passes these on before it parses anything.
    commands.add_parser("server", help="one node: raftline server NAME PORT", add_help=False)
    commands.add_parser("client", help="a client: raftline client PORT", add_help=False)
    for verb, does in _parsed().items():
        commands.add_parser(verb, help=does, add_help=False)
    return parser, commands


def _add_commands(module: str, commands: Commands) -> None:
    """Add the commands of a module, unless it needs an extension that is not there."""
    try:
        importlib.import_module(f"raftline.{module}").add_commands(commands)
    except ModuleNotFoundError as error:
        if not is_missing(error):
            raise


def _complete(tools: ModuleType) -> int:
    parser, commands = _parser()
    with open(os.devnull) as sys.stdin:  # never prompt for a password
        tools.complete(parser, commands, parsers(tools))
    return 0


def parsers(tools: ModuleType) -> Mapping[str, Parser]:
    """Return the parser of each command."""
    from raftline import client
    from raftline.node.program import boot

    commands = _parser()[1]
    tools.add_course_options(commands)
    own = {"server": boot.parser(), "client": client.parser()}
    return {**commands.choices, **own, **tools.parsers()}


if __name__ == "__main__":
    sys.exit(main())
