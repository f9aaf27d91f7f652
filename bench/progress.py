"""Progress on stderr: one line that is rewritten on a terminal, else separate lines."""

from __future__ import annotations

import sys
import time


class Progress:
    """A count of steps with a known total."""

    def __init__(self, steps: int) -> None:
        self._steps, self._step, self._begun = steps, 0, time.monotonic()
        self._terminal = sys.stderr.isatty()

    def step(self, what: str) -> None:
        """Print the next step, and how long the rest may still take."""
        left = ""
        if self._step:
            seconds = (time.monotonic() - self._begun) / self._step * (self._steps - self._step)
            left = f", {seconds / 60:.0f} min left" if seconds >= 60 else f", {seconds:.0f} s left"
        self._step += 1
        line = f"[{self._step:3}/{self._steps}{left}] {what}"
        print(
            f"\r\x1b[K{line}" if self._terminal else line,
            end="" if self._terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    def done(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
