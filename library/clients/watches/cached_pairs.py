"""The pairs of a prefix in memory, as a watch reports them, and how old they may be.

A copy is as old as the start of the last sync that ended well: since then the copy may lack a
write. A sync of a watch brings all events of the writes that were acknowledged before it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic

from raftline.common.no_copies import NoCopies

from ..calls.value_codec import Data
from .watch_events import Event

SYNC_S = 5.0  # between two syncs that nobody asked for
CHECK_S = 0.1  # until the reader of the watch sees that a sync is asked for


class CachedPairs(NoCopies, Mapping[Data, Data], Generic[Data]):
    """A mapping of the pairs in memory. Reading it sends no request."""

    def __init__(self, prefix: Data | None, limit_s: float) -> None:
        self._prefix = prefix
        self._limit_s = limit_s
        self._pairs: dict[Data, Data] = {}
        self._as_of_s = -math.inf  # it has every write acknowledged before this time
        self._wanted_s = -math.inf  # somebody waits until it has those before this time
        self._error: Exception | None = None  # for which the watch ended
        self._is_closed = False

    @staticmethod
    def _now() -> float:
        return time.monotonic()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"{self.age:.3g} s old"
        return f"<a cache of {self._prefix!r} with {len(self._pairs)} keys, {state}>"

    def __getitem__(self, key: Data) -> Data:
        return self._current[key]

    def __iter__(self) -> Iterator[Data]:
        return iter(list(self._current))  # a change must not end a loop

    def __len__(self) -> int:
        return len(self._current)

    @property
    def age(self) -> float:
        """The seconds since which the copy may lack a write: it has every write that was
        acknowledged before that. Infinite until all keys have arrived."""
        return self._now() - self._as_of_s

    @property
    def _current(self) -> dict[Data, Data]:
        """The pairs. Raises RuntimeError if they were never complete, or are no longer kept; and
        the error with which the watch ended."""
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._is_closed:
            raise RuntimeError("this cache was closed")
        if self._as_of_s == -math.inf:
            raise RuntimeError("this cache is not complete yet: with kv.cached(…) as cache")
        return self._pairs

    @property
    def _is_sync_due(self) -> bool:
        return self._wanted_s > self._as_of_s or self._now() >= self._as_of_s + SYNC_S

    def _apply(self, events: Iterable[Event[Data]]) -> None:
        """Apply events of the watch."""
        for event in events:
            if event.value is None:
                self._pairs.pop(event.key, None)
            else:
                self._pairs[event.key] = event.value
