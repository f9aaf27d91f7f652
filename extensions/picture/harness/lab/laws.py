"""The rules that the lab holds its nodes to: those of the simulation (liveness.py has one more).

A reader may forge a message, edit a file or set a clock: from then on, only the rules that no
forger can break are checked.
"""

from __future__ import annotations

from raftline.raft.effects import Effects
from raftline.raft.messages import Message
from raftline.raft.node import RawNode
from raftline_testing.invariants import Invariants
from raftline_testing.virtual.honest_invariants import HonestInvariants


class LabInvariants(HonestInvariants):
    """Invariants that are milder once a reader has forged something."""

    is_forged = False

    def hears(self, node: RawNode, message: Message) -> bool:
        return self.is_forged or super().hears(node, message)

    def refused(self, node: RawNode, message: Message, why: str) -> None:
        if not self.is_forged:
            super().refused(node, message, why)

    def reads(self, name: str, applied_index: int, must_see_index: int) -> None:
        if not self.is_forged:
            super().reads(name, applied_index, must_see_index)

    def stepped(self, node: RawNode, event: object, effects: Effects) -> None:
        if self.is_forged:
            Invariants.stepped(self, node, event, effects)
        else:
            super().stepped(node, event, effects)
