"""The budgets of explored worlds: which events may happen, and how often; and those of tests."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields


class BudgetError(ValueError):
    """A text that spells no budget; the message is one line for a person."""


@dataclass(frozen=True)
class Budget:
    """How often each thing may happen; messages move without one."""

    timeout: int = 0  # a server that does not lead finds that its time is up
    heartbeat: int = 0  # a leader does, or a follower that asked its leader and got no answer
    crash: int = 0
    command: int = 0
    read: int = 0  # by ReadIndex, at the leader or at a follower
    lease: int = 0  # a read under a lease, at a leader
    transfer: int = 0
    change: int = 0  # of members
    break_: int = 0  # a server notices that the connection of another one broke
    twice: int = 0  # a message arrives, and is on its way still

    lag: int = 0  # not spent: what is committed is applied at any later time, else at once
    passed: tuple[int, int] = (0, 0)  # milliseconds on the first server's clock, and on the others'

    @property
    def name(self) -> str:
        """The budget as it is spelled: `timeout crash command`."""
        words = []
        for field in fields(self)[:-1]:
            count = getattr(self, field.name)
            word = field.name.rstrip("_")
            words += [word if count == 1 else f"{word}={count}"] if count else []
        return " ".join(words)


def read(text: str) -> Budget:
    """Return the budget that a text spells: `timeout=2 crash command`.

    Raises:
        BudgetError: it spells none.
    """
    counts: dict[str, int] = {}
    known = {field.name.rstrip("_"): field.name for field in fields(Budget)[:-1]}
    for word in text.split():
        found = re.fullmatch(r"([a-z]+)(?:=([0-9]))?", word)
        if found is None or found[1] not in known:
            raise BudgetError(f"{word} is no part of a budget: {' '.join(known)}, each with =N")
        counts[known[found[1]]] = int(found[2] or 1)
    return Budget(**counts)


# Each completes within some seconds: budget and number of servers.
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

# A night: 340 million states in all, of which a world has so many at most, for the memory. The
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

# Complete, once what is over in the end is cut, and worlds that differ by names are one: these have
# as many states as it takes.
NIGHT_CUT: tuple[tuple[str, int], ...] = (("timeout heartbeat command read", 3),)

# Ways at random through each, for a while, which must come to these goals.
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

# For faults of any kind: the small worlds in all orders, ways at random, then the large worlds in
# random order as far as one comes. None: no ways, so no goals.
HUNTED: tuple[tuple[str, int, tuple[str, ...] | None], ...] = (
    *((text, servers, None) for text, servers in QUICK),
    *((text, 3, goals) for text, goals in _WALKED),
    ("timeout=2 command", 3, None),
    ("timeout crash command", 3, None),
    ("timeout change crash", 3, None),
    ("timeout heartbeat command read", 3, None),
)
