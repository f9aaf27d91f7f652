"""`ReplicatedList`: a list that all share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSequence
from operator import index as whole
from typing import Any, SupportsIndex, overload

from raftline.objects.base import ReplicatedObject
from raftline.objects.errors import NotDone
from raftline.raft.entries import NUMBER_MAX


class ReplicatedList(ReplicatedObject, MutableSequence[Any]):
    """A list; each method is one step, and each read one moment's state."""

    kind = "list"

    def copy(self) -> list[Any]:
        """Return all of it as a plain list."""
        return list(self._read())

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.copy()[index]

    def __setitem__(self, index: int | slice, value: Any) -> None:
        if isinstance(index, slice):
            self._splice(_bounds(index), list(value))
        else:
            self._at("put", index, value)

    def __delitem__(self, index: int | slice) -> None:
        if isinstance(index, slice):
            self._do("cut", _bounds(index))
        else:
            self._at("drop", index)

    def __len__(self) -> int:
        return len(self.copy())

    def __iter__(self) -> Iterator[Any]:
        return iter(self.copy())

    def __reversed__(self) -> Iterator[Any]:
        return iter(self.copy()[::-1])

    def __contains__(self, value: object) -> bool:
        return value in self.copy()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ReplicatedList):
            return self.copy() == other.copy()
        return self.copy() == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a list has none

    def index(self, value: Any, *bounds: Any) -> int:
        """Return where `value` first is. Raises ValueError where it is not."""
        return self.copy().index(value, *bounds)

    def count(self, value: Any) -> int:
        """Return how often `value` is there."""
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
        """Add a value before the one at `index`."""
        self._do("insert", _within_bounds(index), value)

    def put(self, index: int, value: object) -> None:
        """Let this value be at `index`, as `jobs[index] = value` does."""
        self._at("put", index, value)

    def pop(self, index: int = -1) -> Any:
        """Remove the value at `index` and return it. Raises IndexError where there is none."""
        return self._at("take", index)

    def remove(self, value: Any) -> None:
        """Remove the first such value. Raises ValueError where there is none."""
        try:
            self._do("remove", value)
        except NotDone:
            raise ValueError(f"{value!r} is not in {self.name}") from None

    def reverse(self) -> None:
        """Turn the order round, in one step."""
        self._do("reverse")

    def clear(self) -> None:
        """Remove all values, in one step."""
        self._do("clear")

    def _splice(self, bounds: list[int | None], values: list[Any]) -> None:
        try:
            self._do("splice", bounds, values)
        except NotDone as condition:
            raise ValueError(str(condition)) from None

    def _at(self, operation: str, index: SupportsIndex, *values: object) -> Any:
        try:
            return self._do(operation, _within_bounds(index), *values)
        except NotDone:
            raise IndexError(f"{self.name} has no index {index}") from None


def _bounds(places: slice) -> list[int | None]:
    parts = (places.start, places.stop, places.step)
    start, stop, step = (None if part is None else _within_bounds(part) for part in parts)
    if step == 0:
        raise ValueError("a slice can't have the step 0")
    return [start, stop, step]


def _within_bounds(place: SupportsIndex) -> int:
    """Return a place as JSON has it; beyond that, no list has places to tell apart."""
    try:
        return max(-NUMBER_MAX, min(NUMBER_MAX, whole(place)))
    except TypeError:
        raise TypeError(f"an index is a whole number, not {type(place).__name__}") from None
