"""The signs of life of a node that serves a watch, and the time without such a node. Pure.

A node sends something every ten seconds. If none comes, the watch moves to another node. A node
that is cut off from the others goes on reporting that nothing happened. So the watch asks it at
intervals for a read that its leader has to confirm. If that fails, the watch moves as well.
"""

from __future__ import annotations

SILENT_S = 25.0
PROBE_S = 15.0
PROBE = "get raftline/watch read index"  # the key need not exist
PROBE_ID = "1"
MEMBERS_ID = "2"  # the request for the members, on the same connection
UNSERVED_S = 10.0  # without a node, after which the log reports it, once


class Liveness:
    """The times at which a node was heard and confirmed, by the clock of the caller."""

    def __init__(
        self, now_s: float, silent_s: float | None = None, probe_s: float | None = None
    ) -> None:
        self._silent_s = SILENT_S if silent_s is None else silent_s
        self._probe_s = PROBE_S if probe_s is None else probe_s
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


class Outage:
    """The time in which no node serves a watch that was served before."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._is_said = False

    def failed(self, now_s: float, where: str, why: str) -> str:
        """Take a failed attempt; return a line for the log, "" if none is due."""
        if self._since_s is None:
            self._since_s = now_s
        if self._is_said or now_s < self._since_s + UNSERVED_S:
            return ""
        self._is_said = True
        return (
            f"a watch is served by nobody for {now_s - self._since_s:.0f} s, so its events and "
            f"locks that wait by it are late; asked in turn: {where}. The last one: {why}"
        )

    def served(self, now_s: float) -> str:
        """Take a node's answer; return a line for the log, "" if nothing was reported before."""
        since_s, is_said = self._since_s, self._is_said
        self._since_s, self._is_said = None, False
        if since_s is None or not is_said:
            return ""
        return f"a watch is served again, after {now_s - since_s:.0f} s; no final state is lost"
