"""The state of a client: whether a node of the cluster serves it.

Its requests, its watches and the watches of waiting locks report successes and failures to one
`ClientHealth`. It changes the state, writes the log, and calls the program's listeners. It does not
read a clock: each report comes with its time.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
from collections.abc import Callable
from typing import Literal

from .times import Seconds, seconds_in

ClientState = Literal["connected", "suspended", "lost", "closed"]
Listener = Callable[[ClientState], object]
LOST_S = 10.0  # without a node; the default time of a lease
SILENCE_S = 25.0  # of a node that serves a watch; it sends a line every ten seconds
LOG = logging.getLogger("raftline")


def report_error(text: str, *operands: object) -> None:
    """Log the current exception. A failing filter of the program does not end the thread."""
    with contextlib.suppress(Exception):
        LOG.exception(text, *operands)


def _warn(text: str, *operands: object) -> None:
    """Log a warning. A failing filter of the program does not end a request, watch or listener."""
    with contextlib.suppress(Exception):
        LOG.warning(text, *operands)


def silence_limit(silence: Seconds) -> float:
    """Return the seconds for which a node that serves a watch may be silent. Raises TypeError,
    ValueError if the time is invalid."""
    seconds = seconds_in(silence, "a silence")
    if not 1 <= seconds <= threading.TIMEOUT_MAX:
        raise ValueError(
            f"a silence of {seconds} s: give at least 1 second. A node that has nothing to send is"
            " probed once in that time"
        )
    return float(seconds)


class ClientHealth:
    """Whether a node serves a client, and the time since which no node does."""

    def __init__(self, silence_s: float = SILENCE_S) -> None:
        self.silence_s = silence_s
        self.on_change: Listener = _ignore
        self.on_wait: Callable[[], object] = _ignore  # called when no node serves any longer
        self._state: ClientState = "suspended"
        self._since_s: float | None = None  # the start of the time without a node
        self.was_served = False  # ever
        self._asked = ""  # the nodes of the last attempt, and the last answer
        self._process = os.getpid()
        self._own_lock = threading.RLock()  # a signal handler may ask

    @property
    def _lock(self) -> contextlib.AbstractContextManager[object]:
        """The lock of this process. A lock that is held at a fork would never be released in the
        child."""
        if self._process != os.getpid():
            self._process, self._own_lock = os.getpid(), threading.RLock()
        return self._own_lock

    @property
    def lost_s(self) -> float:
        """The time at which "suspended" becomes "lost"; inf if it does not."""
        since_s = self._since_s
        return math.inf if since_s is None or self._state == "lost" else since_s + LOST_S

    def state(self, now_s: float) -> ClientState:
        """Return the state. It is "suspended" at first, until a node has answered."""
        return "lost" if now_s >= self.lost_s else self._state

    def served(self, now_s: float) -> None:
        """Record that a node served a request or a watch."""
        if self._state == "connected":
            return
        with self._lock:
            if self._state in ("connected", "closed"):
                return
            since_s, self._since_s = self._since_s, None
            is_logged = self._state == "lost" and self.was_served
            self.was_served = True
            self._change("connected")
        if is_logged and since_s is not None:
            _warn("a node serves again, after %.0f s", now_s - since_s)

    def failed(self, now_s: float, where: str, why: str) -> None:
        """Record that every known node was asked, and no node serves."""
        with self._lock:
            self._asked = f"{where}. The last one: {why}"
            if self._state == "connected":
                self._change("suspended")
            if self._since_s is None and self._state != "closed":
                self._since_s = now_s
                self.on_wait()
        self.look(now_s)

    def look(self, now_s: float) -> None:
        """Change "suspended" to "lost" if it is time."""
        with self._lock:
            since_s = self._since_s
            if since_s is None or now_s < self.lost_s:
                return
            self._change("lost")
        if self.was_served:
            _warn(
                "no node has served for %.0f s, so events and waiting locks are late; asked in"
                " turn: %s",
                now_s - since_s, self._asked,
            )  # fmt: skip

    def close(self) -> None:
        """Record that the program has closed the client. This state is final."""
        with self._lock:
            self._since_s = None
            self._change("closed")

    def _change(self, state: ClientState) -> None:
        """Change the state, with the lock held, so that listeners get the changes in order."""
        if self._state != "closed":
            self._state = state
            self.on_change(state)


def _ignore(*_: object) -> None: ...
