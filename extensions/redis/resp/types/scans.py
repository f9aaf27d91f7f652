"""The common part of commands on several types: scans, and members that chance chooses. Pure."""

from __future__ import annotations

import re
from typing import Final
from zlib import crc32

from ..keys import Pattern
from ..programs import INTEGER_MAX, CommandRefused, in_capitals, integer
from ..replies import SYNTAX
from ..view import View
from .elements import Items

_CURSOR: Final = re.compile(r"([+-]?[0-9]{1,20})?", re.ASCII)


def scanned_items(view: View, words: list[str], kind: str) -> Items:
    """Return the elements of the value that a scan names.

    Raises:
        Refused: its cursor is not a number, or the key has a value of another type.
    """
    cursor = words[2]
    if not _CURSOR.fullmatch(cursor) or abs(int(cursor or "0")) >> 64:
        raise CommandRefused("ERR invalid cursor")
    return view.items(words[1], kind)


def scanned(view: View, words: list[str], names: list[str]) -> list[str]:
    """Return the elements that a scan of a key shows. It shows all in one page, whatever the cursor
    is: Redis does so, too, for a short value, and reads no option if there is no such key.

    Raises:
        Refused: an option is wrong.
    """
    if not names:
        return []
    pattern = Pattern("*")
    if len(words) % 2 == 0:
        raise CommandRefused(SYNTAX)
    for option, value in zip(words[3::2], words[4::2], strict=True):
        match in_capitals(option):
            case "MATCH":
                pattern = Pattern(value)
            case "COUNT":
                if integer(value) < 1:
                    raise CommandRefused(SYNTAX)
            case _:
                raise CommandRefused(SYNTAX)
    return view.fitting(pattern.fits, names)


def count_in(words: list[str], with_option: str = "") -> tuple[int, bool]:
    """Return how many elements a command asks for, and whether it has the option that returns what
    belongs to each, if there is such an option.

    Raises:
        Refused: there is another option, or the number is too large.
    """
    if len(words) > 3 and not with_option:
        raise CommandRefused(SYNTAX)
    count = integer(words[2])
    if count < -INTEGER_MAX:
        raise CommandRefused(
            f"ERR value is out of range, value must between -{INTEGER_MAX} and {INTEGER_MAX}"
        )
    if len(words) == 3:
        return count, False
    if len(words) > 4 or in_capitals(words[3]) != with_option:
        raise CommandRefused(SYNTAX)
    if abs(count) > INTEGER_MAX // 2:
        raise CommandRefused("ERR value is out of range")
    return count, True


def chosen(view: View, items: Items, count: int) -> Items:
    """Return elements chosen by chance: distinct ones or, with a negative count, each by itself.
    Chance comes with the entry, so each node chooses the same."""
    if count < 0 and len(items):
        return items.drawn(-count, view.chance)
    return items.drawn_once(max(0, count), view.chance)


def chance_of(seed: str, count: int) -> int:
    """Return a number below this one."""
    return crc32(seed.encode("utf-8", "surrogateescape")) % count
