"""The signs of life of a node that serves a watch. Pure.

A node sends something every ten seconds. If none comes, the watch moves to another node. A node
that is cut off from the others goes on reporting that nothing happened. So the watch asks it at
intervals for a read that its leader has to confirm. If that fails, the watch moves as well.
"""

from __future__ import annotations

PROBE_PART = 0.6  # of the silence that is allowed: so long it was not confirmed
PROBE_KEY = "raftline/watch"  # after the prefix; nothing is there
PROBE_ID = "1"
MEMBERS_ID = "2"  # the request for the members, on the same connection


class Liveness:
    """The times at which a node was heard and confirmed, by the clock of the caller."""

    def __init__(self, now_s: float, silent_s: float) -> None:
        self._silent_s = silent_s
        self._probe_s = PROBE_PART * silent_s
        self._heard_s = self._confirmed_s = now_s
        self._asked_s: float | None = None

    def heard(self, now_s: float) -> None:
        """A line came."""
        self._heard_s = now_s

    def confirmed(self, now_s: float) -> None:
        """A line came that only a node with a leader can send."""
        self._confirmed_s, self._asked_s = now_s, None

    @property
    def due_s(self) -> float:
        """The time at which to look again."""
        silent_s = self._heard_s + self._silent_s
        if self._asked_s is not None:
            return min(silent_s, self._asked_s + self._silent_s)
        return min(silent_s, self._confirmed_s + self._probe_s)

    def is_dead(self, now_s: float) -> bool:
        """Whether the node was silent for too long."""
        silent = now_s >= self._heard_s + self._silent_s
        return silent or (self._asked_s is not None and now_s >= self._asked_s + self._silent_s)

    def begin_probe(self, now_s: float) -> bool:
        """Return whether to send the probe now. If so, it counts as sent."""
        if self._asked_s is None and now_s >= self._confirmed_s + self._probe_s:
            self._asked_s = now_s
            return True
        return False
