"""The machine of a connection, driven as its thread and the shared reader do it."""

from __future__ import annotations

import random
from typing import Any, cast

from raftline.net.peers.peers import Speaker
from raftline.net.protocol.admission import Admission
from raftline.net.protocol.host import Batch, ReplySink
from raftline.net.protocol.server_protocol import End, Run, ServerProtocol, TimingMark

from .fake_host import FakeHost


class ProtocolMachine:
    """The machine of a connection, and what came out of it, one line after the other."""

    def __init__(self, host: FakeHost, *, for_peers_only: bool = False) -> None:
        self.out: list[object] = []
        self.notes: list[object] = []  # of the console
        self.sizes: list[int] = []  # of batches
        self.are_long: list[bool] = []  # whether they may take long
        host.traffic_log.requested = lambda *what: self.notes.append(what)
        node: Any = host
        self.protocol = ServerProtocol(
            node,
            Admission(node, cast(Speaker, self), is_private=lambda: True),
            cast(ReplySink, self),
            for_peers_only=for_peers_only,
            announce=lambda: self.notes.append("came"),
            doors=host.doors,
        )
        self.protocol.bound_strangers(0.0)

    def feed(self, data: bytes, now_s: float = 0.0, *, shared: random.Random | None = None) -> None:
        """Bring bytes, and take all steps; some of them as the shared reader does."""
        if self.ended:
            return
        self.protocol.receive_data(data, now_s)
        while not self.ended:
            may_wait = shared is None or shared.random() < 0.5
            step = self.protocol.next_step(may_wait=may_wait)
            if step is None and (may_wait or self.protocol.is_between_lines):
                return
            self._take(step)

    @property
    def ended(self) -> bool:
        return bool(self.out) and isinstance(self.out[-1], End)

    def _take(self, step: object) -> None:
        if isinstance(step, Batch):
            kind = ("read" if step.is_read else "write", step.reading)
            self.out += [(kind, *one) for one in zip(step.commands, step.ids, strict=True)]
            self.sizes.append(len(step.commands))
            self.are_long.append(step.may_be_long > 0)
        elif isinstance(step, Run):
            self.out += step.lines
        elif isinstance(step, (TimingMark, End)):
            self.out.append(step)
