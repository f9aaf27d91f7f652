"""A node's lock of its pairs, while a long entry is applied.

Meanwhile no other thread may wait for the pairs and hold `core`. `PairsLock` detects such a thread,
which would wait for ever in virtual time.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from ...invariants import InvariantError


class PairsLock:
    """A node's `client_lock`, which its applier holds while time passes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.is_held = False
        self.may_be_waited_for = False  # by a thread without `core`, which then continues at once

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        """All other holders hold it for no time."""

    def acquire(self, timeout: float = -1) -> bool:
        if self.is_held and timeout >= 0 and not self.may_be_waited_for:
            return False
        if self.is_held and not self.may_be_waited_for:
            raise InvariantError(f"{self._name} waits for a long entry with `core` held")
        return True

    def release(self) -> None:
        """Do the same as `__exit__`."""


class WithoutCore(AbstractContextManager[None]):
    """A context in which a thread works without `core`, except during a step."""

    def __init__(self, lock: PairsLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.may_be_waited_for = True

    def __exit__(self, *_: object) -> None:
        self._lock.may_be_waited_for = False
