"""`ReplicatedQueue`: first in, first out, across programs; each item is taken once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import Empty, Full
from typing import Any

from raftline.clients.connection import ClientError, NoLeader, OutcomeUnknown, Unreachable
from raftline.objects.base import Asker, ReplicatedObject, spelled_in_line
from raftline.objects.errors import NotDone
from raftline.objects.waiting import Waiting

LOG = logging.getLogger("raftline")


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
        waiting = Waiting(block, timeout)
        while True:
            try:
                self._do("put", item, *([self.maxsize] if self.maxsize > 0 else []))
                return
            except NotDone:
                if not waiting.pauses():
                    raise Full from None

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the first item; wait for one at most `timeout` seconds. Raises Empty.

        Raises:
            OutcomeUnknown: the first item may have been taken; then nobody gets it.
        """
        waiting = Waiting(block, timeout)
        while True:
            try:
                return self._do("take")
            except NotDone:
                while waiting.pauses():
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

    def full(self) -> bool:
        """Whether there is no room for another item, by this object's `maxsize`."""
        return 0 < self.maxsize <= self.qsize()

    def clear(self) -> None:
        """Remove all items, in one step."""
        self._do("clear")

    @property
    def _taken_back(self) -> dict[str, Callable[[Any], object]]:
        """Return the call that undoes one that was cancelled (awaitable.py)."""
        return {"get": self._put_back, "get_nowait": self._put_back}

    def _put_back(self, item: object) -> None:
        """Put an item first in the queue, however long nobody can be asked; log what is lost."""
        waiting, text = Waiting(), spelled_in_line(item)
        while True:
            try:
                self._request(f"object {self._key} list.insert 0 {text}")
                return
            except ClientError as problem:
                if type(problem) in (NoLeader, Unreachable):  # nothing was done: again
                    waiting.pauses()
                    continue
                lost = "may be lost, or not" if isinstance(problem, OutcomeUnknown) else "is lost"
                what = f"{self.name}: an item that a cancelled get took {lost}"
                LOG.error("%s: %s (%s)", what, text, problem)
                return
