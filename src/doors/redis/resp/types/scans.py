"""What commands on several types share: scans, and members that chance chooses. Pure."""

from __future__ import annotations

from zlib import crc32

from ..keys import Pattern
from ..programs import CommandRefused, in_capitals, integer
from ..replies import SYNTAX
from ..view import View


def scanned(words: list[str], names: list[str]) -> list[str]:
    """Return the elements that a scan of a key shows. It shows all in one page: Redis does so, too,
    for a short value.

    Raises:
        Refused: an option is wrong.
    """
    cursor = words[2]
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 20):
        raise CommandRefused("ERR invalid cursor")
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
    return [] if int(cursor) else list(filter(pattern.fits, names))


def chosen(view: View, items: list[str], count: int) -> list[str]:
    """Return elements chosen by chance: distinct ones or, with a negative count, each by itself.
    Chance comes with the entry, so each node chooses the same."""
    if count < 0:
        view.works(-count)
        return [items[view.chance(len(items))] for _ in range(-count)] if items else []
    left, found = list(items), list[str]()
    for _ in range(min(count, len(left))):
        place = view.chance(len(left))
        left[place], left[-1] = left[-1], left[place]
        found.append(left.pop())
    return found


def chance_of(seed: str, count: int) -> int:
    """Return a number below this one."""
    return crc32(seed.encode("utf-8", "surrogateescape")) % count
