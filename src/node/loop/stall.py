"""How long a leader has committed nothing although entries wait for it.

A leader steps down if a quorum does not answer its heartbeats. Followers whose disks are full or
hang answer them, and take no entries: then the leader leads on, and commits nothing.
"""

from __future__ import annotations

from ...raft.node_view import NodeView
from ...raft.state import DISK_TIMEOUTS


class CommitStall:
    """The time since the last commit; `look` is called once a second and before each proposal, by
    the caller that holds the driver's `core` lock."""

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self._longest_ms = DISK_TIMEOUTS * view.options.election_timeout_ms
        self._last = (0, 0)  # the term that is led, and the commit index
        self._since_ms = 0

    def look(self, now: int) -> int:
        """Return for how many milliseconds nothing was committed; 0 if nothing waits."""
        view = self._view
        last = (view.led_term, view.commit_index)
        if last != self._last or not view.led_term or view.log.last_index == view.commit_index:
            self._last, self._since_ms = last, now
        return now - self._since_ms

    def is_long(self, now: int) -> bool:
        """Whether it lasts longer than a leader may wait for a disk."""
        return self.look(now) > self._longest_ms
