"""The budgets of explored worlds: which events may happen, and how often; and the budgets of
tests."""

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
    known = {field.name.rstrip("_"): field.name for field in fields(Budget)[:-1]}
    for word in text.split():
        found = re.fullmatch(r"([a-z]+)(?:=([0-9]))?", word)
        if found is None or found[1] not in known:
            raise BudgetError(f"{word} is not a part of a budget: {' '.join(known)}, each with =N")
        counts[known[found[1]]] = int(found[2] or 1)
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

# A night: 340 million states in all, with a maximum for each world because of the memory. The
# longest come first, as each worker takes the next one.
NIGHT_STATES = 25_000_000
NIGHT: tuple[tuple[str, int], ...] = (
    ("timeout=2 command", 3),
    ("timeout heartbeat lease crash", 3),
    ("timeout break crash command", 3),
    ("timeout twice=2 command", 3),
    ("timeout crash=2 command", 3),
    ("timeout=2 crash", 3),
    ("timeout transfer command", 3),
    ("timeout command=2", 3),
    ("timeout heartbeat command lag", 3),
    ("timeout command", 5),
    ("timeout crash", 5),
    ("timeout lease", 5),
    ("timeout read", 5),
    ("transfer command", 5),
    ("change crash", 5),
    ("crash=2 command", 5),
    ("heartbeat command read", 3),
    ("timeout change crash", 3),
    ("timeout crash command", 3),
    ("timeout command read", 3),
    ("timeout transfer", 3),
    ("timeout", 5),
    *QUICK,
)

# These are complete once final states are cut and worlds that differ only in names count as one,
# however many states that takes.
NIGHT_CUT: tuple[tuple[str, int], ...] = (("timeout heartbeat command read", 3),)

# Random paths through each world, for a while, which must reach these goals.
_WALKED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("timeout=2 command", ("s2 leads term 2", "s3 leads term 2", "c1 is committed")),
    ("timeout heartbeat lease command", ("s1 serves", "s2 leads term 2")),
    ("timeout heartbeat command read lag", ("s1 serves", "s2 serves", "s3 serves")),
    ("timeout=2 crash command", ("s1 leads term 2", "s2 leads term 2")),
    ("transfer command", ("s2 leads term 2", "s3 leads term 2", "c1 is committed")),
    ("timeout transfer heartbeat command", ()),
    ("timeout change heartbeat command", ("a change is done", "c1 is committed")),
    ("timeout=2 crash=2 command=2 twice=2 break", ("c2 is committed",)),
    ("heartbeat=2 timeout read=2 command twice", ("s1 serves", "s2 serves")),
    ("change=2 crash timeout transfer", ()),
)

# For faults of any kind: the small worlds in all orders, random paths, then the large worlds in
# random order as far as time permits. None: no paths, so no goals.
HUNTED: tuple[tuple[str, int, tuple[str, ...] | None], ...] = (
    *((text, servers, None) for text, servers in QUICK),
    *((text, 3, goals) for text, goals in _WALKED),
    ("timeout=2 command", 3, None),
    ("timeout crash command", 3, None),
    ("timeout change crash", 3, None),
    ("timeout heartbeat command read", 3, None),
)
