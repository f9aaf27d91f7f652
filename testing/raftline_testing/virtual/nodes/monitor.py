"""The reports of one simulated node: to the trace, to the invariants, and to the counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raftline.raft.effects import Effects
from raftline.raft.inputs import Propose
from raftline.raft.log import Entry
from raftline.raft.messages import Message
from raftline.raft.node import RawNode
from raftline.state.lease_table import EXPIRED

from ...invariants import Invariants
from ..world.world import World, format_entry


class Monitor:
    """The reports on one node; its counts show whether a schedule met its targets."""

    def __init__(self, world: World, name: str, invariants: Invariants) -> None:
        self._world = world
        self._name = name
        self.invariants = invariants
        # called with the executed entries and their replies
        self.watch: Callable[[Sequence[Entry], Sequence[str]], None] | None = None
        self._has_led = False  # including earlier incarnations
        self._handed_term = 0  # the term in which the leadership was handed to this node

    def stepped(self, node: RawNode, event: object, effects: Effects) -> None:
        """Report an input taken by the node, before its Effects are carried out."""
        counts = self._world.counts
        if isinstance(event, Propose) and event.commands[0].startswith(EXPIRED):
            counts["expiries proposed"] += 1
        if effects.refused:
            counts["reads given back"] += len(effects.refused)
        for note in effects.notes:
            self._world.tell("note", f"{self._name}: {note}")
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
            elif note.endswith("so it no longer leads"):
                counts["leaders removed"] += 1

    def refused(self, node: RawNode, message: Message, why: str) -> None:
        """Report a refused message."""
        self.invariants.refused(node, message, why)

    def applied(self, entries: Sequence[Entry], replies: Sequence[str]) -> None:
        """Report executed entries with their replies."""
        for entry in entries:
            self._world.applied(self._name, entry)
        counts = self._world.counts
        counts["entries applied"] += len(entries)
        counts["retries answered from the table"] += self.invariants.replied(
            self._name, entries, replies
        )
        if self.watch is not None:
            self.watch(entries, replies)

    def wrote(self, works: Sequence[Effects]) -> None:
        """Report that step 2 of these is durable."""
        counts, name, invariants = self._world.counts, self._name, self.invariants
        for work in works:
            if work.save is not None:
                vote = f" vote {work.save.vote}" if work.save.vote else ""
                self._tell(f"saves term {work.save.term}{vote}")
                invariants.saved(name, work.save)
            if work.install is not None:
                self._tell(f"has the snapshot of entry {work.install.index} in force")
                counts["snapshots installed"] += 1
                invariants.installed(name, work.install)
            if work.cut_after is not None:
                self._tell(f"cuts after {work.cut_after}")
                counts["cuts"] += 1
                invariants.cut(name, work.cut_after)
            if work.append:
                for entry in work.append:
                    self._tell(f"appends {format_entry(entry)}")
                invariants.synced(name, work.append)
            if work.forgot:
                self._tell("writes down that it has no vote")
                counts["newborns that found a history"] += 1
            if work.recovered:
                self._tell("writes down that it votes")
                counts["recovering servers made whole"] += 1

    def _tell(self, text: str) -> None:
        self._world.tell("disk", f"{self._name} {text}")
