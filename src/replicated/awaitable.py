"""Replicated objects in asyncio: a call waits in a thread of its own, never the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any


class Awaitable:
    """What it stands for, with methods to be awaited: `await settings.awaitable.get("lamp")`.

    A call has a thread of its own while it lasts: a pool's threads might all wait for a lock
    whose release would need one of them. A cancelled call is not taken back: what it asked for
    may take effect. An object that is a context manager is one for `async with`.
    """

    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._target, name)
        if not callable(method):
            raise AttributeError(f"{name} is no method, so there is nothing to await")

        async def call(*arguments: Any, **named: Any) -> Any:
            return await in_a_thread(lambda: method(*arguments, **named))

        return call

    def __call__(self) -> object:
        """Return what this stands for."""
        return self._target

    async def __aenter__(self) -> Any:
        return await in_a_thread(getattr(self._target, "__enter__"))  # noqa: B009 - any type

    async def __aexit__(self, *error: object) -> Any:
        leave = getattr(self._target, "__exit__")  # noqa: B009 - any type
        return await in_a_thread(lambda: leave(*error))


async def in_a_thread(work: Callable[[], Any]) -> Any:
    """Return what `work` returns, or raise what it raises; it runs in a thread of its own."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def run() -> None:
        result, problem = None, None
        try:
            result = work()
        except Exception as error:
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody awaits it any more
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=run, name="raftline awaits", daemon=True).start()
    return await future
