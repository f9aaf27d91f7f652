"""A line of a client, or the command of an entry, without the values in it. Pure."""

from __future__ import annotations

from typing import Final

from .commands import COMMANDS

_WORDS_MAX: Final = 6  # of a line that holds no value; others are mistakes


def without_values(text: str) -> str:
    """Return the verb and the key, for a console: `set a …`. Of a line that nobody understands
    nothing is left, as anything may be a value there."""
    before, at, command = text.partition("@")  # of an entry: the session and the number
    if not at or " " in before:
        before, at, command = "", "", text
    verb, *words = command.lstrip(" ").split(" ", _WORDS_MAX)
    row = COMMANDS.get(verb)
    if row is None:
        return f"{before}{at}…"
    if not words or (row.operands.is_public and len(words) < _WORDS_MAX):
        return text
    key = [words[0]] if row.operands.begins_with_key else []
    return " ".join([f"{before}{at}{verb}", *key, "…"])
