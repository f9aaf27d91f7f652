"""`raftline completion bash|zsh|fish`: completion by the package argcomplete.

The script that argcomplete prints calls `raftline` with the typed line in the environment.
`complete` then answers in place of the command: argcomplete knows the commands and options from
their parsers, and this module adds the nodes and keys of the cluster that the command would ask.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from raftline.clients.connections.address_options import named_nodes
from raftline.clients.connections.node_connection import ClientError
from raftline.clients.requests.conversation import Client
from raftline.clients.terminal.options import access_of
from raftline.common.arguments import Parser
from raftline.common.config import ConfigError
from raftline.wire.commands.identity import ROLES
from raftline.wire.protocol import escape
from raftline.wire.replies.replies import pairs_of, value_in

from .asking_options import add_asking_options
from .requests import ask
from .status import status
from .verbs import REQUESTS

if TYPE_CHECKING:
    from raftline.common.arguments import Commands

ASKING_S = 1.0
KEYS_MAX = 100
NEW = ("add", "first", "lock", "elect")  # their first argument is a new name
SHELLS = ("bash", "zsh", "fish")
_NEEDED = "completion needs the package argcomplete: pip install 'argcomplete>=3.5'"


def add_commands(commands: Commands) -> None:
    """Add the command to the command line."""
    completion = commands.add_parser(
        "completion",
        help="let a shell complete commands, options, nodes and keys",
        description="Print a shell script that completes them, with the package argcomplete. Put "
        'eval "$(raftline completion bash)" in ~/.bashrc, the same with zsh in ~/.zshrc, or '
        "raftline completion fish | source in config.fish. Keys and nodes come from the cluster "
        "that the command would ask.",
    )
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(carry_out=_carry_out)


def _carry_out(options: argparse.Namespace) -> int:
    print(script(options.shell), end="")
    return 0


def script(shell: str) -> str:
    """Return the script for a shell.

    Raises:
        ConfigError: argcomplete is not installed.
    """
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError:
        raise ConfigError(_NEEDED) from None
    return shellcode(["raftline"], shell=shell)


def complete(front: Parser, commands: Commands, parsers: Mapping[str, Parser]) -> None:
    """Print what the last word of the typed line can become, and end this process."""
    import argcomplete

    commands._name_parser_map.update(parsers)
    for verb in REQUESTS:
        operands = parsers[verb].add_argument("operands", nargs="*")
        form = ask.row(verb).operands.form
        _complete_by(operands, _keys if form.startswith(("KEY", "PREFIX", "[PREFIX")) else _nothing)
    for name, parser in parsers.items():
        for action in _actions_of(parser, is_new=name in NEW):
            if str(action.metavar) in _NAMED and action.dest != "user":  # not for a login
                _complete_by(action, _NAMED[str(action.metavar)])
    argcomplete.autocomplete(front, always_complete_options=False)


def _complete_by(action: argparse.Action, completer: object) -> None:
    action.completer = completer  # type: ignore[attr-defined]  # argcomplete looks for it there


def _actions_of(parser: Parser, *, is_new: bool) -> Iterator[argparse.Action]:
    """Yield the arguments whose values exist already, and the options."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, nested in action.choices.items():
                yield from _actions_of(nested, is_new=verb in NEW)
        elif not is_new or action.option_strings:
            yield action


def _nothing(**_: object) -> Sequence[str]:
    return ()


def _nodes(**_: object) -> Sequence[str]:
    """Return the names of the nodes that the command would use."""
    with contextlib.suppress(ConfigError, SystemExit):
        where = _where()
        return [*status.by_name(named_nodes(where.at, where.dir), access_of(where), ASKING_S)]
    return ()


def _users(**_: object) -> Sequence[str]:
    return _of_users("users")


def _roles(**_: object) -> Sequence[str]:
    return [*ROLES, *_of_users("roles")]


def _of_users(what: str) -> Sequence[str]:
    """Return the names of the users, or of the roles that are not built in."""
    with contextlib.suppress(ConfigError, SystemExit, ClientError, ValueError), _client() as client:
        return [*json.loads(value_in(client.ask("users").text))[what]]
    return ()


@contextlib.contextmanager
def _client() -> Iterator[Client]:
    """Connect to the leader of the nodes that the command would use."""
    where = _where()
    first, *others = named_nodes(where.at, where.dir).values()
    access = access_of(where)
    with Client(*first, "raftline", ASKING_S, follow=True, also=others,
                access=access) as client:  # fmt: skip
        yield client


def _keys(*, prefix: str, parsed_args: argparse.Namespace, **_: object) -> Sequence[str]:
    """Return up to KEYS_MAX keys that begin with the current word."""
    if getattr(parsed_args, "operands", None):
        return ()  # a value
    with contextlib.suppress(ConfigError, SystemExit, ClientError, ValueError), _client() as client:
        request = f"show {escape(prefix, key=True)} " if prefix else "show "
        pairs = pairs_of(client.ask(f"{request}read local").text)[0]
        return [key for key in pairs if key.isprintable()][:KEYS_MAX]
    return ()


def _where() -> argparse.Namespace:
    """Return the typed options for the address and the user of a request."""
    parser = Parser(add_help=False, allow_abbrev=False)
    add_asking_options(parser, ASKING_S)
    typed = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    return parser.parse_known_args(shlex.split(typed)[1:])[0]


_NAMED = {
    **dict.fromkeys(("NAME", "OLD", "TARGET", "DIR|NAME"), _nodes),
    "USER": _users,
    "ROLE": _roles,
}
