"""`raftline completion bash|zsh`: what makes a shell complete commands, options, nodes' names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

# The part that both shells share. BEGIN reads the typed words; the other words differ by shell.
SCRIPT = """\
# raftline completion: eval "$(raftline completion SHELL)"
_raftline_nodes() {
    local program=$1 word before= folder=
    shift
    for word; do
        [ "$before" = --dir ] && [ "$word" = "=" ] && continue
        case "$before:$word" in
            --dir:*) folder=$word;;
            *:--dir=*) folder=${word#--dir=};;
        esac
        before=$word
    done
    "$program" completion SHELL --nodes ${folder:+"--dir=$folder"} 2>/dev/null
}
_raftline() {
BEGIN
    case "$command:$before" in
        *:--dir) FOLDERS; return;;
VALUES
        *)
            if [ "$place" -eq 1 ]; then
                offered="COMMANDS help"
            elif [ "${current#-}" = "$current" ]; then
                case "$command" in
                    NAMED) offered=$(_raftline_nodes TYPED);;
                    PERHAPS) FOLDERS; offered=$(_raftline_nodes TYPED);;
                    *) FILES; return;;
                esac
            else
                case "$command" in
OPTIONS
                esac
            fi;;
    esac
    OFFER
}
END
"""
BASH = {
    "BEGIN": """\
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} offered=
    local command=${COMP_WORDS[1]} place=$COMP_CWORD
    COMPREPLY=()""",
    "FOLDERS": 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$current"))',
    "FILES": 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$current"))',
    "TYPED": '"${COMP_WORDS[@]}"',
    "OFFER": 'COMPREPLY+=($(compgen -W "$offered" -- "$current"))',
    "END": "complete -F _raftline raftline",
}
ZSH = {
    "BEGIN": """\
    local current=${words[CURRENT]} before=${words[CURRENT-1]} offered=
    local command=${words[2]} place=$((CURRENT - 1))""",
    "FOLDERS": "_directories",
    "FILES": "_files",
    "TYPED": '"${words[@]}"',
    "OFFER": "compadd -- ${=offered}",
    "END": """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _raftline raftline""",
}
WORDS: Mapping[str, Mapping[str, str]] = {"bash": BASH, "zsh": ZSH}


NEW = ("add", "lock", "elect")  # their NAME is not that of an existing node


def script(shell: str, parsers: Mapping[str, argparse.ArgumentParser]) -> str:
    """Return the script for `shell`; `parsers` are those of the commands."""
    commands = " ".join(parsers)
    values = [f'        help:help) offered="{commands}";;']
    options = []
    for command, parser in parsers.items():
        values += _values(command, parser)
        words = " ".join(word for action in parser._actions for word in action.option_strings)
        options.append(f'                    {command}) offered="{words}";;')
    parts = {
        "VALUES": "\n".join(values), "OPTIONS": "\n".join(options), "COMMANDS": commands,
        "NAMED": _with_operand(parsers, "NAME", "OLD", "TARGET"),
        "PERHAPS": _with_operand(parsers, "DIR|NAME"),
    }  # fmt: skip
    text = SCRIPT
    for word, part in {**parts, **WORDS[shell], "SHELL": shell}.items():
        text = text.replace(word, part)
    return text


def _with_operand(parsers: Mapping[str, argparse.ArgumentParser], *operands: str) -> str:
    """Return the commands that take the name of an existing node, as a shell's pattern."""
    return "|".join(
        command
        for command, parser in parsers.items()
        if command not in NEW
        and any(not each.option_strings and each.metavar in operands for each in parser._actions)
    )


def _values(command: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield a line for each option or command with a list of choices."""
    for action in parser._actions:
        if action.option_strings and action.metavar == "NAME":
            offered = "$(_raftline_nodes TYPED)"
        elif action.choices:
            offered = " ".join(map(str, action.choices))
        else:
            continue
        for word in action.option_strings or [command]:
            yield f'        {command}:{word}) offered="{offered}";;'
