"""Views of the keys with a prefix, page by page: `kv.items("app/")`, `kv.keys()`, `kv.values()`."""

from __future__ import annotations

import threading
import weakref
from collections.abc import (
    Callable,
    ItemsView,
    Iterator,
    KeysView,
    MappingView,
    MutableMapping,
    ValuesView,
)
from functools import partial
from operator import itemgetter
from typing import Any, Generic, TypeVar

from .value_codec import Data

Pairs = Callable[[Data | None], Iterator[tuple[Data, Data]]]
Item = TypeVar("Item")
whole_pair: Callable[[Any], Any] = lambda pair: pair  # noqa: E731
key_of_pair: Callable[[Any], Any] = itemgetter(0)
value_of_pair: Callable[[Any], Any] = itemgetter(1)


class _PairReader(Iterator[Item]):
    """Yields a part of each pair. The first step reads the pairs."""

    def __init__(self, read: Callable[[], Iterator[Any]], part: Callable[[Any], Item]) -> None:
        self._read = read
        self._part = part
        self._pairs: Iterator[Any] | None = None

    def __next__(self) -> Item:
        if self._pairs is None:
            self._pairs = self._read()
        return self._part(next(self._pairs))

    def take(self, pairs: list[Any]) -> None:
        """Iterate over these pairs, which `len` has read, unless the iteration has begun."""
        if self._pairs is None:
            self._pairs = iter(pairs)


class Listing(Generic[Item]):
    """The pairs under a prefix, to iterate over and to count.

    `list(view)` asks for an iterator, then for the length as a hint, and then for the items. So
    `len` passes the pairs that it read to this thread's iterator if that has not begun, and the
    pairs are read once.
    """

    def __init__(
        self, read: Callable[[], Iterator[Any]], part: Callable[[Any], Item] = whole_pair
    ) -> None:
        self._read = read
        self._part = part
        self._latest = threading.local()

    def __iter__(self) -> Iterator[Item]:
        reader = _PairReader(self._read, self._part)
        self._latest.reader = weakref.ref(reader)
        return reader

    def __len__(self) -> int:
        pairs = list(self._read())
        latest = getattr(self._latest, "reader", None)
        reader = latest() if latest is not None else None
        if reader is not None:
            reader.take(pairs)
        return len(pairs)

    def __bool__(self) -> bool:
        return any(True for _ in self._read())  # at most one page


class _OfPrefix(MappingView, Generic[Data]):
    """The pairs that a view iterates over."""

    _part = staticmethod(whole_pair)

    def __init__(
        self, kv: MutableMapping[Data, Data], pairs: Pairs[Data], prefix: Data | None
    ) -> None:
        super().__init__(kv)
        self._listing: Listing[Any] = Listing(partial(pairs, prefix), self._part)

    def __len__(self) -> int:
        return len(self._listing)

    def __bool__(self) -> bool:
        return bool(self._listing)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._listing)


class PrefixItems(_OfPrefix[Data], ItemsView[Data, Data]):
    """The pairs under a prefix, in the order of their keys. Each page of a thousand pairs shows one
    moment; the store may change between two pages."""


class PrefixKeys(_OfPrefix[Data], KeysView[Data]):
    """The keys under a prefix."""

    _part = staticmethod(key_of_pair)


class PrefixValues(_OfPrefix[Data], ValuesView[Data]):
    """The values under a prefix, in the order of their keys."""

    _part = staticmethod(value_of_pair)
