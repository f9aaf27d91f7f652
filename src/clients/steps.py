"""The two runners of a client's machines: one for threads, one for tasks of asyncio.

A machine is a generator. It yields a step, and is sent its answer, or the error is thrown into it.
It decides what comes next, and touches no socket, thread, task or clock. So threads and tasks
decide alike, and so do simulated clients, whose clock and network are simulated, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

Step = TypeVar("Step")
Kind = TypeVar("Kind")


def carry_out(steps: Generator[Step, Any, Kind], do: Callable[[Step], object]) -> Kind:
    """Do each step by `do`, and return what the generator returns."""
    try:
        step = next(steps)
        while True:
            try:
                answer = do(step)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        result: Kind = end.value
        return result


async def carry_out_awaiting(
    steps: Generator[Step, Any, Kind], do: Callable[[Step], Awaitable[object]]
) -> Kind:
    """Do each step by `do`, awaited, and return what the generator returns."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await do(step)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        result: Kind = end.value
        return result
