"""Replicated objects in asyncio: a call waits in a thread of its own, never the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from raftline.objects.waiting import give_up_with

TakeBack = Callable[[Any], object]


class Awaitable:
    """An object with methods to be awaited: `await settings.awaitable.get("lamp")`.

    A call has a thread of its own while it lasts: a pool's threads might all wait for a lock
    whose release would need one of them. What a cancelled call asked for may take effect, but it
    waits no longer; a lock that it gets all the same is released, an item of a queue put back.
    An object that is a context manager is one for `async with`.
    """

    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._target, name)
        if not callable(method):
            raise AttributeError(f"{name} is no method, so there is nothing to await")

        async def call(*arguments: Any, **named: Any) -> Any:
            return await in_a_thread(lambda: method(*arguments, **named), self._undoing(name))

        return call

    def __call__(self) -> object:
        """Return what this stands for."""
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
    """Return what `work` returns, or raise what it raises; it runs in a thread of its own.

    Where this is cancelled, `work` is told to wait no longer (waiting.py), and what it returns
    all the same is given to `take_back`, in a thread as well.
    """
    call = _Call(work, take_back)
    threading.Thread(target=call.run, name="raftline awaits", daemon=True).start()
    try:
        return await call.future
    except asyncio.CancelledError:
        call.cancel()
        raise


class _Call:
    """One call in its thread, and the future that tells the event loop how it ended."""

    def __init__(self, work: Callable[[], Any], take_back: TakeBack | None) -> None:
        self._work = work
        self._take_back = take_back
        self._given_up = threading.Event()
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def run(self) -> None:
        """Do the work, in this thread, and hand over what comes of it."""
        give_up_with(self._given_up)
        result, problem = None, None
        try:
            result = self._work()
        except Exception as error:
            problem = error
        try:
            self._loop.call_soon_threadsafe(self._settle, result, problem)
        except RuntimeError:  # the loop has ended: nobody awaits it any more
            self._undo(result, problem)

    def cancel(self) -> None:
        """Let it end, and take back what came together with the cancellation."""
        self._given_up.set()
        if self.future.done() and not self.future.cancelled() and not self.future.exception():
            self._undo(self.future.result(), None)

    def _settle(self, result: Any, problem: Exception | None) -> None:
        if self.future.cancelled():
            self._undo(result, problem)
        elif problem is not None:
            self.future.set_exception(problem)
        else:
            self.future.set_result(result)

    def _undo(self, result: Any, problem: Exception | None) -> None:
        if problem is None and self._take_back is not None:
            threading.Thread(
                target=self._take_back, args=(result,), name="raftline takes back", daemon=True
            ).start()
