"""The commands of Redis that nearly all requests are, read without an object for each. Pure.

The result equals what `plan_of` makes of each command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

PLAIN_CHARACTERS: Final = 512  # of a key
_PLAIN: Final = re.compile(
    r"(\*[235]\r\n\$[1-9]\r\n[A-Za-z]+)\r\n\$([1-9][0-9]{0,2})\r\n([!-\[\]-~]+)\r\n"
    r"(?:\$([0-4]?[0-9]{1,2})\r\n([ -~]*)\r\n"
    r"(?:\$2\r\n[Ee][Xx]\r\n\$([1-9])\r\n([1-9][0-9]{0,8})\r\n)?)?"
).match


class _Plain(NamedTuple):
    """How a command becomes a line."""

    verb: str
    form: str
    is_read: bool = False
    has_value: bool = False
    rest: str = ""  # of the line, after the key
    has_time: bool = False  # in seconds, after the value; it goes before it into the line


_ROWS: Final[Mapping[str, _Plain]] = {
    "GET": _Plain("get ", "get ", is_read=True),
    "SET": _Plain("set ", "set ", has_value=True),
    "SET EX": _Plain("setex ", "set ", has_value=True, has_time=True),
    "SETNX": _Plain("setnx ", "met ", has_value=True),
    "DEL": _Plain("delete ", "met "),
    "UNLINK": _Plain("delete ", "met "),
    "INCR": _Plain("incr ", "incr ", rest=" 1"),
    "DECR": _Plain("incr ", "incr ", rest=" -1"),
}
_BY_HEAD: Final = {
    f"*{2 + row.has_value + 2 * row.has_time}\r\n${len(name)}\r\n{formatted}": row
    for name, row in ((name.partition(" ")[0], row) for name, row in _ROWS.items())
    for formatted in (name, name.lower())
}


class PlainRun(NamedTuple):
    """Consecutive commands, all of which read or all of which write."""

    is_read: bool
    commands: list[str]  # the lines
    ids: list[str]  # the form of each reply, and the key
    end: int  # the place after them


def take_plain(text: str, count: int, *, is_at_floor: bool) -> PlainRun:
    """Return at most `count` of the first commands, as long as they are plain ones that all read or
    all write, with a time only above the floor. A key and a value have printable ASCII,
    and a key no backslash."""
    commands: list[str] = []
    ids: list[str] = []
    place, is_read = 0, False
    while len(commands) < count and (match := _PLAIN(text, place)) is not None:
        head, key_size, key, value_size, value, time_size, time = match.groups()
        row = _BY_HEAD.get(head)
        if (
            row is None
            or (row.has_time and is_at_floor)
            or len(key) != int(key_size)
            or len(key) > PLAIN_CHARACTERS
        ):
            break
        verb, form, reads, has_value, rest, has_time = row
        if commands and reads != is_read:
            break
        if value is None and not has_value:
            commands.append(f"{verb}{key}{rest}")
        elif value is not None and has_value and len(value) == int(value_size):
            formatted = value.replace("\\", r"\\") if "\\" in value else value
            if time is None and not has_time:
                commands.append(f"{verb}{key} {formatted}")
            elif time is not None and has_time and len(time) == int(time_size):
                commands.append(f"{verb}{key} {time} {formatted}")
            else:
                break
        else:
            break
        is_read = reads
        ids.append(form + key)
        place = match.end()
    return PlainRun(is_read, commands, ids, place)
