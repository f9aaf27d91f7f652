"""A client's line, or the command of an entry, without its values or verifiers. Pure."""

from __future__ import annotations

import re
from typing import Final

from ..operands.user_operands import MECHANISM
from .command_table import COMMANDS

_WORDS_MAX: Final = 6  # most words of a line without a value; longer lines are mistakes

_VERIFIER: Final = re.compile(rf"({MECHANISM})\$[^ ]+")


def without_verifiers(text: str) -> str:
    """Return a line for a console, in which nobody can read what a node knows of a password."""
    return _VERIFIER.sub(r"\1$…", text) if MECHANISM in text else text


def without_values(text: str) -> str:
    """Return the verb and the key or prefix for a console: `set a …`. An unknown line is hidden
    completely, because any part of it may be a value."""
    before, at, command = text.partition("@")  # the session and the number of an entry
    if not at or " " in before:
        before, at, command = "", "", text
    verb, *words = command.lstrip(" ").split(" ", _WORDS_MAX)
    row = COMMANDS.get(verb)
    if row is None:
        return f"{before}{at}…"
    if not words or (row.operands.is_public and len(words) < _WORDS_MAX):
        return text
    key = [words[0]] if row.operands.form.startswith(("KEY", "PREFIX")) else []
    return " ".join([f"{before}{at}{verb}", *key, "…"])
