"""The two runners of a client's machines: one for threads, one for asyncio tasks.

A machine is a generator. It yields a step, and is sent the answer, or the error is thrown into it.
It decides the next step, and touches no socket, thread, task or clock. So threads, tasks and
simulated clients, with their simulated clock and network, make the same decisions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

Step = TypeVar("Step")
Kind = TypeVar("Kind")


def carry_out(steps: Generator[Step, Any, Kind], do: Callable[[Step], object]) -> Kind:
    """Carry out each step with `do`, and return the generator's result."""
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
    """Carry out each step by awaiting `do`, and return the generator's result."""
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
