"""The decision when to warn on the console that disk writes are slow."""

from __future__ import annotations

from typing import Final

BOUND_S: Final = 1.0  # the bound of etcd's warning; at a fast pace an election timeout is shorter
AGAIN_S: Final = 60.0  # from one warning to the next


class SlowDisk:
    """Checks the write times of one node from time to time; it has no file, thread or clock."""

    def __init__(self, election_timeout_s: float) -> None:
        self._bound_s = min(BOUND_S, election_timeout_s)
        self._silent_until_s = 0.0
        self._longest_s = 0.0  # the longest write since the last warning

    def look(self, now_s: float, since_s: float, longest_s: float) -> str:
        """Return a warning to print, "" for none. `since_s` is the start of the current write, 0
        without one; `longest_s` is the longest write that ended since the last check."""
        self._longest_s = max(self._longest_s, longest_s)
        under_way_s = now_s - since_s if since_s else 0.0
        slowest_s = max(self._longest_s, under_way_s)
        if slowest_s <= self._bound_s or now_s < self._silent_until_s:
            return ""
        self._silent_until_s, self._longest_s = now_s + AGAIN_S, 0.0
        if under_way_s == slowest_s:
            what = f"a write of its disk has taken {slowest_s:.1f} s, and has not ended"
        else:
            what = f"a write of its disk took {slowest_s:.1f} s"
        return (
            f"{what}; more than {self._bound_s:g} s is slow. Writes of clients may wait for it, "
            "and a leader whose disk hangs steps down. Check the disk of this host"
        )
