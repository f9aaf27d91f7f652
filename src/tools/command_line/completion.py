"""`raftline completion bash|zsh|fish`: shell completion of commands, options, nodes and keys.

The script of each shell passes the typed words to `raftline completion --offer`, which prints the
possible words, one a line. Its exit code says whether files or folders are possible, too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ...clients.requests.address_options import named_nodes
from ...clients.requests.conversation import Client
from ...clients.requests.node_connection import ClientError
from ...clients.terminal.options import (
    ASKING_WITH_VALUE,
    access_of,
    add_asking_options,
    word_first,
)
from ...common.arguments import Parser
from ...common.config import ConfigError
from ...wire.protocol import escape
from ...wire.replies.replies import pairs_of
from ..requests import ask
from ..status import status
from ..verbs import LISTED, REQUESTS

EXIT_FILES, EXIT_FOLDERS = 10, 11
ASKING_S = 1.0
KEYS_MAX = 100
SCRIPTS: Final = {
    "bash": """\
# raftline completion: eval "$(raftline completion bash)"
_raftline() {
    local IFS=$'\\n' current=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=($("$1" completion bash --offer "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    case $? in
        10) compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -f -- "$current"));;
        11) compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -d -- "$current"));;
    esac
}
complete -F _raftline raftline
""",
    "zsh": """\
# raftline completion: eval "$(raftline completion zsh)"
_raftline() {
    local offered code
    offered=$("${words[1]}" completion zsh --offer "${(@)words[2,CURRENT]}" 2>/dev/null)
    code=$?
    compadd -- ${(f)offered}
    case $code in
        10) _files;;
        11) _directories;;
    esac
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _raftline raftline
""",
    "fish": """\
# raftline completion: raftline completion fish | source
function __raftline
    set -l typed (commandline -opc) (commandline -ct)
    raftline completion fish --offer $typed[2..-1] 2>/dev/null
    switch $status
        case 10
            __fish_complete_path (commandline -ct)
        case 11
            __fish_complete_directories (commandline -ct)
    end
end
complete -c raftline -f -a '(__raftline)'
""",
}
NEW = ("add", "lock", "elect")  # their NAME is not the name of an existing node
_NODES, _FOLDERS, _FILES = ("NAME", "OLD", "TARGET"), ("D", "DIR"), ("FILE", "FILE.html")
_UNSAFE = re.compile(r"[^\w@%+=:,./-]")  # for bash, which inserts offered words literally


class Offer(NamedTuple):
    """The possible words at one place of the line."""

    words: Sequence[str] = ()
    exit_code: int = 0


def offer(shell: str, typed: Sequence[str], parsers: Mapping[str, Parser]) -> Offer:
    """Return the words that can replace the last word. `parsers` are the parsers of the
    commands."""
    if shell == "bash":
        typed = _joined(typed)
    *before, current = typed or [""]
    name, equals, value = current.partition("=")
    if equals and name.startswith("-"):
        before, current = [*before, name], value
    words, exit_code = _offer(before, current, parsers)
    fitting = [word for word in words if word.startswith(current)]
    if shell == "bash":  # bash replaces only the text after the last of these
        begins = max(current.rfind(":"), current.rfind("=")) + 1
        fitting = [_UNSAFE.sub(r"\\\g<0>", word[begins:]) for word in fitting]
    return Offer(fitting, exit_code)


def _joined(typed: Sequence[str]) -> list[str]:
    """Return the words as they were typed: bash splits `--at h:1` into four."""
    words: list[str] = []
    is_open = False
    for word in typed:
        if words and (is_open or word in (":", "=")):
            words[-1] += word
        else:
            words.append(word)
        is_open = word in (":", "=")
    return words


def _offer(before: Sequence[str], current: str, parsers: Mapping[str, Parser]) -> Offer:
    if not before:
        return Offer([*LISTED, "help"])
    if before[-1] in ASKING_WITH_VALUE and word_first(before) == before:
        before = ["status", *before]  # the options of `status` have the same values
    command, *rest = word_first(before)
    if command.startswith("-"):
        return Offer(LISTED)
    if command == "help" and not rest:
        return Offer(LISTED)
    if command not in parsers:
        return Offer()
    parser = parsers[command]
    if (actions := _actions_of(parser)) is not None:
        if not rest:
            return Offer([*actions.choices])
        command, *rest = rest
        parser = actions.choices.get(command, parser)
    option = parser._option_string_actions.get(rest[-1]) if rest else None
    if option is not None and option.nargs != 0:
        return _values(option, command, rest)
    if current.startswith("-"):
        return Offer([*parser._option_string_actions])
    return _operands(command, parser, rest, current)


def _actions_of(parser: Parser) -> argparse._SubParsersAction[Parser] | None:
    found = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return next(found, None)


def _operands(command: str, parser: Parser, typed: Sequence[str], current: str) -> Offer:
    if command in REQUESTS:
        with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):
            request = ask.split(parser, typed)
            if not request.operands and re.match(r"KEY|\[?PREFIX", ask.row(command).operands.form):
                return Offer(_keys(request.options, current))
        return Offer()
    operands = [each for each in parser._actions if not each.option_strings]
    if not operands:
        return Offer(exit_code=EXIT_FILES)
    return _values(operands[min(_count(parser, typed), len(operands) - 1)], command, typed)


def _count(parser: Parser, typed: Iterable[str]) -> int:
    """Return how many of the words are operands."""
    number = is_value = 0
    for word in typed:
        action = parser._option_string_actions.get(word)
        number += not (is_value or word.startswith("-"))
        is_value = action is not None and action.nargs != 0
    return number


def _values(action: argparse.Action, command: str, typed: Sequence[str]) -> Offer:
    if action.choices:
        return Offer([*map(str, action.choices)])
    if action.metavar in _NODES and command not in NEW:
        return Offer(_nodes(typed))
    if action.metavar == "DIR|NAME":
        return Offer(_nodes(typed), EXIT_FOLDERS)
    if action.metavar in _FOLDERS:
        return Offer(exit_code=EXIT_FOLDERS)
    return Offer(exit_code=EXIT_FILES if action.metavar in _FILES else 0)


def _nodes(typed: Sequence[str]) -> Sequence[str]:
    """Return the names of the nodes that the command will use."""
    with contextlib.suppress(ConfigError, SystemExit), contextlib.redirect_stderr(io.StringIO()):
        options = _where(typed)
        nodes = named_nodes(options.at, options.dir)
        return [*status.by_name(nodes, access_of(options), ASKING_S)]
    return ()


def _keys(options: Sequence[str], current: str) -> Sequence[str]:
    """Return up to KEYS_MAX keys that begin with the current word."""
    with contextlib.suppress(ConfigError, SystemExit, ClientError, ValueError):
        where = _where(options)
        first, *others = named_nodes(where.at, where.dir).values()
        access = access_of(where)
        with Client(*first, "raftline", ASKING_S, follow=True, also=others,
                    credentials=access.credentials, tls=access.tls) as client:  # fmt: skip
            request = f"show {escape(current, key=True)} " if current else "show "
            pairs, _ = pairs_of(client.ask(f"{request}read local").text)
        return [key for key in pairs if key.isprintable()][:KEYS_MAX]
    return ()


def _where(typed: Sequence[str]) -> argparse.Namespace:
    """Return the typed options for the address and the user of a request."""
    parser = Parser(add_help=False, allow_abbrev=False)
    add_asking_options(parser, ASKING_S)
    return parser.parse_known_args(typed)[0]
