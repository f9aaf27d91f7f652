"""`ReplicatedDict` and `ReplicatedSet`: a dict and a set that all share."""

from __future__ import annotations

from collections.abc import (
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    MutableSet,
    ValuesView,
)
from collections.abc import Set as AbstractSet
from typing import Any

from raftline.objects.base import NotDone, ReplicatedObject

_MISSING = object()


class ReplicatedDict(ReplicatedObject, MutableMapping[str, Any]):
    """A dict with str keys; each method is one step, and each read one moment's state.

    Iteration, `keys`, `values`, `items` go over a copy taken at once; `d | more` is a plain dict.
    `dict(d)` and `**d` are the exception: Python asks for each key in turn. Say `d.copy()`.
    """

    kind = "dict"

    def copy(self) -> dict[str, Any]:
        """Return all of it as a plain dict."""
        return dict(self._read())

    def __getitem__(self, key: str) -> Any:
        return self.copy()[key]

    def __setitem__(self, key: str, value: object) -> None:
        self.put(key, value)

    def __delitem__(self, key: str) -> None:
        self.remove(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.copy())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self.copy())

    def __len__(self) -> int:
        return len(self.copy())

    def keys(self) -> KeysView[str]:
        return self.copy().keys()

    def values(self) -> ValuesView[Any]:
        return self.copy().values()

    def items(self) -> ItemsView[str, Any]:
        return self.copy().items()

    def put(self, key: str, value: object) -> None:
        """Let `key` have this value, as `settings[key] = value` does."""
        self._do("put", _text(key), value)

    def remove(self, key: str) -> None:
        """Remove `key`, as `del settings[key]` does. Raises KeyError where it is not there."""
        try:
            self._do("drop", _text(key))
        except NotDone:
            raise KeyError(key) from None

    def pop(self, key: str, default: Any = _MISSING) -> Any:
        """Remove `key` and return its value, or `default`. Raises KeyError where there is none."""
        if default is not _MISSING:
            # Not sent along: it may be something that JSON can't hold.
            try:
                return self._do("take", _text(key))
            except NotDone:
                return default
        try:
            return self._do("take", _text(key))
        except NotDone:
            raise KeyError(key) from None

    def popitem(self) -> tuple[str, Any]:
        """Remove the key that came last and return it with its value. Raises KeyError if empty."""
        try:
            key, value = self._do("takelast")
        except NotDone:
            raise KeyError(f"{self.name} is empty") from None
        return key, value

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, which is `default` from now on if it had none."""
        return self._do("default", _text(key), default)

    def compare_and_set(self, key: str, old: object, new: object) -> bool:
        """Let `key` have the value `new` if it has `old`; return whether it had."""
        try:
            self._do("swap", _text(key), old, new)
        except NotDone:
            return False
        return True

    def update(self, *more: Any, **named: Any) -> None:
        """Put all pairs of a mapping, or of pairs, in one step."""
        plain = [_plain(each) for each in more]
        self._do("update", {_text(key): value for key, value in dict(*plain, **named).items()})

    def __or__(self, more: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.copy(), **_plain(more)} if isinstance(more, Mapping) else NotImplemented

    def __ror__(self, less: Mapping[str, Any]) -> dict[str, Any]:
        return {**_plain(less), **self.copy()} if isinstance(less, Mapping) else NotImplemented

    def __ior__(self, more: Any) -> ReplicatedDict:  # type: ignore[misc]  # not a dict
        self.update(more)
        return self

    def clear(self) -> None:
        """Remove all keys, in one step."""
        self._do("clear")


def _plain(pairs: Any) -> Any:
    return pairs.copy() if isinstance(pairs, ReplicatedDict) else pairs


def _text(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    return key


class ReplicatedSet(ReplicatedObject, MutableSet[Any]):
    """A set of str, int, float, bool and None; each method is one step.

    `a | b` and the like give a plain set; `a |= b` changes the replicated one, in one step.
    """

    kind = "set"

    def copy(self) -> set[Any]:
        """Return all of it as a plain set."""
        return set(self._read())

    def __and__(self, other: Iterable[Any]) -> set[Any]:
        return set.__and__(self.copy(), _plain_set(other))

    def __or__(self, other: Iterable[Any]) -> set[Any]:
        return set.__or__(self.copy(), _plain_set(other))

    def __sub__(self, other: Iterable[Any]) -> set[Any]:
        return set.__sub__(self.copy(), _plain_set(other))

    def __xor__(self, other: Iterable[Any]) -> set[Any]:
        return set.__xor__(self.copy(), _plain_set(other))

    def __rsub__(self, other: Iterable[Any]) -> set[Any]:
        difference: set[Any] = _plain_set(other) - self.copy()
        return difference

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __le__(self, other: AbstractSet[Any]) -> bool:
        return set.__le__(self.copy(), _compared(other))

    def __lt__(self, other: AbstractSet[Any]) -> bool:
        return set.__lt__(self.copy(), _compared(other))

    def __ge__(self, other: AbstractSet[Any]) -> bool:
        return set.__ge__(self.copy(), _compared(other))

    def __gt__(self, other: AbstractSet[Any]) -> bool:
        return set.__gt__(self.copy(), _compared(other))

    def __eq__(self, other: object) -> bool:
        return set.__eq__(self.copy(), _compared(other))

    __hash__ = None  # type: ignore[assignment]  # as a set has none

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Whether none of these is in it."""
        return self.copy().isdisjoint(other)

    def __contains__(self, item: object) -> bool:
        return item in self.copy()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.copy())

    def __len__(self) -> int:
        return len(self.copy())

    def add(self, value: Any) -> bool:  # type: ignore[override]  # says more than None
        """Add an item; return whether it is new."""
        return bool(self._do("add", _item(value)))

    def discard(self, value: Any) -> bool:  # type: ignore[override]  # says more than None
        """Remove an item if it is there; return whether it was."""
        return bool(self._do("discard", _item(value)))

    def remove(self, value: Any) -> None:
        """Remove an item. Raises KeyError where it is not there."""
        if not self.discard(value):
            raise KeyError(value)

    def pop(self) -> Any:
        """Remove an item, the one that came first, and return it. Raises KeyError if empty."""
        try:
            return self._do("take")
        except NotDone:
            raise KeyError(f"{self.name} is empty") from None

    def clear(self) -> None:
        """Remove all items, in one step."""
        self._do("clear")

    def update(self, items: Iterable[Any]) -> None:
        """Add all items, in one step."""
        self._do("union", [_item(each) for each in items])

    def __ior__(self, items: Iterable[Any]) -> ReplicatedSet:
        self.update(items)
        return self

    def __iand__(self, items: Iterable[Any]) -> ReplicatedSet:
        self._do("intersection", [_item(each) for each in items])
        return self

    def __isub__(self, items: Iterable[Any]) -> ReplicatedSet:
        self._do("difference", [_item(each) for each in items])
        return self

    def __ixor__(self, items: Iterable[Any]) -> ReplicatedSet:
        self._do("symmetric", [_item(each) for each in items])
        return self


def _plain_set(other: Any) -> Any:
    """Return what Python's own set takes, read once; what is no set at all stays as it is."""
    return set(other) if isinstance(other, Iterable) else other


def _compared(other: Any) -> Any:
    return set(other) if isinstance(other, AbstractSet) else other


def _item(value: Any) -> Any:
    if isinstance(value, list | dict | tuple):
        raise TypeError(f"a replicated set can't hold a {type(value).__name__}")
    return value
