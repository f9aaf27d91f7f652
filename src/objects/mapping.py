"""`ReplicatedDict`: a dict that all share."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from typing import Any

from raftline.objects.base import ReplicatedObject
from raftline.objects.errors import NotDone

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
