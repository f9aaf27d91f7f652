"""The budgets of explored worlds: which events may happen, and how often; the small worlds."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any


class BudgetError(ValueError):
    """An invalid budget; the message is one line for a person."""


@dataclass(frozen=True)
class Budget:
    """How often each thing may happen; messages need none."""

    timeout: int = 0  # a server that does not lead has its election timeout
    heartbeat: int = 0  # a leader's timer fires, or that of a follower whose leader did not answer
    crash: int = 0
    command: int = 0
    read: int = 0  # by ReadIndex, at the leader or at a follower
    lease: int = 0  # a read under a lease, at a leader
    transfer: int = 0
    change: int = 0  # of members
    break_: int = 0  # a server notices that the connection of another one broke
    twice: int = 0  # a message arrives, and is still in flight

    lag: int = 0  # not spent: entries are applied at any time after their commit, else at once
    passed: tuple[int, int] = (0, 0)  # milliseconds on the first server's clock, and on the others'

    @property
    def name(self) -> str:
        """The budget as text: `timeout crash command`."""
        words = []
        for field in fields(self)[:-1]:
            count = getattr(self, field.name)
            word = field.name.rstrip("_")
            words += [word if count == 1 else f"{word}={count}"] if count else []
        return " ".join(words)


def read(text: str) -> Budget:
    """Parse a budget: `timeout=2 crash command`.

    Raises:
        BudgetError: it is invalid.
    """
    counts: dict[str, Any] = {}
    names = {field.name.rstrip("_"): field.name for field in fields(Budget)[:-1]}
    for word in text.split():
        match = re.fullmatch(r"([a-z]+)(?:=([0-9]))?", word)
        if match is None or match[1] not in names:
            raise BudgetError(f"{word} is not a part of a budget: {' '.join(names)}, each with =N")
        counts[names[match[1]]] = int(match[2] or 1)
    return Budget(**counts)


# Budgets, with numbers of servers, that complete within seconds.
QUICK: tuple[tuple[str, int], ...] = (
    ("timeout", 3),
    ("timeout command", 3),
    ("timeout crash", 3),
    ("timeout read", 3),
    ("timeout lease", 3),
    ("timeout break", 3),
    ("timeout twice", 3),
    ("heartbeat command", 3),
    ("heartbeat read lag", 3),
    ("heartbeat lease crash", 3),
    ("crash=2 command", 3),
    ("transfer crash command", 3),
    ("change crash", 3),
    ("timeout=2", 3),
    ("command", 5),
    ("transfer", 5),
)
