"""A lock that owns a value, so that a thread has the value only while it has the lock."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Mutex(Generic[Value]):
    """`with mutex as value:` takes the lock and gives the value. Nobody keeps a reference to the
    value outside of such a block; a function that gets it as an argument is called within one."""

    def __init__(self, value: Value) -> None:
        self._value = value
        self._lock = threading.Lock()

    def __enter__(self) -> Value:
        self._lock.acquire()
        return self._value

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def acquire(self, timeout_s: float) -> Value | None:
        """Take the lock, and return the value; return None if another thread has the lock for so
        long. With 0, do not wait. The caller calls `release`."""
        is_ours = self._lock.acquire(timeout=timeout_s) if timeout_s else self._lock.acquire(False)
        return self._value if is_ours else None

    def release(self) -> None:
        self._lock.release()
