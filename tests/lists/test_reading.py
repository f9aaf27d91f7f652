"""The modules of the core that a reader opens for an election, an entry or a snapshot.

A feature that is off shows in none of them: a fact of the state stands before it
(docs/develop/architecture.md, "A step"). `messages` and `inputs` declare values, and come on top.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest

import raftline.raft.node
from raftline.raft.effects import Effects
from raftline.raft.inputs import (
    Applied,
    Compact,
    Propose,
    Receive,
    SnapshotChecked,
    SnapshotTaken,
    Synced,
    Tick,
)
from raftline.raft.log import Snapshot
from raftline.raft.membership import Membership
from raftline.raft.messages import InstallSnapshot, Message
from raftline.raft.node import RawNode
from raftline.raft.replication import propose
from raftline_testing.doubles.cores import TIMEOUT_MS, append, applied, established, node_of, sync

pytestmark = pytest.mark.pure
CORE = Path(raftline.raft.node.__file__).parent
DOOR = propose.__code__  # a leader begins with a no-op: how that is replicated is another subject


class Opened:
    """Collects the modules of the core in which a function runs."""

    def __init__(self, *, door: bool) -> None:
        self.modules: set[str] = set()
        self._has_door = door
        self._within = 0  # calls deep behind the door

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "return" and self._within:
            self._within -= 1
        elif event == "call" and self._within:
            self._within += 1
        elif event == "call" and Path(code.co_filename).parent == CORE:
            self.modules.add(Path(code.co_filename).stem)
            self._within = int(self._has_door and code is DOOR)


def opened(run: Callable[[], None], *, door: bool = False) -> set[str]:
    seen = Opened(door=door)
    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        run()
    finally:
        sys.setprofile(before)
    return seen.modules


def sent(effects: Effects, to: str) -> list[Message]:
    all_lists = effects.send, effects.send_past_entries, effects.send_after_save
    return [one for messages in all_lists for one in messages if one.to == to]


def test_an_election() -> None:
    node, voter = node_of("s1", 1, 1), node_of("s2", 1, 1)

    def elect() -> None:
        effects = node.step(Tick(), TIMEOUT_MS)
        for _ in ("PreVote", "vote"):
            (question,) = sent(effects, "s2")
            (answer,) = voter.step(Receive(question), 10 * TIMEOUT_MS).send_after_save
            effects = node.step(Receive(answer), TIMEOUT_MS)
        assert node._state.leading is not None

    assert opened(elect, door=True) == {
        "node", "election", "state", "roles", "log", "membership", "replication",
    }  # fmt: skip


def test_a_replicated_entry() -> None:
    node, follower = established("s1"), node_of("s2")
    follower.step(Receive(append(1, (0, 0), 1, commit=1)), TIMEOUT_MS)
    sync(follower)
    applied(follower)

    def replicate() -> None:
        (question,) = sent(node.step(Propose(["set a 1"]), TIMEOUT_MS), "s2")
        (answer,) = follower.step(Receive(question), TIMEOUT_MS).send_after_save
        for one in (node, follower):
            one.step(Synced(2, 1), TIMEOUT_MS)
        assert node.step(Receive(answer), TIMEOUT_MS).apply
        node.step(Applied(2), TIMEOUT_MS)

    assert opened(replicate) == {
        "node", "replication", "append_entries", "state", "progress", "log", "membership",
    }  # fmt: skip


def exchange(leader: RawNode, follower: RawNode, messages: list[Message]) -> None:
    """Carry messages and answers to and fro until nobody has more to say."""
    while messages:
        effects: list[Effects] = []
        for message in messages:
            if isinstance(message, InstallSnapshot):
                message.data = "x" * message.length
            effects.append(follower.step(Receive(message), TIMEOUT_MS))
            if snapshot := effects[-1].check:
                members = Membership(("s1", "s2", "s3"))
                follower.step(SnapshotChecked(snapshot, members), TIMEOUT_MS)
        answers = [answer for one in effects for answer in sent(one, "s1")]
        now_ms = leader._state.now_ms
        messages = [
            message
            for answer in answers
            for message in sent(leader.step(Receive(answer), now_ms), "s2")
        ]


def test_a_snapshot_sent() -> None:
    node, follower = established("s1", 1, 1, 1), node_of("s2", term=2)
    state = node._state
    state.options = replace(state.options, trailing_bytes=0)

    def send() -> None:
        node.step(SnapshotTaken(Snapshot(4, state.term, 8, 5)), TIMEOUT_MS)
        node.step(Compact(4), TIMEOUT_MS)
        state.progress["s2"].next_index = 1
        exchange(node, follower, sent(node.step(Tick(), node.wake_at_ms), "s2"))
        assert follower._state.applying == 4

    assert opened(send) == {
        "node", "snapshot", "replication", "append_entries", "election", "state", "roles", "log",
        "levels", "membership", "messages",
    }  # fmt: skip
