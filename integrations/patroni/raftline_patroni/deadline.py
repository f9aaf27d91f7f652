"""The time limit that all requests of one call of Patroni share."""

from __future__ import annotations

import time

import raftline


class Deadline:
    """`seconds` from now on."""

    def __init__(self, seconds: float) -> None:
        self._until_s = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """The seconds that are left. Raises raftline.Unreachable: none."""
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise raftline.Unreachable("the retry_timeout of Patroni is over")
        return left_s
