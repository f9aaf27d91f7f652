"""`ReplicatedQueue`: first in, first out, across programs; each item is taken once."""

from __future__ import annotations

import time
from queue import Empty, Full
from typing import Any

from raftline.replicated.base import Asker, ReplicatedObject
from raftline.replicated.errors import NotDone

PAUSES_S = (0.02, 0.25)  # first and longest between two looks at a queue that is empty or full


class ReplicatedQueue(ReplicatedObject):
    """As queue.Queue: `put`, `get`, Empty and Full; `maxsize` is the asking program's own.

    Who dies right after it took an item has taken it: nobody gets it again.
    """

    kind = "queue"

    def __init__(
        self, name: str, node: Asker, *, maxsize: int = 0, timeout: float | None = None
    ) -> None:
        super().__init__(name, node, timeout=timeout)
        self.maxsize = maxsize

    def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
        """Add an item at the end; wait for room at most `timeout` seconds. Raises Full."""
        patience = _Patience(block, timeout)
        while True:
            try:
                self._do("put", item, *([self.maxsize] if self.maxsize > 0 else []))
                return
            except NotDone:
                if not patience.pauses():
                    raise Full from None

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the first item; wait for one at most `timeout` seconds. Raises Empty."""
        patience = _Patience(block, timeout)
        while True:
            try:
                return self._do("take")
            except NotDone:
                while patience.pauses():
                    if self.qsize():  # a look is no entry in the log, a try to take is
                        break
                else:
                    raise Empty from None

    def put_nowait(self, item: object) -> None:
        """Add an item at the end, or raise Full."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """Take the first item, or raise Empty."""
        return self.get(block=False)

    def copy(self) -> list[Any]:
        """Return all items as a plain list, the first one first."""
        return list(self._read())

    def qsize(self) -> int:
        """Return how many items wait."""
        return len(self.copy())

    __len__ = qsize

    def empty(self) -> bool:
        """Whether no item waits."""
        return not self.copy()

    def clear(self) -> None:
        """Remove all items, in one step."""
        self._do("clear")


class _Patience:
    """Pauses that grow, until the time is over."""

    def __init__(self, block: bool, timeout: float | None) -> None:
        if timeout is not None and timeout < 0:
            raise ValueError("a timeout is not below 0")
        self._end_s = None if timeout is None else time.monotonic() + timeout
        self._block = block
        self._pause_s = PAUSES_S[0]

    def pauses(self) -> bool:
        """Pause, and return True; or return False at once where the time is over."""
        left_s = float("inf") if self._end_s is None else self._end_s - time.monotonic()
        if not self._block or left_s <= 0:
            return False
        time.sleep(min(self._pause_s, left_s))
        self._pause_s = min(2 * self._pause_s, PAUSES_S[1])
        return True
