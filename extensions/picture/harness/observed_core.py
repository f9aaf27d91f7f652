"""A core that is stepped as the driver does it, and its observers."""

from __future__ import annotations

import threading

from raftline.picture.live.observers import ObserverRegistry
from raftline.raft.inputs import Propose
from raftline_testing.doubles.cores import established
from raftline_testing.doubles.watched_store import FakeSink
from raftline_testing.nodes.processes import eventually


class ObserverScene:
    """A node that is stepped as the driver does it, and its observers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.node = established("s1")
        self.core = threading.Lock()
        self.observers = ObserverRegistry("s1", self.said.append)
        self.observers.follow(self.node, self.core)
        self.sinks: list[FakeSink] = []

    def sink(self) -> FakeSink:
        self.sinks.append(FakeSink())
        return self.sinks[-1]

    def propose(self, *commands: str) -> None:
        with self.core:
            self.node.step(Propose(list(commands)), self.node.view.now_ms)

    def close(self) -> None:
        for sink in self.sinks:
            self.observers.close(sink)


def shown(sink: FakeSink, word: str) -> str:
    """Return the text that a reader got, once it holds a word."""
    return eventually(lambda: sink.text if word in sink.text else "", word)
