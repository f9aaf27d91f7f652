"""The ends of a check other than success, as exceptions."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

IN_VAIN_MAX = 3


class Failed(Exception):
    """The node broke the rule; the message says how."""


class NotJudged(Exception):
    """A check that can't judge here; the message gives the reason."""


class Elections:
    """The elections that the checks of a run have waited for. If a kind of election never happened
    although several checks waited their full time, no check waits for it again: most checks need an
    election, and a node that never leads would use up the time of each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._happened: set[str] = set()
        self._in_vain: Counter[str] = Counter()

    @contextlib.contextmanager
    def awaited(self, problem: str) -> Iterator[None]:
        """Wait for an election inside this context. `problem` is the failure without it.

        Raises:
            Failed: it never came, or earlier checks waited without success.
        """
        with self._lock:
            in_vain = 0 if problem in self._happened else self._in_vain[problem]
        if in_vain >= IN_VAIN_MAX:
            raise Failed(f"{problem}: so it was in {in_vain} checks, and this one does not wait")
        try:
            yield
        except Failed:
            with self._lock:
                self._in_vain[problem] += 1
            raise
        with self._lock:
            self._happened.add(problem)
