"""The gates of one client: of its threads or tasks that wait for one lock, one at a time tries for
it in the cluster, and the others wait in the program, in the order in which they came.

A caller stays in its gate until it has given up, or until what it acquired is released or lost. A
semaphore's gate admits as many as the semaphore. A single try needs no gate, and a shared lock has
none. Gates save entries of the log; they exclude nobody, which the cluster does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import NamedTuple


class GateTurn:
    """The place of one caller at a gate."""

    is_admitted = False

    def __init__(self, gates: Gates, gate: tuple[str, int]) -> None:
        self.gate = gate  # its name, and how many it admits
        self._gates = gates
        self._wake: Callable[[], object] = lambda: None

    def when_admitted(self, wake: Callable[[], object]) -> None:
        """Call a function once it is this caller's turn, at once if it is already."""
        self._wake = wake
        if self.is_admitted:
            wake()

    def admit(self) -> None:
        self.is_admitted = True
        self._wake()

    def leave(self) -> None:
        """Admit the next caller. Do nothing if this one has left already. Any thread may call
        it."""
        self._gates.leave(self)


class AwaitTurn(NamedTuple):
    """A step: wait for a turn at a gate. The answer is False if the time is over."""

    turn: GateTurn
    until_s: float | None


class Gates:
    """The callers at each gate. Any thread may use it; a forked child begins with empty gates."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()  # a signal handler may release a lock
        self._turns: dict[tuple[str, int], list[GateTurn]] = {}

    def line_up(self, name: str, limit: int) -> GateTurn:
        """Return the turn of a new caller, which comes after all others."""
        if self._process != os.getpid():
            self._reset()
        turn = GateTurn(self, (name, limit))
        with self._lock:
            turns = self._turns.setdefault(turn.gate, [])
            turns.append(turn)
            is_next = len(turns) <= limit
        if is_next:
            turn.admit()
        return turn

    def leave(self, turn: GateTurn) -> None:
        if self._process != os.getpid():
            return
        with self._lock:
            turns = self._turns.get(turn.gate, [])
            if turn not in turns:
                return
            turns.remove(turn)
            admitted = turns[: turn.gate[1]]
            if not turns:
                del self._turns[turn.gate]
        for each in admitted:
            each.admit()
