"""The commands of Redis that nearly all requests are, read without an object for each. Pure.

The result equals what `plan_of` makes of each command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

PLAIN_CHARACTERS: Final = 512  # of a key
_PLAIN: Final = re.compile(
    r"\*([23])\r\n\$([1-9])\r\n([A-Za-z]+)\r\n\$([1-9][0-9]{0,2})\r\n([!-\[\]-~]+)\r\n"
    r"(?:\$([0-4]?[0-9]{1,2})\r\n([ -~]*)\r\n)?"
).match


class _Plain(NamedTuple):
    """How a command becomes a line."""

    verb: str
    form: str
    is_read: bool = False
    words: str = "2"
    rest: str = ""  # of the line, after the key


_ROWS: Final[Mapping[str, _Plain]] = {
    "GET": _Plain("get ", "get ", is_read=True),
    "SET": _Plain("set ", "set ", words="3"),
    "SETNX": _Plain("setnx ", "met ", words="3"),
    "DEL": _Plain("delete ", "met "),
    "UNLINK": _Plain("delete ", "met "),
    "INCR": _Plain("incr ", "incr ", rest=" 1"),
    "DECR": _Plain("incr ", "incr ", rest=" -1"),
}
_BY_NAME: Final = {**_ROWS, **{name.lower(): row for name, row in _ROWS.items()}}


class PlainRun(NamedTuple):
    """Consecutive commands, all of which read or all of which write."""

    is_read: bool
    commands: list[str]  # the lines
    ids: list[str]  # the form of each reply, and the key
    end: int  # the place after them


def take_plain(text: str, count: int) -> PlainRun:
    """Return at most `count` of the first commands, as long as they are plain ones that all read or
    all write. A key and a value have printable ASCII, and a key no backslash."""
    commands: list[str] = []
    ids: list[str] = []
    place, is_read = 0, False
    while len(commands) < count and (match := _PLAIN(text, place)) is not None:
        words, name_size, name, key_size, key, value_size, value = match.groups()
        row = _BY_NAME.get(name)
        if row is None or row.words != words or len(name) != int(name_size):
            break
        if len(key) != int(key_size) or len(key) > PLAIN_CHARACTERS:
            break
        if commands and row.is_read != is_read:
            break
        if words == "2" and value is None:
            commands.append(f"{row.verb}{key}{row.rest}")
        elif words == "3" and value is not None and len(value) == int(value_size):
            spelled = value.replace("\\", r"\\") if "\\" in value else value
            commands.append(f"{row.verb}{key} {spelled}")
        else:
            break
        is_read = row.is_read
        ids.append(row.form + key)
        place = match.end()
    return PlainRun(is_read, commands, ids, place)
