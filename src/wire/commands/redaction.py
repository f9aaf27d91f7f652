"""A client's line, or the command of an entry, without its values. Pure."""

from __future__ import annotations

from typing import Final

from .command_table import COMMANDS

_WORDS_MAX: Final = 6  # most words of a line without a value; longer lines are mistakes


def without_values(text: str) -> str:
    """Return the verb and the key for a console: `set a …`. An unknown line is hidden completely,
    because any part of it may be a value."""
    before, at, command = text.partition("@")  # the session and the number of an entry
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
