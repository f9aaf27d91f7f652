"""The actions of a simulated node, told to the transcript, the invariants and the counts."""

from __future__ import annotations

from collections.abc import Sequence

from raftline.raft.change import Change
from raftline.raft.effects import Effects, Settled
from raftline.raft.node import RawNode
from tests.virtual.invariants import HonestInvariants
from tests.virtual.world import World


class Chronicle:
    """Tells of one node; what it counts is what a schedule can show to have gone through."""

    def __init__(self, world: World, name: str, invariants: HonestInvariants) -> None:
        self._world = world
        self._name = name
        self._invariants = invariants
        self._has_led = False  # also in a life before
        self._handed_term = 0  # in which somebody handed the leadership to this node

    def stepped(self, node: RawNode, effects: Effects) -> None:
        """The node took an input; nothing of this is carried out yet."""
        counts = self._world.counts
        for note in effects.notes:
            self._world.tell(f"{self._name}: {note}")
            if note == "[*] I am Leader":
                counts["elections won"] += 1
                counts["leaderships regained"] += self._has_led
                self._has_led = True
                if self._handed_term == node.view.term - 1:
                    counts["transfers completed"] += 1
            elif note.endswith("hands the leadership over"):
                self._handed_term = node.view.term
            elif note.endswith("is rolled back"):
                counts["changes rolled back"] += 1
            elif note.endswith("so it leads no longer"):
                counts["leaders removed"] += 1
        self._invariants.stepped(node, effects)
        for settled in effects.settled:
            self._settled(settled)

    def _settled(self, settled: Settled) -> None:
        change: Change = settled.token
        self._world.tell(f"{self._name}: {change}: {settled.outcome}, {settled.text}")
        kind = f"changes {settled.outcome}"
        if settled.outcome == "done":
            left = "without a vote" in settled.text
            kind = "newcomers left as learners" if left else f"completed: {change.verb}"
        self._world.counts[kind] += 1

    def wrote(self, works: Sequence[Effects]) -> None:
        """Step 2 of these is durable."""
        world, name, invariants = self._world, self._name, self._invariants
        for work in works:
            if work.save is not None:
                world.tell(f"{name} saves term {work.save.term} vote {work.save.vote}")
                invariants.saved(name, work.save)
            if work.install is not None:
                world.counts["snapshots installed"] += 1
                invariants.cut(name, work.install.index)
                invariants.synced(name, work.install.index)
            if work.cut_after is not None:
                world.tell(f"{name} cuts after {work.cut_after}")
                world.counts["cuts"] += 1
                invariants.cut(name, work.cut_after)
            if work.append:
                lines = ", ".join(f"{e.index} {e.term} {e.command}" for e in work.append)
                world.tell(f"{name} appends {lines}")
                invariants.synced(name, work.append[-1].index)
            if work.forgot:
                world.counts["newborns that found a history"] += 1
            if work.recovered:
                world.counts["recovering servers made whole"] += 1
