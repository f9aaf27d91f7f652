"""The budgets of explored worlds: which events may happen, and how often; the small worlds.

A budget with a scene, such as `down: wipe=2`, is that of a world that begins there (scenes.py), and
in which disks may be lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from .scenes import SCENES


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

    # In worlds with a scene:
    alone: int = 0  # a leader hears from no quorum for an election timeout
    patience: int = 0  # a newborn stops waiting for silent members
    word: int = 0  # an operator tells a newborn, truly, that a member never ran
    lie: int = 0  # the same, of a member that ran
    wipe: int = 0  # a server loses all files
    amnesia: int = 0  # a server loses all files but the trace that it existed
    old: int = 0  # a server returns with the older copy of its files
    corrupt: int = 0  # a server's state begins to differ

    lag: int = 0  # not spent: entries are applied at any time after their commit, else at once
    passed: tuple[int, int] = (0, 0)  # milliseconds on the first server's clock, and on the others'
    scene: str = ""  # "": the first server leads, at the floor, and all clocks run

    @property
    def name(self) -> str:
        """The budget as text: `timeout crash command`."""
        words = [f"{self.scene}:"] if self.scene else []
        for field in COUNTED:
            count = getattr(self, field.name)
            word = field.name.rstrip("_")
            words += [word if count == 1 else f"{word}={count}"] if count else []
        return " ".join(words)


COUNTED = fields(Budget)[:-2]
OF_TIME = ("lease", "read", "transfer", "break")  # need clocks that run
OF_DISKS = ("alone", "patience", "word", "lie", "wipe", "amnesia", "old", "corrupt")


def read(text: str) -> Budget:
    """Parse a budget: `timeout=2 crash command`, or with a scene: `down: wipe=2 patience`.

    Raises:
        BudgetError: it is invalid.
    """
    scene, colon, events = text.rpartition(":")
    if colon and scene not in SCENES:
        raise BudgetError(f"{scene} is not a scene: {' '.join(SCENES)}")
    counts: dict[str, Any] = {}
    names = {field.name.rstrip("_"): field.name for field in COUNTED}
    for word in events.split():
        match = re.fullmatch(r"([a-z]+)(?:=([0-9]))?", word)
        if match is None or match[1] not in names:
            raise BudgetError(f"{word} is not a part of a budget: {' '.join(names)}, each with =N")
        if match[1] in (OF_TIME if scene else OF_DISKS):
            where = "no scene" if scene else "a scene, such as down: wipe"
            raise BudgetError(f"{match[1]} needs {where}")
        counts[names[match[1]]] = int(match[2] or 1)
    return Budget(**counts, scene=scene)


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

# The same of worlds in which disks are lost.
DISKS: tuple[str, ...] = (
    "votes: wipe timeout=2",
    "standing: timeout",
    "formed: wipe timeout heartbeat",
    "formed: amnesia heartbeat",
    "down: wipe=2 patience=2",
    "deaf: wipe timeout=2",
    "deaf: wipe patience=2",
    "late: wipe word timeout=2",
    "late: wipe patience=2",
    "behind: wipe timeout",
    "behind: wipe patience timeout",
    "behind: wipe timeout heartbeat",
    "behind: old heartbeat",
    "emptied: timeout=2",
    "emptied: crash timeout",
    "differing: heartbeat=3",
    "grown from one: wipe timeout",
    "grown from one: wipe patience timeout",
    "grown from three: patience=2",
)

# Some of these are not complete within the time of a night (`make nightly`).
LARGE: tuple[str, ...] = (
    "votes: wipe=2 timeout=2",
    "standing: wipe timeout",
    "standing: timeout=2",
    "up: wipe timeout=3",
    "formed: wipe=2 heartbeat",
    "formed: wipe amnesia heartbeat",
    "formed: wipe crash heartbeat",
    "formed: wipe change",
    "down: wipe=2 timeout=2",
    "down: wipe=3 patience=2",
    "deaf: wipe=2 timeout=3",
    "late: wipe=2 word timeout=2",
    "behind: wipe=2 timeout=2 heartbeat",
    "emptied: timeout=2 heartbeat",
    "grown from one: wipe patience timeout=2",
    "grown from three: patience=2 timeout",
)
