"""A bar on a terminal while a trial runs; to anything else nothing."""

from __future__ import annotations

import os
import time
from typing import TextIO

from raftline.common.console import draws
from raftline.trial.messages import in_words
from raftline.trial.record import Record

WIDTH = 30
AGAIN_S = 0.1


class Bar:
    """Draws itself anew in one line of `output`, ten times a second, and leaves no trace."""

    def __init__(self, output: TextIO) -> None:
        self._output = output if draws(output) else None
        self._drawn_s = 0.0

    def show(self, record: Record, leader: str, now: float) -> None:
        """Show how far the trial is."""
        if self._output is None or time.monotonic() - self._drawn_s < AGAIN_S:
            return
        self._drawn_s = time.monotonic()
        total = record.metrics.total_execution_time
        done = min(WIDTH, int(WIDTH * now / total))
        shown = (
            f"[{'#' * done}{'.' * (WIDTH - done)}] {now:4.0f}/{total:g} s"
            f"  leader {in_words(leader):7}  {record.messages:,} messages"
        )
        self._put(f"\r{shown[: _columns(self._output) - 1]}\x1b[K")

    def clear(self) -> None:
        """Leave the line empty for what comes."""
        if self._output is not None:
            self._put("\r\x1b[K")

    def _put(self, text: str) -> None:
        if self._output is not None:
            self._output.write(text)
            self._output.flush()


def _columns(terminal: TextIO) -> int:
    """Return how wide a terminal is: a longer line would not be drawn over, but push others up."""
    try:
        return os.get_terminal_size(terminal.fileno()).columns or 80
    except OSError:
        return 80
