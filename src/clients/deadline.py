"""The time limit of an answer, and the line that says that the answer is late."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

from raftline.common.console import safe_line

SAID_AFTER_S = 1.0


class Deadline:
    """`limit_s` seconds from now; `say` gets one line when a second of them has brought nothing.

    The caller that waits looks at `notice_s`, and calls `notice` when that has come. Both times are
    on the monotonic clock.
    """

    def __init__(self, limit_s: float, say: Callable[[str], None] | None = None) -> None:
        now_s = time.monotonic()
        self.until_s = now_s + limit_s
        self.notice_s = now_s + SAID_AFTER_S if say else math.inf
        self._say = say

    @property
    def left_s(self) -> float:
        return max(0.0, self.until_s - time.monotonic())

    def notice(self, why: str) -> None:
        """Say why there is no answer yet, this once."""
        self.notice_s = math.inf
        if self._say is not None:
            self._say(f"No answer yet: {why}")


def say_waiting(text: str) -> None:
    """Say it where it is no part of what was asked for: on standard error."""
    print(f"[*] {safe_line(text)}", file=sys.stderr, flush=True)
