"""The watches of a node whose entries two threads apply."""

from __future__ import annotations

import threading
import time
from typing import Any

from raftline.logmanager import LogManager
from raftline.node.watches.watch_registry import WatchRegistry
from raftline.raft.log import Entry
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.interleave.threads import Thread

COMMANDS = ("set a 1", "set b 1", "delete a", "set a 2", "set c 1", "delete b", "set a 3")
SETTLES_IN = 100  # tenths of a second, in which nobody else is slow
FIRST = "cluster 9f86d081884c7d65 level 1"


class DrivenWatches:
    """The watches of a node; two threads apply entries, and each client is a slow one."""

    def __init__(self) -> None:
        self.manager = LogManager("s1", MemoryFolder(), {"s1": "localhost:10000"})
        self.is_woken = threading.Event()
        self.watchers = WatchRegistry(self.manager, self.is_woken.set)
        self.core = threading.Lock()
        self.index = 0
        self.apply(FIRST)
        self.left = list(COMMANDS)
        self.has_stopped = False

    def apply(self, command: str) -> None:
        self.index += 1
        entries = [Entry(self.index, 1, command)]
        self.manager.apply(entries)
        self.watchers.feed.applied(entries)

    def drive(self) -> None:
        """Apply entries with the core's lock held, and hand out what they did after that."""
        while self.left:
            with self.core:
                if self.left:
                    self.apply(self.left.pop(0))
            self.watchers.hand_out()

    def keep_time(self) -> None:
        while not self.has_stopped:
            self.is_woken.wait()
            self.is_woken.clear()
            self.watchers.hand_out()


def settle(scene: DrivenWatches, *clients: Any) -> None:
    """Give everybody the time that they need."""
    for _ in range(SETTLES_IN):
        time.sleep(0.1)
    if Thread.schedule.is_punctual:
        assert not scene.watchers.feed.has_work, "events were left lying"
        assert all(client.is_settled for client in clients), "a client was left waiting"
    while scene.watchers.feed.has_work or not all(client.is_settled for client in clients):
        scene.watchers.hand_out()
        time.sleep(0.1)
