"""`kv.watch()`: an iterator over events, which moves to another node if its node fails."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

from raftline.common.public import public

from ..calls.listeners import plain
from ..calls.value_codec import Data
from ..calls.wait_times import end_of_wait
from ..connections.client_access import OPEN_ACCESS, ClientAccess
from ..connections.node_connection import ClientError
from ..requests.addresses import Addresses
from ..requests.health import report_error
from ..requests.one_node import NodeShell
from ..requests.times import Seconds
from ..steps import carry_out
from .watch_events import Event, WatchCursor
from .watch_machine import BaseWatch, WatchMachine, WatchSteps


@public("raftline.api")
class Watch(BaseWatch[Data], Iterator[Event[Data]]):
    """The events of the keys with a prefix: first the existing keys, then each change.

    One thread iterates; any thread may `close` the watch, which ends the iteration.
    """

    def __init__(
        self,
        addresses: Addresses,
        name: str,
        cursor: WatchCursor[Data],
        open_s: float,
        access: ClientAccess = OPEN_ACCESS,
    ) -> None:
        """Initialize without connecting; see `WatchMachine`."""
        super().__init__(WatchMachine(addresses, name, cursor, open_s))
        self._node = NodeShell(name, access, cluster=lambda: addresses.cluster)
        self._process = os.getpid()

    def __enter__(self) -> Watch[Data]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Watch[Data]:
        return self

    def __next__(self) -> Event[Data]:
        event = self.next_event()
        if event is None:
            raise StopIteration
        return event

    def next_event(self, timeout: Seconds | None = None) -> Event[Data] | None:
        """Return the next event; None if no event came within `timeout` seconds, or the watch was
        closed."""
        until_s = end_of_wait(timeout, time.monotonic())
        while not self._machine.ready:
            if not self._run(self._machine.take_line(until_s)):
                return None
        return self._machine.ready.popleft()

    def sync(self, timeout: Seconds | None = None) -> list[Event[Data]] | None:
        """Return the events up to now: the events of all writes that were acknowledged before this
        call and were not returned yet. Return None if they did not come within `timeout` seconds,
        or the watch was closed; later calls return the events that did come. Call it from the
        thread that iterates.

        Raises:
            ClientError: as during the iteration.
        """
        until_s = end_of_wait(timeout, time.monotonic())
        return self._take_ready() if self._run(self._machine.sync(until_s)) else None

    def each(self, call: Callable[[Event[Data]], object]) -> Watch[Data]:
        """Call a function with each event, one after the other, in a thread of its own, until the
        watch is closed. Return the watch. An exception of the function is logged, and the next
        event follows. Raises TypeError if it is not a plain function."""
        plain(call, "a function for events")
        threading.Thread(target=self._call_each, args=(call,), name="a watch", daemon=True).start()
        return self

    def _call_each(self, call: Callable[[Event[Data]], object]) -> None:
        try:
            for event in self:
                try:
                    call(event)
                except Exception:
                    report_error("%r raised an exception at an event of a watch", call)
        except ClientError:
            report_error("a watch has ended, and its function is not called any more")

    def close(self) -> None:
        """End the watch; the iterating thread stops. Any thread may call it."""
        self._machine.is_closed = True
        self._node.over.set()
        connection = self._node.connection
        if connection is not None and self._process == os.getpid():
            with contextlib.suppress(OSError):
                connection.socket.shutdown(2)  # wakes the reading thread
        self._node.close()

    def _step(self, until_s: float | None = None) -> bool:
        """Process one line; return False if no line came in time, or the watch was closed."""
        return self._run(self._machine.take_line(until_s))

    def _run(self, steps: WatchSteps) -> bool:
        if self._process != os.getpid():
            raise RuntimeError("this watch belongs to the process that forked; start one here")
        try:
            return carry_out(steps, self._node.do)
        except Exception:
            raise
        except BaseException:  # Ctrl-C: a line may have been read and not processed
            self._machine.reconnect()
            self._node.close()
            raise

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._node.close()
