"""The observers and the recording of a node's steps, made by the extension that has them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ...common.config import ConfigError
from ...common.extensions import joined
from ...net.protocol.host import EventSink, Observers
from ...raft.node import RawNode
from ...wire.commands.observe_lines import NO_OBSERVERS, NOT_OBSERVING, ObserveAsked
from ..clock import Clock

SEAM = "observer"


class NodeObservers(Observers, Protocol):
    """The observers of the steps of one node."""

    def follow(self, node: RawNode, core: AbstractContextManager[object]) -> None:
        """Observe this node from now on. It is stepped under `core`, and has not started yet."""


class NoObservers:
    """The observers of a node in a build that has none."""

    def follow(self, node: RawNode, core: AbstractContextManager[object]) -> None:
        pass

    def open(self, sink: EventSink, request_id: str, asked: ObserveAsked) -> str:
        return NO_OBSERVERS

    def close(self, sink: EventSink) -> str:
        return NOT_OBSERVING


def observers_of(name: str, say: Callable[[str], None], clock: Clock) -> NodeObservers:
    """Return the observers of a node; `say` prints a line on its console."""
    for extension in joined(SEAM):
        observers: NodeObservers = extension.observers(name, say, clock)
        return observers
    return NoObservers()


def check_recording(path: Path) -> None:
    """Check that a recording may be written to this file.

    Raises:
        ConfigError: this build records nothing, or the file can't be used.
    """
    extensions = joined(SEAM)
    if not extensions:
        raise ConfigError(f"--record {path}: this build has no picture, so it records no steps")
    for extension in extensions:
        extension.check_path(path)


def recorded(node: RawNode, path: Path, say: Callable[[str], None]) -> RawNode:
    """Return the node that continues from this one and records its steps in a file."""
    for extension in joined(SEAM):
        node = extension.recorded(node, path, say)
    return node
