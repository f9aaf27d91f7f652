"""The methods of a client that send one request each, made from `Calls`, and their tracebacks.

`pipeline.py` makes the methods of a pipeline in the same way. So a request has one signature and
one docstring.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Coroutine, Generator
from functools import update_wrapper
from pathlib import Path
from types import FunctionType, TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from ...common.errors import RaftlineError
from .calls import Call

P = ParamSpec("P")
Kind = TypeVar("Kind")
Request = Callable[Concatenate[Any, P], Call[Kind]]
Machine = Callable[Concatenate[Any, P], Generator[Any, Any, Kind]]
_Method = TypeVar("_Method", bound=Callable[..., object])
_Class = TypeVar("_Class", bound=type)
_PACKAGE = f"{Path(__file__).parents[2]}{os.sep}"


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
    """Return a method with the name, the docstring and the parameters of a request, in tracebacks
    and in `help`."""
    wrapper: Any = _named(method, request, name)
    of = inspect.signature(request)
    result = str(of.return_annotation).partition("[")[2].removesuffix("]")
    wrapper.__signature__ = of.replace(return_annotation=form.format(result))
    return method


def _named(function: Any, method: Any, name: str = "") -> Any:
    """Return a function with the name and the docstring of a method, also in tracebacks."""
    update_wrapper(function, method)
    function.__name__ = name or method.__name__
    function.__code__ = function.__code__.replace(co_name=function.__name__)
    return function


def short_traceback(
    method: _Method, kinds: tuple[type[Exception], ...] = (RaftlineError,)
) -> _Method:
    """Return a method whose errors of these kinds show only one frame of this package, its own, so
    that a traceback ends near the program's line. Frames of the program's functions stay."""

    def shown(*operands: Any, **options: Any) -> Any:
        try:
            return method(*operands, **options)
        except kinds as error:
            failure = error
        raise failure.with_traceback(_of_others(failure.__traceback__))

    async def shown_later(*operands: Any, **options: Any) -> Any:
        try:
            return await method(*operands, **options)  # type: ignore[misc]
        except kinds as error:
            failure = error
        raise failure.with_traceback(_of_others(failure.__traceback__))

    wrapper: _Method = _named(shown_later if inspect.iscoroutinefunction(method) else shown, method)
    return wrapper


def _of_others(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of this package."""
    if traceback is None:
        return None
    frame, rest = traceback.tb_frame, _of_others(traceback.tb_next)
    if frame.f_code.co_filename.startswith(_PACKAGE):
        return rest
    return TracebackType(rest, frame, traceback.tb_lasti, traceback.tb_lineno)


def short_tracebacks_of(*kinds: type[Exception]) -> Callable[[_Class], _Class]:
    """Return a class decorator that gives public methods and properties short tracebacks, also for
    errors of these kinds."""

    def shorten(function: Any) -> Any:
        return function and short_traceback(function, (RaftlineError, *kinds))

    def decorate(cls: _Class) -> _Class:
        for name, each in list(vars(cls).items()):
            is_private = name.startswith("_") and not name.endswith("__")
            if isinstance(each, FunctionType) and not is_private and name != "__init__":
                setattr(cls, name, shorten(each))
            elif isinstance(each, property):
                setattr(cls, name, property(shorten(each.fget), shorten(each.fset)))
        return cls

    return decorate
