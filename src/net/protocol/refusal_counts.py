"""Counts of the refusals that a node sent, by code."""

from __future__ import annotations

import threading

from ...wire.refusal import CODES


class RefusalCounts:
    """Refused and failed requests since the start of a node. Any thread may count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(CODES, 0)  # a figure that begins at 0 shows its first increase

    def add(self, code: str) -> None:
        """Count a refusal with this code."""
        if code in self._counts:  # a state machine of a program may write any code in its reply
            with self._lock:
                self._counts[code] += 1

    def by_code(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)
