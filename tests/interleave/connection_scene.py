"""The threads that step the core, as connections see them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

from raftline.net.connections.shared_reader import SharedReader
from raftline.net.protocol.host import Batch
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.interleave.threads import Thread
from raftline_testing.interleave.wires import Wire, reader_for

PIECES = (7, 20, 200)  # bytes of lines that are sent at once
ROOM = 120  # bytes that are on their way


class Reads:
    def read(self, commands: Sequence[str], room: int = 0, *, waits: bool = True) -> list[str]:
        return [f"answer to {command.rpartition('@')[2]}" for command in commands]


class ConnectionScene:
    """The threads that step the core, as the connections see them."""

    def __init__(self, kind: type[SharedReader], nears: list[Wire]) -> None:
        self.waiting: list[Batch] = []
        self.has_come, self.is_over = threading.Event(), False
        self.host: Any = FakeHost(submit=self.submit)
        self.reader = reader_for(nears, partial(kind, self.submit, crowd=0))

    def submit(self, *batches: Batch, more_come: bool = False) -> None:
        self.waiting.extend(batches)
        self.has_come.set()

    def answer(self) -> None:
        """Answer what waits, in any order, and send the replies that can leave."""
        while not self.is_over:
            self.has_come.wait()
            self.has_come.clear()
            while self.waiting:
                batch = self.waiting.pop(Thread.schedule.random.randrange(len(self.waiting)))
                if batch.is_read:
                    batch.reader = Reads()
                else:
                    batch.replies = Reads().read(batch.commands)
                batch.wake()
                self.flush()

    def flush(self) -> None:
        with contextlib.suppress(IndexError):  # the other thread was faster
            while True:
                self.host.ready_sinks.popleft().flush()
