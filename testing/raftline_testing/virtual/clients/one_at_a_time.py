"""Clients with one request at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..nodes.request_interface import Server
from ..world.plan import Plan
from ..world.world import World


class OneAtATime:
    """A client with one request at a time, at the presumed leader or any node."""

    def __init__(self, world: World, plan: Plan, name: str, servers: Sequence[Server]) -> None:
        self.name = name
        self.stopped = False
        self.waiting: Any = None
        self._world = world
        self._plan = plan
        self._servers = {server.name: server for server in servers}
        self._leader: str | None = None

    def unknown(self, request: Any) -> None:
        """Handle a request without a reply in time."""
        raise NotImplementedError

    def _send(self, request: Any) -> None:
        world = self._world
        self.waiting = request
        if self._leader is None:
            self._leader = world.pick(list(self._servers))
        world.within(self._way_ms(request), self._servers[self._leader].submit, request)
        patience_ms = self._plan.options.election_timeout_ms * world.pick((1, 3, 10))
        world.after(patience_ms, self.unknown, request)

    def _way_ms(self, request: Any) -> int:
        """Return the time that a request takes to its server, at most."""
        return 2

    def _settle(self, request: Any) -> bool:
        """Record the outcome of a request; return whether it is the first one."""
        if request.settled:
            return False
        request.settled = True
        self.waiting = None
        return True
