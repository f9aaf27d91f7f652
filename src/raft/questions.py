"""The messages beside votes and entries: short ones, made of numbers alone.

`messages` joins them to the others; each dataclass takes its numbers in the order of its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """The leader asks a follower that holds all it holds to stand at once (thesis §3.10)."""

    sender: str
    to: str
    term: int


@dataclass(frozen=True, slots=True)
class ReadIndex:
    """A follower asks its leader from which index on it may serve its reads (thesis §6.4)."""

    sender: str
    to: str
    term: int
    round: int


@dataclass(frozen=True, slots=True)
class ReadIndexReply:
    """The leader's answer: it led after the question came, and had committed up to `index`."""

    sender: str
    to: str
    index: int
    term: int
    round: int


Question = TimeoutNow | ReadIndex | ReadIndexReply

FORMS = {
    "TimeoutNow": "TimeoutNow TERM",
    "ReadIndex": "ReadIndex TERM round R",
    "Read": "Read at index I term T round R",
}
_N = r"([0-9]{1,19})"
PATTERNS: tuple[
    tuple[re.Pattern[str], type[TimeoutNow] | type[ReadIndex] | type[ReadIndexReply]], ...
] = (
    (re.compile(rf"TimeoutNow {_N}"), TimeoutNow),
    (re.compile(rf"ReadIndex {_N} round {_N}"), ReadIndex),
    (re.compile(rf"Read at index {_N} term {_N} round {_N}"), ReadIndexReply),
)


def spell_question(message: Question) -> str:
    """Return the message as it stands behind `NAME@` on the wire."""
    match message:
        case TimeoutNow(term=term):
            return f"TimeoutNow {term}"
        case ReadIndex(term=term, round=number):
            return f"ReadIndex {term} round {number}"
        case ReadIndexReply(index=index, term=term, round=number):
            return f"Read at index {index} term {term} round {number}"
