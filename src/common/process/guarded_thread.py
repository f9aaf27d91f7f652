"""Threads of a node that report the error with which they end, and the start of a thread.

`Thread.start` waits until the new thread runs. If memory is short, CPython's new thread may die
before that, and the wait never ends. So only a thread that nobody waits for, at the start of a
program, may call it; tests/lists/test_threads.py names these places. All others use `begin_thread`.
"""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable

LOST_S = 10.0  # a thread that has not begun by then never will


def guarded_thread(
    run: Callable[[], object], name: str, on_error: Callable[[Exception], object]
) -> threading.Thread:
    """Return a thread that is not started yet, and that can be joined.

    `on_error` receives an exception from `run`. It stops the node, or reports which function of the
    node has ended.
    """

    def guarded() -> None:
        try:
            run()
        except Exception as error:
            on_error(error)

    return threading.Thread(target=guarded, name=name, daemon=True)


def begin_thread(
    run: Callable[[], object], name: str, on_error: Callable[[Exception], object]
) -> None:
    """Start a thread without waiting for it; any thread may call this, with any lock held.

    `on_error` receives an exception from `run`. `report_lost` also calls it, in another thread, if
    the thread died before it began.

    Raises:
        RuntimeError: no thread can be started now.
    """
    beginning = _Beginning(run, name, on_error)
    _beginning.add(beginning)
    try:
        _thread.start_new_thread(beginning.run, ())
    except (RuntimeError, MemoryError) as error:
        _beginning.discard(beginning)
        raise RuntimeError("can't start new thread") from error


def print_uncaught(error: Exception) -> None:
    """Print an error as Python does if nothing in a thread catches it."""
    threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))


class _Beginning:
    """A thread that has not begun yet."""

    def __init__(
        self, run: Callable[[], object], name: str, on_error: Callable[[Exception], object]
    ) -> None:
        self.name = name
        self.on_error = on_error
        self.by_s = time.monotonic() + LOST_S
        self._run = run

    def leave(self) -> bool:
        """Return True once: for the thread that begins, or for the one that reports its loss."""
        try:
            _beginning.remove(self)
        except KeyError:
            return False
        return True

    def run(self) -> None:
        if not self.leave():
            return  # it was reported as lost
        try:
            threading.current_thread().name = self.name  # for debuggers
            self._run()
        except Exception as error:
            self.on_error(error)
        finally:
            # Python 3.11 would list it for ever.
            threading._active.pop(_thread.get_ident(), None)  # type: ignore[attr-defined]


_beginning: set[_Beginning] = set()


def report_lost() -> None:
    """Report the threads that died before they began; the main thread of a node calls this from
    time to time, with no lock held."""
    now_s = time.monotonic()
    for beginning in _beginning.copy():
        if beginning.by_s < now_s and beginning.leave():
            beginning.on_error(MemoryError(f"the thread {beginning.name} could not begin"))
