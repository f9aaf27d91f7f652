"""A cluster that grants leases, and loses or delays some requests."""

from __future__ import annotations

import time
from typing import Any

from raftline.clients.connections.node_connection import Unreachable
from raftline_testing.interleave.threads import Thread

TTLS = (3, 5, 9)
WHILE_S = 12.0
WAYS_S = (0.0, 0.0, 0.3, 1.1, 6.0)  # that a request takes, or its reply


class LeaseCluster:
    """Grants leases, and forgets each when its time is over; some requests are lost or slow."""

    timeout = 10.0

    def __init__(self, *, is_prompt: bool) -> None:
        self._is_prompt = is_prompt
        self._seconds: dict[str, int] = {}
        self._until_s: dict[str, float] = {}
        self.released: list[str] = []

    def is_gone(self, lease: str) -> bool:
        return time.monotonic() >= self._until_s.get(lease, 0.0)

    def _way(self, limit_s: float) -> None:
        if not self._is_prompt:
            way_s = Thread.schedule.random.choice(WAYS_S)
            time.sleep(min(way_s, limit_s))
            if way_s >= limit_s:
                raise Unreachable("no answer")

    def ask(self, call: Any, timeout: float | None = None) -> Any:
        until_s = time.monotonic() + (timeout or self.timeout)
        self._way(timeout or self.timeout)
        answer = self._carry_out(*call.command.split(" "))
        self._way(until_s - time.monotonic())
        return answer

    def _carry_out(self, verb: str, operand: str) -> object:
        name = operand
        if verb == "lease":
            name = f"lease-{len(self._seconds) + 1}"
            self._seconds[name] = int(operand)
        elif self.is_gone(name):
            self._until_s.pop(name, None)
            return False if verb == "renew" else None
        if verb == "release":
            del self._until_s[name]
            self.released.append(name)
            return 1
        self._until_s[name] = time.monotonic() + self._seconds[name]
        return name if verb == "lease" else True
