"""Commands that say how many keys they name: `LMPOP COUNT KEY ... LEFT`. Pure."""

from __future__ import annotations

from collections.abc import Callable

from ..programs import CommandRefused, in_capitals, integer
from ..replies import SYNTAX, Failure


def keys_after(place: int, *, stores: bool = False) -> Callable[[list[str]], list[str]]:
    """Return what finds the keys of a command after their number, which is at this place; and
    before them the one that it stores to."""

    def keys_in(words: list[str]) -> list[str]:
        text = words[place]
        count = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        return [*words[1 : 1 + stores], *words[place + 1 : place + 1 + count]]

    return keys_in


def counted(
    words: list[str],
    place: int,
    few: Failure,
    many: Failure = SYNTAX,
    problem: Failure | None = None,
) -> tuple[list[str], list[str]]:
    """Return the keys after their number, and the words after them.

    Raises:
        Refused: there are fewer than one (`few`), more than words (`many`), or this is not a number
            (`problem`).
    """
    count = integer(words[place], problem or few)
    if count < 1:
        raise CommandRefused(few)
    end = place + 1 + count
    if end > len(words):
        raise CommandRefused(many)
    return words[place + 1 : end], words[end:]


def limit_in(words: list[str]) -> int:
    """Return the number in `LIMIT COUNT` after the keys, 0 for no limit.

    Raises:
        Refused: it is wrong, or there is another word.
    """
    limit = 0
    for place in range(0, len(words), 2):
        if in_capitals(words[place]) != "LIMIT" or place + 1 == len(words):
            raise CommandRefused(SYNTAX)
        limit = integer(words[place + 1], _NEGATIVE_LIMIT)
        if limit < 0:
            raise CommandRefused(_NEGATIVE_LIMIT)
    return limit


_NEGATIVE_LIMIT = Failure("ERR LIMIT can't be negative")
FEW_KEYS = Failure("ERR numkeys should be greater than 0")
_NO_COUNT = Failure("ERR count should be greater than 0")


def popped(words: list[str], place: int, sides: tuple[str, str]) -> tuple[list[str], str, int]:
    """Return the keys of a pop, its side, and how many elements it takes at most.

    Raises:
        Refused: one of these is wrong.
    """
    keys, rest = counted(words, place, FEW_KEYS)
    side, options = in_capitals(rest[0]) if rest else "", rest[1:]
    if side not in sides or (options and [*map(in_capitals, options[:-1])] != ["COUNT"]):
        raise CommandRefused(SYNTAX)
    count = integer(options[1], _NO_COUNT) if options else 1
    if count < 1:
        raise CommandRefused(_NO_COUNT)
    return keys, side, count
