"""The progress of long work, as a bar that is redrawn on one line of a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from raftline.common.process.console import draws

FIRST_AFTER_S = 1.0  # shorter work shows no bar
AGAIN_S = 0.2
WIDTH = 30
ERASE_LINE = "\r\x1b[K"


def bar(part: float) -> str:
    """Return a bar that is filled up to a fraction: `[######....]`."""
    full = min(WIDTH, int(part * WIDTH))
    return f"[{'#' * full}{'.' * (WIDTH - full)}]"


class Bar:
    """A context manager that shows `position` as a part of `total`, both in bytes.

    A thread draws the bar, so that the work is not slowed down. The bar is drawn on standard error
    if that is a terminal.
    """

    def __init__(self, label: str, total: int, position: Callable[[], int]) -> None:
        self._label = label
        self._total = max(total, 1)
        self._position = position
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Bar:
        if draws(sys.stderr):
            self._thread = threading.Thread(target=self._show, name="bar", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def _show(self) -> None:
        pause_s = FIRST_AFTER_S
        is_shown = False
        while not self._done.wait(pause_s):
            print("\r" + self.line(), end="", file=sys.stderr, flush=True)
            pause_s, is_shown = AGAIN_S, True
        if is_shown:
            print(ERASE_LINE, end="", file=sys.stderr, flush=True)

    def line(self) -> str:
        """Return the current bar."""
        part = min(1.0, self._position() / self._total)
        return f"{self._label} {bar(part)} {part:4.0%}"
