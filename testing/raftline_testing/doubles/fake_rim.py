"""The rim of a driver without a network, and the election of its node."""

from __future__ import annotations

import threading
from functools import partial

from raftline.node.loop.driver import Driver
from raftline.node.loop.stepper import Stepper
from raftline.raft.effects import Effects
from raftline.raft.messages import AppendEntries, Message, RequestVoteReply
from raftline.raft.node import RawNode
from raftline.raft.roles import Role

from ..nodes.processes import eventually


class FakeRim:
    """The world around a driver: it keeps what is sent and what failed."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.heartbeat = threading.Event()
        self.failed: list[BaseException] = []
        self.has_failed = threading.Event()
        self.has_applied = threading.Event()

    def send(self, message: Message) -> None:
        self.sent.append(message)
        if isinstance(message, AppendEntries) and not message.entries:
            self.heartbeat.set()

    def not_leader(self, leader: str) -> str:
        return f"Sorry, I am not the leader: {leader}"

    def report(self, effects: Effects) -> None:
        pass

    def wrote(self, arrived: object) -> None:
        pass

    def applied(self) -> None:
        self.has_applied.set()

    def give_up_late(self, now: int) -> None:
        pass

    def fail(self, error: BaseException) -> None:
        self.failed.append(error)
        self.has_failed.set()


def _has(node: RawNode, role: Role) -> bool:
    return node.view.role is role


def stepper_of(driver: Driver) -> Stepper:
    """Return what `core` owns, for a test during which no other thread steps it."""
    with driver.core as stepper:
        return stepper


def elect(driver: Driver) -> None:
    """Make s1 stand for election, and s2 vote for it."""
    node = driver.node
    node._state.election_at_ms = 0
    driver._sleep.wake()
    for pre_vote in (True, False):
        role = Role.PRE_CANDIDATE if pre_vote else Role.CANDIDATE
        eventually(partial(_has, node, role))
        term = node.view.term + 1 if pre_vote else node.view.term
        assert driver.receive([RequestVoteReply("s2", "s1", term, True, pre_vote)], None) == []
    assert node.view.is_leader
