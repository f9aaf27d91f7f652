"""Waits that end in time, or as soon as their caller gives up, also in asyncio.

In asyncio a call waits in its own thread, never in the event loop.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from ..clients.calls.methods import short_traceback
from ..clients.calls.wait_times import end_of_wait
from ..clients.locks.lease_timer import LEAST_S

PAUSES_S = (0.02, 0.25)  # the first and the longest pause between two checks
_of_this_thread = threading.local()
TakeBack = Callable[[Any], object]


class Waiting:
    """Growing pauses, until the time is over or the thread's work is given up."""

    def __init__(self, block: bool = True, timeout: float | None = None) -> None:
        """Set a wait of at most `timeout` seconds, forever with None; without `block`, do not
        wait."""
        self._began_s = time.monotonic()
        end_s = end_of_wait(timeout, self._began_s)
        if timeout is not None and timeout < 0:
            raise ValueError("a timeout can't be negative")
        self._end_s = math.inf if end_s is None else end_s
        self._block = block
        self._pause_s = PAUSES_S[0]

    def pauses(self) -> bool:
        """Pause and return True; return False at once if the time is over."""
        pause_s = min(self._pause_s, self._left_s())
        self._pause_s = min(2 * self._pause_s, PAUSES_S[1])
        if pause_s > 0:
            given_up().wait(pause_s)
        return pause_s > 0

    def until(self, changed: threading.Condition, holds: Callable[[], bool]) -> bool:
        """Wait, with `changed` held, until `holds` is true; return whether that happened in
        time."""
        while not holds():
            left_s = self._left_s()
            if left_s <= 0:
                return False
            changed.wait(min(PAUSES_S[1], left_s))
        return True

    def limit_s(self, request_s: float | None) -> float | None:
        """Return the time limit of a request, which is at most the remaining wait. `request_s` is
        the request's own limit, which counts alone if there is no wait."""
        if not self._block or self._end_s in (self._began_s, math.inf):
            return request_s
        left_s = max(LEAST_S, self._end_s - time.monotonic())
        return left_s if request_s is None else min(left_s, request_s)

    def _left_s(self) -> float:
        if not self._block or given_up().is_set():
            return 0.0
        return self._end_s - time.monotonic()


def given_up() -> threading.Event:
    """Return the event that is set when this thread's caller gives up."""
    event: threading.Event | None = getattr(_of_this_thread, "given_up", None)
    if event is None:
        event = threading.Event()
        give_up_with(event)
    return event


def give_up_with(event: threading.Event) -> None:
    """End this thread's waits when `event` is set."""
    _of_this_thread.given_up = event


class Awaitable:
    """A wrapper whose methods are awaited: `await settings.awaitable.get("lamp")`.

    Each call has its own thread: the threads of a pool might all wait for an item that one of them
    should put. A cancelled call stops waiting, but its request may take effect. If it still gets an
    item from a queue, the item is put back. A wrapped context manager works with `async with`.
    """

    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._target, name)
        if not callable(method):
            raise AttributeError(f"{name} is not a method, so it can't be awaited")

        @short_traceback
        async def call(*arguments: Any, **options: Any) -> Any:
            return await in_a_thread(lambda: method(*arguments, **options), self._undoing(name))

        return call

    def __call__(self) -> object:
        """Return the wrapped object."""
        return self._target

    async def __aenter__(self) -> Any:
        enter = getattr(self._target, "__enter__")  # noqa: B009 - any type
        return await in_a_thread(enter, self._undoing("__enter__"))

    async def __aexit__(self, *error: object) -> Any:
        leave = getattr(self._target, "__exit__")  # noqa: B009 - any type
        return await in_a_thread(lambda: leave(*error))

    def _undoing(self, name: str) -> TakeBack | None:
        undo: dict[str, TakeBack] = getattr(self._target, "_taken_back", {})
        return undo.get(name)


async def in_a_thread(work: Callable[[], Any], take_back: TakeBack | None = None) -> Any:
    """Run `work` in its own thread; return its result or raise its error.

    If this is cancelled, `work` is asked to stop waiting. If it still returns a result, `take_back`
    gets it, also in a thread.
    """
    call = _ThreadCall(work, take_back)
    threading.Thread(target=call.run, name="raftline awaits", daemon=True).start()
    try:
        return await call.future
    except asyncio.CancelledError:
        call.cancel()
        raise


class _ThreadCall:
    """One call in its thread, and the future that passes its result to the event loop."""

    def __init__(self, work: Callable[[], Any], take_back: TakeBack | None) -> None:
        self._work = work
        self._take_back = take_back
        self._given_up = threading.Event()
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def run(self) -> None:
        """Do the work in this thread, and pass on its result."""
        give_up_with(self._given_up)
        result: Any = None
        problem: BaseException | None = None
        try:
            result = self._work()
        except StopIteration as error:  # a future can't carry it, and a coroutine can't raise it
            problem = RuntimeError("a call that is awaited raised StopIteration")
            problem.__cause__ = error
        except BaseException as error:  # also SystemExit: otherwise the caller would wait forever
            problem = error
        try:
            self._loop.call_soon_threadsafe(self._settle, result, problem)
        except RuntimeError:  # the event loop has ended
            self._undo(result, problem)

    def cancel(self) -> None:
        """Stop the call, and undo a result that arrived together with the cancellation."""
        self._given_up.set()
        if self.future.done() and not self.future.cancelled() and not self.future.exception():
            self._undo(self.future.result(), None)

    def _settle(self, result: Any, problem: BaseException | None) -> None:
        if self.future.cancelled():
            self._undo(result, problem)
        elif problem is not None:
            self.future.set_exception(problem)
        else:
            self.future.set_result(result)

    def _undo(self, result: Any, problem: BaseException | None) -> None:
        if problem is None and self._take_back is not None:
            threading.Thread(
                target=self._take_back, args=(result,), name="raftline takes back", daemon=True
            ).start()
