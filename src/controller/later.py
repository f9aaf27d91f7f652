"""Things to do later, each at its time, by one thread that begins with the first of them."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Later:
    """A queue of acts in the order of their times; those of one time in the order they came.

    Acts that hold data say how much; of that there is at most `room_bytes`.
    """

    def __init__(self, name: str, room_bytes: int) -> None:
        self._name = name
        self._room_bytes = room_bytes  # what is left
        self._changed = threading.Condition()
        self._acts: list[tuple[float, int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def at(self, wait_s: float, act: Callable[[], None], size: int = 0) -> bool:
        """Have `act` done in `wait_s` seconds, from a thread of this object's own; return False,
        and never do it, where there is no room for the `size` bytes that it holds. An OSError of
        it is nobody's concern: the connection that it was meant for is gone."""
        with self._changed:
            if size > self._room_bytes:
                return False
            self._room_bytes -= size
            due_s = time.monotonic() + wait_s
            heapq.heappush(self._acts, (due_s, next(self._numbers), size, act))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()
        return True

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
                    _, _, size, act = heapq.heappop(self._acts)
                    self._room_bytes += size
                    return act
                self._changed.wait(wait_s)
