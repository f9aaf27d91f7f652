"""A connection whose client sends one request after another, and the node's state meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from raftline.wire.protocol import split_sender

from ..nodes.manager import Manager
from ..nodes.node_connections import SimulatedConnection
from ..nodes.request_interface import Asked
from ..nodes.simulated_node import Host


class Seen(NamedTuple):
    """The facts of a node when a line left it."""

    applied: int
    held: dict[str, str]
    is_at_floor: bool


NOTHING = Seen(0, {}, is_at_floor=True)


def _seen_at(manager: Manager) -> Seen:
    return Seen(manager.applied.index, dict(manager.store.held), manager.store.is_at_floor)


class LookingConnection(SimulatedConnection):
    """A connection whose client sends one request after another. With `sees`, the client gets the
    node's state when each line left."""

    def __init__(
        self, host: Host, heard: Callable[[str, Seen], None], *, sees: bool = True
    ) -> None:
        super().__init__(host.requests.doors, host, self._line_left)
        self._heard = heard
        self._sees = sees

    def _line_left(self, _: SimulatedConnection, line: str) -> None:
        seen = _seen_at(self._sim.manager) if self._sees else NOTHING
        text = split_sender(line)[2]

        def heard(_: str | None) -> None:
            if not self.is_over:
                self._heard(text, seen)

        self._sim.note_reply(self, Asked(None, "", heard))
