"""Reads that wait: at a leader for a round, at a follower for its leader's word."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from raftline.raft.effects import ReadReady


@dataclass(slots=True)
class ReadRound:
    """Reads that share one confirmation: served at `index` once `round` reached a quorum."""

    round: int
    index: int
    tokens: list[Any]


class PeerRead(NamedTuple):
    """The token of a read that a follower asks for; the answer names its term and round."""

    follower: str
    term: int
    round: int


@dataclass(slots=True)
class ForwardedReads:
    """A follower's reads that need its leader's read index, and those that have got one."""

    round: int = 0
    again_at_ms: int = 0
    asked: list[Any] = field(default_factory=list)  # in `round`
    waiting: list[Any] = field(default_factory=list)  # for the next
    ready: list[ReadReady] = field(default_factory=list)  # for the state machine to get there

    def give_back(self) -> list[Any]:
        """Forget the reads that no leader has answered, and return their tokens."""
        tokens = [*self.asked, *self.waiting]
        self.asked, self.waiting = [], []
        return tokens
