"""The machine of a Redis client's connection."""

from __future__ import annotations

from typing import Any

from raftline.net.protocol.server_protocol import DoorRun
from raftline_testing.doubles.protocol_machine import ProtocolMachine


class RedisMachine(ProtocolMachine):
    """Takes the runs of such a client apart."""

    def _take(self, step: object) -> None:
        if not isinstance(step, DoorRun):
            super()._take(step)
            return
        requests: Any = step.requests
        for one in requests:
            call = None if one.call is None else (one.call.name, one.call.words)
            self.out.append((one.id, call, one.answer, one.reply, one.local))
