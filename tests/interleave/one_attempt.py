"""A lock as it was once: the callers of one object share an attempt."""

from __future__ import annotations

from typing import Any

from raftline.clients.calls.wait_times import Wait
from raftline.clients.locks.callers import Attempt
from raftline.clients.locks.claims import AwaitTurn, Claiming


class OneAttempt:
    """Keeps lease and token in the object, for all callers; to stand before a class of locks."""

    def _getting(self: Any, value: str, timeout_s: float | None) -> Claiming[int | None]:
        if not hasattr(self, "_attempt"):
            self._attempt = Attempt(self)
        attempt, wait = self._attempt, Wait.of(timeout_s, self._now())
        for _ in range(100):  # it was refused then; who asked again came to the same
            if attempt.token is None:
                break
            yield AwaitTurn(self._new_waiter(), self._now() + 0.1)
        assert attempt.token is None, "the lock is held for ever"
        try:
            yield from self._claiming(attempt, value, wait)
        finally:
            if attempt.token is None:
                yield from self._dropping(attempt)
        return attempt.token  # type: ignore[no-any-return]
