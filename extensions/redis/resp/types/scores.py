"""The scores of a sorted set: how they are read, written and compared. Pure.

A score is a double. What Python reads from a text, and what it writes, is correctly rounded in each
of its versions, so all nodes have the same scores and the same order.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..programs import CommandRefused, raw
from ..replies import Failure

NOT_FLOAT: Final = Failure("ERR value is not a valid float")
NOT_MIN_MAX: Final = Failure("ERR min or max is not a float")
NOT_LEX: Final = Failure("ERR min or max not valid string range item")
_INFINITE: Final = float("inf")
_DIGITS: Final = 400  # of a text, more than any double needs
_NUMBER: Final = re.compile(
    r"[+-]?(?:inf(?:inity)?|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)",
    re.ASCII | re.IGNORECASE,
)


def score_in(text: str, problem: Failure = NOT_FLOAT) -> float:
    """Return the score in an argument.

    Raises:
        Refused: it is none.
    """
    if len(text) > _DIGITS or not _NUMBER.fullmatch(text):
        raise CommandRefused(problem)
    number = float(text)
    is_beyond = abs(number) == _INFINITE and "n" not in text.lower()
    if is_beyond:
        raise CommandRefused(problem)
    return number + 0.0  # no negative zero


def formatted_score(number: float) -> str:
    """Return the shortest text of a score, as a value has it."""
    return repr(number).removesuffix(".0")


class Bounds(NamedTuple):
    """A range of scores."""

    least: float
    most: float
    without_least: bool = False
    without_most: bool = False

    def has(self, score: float) -> bool:
        """Whether a score is within."""
        above = score > self.least or (score == self.least and not self.without_least)
        return above and (score < self.most or (score == self.most and not self.without_most))


def bounds_in(least: str, most: str) -> Bounds:
    """Return the range between two scores, each of which `(` excludes.

    Raises:
        Refused: one is not a score.
    """
    return Bounds(
        score_in(least.removeprefix("(") or "0", NOT_MIN_MAX),  # as in Redis
        score_in(most.removeprefix("(") or "0", NOT_MIN_MAX),
        least.startswith("("),
        most.startswith("("),
    )


class LexBounds:
    """A range of members in the order of their bytes."""

    def __init__(self, least: str, most: str) -> None:
        """Read it.

        Raises:
            Refused: an end begins with none of `[`, `(`, `-` and `+`.
        """
        self._least, self._most = _end_in(least), _end_in(most)

    def has(self, member: str) -> bool:
        """Whether a member is within."""
        data = (1, raw(member))
        above, below = self._least, self._most
        is_above = data > above[:2] or (data == above[:2] and not above[2])
        return is_above and (data < below[:2] or (data == below[:2] and not below[2]))


def _end_in(text: str) -> tuple[int, bytes, bool]:
    """Return an end of a range: before all members (0), at one of them, or after all (2)."""
    if text in ("-", "+"):
        return (0 if text == "-" else 2), b"", True
    if text[:1] not in ("[", "("):
        raise CommandRefused(NOT_LEX)
    return 1, raw(text[1:]), text[0] == "("
