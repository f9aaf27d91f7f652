"""Who counts, and what a quorum of them is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Membership:
    """The servers whose votes and acknowledgements count, by name."""

    voters: tuple[str, ...]

    @property
    def quorum(self) -> int:
        """How many voters make a majority: 2 of 3, 3 of 4; half is never enough (paper §5.2)."""
        return len(self.voters) // 2 + 1

    def is_quorum(self, names: Collection[str]) -> bool:
        """Return whether these servers are a majority of the voters."""
        return sum(name in names for name in self.voters) >= self.quorum

    def reached_by_quorum(self, values: Mapping[str, int]) -> int:
        """Return the highest number that a majority of voters reached; the absent count as 0."""
        reached = sorted((values.get(name, 0) for name in self.voters), reverse=True)
        return reached[self.quorum - 1]
