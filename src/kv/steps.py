"""Requests that a rule needs, as steps: a generator yields a step and is sent its answer, or the
error is thrown into it.

The generator decides, and touches no socket, thread or task. Threads carry its steps out by
`carry_out`, tasks of asyncio by `carry_out_awaiting`. So both decide alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeVar

from raftline.kv.calls import Call


class Ask(NamedTuple):
    """A step: ask the cluster; the answer is what the reply means."""

    call: Call[Any]
    limit_s: float | None = None  # None: that of the client


Step = TypeVar("Step")
Kind = TypeVar("Kind")
Steps = Generator[Ask, Any, Kind]


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
