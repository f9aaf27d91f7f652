"""The listeners of a client's state: functions of the program that are called at each change."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque

from raftline.clients.health import LOG, ClientHealth, ClientState, Listener


class Listeners:
    """Calls listeners one after the other, each change in its order."""

    def __init__(self, health: ClientHealth) -> None:
        self._listeners: list[Listener] = []
        health.on_change = self._changed

    def add(self, listener: Listener) -> None:
        """Have it called at each change from now on. Raises TypeError if it can't be called."""
        if not callable(listener) or asyncio.iscoroutinefunction(listener):
            raise TypeError("a listener is a plain function that takes the state")
        self._listeners.append(listener)

    def remove(self, listener: Listener) -> None:
        """Call it no more. Raises ValueError if it was not added."""
        self._listeners.remove(listener)

    def _changed(self, state: ClientState) -> None:
        raise NotImplementedError

    def _call(self, state: ClientState) -> None:
        for listener in list(self._listeners):
            try:
                listener(state)
            except Exception:
                LOG.exception("a listener of the client's state failed")


class ThreadListeners(Listeners):
    """Calls them in a thread of its own, which runs while there is a change to report."""

    def __init__(self, health: ClientHealth, name: str) -> None:
        super().__init__(health)
        self._name = f"{name} reports its state"
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._news: deque[ClientState] = deque()
        self._is_running = False

    def _changed(self, state: ClientState) -> None:
        if not self._listeners:
            return
        if self._process != os.getpid():
            self._begin_anew()
        with self._lock:
            self._news.append(state)
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._news:
                    self._is_running = False
                    return
                state = self._news.popleft()
            self._call(state)


class LoopListeners(Listeners):
    """Calls them from the event loop, as a callback of its own."""

    def _changed(self, state: ClientState) -> None:
        if self._listeners:
            asyncio.get_running_loop().call_soon(self._call, state)
