"""Who speaks for a peer: one connection at a time, so that two processes can't be one server."""

from __future__ import annotations

import threading
from collections.abc import Callable

from raftline.raft.messages import PeerError


class Speakers:
    """Remembers for each peer's name the connection that used it last, and when.

    While that connection is open and spoke within `quiet_ms`, nobody else may use the name: a
    second process under one name would collect votes that were given to the first. A name whose
    bearer is silent or away is free, so a person may type in its stead.
    """

    def __init__(self, quiet_ms: int, clock_ms: Callable[[], int]) -> None:
        self._quiet_ms = quiet_ms
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._speaking: dict[str, tuple[object, int]] = {}

    def claim(self, name: str, connection: object) -> None:
        """Let `connection` speak for the peer.

        Raises:
            PeerError: another connection spoke for it just now.
        """
        now = self._clock_ms()
        with self._lock:
            holder, spoke_ms = self._speaking.get(name, (connection, now))
            if holder is not connection and now - spoke_ms < self._quiet_ms:
                raise PeerError(f"{name} speaks on another connection; nobody else does for it")
            self._speaking[name] = (connection, now)

    def release(self, name: str, connection: object) -> bool:
        """Take note that a connection ended; the name is free if it was that one's. Return whether
        it was: else the peer speaks on a later one."""
        with self._lock:
            was_its = self._speaking.get(name, (None, 0))[0] is connection
            if was_its:
                del self._speaking[name]
            return was_its
