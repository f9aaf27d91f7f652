"""The driver of s1 over a folder in memory; its peers say what a test has them say."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from raftline.logmanager import LogManager
from raftline.node.clock import SYSTEM
from raftline.node.loop.batching import Batching
from raftline.node.loop.driver import Driver
from raftline.raft.effects import Effects
from raftline.raft.membership import Membership
from raftline.raft.messages import AppendAccepted, Message
from raftline.raft.node import node_from_disk
from raftline.raft.state import Options

from ..files.faulty_folder import MemoryFolder
from ..files.node_files import MEMBERS
from .fake_rim import FakeRim

DEADLINE_S = 60.0


class Answers:
    """A peer's connection: it keeps what is answered."""

    def __init__(self) -> None:
        self.given: list[Message] = []

    def answer(self, messages: Sequence[Message]) -> None:
        self.given += messages


def driver_of_s1(
    rim: FakeRim, kind: type[LogManager] = LogManager, heartbeat_ms: int = 20
) -> Driver:
    manager = kind("s1", MemoryFolder(), MEMBERS)
    recovered = manager.recover()
    options = Options(election_timeout_ms=60_000, heartbeat_ms=heartbeat_ms)
    node = node_from_disk(
        "s1",
        Membership(tuple(MEMBERS), addresses=MEMBERS),
        recovered.log,
        recovered.hard_state,
        options,
        lambda: 60_000,
        SYSTEM.now_ms(),
    )
    driver = Driver(node, manager, rim, hold_ms=60_000)
    driver.start("s1")
    return driver


def manager_of(driver: Driver) -> Any:
    """Return the LogManager of a driver, for a test that replaces a part of it."""
    return driver._logmanager


def batching_of(driver: Driver) -> Batching:
    """Return what decides how long a driver waits for further requests."""
    return driver._arrivals.batching


def answer(driver: Driver) -> None:
    """Answer as s2 everything that it was sent."""
    state = driver.node.view
    given = AppendAccepted("s2", "s1", state.term, state.log.last_index, state.round)
    assert driver.receive([given], None) == []


class HeldManager(LogManager):
    """Its disk stands still while it is asked to."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stands, self.goes_on = threading.Event(), threading.Event()

    def write(self, works: Sequence[Effects]) -> tuple[int, int] | None:
        self.stands.set()
        assert self.goes_on.wait(DEADLINE_S)
        return super().write(works)
