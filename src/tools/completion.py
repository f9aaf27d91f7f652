"""`raftline completion bash|zsh`: what makes a shell complete the commands and their options."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

ZSH_FIRST = "autoload -U +X bashcompinit && bashcompinit\n"
CHOICE = """\
        %s:%s) COMPREPLY=($(compgen -W "%s" -- "$current")); return;;"""
SCRIPT = """\
# raftline completion: eval "$(raftline completion SHELL)"
_raftline() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words
    COMPREPLY=()
    case "${COMP_WORDS[1]}:$before" in
        *:--dir)
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -d -- "$current")); return;;
CHOICES
    esac
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="COMMANDS"
    elif [ "${current:0:1}" != - ]; then
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "$current")); return
    else
        case "${COMP_WORDS[1]}" in
OPTIONS
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _raftline raftline
"""


def script(shell: str, parsers: Mapping[str, argparse.ArgumentParser]) -> str:
    """Return the script for `shell`; `parsers` are those of the commands."""
    choices, options = [], []
    for command, parser in parsers.items():
        words: list[str] = []
        for action in parser._actions:
            words += action.option_strings
            for option in action.option_strings if action.choices else ():
                values = " ".join(map(str, action.choices or ()))
                choices.append(CHOICE % (command, option, values))
        options.append(f'            {command}) words="{" ".join(words)}";;')
    text = SCRIPT.replace("SHELL", shell).replace("COMMANDS", " ".join(parsers))
    text = text.replace("CHOICES", "\n".join(choices)).replace("OPTIONS", "\n".join(options))
    return (ZSH_FIRST if shell == "zsh" else "") + text
