"""`ReplicatedDict` and `ReplicatedSet`: a dict and a set that all programs share."""

from __future__ import annotations

from collections.abc import (
    Callable,
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

from raftline.common.public import public

from .base import NotDone, ReplicatedCollection

_MISSING = object()


@public("raftline")
class ReplicatedDict(ReplicatedCollection, MutableMapping[str, Any]):
    """A dict with str keys; each method is one step, and each read shows one moment.

    Iteration, `keys`, `values` and `items` use a copy of one moment; `d | more` is a plain dict.
    `dict(d)` and `**d` are an exception: Python reads each key in turn. Use `d.copy()` instead.
    """

    kind = "dict"

    def copy(self) -> dict[str, Any]:
        """Return a copy as a plain dict."""
        return dict(self._read())

    def __getitem__(self, key: str) -> Any:
        return self.copy()[key]

    def __setitem__(self, key: str, value: object) -> None:
        self.put(key, value)

    def __delitem__(self, key: str) -> None:
        self.remove(key)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self.copy())

    def keys(self) -> KeysView[str]:
        return self.copy().keys()

    def values(self) -> ValuesView[Any]:
        return self.copy().values()

    def items(self) -> ItemsView[str, Any]:
        return self.copy().items()

    def put(self, key: str, value: object) -> None:
        """Set `key` to a value, as `settings[key] = value` does."""
        self._do("put", _text(key), value)

    def remove(self, key: str) -> None:
        """Remove `key`, as `del settings[key]` does. Raises KeyError if it is absent."""
        self._do_or_raise(KeyError(key), "drop", _text(key))

    def pop(self, key: str, default: Any = _MISSING) -> Any:
        """Remove `key` and return its value, or `default`. Raises KeyError if both are missing."""
        try:
            return self._do("take", _text(key))
        except NotDone:
            if default is _MISSING:
                raise KeyError(key) from None
            return default  # it was not sent: JSON may not be able to represent it

    def popitem(self) -> tuple[str, Any]:
        """Remove the key that was added last, and return it with its value. Raises KeyError if
        empty."""
        key, value = self._do_or_raise(KeyError(f"{self.name} is empty"), "takelast")
        return key, value

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, after setting it to `default` if it is absent."""
        return self._do("default", _text(key), default)

    def compare_and_set(self, key: str, old: object, new: object) -> bool:
        """Set `key` to `new` if its value is `old`; return whether it was."""
        try:
            self._do("swap", _text(key), old, new)
        except NotDone:
            return False
        return True

    def update(self, *more: Any, **named: Any) -> None:
        """Set all pairs of a mapping or an iterable, in one step."""
        plain = [_plain(each) for each in more]
        self._do("update", {_text(key): value for key, value in dict(*plain, **named).items()})

    def __or__(self, more: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.copy(), **_plain(more)} if isinstance(more, Mapping) else NotImplemented

    def __ror__(self, less: Mapping[str, Any]) -> dict[str, Any]:
        return {**_plain(less), **self.copy()} if isinstance(less, Mapping) else NotImplemented

    def __ior__(self, more: Any) -> ReplicatedDict:  # type: ignore[misc]  # not a dict
        self.update(more)
        return self


def _plain(pairs: Any) -> Any:
    return pairs.copy() if isinstance(pairs, ReplicatedDict) else pairs


def _text(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    return key


def _operator(how: Callable[[set[Any], Any], Any]) -> Callable[[Any, Iterable[Any]], set[Any]]:
    """Return a method that applies `how` to a copy and the other operand, and returns a plain
    set."""
    return lambda self, other: how(self.copy(), _as_set(other, Iterable))


def _comparison(how: Callable[[set[Any], Any], bool]) -> Callable[[Any, object], bool]:
    """Return a method that compares a copy with another set."""
    return lambda self, other: how(self.copy(), _as_set(other, AbstractSet))


def _as_set(other: Any, kind: Any) -> Any:
    """Return the operand as a Python set, read once; return other kinds unchanged."""
    return set(other) if isinstance(other, kind) else other


@public("raftline")
class ReplicatedSet(ReplicatedCollection, MutableSet[Any]):
    """A set of str, int, float, bool and None; each method is one step.

    `a | b` and similar operators return a plain set; `a |= b` changes the replicated set, in one
    step.
    """

    kind = "set"

    def copy(self) -> set[Any]:
        """Return a copy as a plain set."""
        return set(self._read())

    __and__ = __rand__ = _operator(set.__and__)
    __or__ = __ror__ = _operator(set.__or__)
    __xor__ = __rxor__ = _operator(set.__xor__)
    __sub__ = _operator(set.__sub__)
    __rsub__ = _operator(lambda copy, other: other - copy)
    __le__, __lt__ = _comparison(set.__le__), _comparison(set.__lt__)
    __ge__, __gt__ = _comparison(set.__ge__), _comparison(set.__gt__)
    __eq__ = _comparison(set.__eq__)
    __hash__ = None  # type: ignore[assignment]  # like a set

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Return whether it contains none of these items."""
        return self.copy().isdisjoint(other)

    def add(self, value: Any) -> bool:  # type: ignore[override]  # returns more than None
        """Add an item; return whether it is new."""
        return bool(self._do("add", _item(value)))

    def discard(self, value: Any) -> bool:  # type: ignore[override]  # returns more than None
        """Remove an item if it is present; return whether it was."""
        return bool(self._do("discard", _item(value)))

    def remove(self, value: Any) -> None:
        """Remove an item. Raises KeyError if it is absent."""
        if not self.discard(value):
            raise KeyError(value)

    def pop(self) -> Any:
        """Remove the item that was added first, and return it. Raises KeyError if empty."""
        return self._do_or_raise(KeyError(f"{self.name} is empty"), "take")

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


def _item(value: Any) -> Any:
    if isinstance(value, list | dict | tuple):
        raise TypeError(f"a replicated set can't hold a {type(value).__name__}")
    return value
