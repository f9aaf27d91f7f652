"""The signs of life of a node that serves a watch. Pure.

A node sends a line every ten seconds. If no line arrives, the watch moves to another node. A node
that is cut off from the others keeps reporting that nothing happened. So at intervals the watch
sends it a read that its leader has to confirm. If that fails, the watch also moves.
"""

from __future__ import annotations

PROBE_PART = 0.6  # of the allowed silence: the time without confirmation before a probe
PROBE_KEY = "raftline/watch"  # after the prefix; no such key exists
PROBE_ID = "1"
MEMBERS_ID = "2"  # of the request for the members, on the same connection


class Liveness:
    """The times of a node's last line and last confirmation, by the caller's clock."""

    def __init__(self, now_s: float, silent_s: float) -> None:
        self._silent_s = silent_s
        self._probe_s = PROBE_PART * silent_s
        self._heard_s = self._confirmed_s = now_s
        self._asked_s: float | None = None

    def heard(self, now_s: float) -> None:
        """Record a line."""
        self._heard_s = now_s

    def confirmed(self, now_s: float) -> None:
        """Record a line that only a node with a leader can send."""
        self._confirmed_s, self._asked_s = now_s, None

    @property
    def due_s(self) -> float:
        """The time of the next check."""
        silent_s = self._heard_s + self._silent_s
        if self._asked_s is not None:
            return min(silent_s, self._asked_s + self._silent_s)
        return min(silent_s, self._confirmed_s + self._probe_s)

    def is_dead(self, now_s: float) -> bool:
        """Return whether the node was silent for too long."""
        silent = now_s >= self._heard_s + self._silent_s
        return silent or (self._asked_s is not None and now_s >= self._asked_s + self._silent_s)

    def begin_probe(self, now_s: float) -> bool:
        """Return whether to send the probe now. If so, it counts as sent."""
        if self._asked_s is None and now_s >= self._confirmed_s + self._probe_s:
            self._asked_s = now_s
            return True
        return False
