"""The collector of the steps of simulated nodes, which an extension draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from raftline.raft.messages import Message
from raftline.raft.node import RawNode

from ..extensions import joined

Where = Literal["sender", "way", "receiver"]  # a message is lost there


class Collector(Protocol):
    """Gathers the steps of nodes and draws them."""

    def caption(self, text: str, at_s: float) -> None:
        """Take a sentence about the next steps."""

    def observe(self, node: RawNode, clock_s: Callable[[], float]) -> None:
        """Collect each step of a node from now on."""

    def end(self, name: str, at_s: float) -> None:
        """Take the end of a node."""

    def lose(self, message: Message, at_s: float, where: Where) -> None:
        """Take the loss of a sent message."""

    def fail(self, words: str, within: str = "") -> None:
        """Take the end of the run by a failure, in words."""

    def page(self, title: str) -> str:
        """Return the page of the last steps."""


def new_collector() -> Collector | None:
    """Return a collector for nodes that share one clock, if an extension has one."""
    for module in joined("collector"):
        collector: Collector = module.collector()
        return collector
    return None
