"""A step of a core together with the facts on both sides of it."""

from __future__ import annotations

from raftline.picture.observe.facts import Step, facts_of
from raftline.raft.inputs import Input, Receive
from raftline.raft.messages import AppendEntries
from raftline.raft.node import RawNode


def observed_step(node: RawNode, taken: Input, now_ms: int = 0, at_s: float = 1.5) -> Step:
    """Step a node as an observer sees it."""
    before, there = facts_of(node.view), None
    if isinstance(taken, Receive) and isinstance(taken.message, AppendEntries):
        there = node.view.log.term_at(taken.message.prev_index)
    effects = node.step(taken, now_ms or node.view.now_ms)
    name, after = node.view.name, facts_of(node.view)
    return Step(name, at_s, before, taken, effects, after, term_there=there)
