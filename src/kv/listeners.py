"""The listeners of a client's state: functions of the program that are called at each change.

"suspended" becomes "lost" by its time, without a request. So while a client with listeners has no
node, something waits for that time: the thread that calls them, or a timer of the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
import time
from collections import deque
from typing import TypeVar

from raftline.clients.health import LOG, ClientHealth, ClientState, Listener

Function = TypeVar("Function")


def plain(function: Function, what: str) -> Function:
    """Return a function of the program. Raises TypeError if it is none, or a coroutine function,
    as nobody would await it."""
    if not callable(function) or asyncio.iscoroutinefunction(function):
        raise TypeError(f"{what} is a plain function, not {type(function).__name__}")
    return function


def plain_or_none(function: Function | None, what: str) -> Function | None:
    """Return a function of the program, or None. Raises TypeError."""
    return None if function is None else plain(function, what)


class Listeners:
    """Calls listeners one after the other, each change in its order."""

    def __init__(self, health: ClientHealth) -> None:
        self._health = health
        self._listeners: list[Listener] = []
        health.on_change = self._changed
        health.on_wait = self._wait

    def add(self, listener: Listener) -> None:
        """Call it at each change from now on. Raises TypeError if it is no plain function."""
        self._listeners.append(plain(listener, "a listener"))
        self._wait()

    def remove(self, listener: Listener) -> None:
        """Call it no more. Raises ValueError if it was not added."""
        if listener not in self._listeners:
            raise ValueError("this listener was not added")
        self._listeners.remove(listener)

    def close(self) -> None:
        """Wait for no time any more: the client is closed."""

    def _changed(self, state: ClientState) -> None:
        raise NotImplementedError

    def _wait(self) -> None:
        """Wait for the time at which "suspended" becomes "lost"."""
        raise NotImplementedError

    def _call(self, state: ClientState) -> None:
        for listener in list(self._listeners):
            try:
                listener(state)
            except Exception:
                LOG.exception("a listener of the client's state failed")


class ThreadListeners(Listeners):
    """Calls them in a thread, which exists while there are changes to report or to wait for."""

    def __init__(self, health: ClientHealth, name: str) -> None:
        super().__init__(health)
        self._name = f"{name} reports its state"
        self._is_closed = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        self._news_came = threading.Condition()
        self._news: deque[ClientState] = deque()
        self._is_running = False

    def remove(self, listener: Listener) -> None:
        super().remove(listener)
        self._wake()

    def close(self) -> None:
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        if self._process == os.getpid():
            with self._news_came:
                self._news_came.notify()

    def _changed(self, state: ClientState) -> None:
        self._run_for(state)

    def _wait(self) -> None:
        if self._health.lost_s < math.inf and not self._is_closed:
            self._run_for()

    def _run_for(self, *news: ClientState) -> None:
        """Have a thread that reports this, and waits for the next change."""
        if not self._listeners:
            return
        if self._process != os.getpid():
            self._begin_anew()
        with self._news_came:
            self._news.extend(news)
            self._news_came.notify()
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._news_came:
                while not self._news:
                    left_s = self._health.lost_s - time.monotonic()
                    if left_s == math.inf or self._is_closed or not self._listeners:
                        self._is_running = False
                        return
                    if left_s <= 0:
                        break
                    self._news_came.wait(left_s)
                state = self._news.popleft() if self._news else None
            if state is None:
                self._health.look(time.monotonic())
            else:
                self._call(state)


class LoopListeners(Listeners):
    """Lets the event loop call them. A timer of the loop waits."""

    _timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _changed(self, state: ClientState) -> None:
        if self._listeners:
            asyncio.get_running_loop().call_soon(self._call, state)

    def _wait(self) -> None:
        self.close()
        left_s = self._health.lost_s - time.monotonic()
        if self._listeners and left_s < math.inf:
            with contextlib.suppress(RuntimeError):  # no event loop runs
                self._timer = asyncio.get_running_loop().call_later(left_s, self._look)

    def _look(self) -> None:
        self._health.look(time.monotonic())
        self._wait()  # a timer may be early by the grain of the clock
