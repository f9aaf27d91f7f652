"""The methods of a client that are one request each, made from `Calls`: for threads and for tasks;
`pipeline.py` has those of a pipeline. So a request has one signature and one docstring."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

from raftline.kv.calls import Call

P = ParamSpec("P")
Kind = TypeVar("Kind")
Request = Callable[Concatenate[Any, P], Call[Kind]]


def of_threads(request: Request[P, Kind]) -> Callable[Concatenate[Any, P], Kind]:
    """Return the method that carries out a request."""

    def method(self: Any, /, *operands: P.args, **named: P.kwargs) -> Kind:
        result: Kind = self._ask(request(self._calls, *operands, **named))
        return result

    return documented(method, request, "{}")


def of_tasks(
    request: Request[P, Kind],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, Kind]]:
    """Return the method that carries out a request, to be awaited."""

    async def method(self: Any, /, *operands: P.args, **named: P.kwargs) -> Kind:
        result: Kind = await self._ask(request(self._calls, *operands, **named))
        return result

    return documented(method, request, "{}")


_Method = TypeVar("_Method", bound=Callable[..., object])


def documented(method: _Method, request: Callable[..., object], form: str) -> _Method:
    """Return a method with the name, the docstring and the operands of a request, in tracebacks
    and for `help`."""
    made: Any = update_wrapper(method, request)
    made.__code__ = made.__code__.replace(co_name=request.__name__)
    of = inspect.signature(request)
    result = str(of.return_annotation).removeprefix("Call[").removesuffix("]")
    made.__signature__ = of.replace(return_annotation=form.format(result))
    return method
