"""The methods of a client that send one request each, made from `CallFactory`, and methods that
carry out a machine.

`pipeline.py` makes the methods of a pipeline in the same way. So a request has one signature and
one docstring.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

from .calls import Call

P = ParamSpec("P")
Kind = TypeVar("Kind")
Request = Callable[Concatenate[Any, P], Call[Kind]]
Machine = Callable[Concatenate[Any, P], Generator[Any, Any, Kind]]
_Method = TypeVar("_Method", bound=Callable[..., object])


class Requests:
    """The requests about one subject, which `_calls` makes."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask


def of_threads(request: Request[P, Kind]) -> Callable[Concatenate[Any, P], Kind]:
    """Return the method that carries out a request."""

    def method(self: Any, /, *operands: P.args, **options: P.kwargs) -> Kind:
        result: Kind = self._ask(request(self._calls, *operands, **options))
        return result

    return documented(method, request, "{}")


def of_tasks(
    request: Request[P, Kind],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, Kind]]:
    """Return the coroutine method that carries out a request."""

    async def method(self: Any, /, *operands: P.args, **options: P.kwargs) -> Kind:
        result: Kind = await self._ask(request(self._calls, *operands, **options))
        return result

    return documented(method, request, "{}")


def carried_out(machine: Machine[P, Kind], name: str) -> Callable[Concatenate[Any, P], Kind]:
    """Return the method of this name that carries out a machine of the object, for threads."""

    def method(self: Any, /, *operands: P.args, **options: P.kwargs) -> Kind:
        result: Kind = self._carry_out(machine(self, *operands, **options))
        return result

    return documented(method, machine, "{}", name)


def awaited(
    machine: Machine[P, Kind], name: str
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, Kind]]:
    """Return the coroutine method of this name that carries out a machine of the object."""

    async def method(self: Any, /, *operands: P.args, **options: P.kwargs) -> Kind:
        result: Kind = await self._carry_out(machine(self, *operands, **options))
        return result

    return documented(method, machine, "{}", name)


def documented(
    method: _Method, request: Callable[..., object], form: str, name: str = ""
) -> _Method:
    """Return a method with the name, the docstring and the parameters of a request, as in
    `help`."""
    wrapper: Any = update_wrapper(method, request)
    wrapper.__name__ = name or request.__name__
    of = inspect.signature(request)
    result = str(of.return_annotation).partition("[")[2].removesuffix("]")
    returns = form.format(result)
    wrapper.__signature__ = of.replace(return_annotation=returns)
    wrapper.__annotations__ = {**request.__annotations__, "return": returns}  # for Sphinx
    return method
