"""The listeners of a client's state: functions of the program, called at each change.

"suspended" becomes "lost" after a time, without a request. So while a client with listeners has no
node, a timer waits for that time: a thread, or a timer of the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from raftline.common.process.guarded_thread import begin_thread, print_uncaught

from ..requests.health import ClientHealth, ClientState, Listener, report_error

Function = TypeVar("Function")


def plain(function: Function, what: str) -> Function:
    """Return a function of the program. Raises TypeError if it is not a function, or if it is a
    coroutine function, which nobody would await."""
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise TypeError(f"{what} is a plain function, not {type(function).__name__}")
    return function


class _ThreadTimer:
    """A timer in a thread. `threading.Timer` waits until its thread runs."""

    def __init__(self) -> None:
        self._is_over = threading.Event()
        self.cancel = self._is_over.set

    def wait(self, seconds: float, call: Callable[[], None]) -> None:
        if not self._is_over.wait(seconds):
            call()


_Timer = _ThreadTimer | asyncio.TimerHandle


class Listeners:
    """Calls listeners one after another, with the changes in order."""

    def __init__(self, health: ClientHealth) -> None:
        self._health = health
        self._listeners: list[Listener] = []
        self._timer: _Timer | None = None
        self._is_closed = False
        health.on_change = self._changed
        health.on_wait = self._wait

    def add(self, listener: Listener) -> None:
        """Call a listener at each change from now on. Raises TypeError if it is not a plain
        function."""
        self._listeners.append(plain(listener, "a listener"))
        self._wait()

    def remove(self, listener: Listener) -> None:
        """Stop calling a listener. Raises ValueError if it was not added."""
        if listener not in self._listeners:
            raise ValueError("this listener was not added")
        self._listeners.remove(listener)
        self._wait()

    def close(self) -> None:
        """Report that the client is closed, and stop the timer."""
        self._is_closed = True
        self._health.close()
        self._wait()

    def _changed(self, state: ClientState) -> None:
        self._wait()
        if self._listeners:
            self._report(state)

    def _wait(self) -> None:
        """Wait for the time at which "suspended" becomes "lost", if there is one."""
        with self._mutex:
            if self._timer is not None:
                self._timer.cancel()
            left_s = self._health.lost_s - time.monotonic()
            if self._listeners and left_s < math.inf and not self._is_closed:
                with contextlib.suppress(RuntimeError):  # no event loop, or no thread can start
                    self._timer = self._call_later(left_s, self._check)

    def _check(self) -> None:
        self._health.look(time.monotonic())
        self._wait()  # a timer may be early by the resolution of the clock

    @property
    def _mutex(self) -> AbstractContextManager[object]:
        """The lock of the timer, where several threads may set it."""
        return contextlib.nullcontext()

    def _report(self, state: ClientState) -> None:
        raise NotImplementedError

    def _call_later(self, seconds: float, call: Callable[[], None]) -> _Timer:
        raise NotImplementedError

    def _call(self, state: ClientState) -> None:
        for listener in list(self._listeners):
            try:
                listener(state)
            except (Exception, SystemExit):  # SystemExit would silently end this thread
                report_error("a listener of the client's state failed")


class ThreadListeners(Listeners):
    """Calls listeners in a thread, which exists while there are changes to report. Another thread
    is the timer."""

    def __init__(self, health: ClientHealth, name: str) -> None:
        super().__init__(health)
        self._name = f"{name} reports its state"
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._news: deque[ClientState] = deque()
        self._is_running = False

    @property
    def _mutex(self) -> AbstractContextManager[object]:
        """The lock of this process. A lock that is held at a fork would never be released in the
        child."""
        if self._process != os.getpid():
            self._reset()
        return self._lock

    def _report(self, state: ClientState) -> None:
        with self._mutex:
            self._news.append(state)
            if self._is_running:
                return
            self._is_running = True
        try:
            begin_thread(self._run, self._name, print_uncaught)
        except RuntimeError:  # no thread can start: the next change reports this one, too
            with self._lock:
                self._is_running = False

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._news:
                    self._is_running = False
                    return
                state = self._news.popleft()
            self._call(state)

    def _call_later(self, seconds: float, call: Callable[[], None]) -> _ThreadTimer:
        timer = _ThreadTimer()
        begin_thread(lambda: timer.wait(seconds, call), self._name, print_uncaught)
        return timer


class LoopListeners(Listeners):
    """Calls listeners from the event loop, with a timer of the loop."""

    def _report(self, state: ClientState) -> None:
        asyncio.get_running_loop().call_soon(self._call, state)

    def _call_later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, call)
