"""The state of a client: whether some node of the cluster serves it.

Its requests, its watches and the watches of locks that wait report to one `ClientHealth` what they
meet. It changes the state, writes the log, and has the listeners of the program called. It reads no
clock: each report comes with its time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Literal

ClientState = Literal["connected", "suspended", "lost"]
Listener = Callable[[ClientState], object]
LOST_S = 10.0  # without a node, the time of a lease unless a program gives another
SILENCE_S = 25.0  # of a node that serves a watch; it sends something every ten seconds
LOG = logging.getLogger("raftline")


def silence_limit(silence: float) -> float:
    """Return the seconds for which a node that serves a watch may send nothing. Raises TypeError,
    ValueError if that can't be a time."""
    if isinstance(silence, bool) or not isinstance(silence, int | float):
        raise TypeError(f"a silence is a number of seconds, not {type(silence).__name__}")
    if not 1 <= silence <= threading.TIMEOUT_MAX:
        raise ValueError(
            f"a silence of {silence} s: give at least 1 second. A node that has nothing to send is"
            " asked once within it"
        )
    return float(silence)


class ClientHealth:
    """Whether some node serves a client, and since when none does."""

    def __init__(self, silence_s: float = SILENCE_S) -> None:
        self.silence_s = silence_s
        self.on_change: Listener = _ignore
        self._state: ClientState = "suspended"
        self._since_s: float | None = None  # of the time without a node
        self._was_served = self._is_logged = False
        self._lock = threading.Lock()

    def state(self, now_s: float) -> ClientState:
        """Return the state. It begins as "suspended", until a node has answered."""
        since_s = self._since_s
        is_lost = since_s is not None and now_s >= since_s + LOST_S
        return "lost" if is_lost else self._state

    def served(self, now_s: float) -> None:
        """Report that a node served a request or a watch."""
        is_news = self._state != "connected"
        if not is_news:
            return
        with self._lock:
            is_news = self._state != "connected"
            since_s, self._state, self._since_s = self._since_s, "connected", None
            is_logged, self._was_served, self._is_logged = self._is_logged, True, False
        if is_logged and since_s is not None:
            LOG.warning("a node serves again, after %.0f s", now_s - since_s)
        if is_news:
            self.on_change("connected")

    def failed(self, now_s: float, where: str, why: str) -> None:
        """Report that each known node was asked, and none serves."""
        with self._lock:
            before = self._state
            since_s = self._since_s = now_s if self._since_s is None else self._since_s
            self._state = "lost" if now_s >= since_s + LOST_S else "suspended"
            state = self._state
            is_logged, self._is_logged = self._is_logged, self._was_served and state == "lost"
        if self._is_logged and not is_logged:
            LOG.warning(
                "no node serves for %.0f s, so events, and locks that wait, are late; asked in"
                " turn: %s. The last one: %s",
                now_s - since_s, where, why,
            )  # fmt: skip
        if state != before:
            self.on_change(state)


def _ignore(_: ClientState) -> None: ...
