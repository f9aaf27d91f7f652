"""Tests that are coroutines."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from typing import ParamSpec

P = ParamSpec("P")


def run(work: Coroutine[object, object, None]) -> None:
    """Run it; no task may be left, and no thread but that of the loop's look-ups of names."""

    async def alone() -> None:
        threads = set(threading.enumerate())
        await work
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert left == set()
        new = [each.name for each in set(threading.enumerate()) - threads]
        assert [name for name in new if not name.startswith(("asyncio_", "uvloop_"))] == []

    asyncio.run(alone())


def leaves_nothing(test: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """Return the test that carries out a coroutine function by `run`."""

    @functools.wraps(test)
    def runs(*given: P.args, **fixtures: P.kwargs) -> None:
        run(test(*given, **fixtures))

    return runs
