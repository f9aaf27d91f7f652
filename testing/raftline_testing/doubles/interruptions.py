"""Interrupt a call at one of its lines, as the handler of a signal does.

A tracer raises at the line. At a line with `with` a real signal arrives instead: its handler runs
where Python runs handlers, so never between a lock and its block, nor between the block and the
release, where a tracer could raise as well.
"""

from __future__ import annotations

import ctypes
import linecache
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

OF_CLIENTS = ("/clients/", "/common/process/wakeup.py")


class Late(Exception):
    """Raised in the middle of a call."""


class _Here:
    """Any argument of a trace function, converted to the number of the signal."""

    @classmethod
    def from_param(cls, value: object) -> ctypes.c_int:
        if isinstance(value, FrameType):
            sys.settrace(None)
            value.f_trace, value.f_trace_opcodes = None, False
        return ctypes.c_int(signal.SIGUSR1)


# A trace function in C. One in Python would itself be where the handler runs.
_arrive: Any = ctypes.PyDLL(None).PyErr_SetInterruptEx
_arrive.argtypes, _arrive.restype = [_Here] * 3, None


class Tracer:
    """Interrupts at the line with this number, counted from the start of a call; `place` is that
    line, "" after the last one."""

    def __init__(self, number: int, modules: Sequence[str] = OF_CLIENTS) -> None:
        self.place = ""
        self._left = number
        self._modules = modules
        self._awaits_signal = False

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        file = frame.f_code.co_filename
        if not any(each in file for each in self._modules):
            return None
        self._left -= event == "line"
        if event != "line" or self._left:
            return self
        self.place = f"{file}:{frame.f_lineno}"
        if not linecache.getline(file, frame.f_lineno).lstrip().startswith(("with ", "async with")):
            raise Late
        self._awaits_signal = frame.f_trace_opcodes = True
        return _arrive  # before the next instruction, the first one of the line

    def _handle(self, *_: object) -> None:
        awaited, self._awaits_signal = self._awaits_signal, False
        if awaited:
            raise Late

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Trace this thread, the main one, for the time of a block."""
        before = signal.signal(signal.SIGUSR1, self._handle)
        try:
            sys.settrace(self)
            yield
        finally:
            sys.settrace(None)
            self._awaits_signal = False
            signal.signal(signal.SIGUSR1, before)


def interrupted(
    number: int, call: Callable[[], object], modules: Sequence[str] = OF_CLIENTS
) -> str:
    """Interrupt a call at the line with this number; return its place, "" after the last line."""
    tracer = Tracer(number, modules)
    try:
        with tracer.tracing():
            call()
    except Late:
        pass
    return tracer.place
