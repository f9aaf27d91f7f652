"""The differences between the nodes' clocks, computed from messages in both directions. Pure.

No message arrives before it was sent. So the shortest trip from a to b, by both clocks, and the
shortest trip back bound how far b's clock is ahead of a's, as with NTP. The midpoint is used: its
error is at most half the shortest round trip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

PAIRS_KEPT = 200  # latest messages kept for each direction, since clocks drift
SOLVE_EVERY = 20  # new messages


class Clocks:
    """The offset to add to each node's clock to get the time of the picture."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}  # a rough offset, from the first line of each node
        self._ways: dict[tuple[str, str], deque[float]] = {}
        self._solved: dict[str, float] = {}
        self._news = 0  # messages since the last solution

    def begins(self, name: str, clock_s: float, asked_s: float, answered_s: float) -> None:
        """Record a node's clock, which was read between two times of our clock. Forget the trips of
        its messages."""
        self._said[name] = (asked_s + answered_s) / 2 - clock_s
        for pair in [pair for pair in self._ways if name in pair]:
            del self._ways[pair]
        self._news = SOLVE_EVERY

    def travelled(self, sender: str, to: str, way_s: float) -> None:
        """Record a message trip: the arrival by one clock minus the sending by the other."""
        self._ways.setdefault((sender, to), deque(maxlen=PAIRS_KEPT)).append(way_s)
        self._news += 1

    def solve(self) -> dict[str, float]:
        """Return the offset of each node. The first node keeps its initial offset."""
        if self._news >= SOLVE_EVERY:
            least = {pair: min(ways) for pair, ways in self._ways.items()}
            self._solved, self._news = solved(list(self._said), self._said, least), 0
        return self._solved


def solved(
    names: Sequence[str], rough: Mapping[str, float], least: Mapping[tuple[str, str], float]
) -> dict[str, float]:
    """Return the offsets, node by node from the first one, each by its shortest round trip."""
    offsets = {name: rough[name] for name in names[:1]}
    while True:
        links = [
            (least[placed, other] + least[other, placed], placed, other)
            for placed in offsets
            for other in names
            if other not in offsets and (placed, other) in least and (other, placed) in least
        ]
        if not links:
            break
        _, placed, other = min(links)
        ahead = (least[placed, other] - least[other, placed]) / 2
        offsets[other] = offsets[placed] - ahead
    return {name: offsets.get(name, rough[name]) for name in names}
