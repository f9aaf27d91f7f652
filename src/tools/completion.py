"""`raftline completion bash|zsh`: what makes a shell complete the commands and their options."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

# What the two shells share; BEGIN sets what the person has typed, the others are their own words.
SCRIPT = """\
# raftline completion: eval "$(raftline completion SHELL)"
_raftline() {
BEGIN
    case "$command:$before" in
        *:--dir) FOLDERS; return;;
VALUES
        *)
            if [ "$place" -eq 1 ]; then
                offered="COMMANDS help"
            elif [ "${current#-}" = "$current" ]; then
                FILES; return
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
    "OFFER": 'COMPREPLY=($(compgen -W "$offered" -- "$current"))',
    "END": "complete -F _raftline raftline",
}
ZSH = {
    "BEGIN": """\
    local current=${words[CURRENT]} before=${words[CURRENT-1]} offered=
    local command=${words[2]} place=$((CURRENT - 1))""",
    "FOLDERS": "_directories",
    "FILES": "_files",
    "OFFER": "compadd -- ${=offered}",
    "END": """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _raftline raftline""",
}
WORDS: Mapping[str, Mapping[str, str]] = {"bash": BASH, "zsh": ZSH}


def script(shell: str, parsers: Mapping[str, argparse.ArgumentParser]) -> str:
    """Return the script for `shell`; `parsers` are those of the commands."""
    commands = " ".join(parsers)
    values = [f'        help:help) offered="{commands}";;']
    options = []
    for command, parser in parsers.items():
        values += _values(command, parser)
        words = " ".join(word for action in parser._actions for word in action.option_strings)
        options.append(f'                    {command}) offered="{words}";;')
    parts = {"VALUES": "\n".join(values), "OPTIONS": "\n".join(options), "COMMANDS": commands}
    text = SCRIPT.replace("SHELL", shell)
    for word, part in {**WORDS[shell], **parts}.items():
        text = text.replace(word, part)
    return text


def _values(command: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield a line for each word behind which one of a few must stand."""
    for action in parser._actions:
        if not action.choices:
            continue
        offered = " ".join(map(str, action.choices))
        for word in action.option_strings or [command]:
            yield f'        {command}:{word}) offered="{offered}";;'
