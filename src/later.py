"""Things to do later, each at its time, by one thread that begins with the first of them."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Later:
    """A queue of acts in the order of their times; those of one time in the order they came."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._acts: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def at(self, wait_s: float, act: Callable[[], None]) -> None:
        """Have `act` done in `wait_s` seconds, from a thread of this object's own; an OSError of
        it is nobody's concern: the connection that it was meant for is gone."""
        with self._changed:
            heapq.heappush(self._acts, (time.monotonic() + wait_s, next(self._numbers), act))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            act = self._next()
            with contextlib.suppress(OSError):
                act()

    def _next(self) -> Callable[[], None]:
        with self._changed:
            while True:
                wait_s = self._acts[0][0] - time.monotonic() if self._acts else None
                if wait_s is not None and wait_s <= 0:
                    return heapq.heappop(self._acts)[2]
                self._changed.wait(wait_s)
