"""The differences of the nodes' clocks, found from messages in both directions. Pure.

No message arrives before it was sent. So the least way from a to b, by both clocks, and the least
way back bound how much b's clock is ahead of a's, as with NTP. The middle is taken: it is wrong
by half of the shortest round trip at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

PAIRS_KEPT = 200  # of the latest messages of one direction, since clocks drift
SOLVE_EVERY = 20  # messages


class Clocks:
    """The offset to add to each node's clock to get the time of the picture."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}  # a rough offset, by the first line of each node
        self._ways: dict[tuple[str, str], deque[float]] = {}
        self._solved: dict[str, float] = {}
        self._news = 0  # messages since the last solution

    def begins(self, name: str, clock_s: float, asked_s: float, answered_s: float) -> None:
        """Record a node's clock, between two times of ours; forget its ways."""
        self._said[name] = (asked_s + answered_s) / 2 - clock_s
        for pair in [pair for pair in self._ways if name in pair]:
            del self._ways[pair]
        self._news = SOLVE_EVERY

    def travelled(self, sender: str, to: str, way_s: float) -> None:
        """Record a message: its arrival by one clock less its sending by the other."""
        self._ways.setdefault((sender, to), deque(maxlen=PAIRS_KEPT)).append(way_s)
        self._news += 1

    def solve(self) -> dict[str, float]:
        """Return the offset of each node; the first one keeps what it sent at the beginning."""
        if self._news >= SOLVE_EVERY:
            least = {pair: min(ways) for pair, ways in self._ways.items()}
            self._solved, self._news = solved(list(self._said), self._said, least), 0
        return self._solved


def solved(
    names: Sequence[str], said: Mapping[str, float], least: Mapping[tuple[str, str], float]
) -> dict[str, float]:
    """Return the offsets: node by node from the first one, by the shortest round trip each."""
    offsets = {name: said[name] for name in names[:1]}
    while True:
        links = [
            (least[known, other] + least[other, known], known, other)
            for known in offsets
            for other in names
            if other not in offsets and (known, other) in least and (other, known) in least
        ]
        if not links:
            break
        _, known, other = min(links)
        ahead = (least[known, other] - least[other, known]) / 2
        offsets[other] = offsets[known] - ahead
    return {name: offsets.get(name, said[name]) for name in names}
