"""`ReplicatedList` and `ReplicatedQueue`: a list that all programs share, and a queue whose items
are taken once.

A queue is first in, first out, across all programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSequence
from operator import index as whole
from queue import Empty, Full
from typing import Any, SupportsIndex, overload

from raftline.clients.requests.times import Seconds
from raftline.common.public import public
from raftline.common.text import NUMBER_MAX

from .base import (
    Asker,
    NotDone,
    ReplicatedCollection,
    ReplicatedObject,
)
from .waiting import Waiting


@public("raftline")
class ReplicatedList(ReplicatedCollection, MutableSequence[Any]):
    """A list; each method is one step, and each read shows one moment."""

    kind = "list"

    def copy(self) -> list[Any]:
        """Return a copy as a plain list."""
        return list(self._read())

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.copy()[index]

    def __setitem__(self, index: int | slice, value: Any) -> None:
        if isinstance(index, slice):
            try:
                self._do("splice", _bounds(index), list(value))
            except NotDone as condition:
                raise ValueError(str(condition)) from None
        else:
            self._at("put", index, value)

    def __delitem__(self, index: int | slice) -> None:
        if isinstance(index, slice):
            self._do("cut", _bounds(index))
        else:
            self._at("drop", index)

    def __reversed__(self) -> Iterator[Any]:
        return iter(self.copy()[::-1])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ReplicatedList):
            return self.copy() == other.copy()
        return self.copy() == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # like a list

    def index(self, value: Any, *bounds: Any) -> int:
        """Return the first index of `value`. Raises ValueError if it is absent."""
        return self.copy().index(value, *bounds)

    def count(self, value: Any) -> int:
        """Return how often `value` occurs."""
        return self.copy().count(value)

    def append(self, value: Any) -> None:
        """Add a value at the end."""
        self._do("append", value)

    def extend(self, values: Iterable[Any]) -> None:
        """Add all values at the end, in one step."""
        self._do("extend", list(values))

    def __iadd__(self, values: Iterable[Any]) -> ReplicatedList:
        self.extend(values)
        return self

    def insert(self, index: SupportsIndex, value: Any) -> None:
        """Insert a value before `index`."""
        self._do("insert", _within_bounds(index), value)

    def put(self, index: int, value: object) -> None:
        """Set the value at `index`, as `jobs[index] = value` does."""
        self._at("put", index, value)

    def pop(self, index: int = -1) -> Any:
        """Remove the value at `index` and return it. Raises IndexError if there is no value."""
        return self._at("take", index)

    def remove(self, value: Any) -> None:
        """Remove the first such value. Raises ValueError if it is absent."""
        self._do_or_raise(ValueError(f"{value!r} is not in {self.name}"), "remove", value)

    def reverse(self) -> None:
        """Reverse the order, in one step."""
        self._do("reverse")

    def _at(self, operation: str, index: SupportsIndex, *values: object) -> Any:
        missing = IndexError(f"{self.name} has no index {index}")
        return self._do_or_raise(missing, operation, _within_bounds(index), *values)


def _bounds(places: slice) -> list[int | None]:
    parts = (places.start, places.stop, places.step)
    start, stop, step = (None if part is None else _within_bounds(part) for part in parts)
    if step == 0:
        raise ValueError("a slice can't have the step 0")
    return [start, stop, step]


def _within_bounds(place: SupportsIndex) -> int:
    """Return an index clamped to JSON's whole numbers; no list is longer."""
    try:
        return max(-NUMBER_MAX, min(NUMBER_MAX, whole(place)))
    except TypeError:
        raise TypeError(f"an index is a whole number, not {type(place).__name__}") from None


@public("raftline")
class ReplicatedQueue(ReplicatedObject):
    """A queue like queue.Queue: `put`, `get`, Empty and Full. Each program chooses its `maxsize`.

    If a program dies right after it has taken an item, that item is lost.
    """

    kind = "queue"

    def __init__(
        self, name: str, node: Asker, *, maxsize: int = 0, timeout: Seconds | None = None
    ) -> None:
        super().__init__(name, node, timeout=timeout)
        self.maxsize = whole(maxsize)

    def put(self, item: object, block: bool = True, timeout: Seconds | None = None) -> None:
        """Add an item at the end; wait for room for at most `timeout` seconds. Raises Full."""
        waiting = Waiting(block, timeout)
        while True:
            try:
                room = [self.maxsize] if self.maxsize > 0 else []
                self._within_wait(waiting)._do("put", item, *room)
                return
            except NotDone:
                if not waiting.pauses():
                    raise Full from None

    def get(self, block: bool = True, timeout: Seconds | None = None) -> Any:
        """Take the first item; wait for an item for at most `timeout` seconds. Raises Empty.

        Raises:
            OutcomeUnknown: the first item may have been taken, and is lost in that case.
        """
        waiting = Waiting(block, timeout)
        while True:
            try:
                return self._within_wait(waiting)._do("take")
            except NotDone:
                while waiting.pauses():
                    if self._within_wait(
                        waiting
                    ).qsize():  # unlike `take`, a read adds no entry to the log
                        break
                else:
                    raise Empty from None

    def _within_wait(self, waiting: Waiting) -> ReplicatedQueue:
        """Return this queue with the remaining time of a wait as its time limit."""
        limit_s = waiting.limit_s(self._timeout)
        return self if limit_s is None else self.within(limit_s)

    def put_nowait(self, item: object) -> None:
        """Add an item at the end, or raise Full."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """Take the first item, or raise Empty."""
        return self.get(block=False)

    def copy(self) -> list[Any]:
        """Return all items as a plain list, in order."""
        return list(self._read())

    def qsize(self) -> int:
        """Return the number of waiting items."""
        return len(self.copy())

    __len__ = qsize

    def empty(self) -> bool:
        """Return whether the queue is empty."""
        return not self.copy()

    def full(self) -> bool:
        """Return whether the queue has at least this object's `maxsize` items."""
        return 0 < self.maxsize <= self.qsize()

    def clear(self) -> None:
        """Remove all items, in one step."""
        self._do("clear")
