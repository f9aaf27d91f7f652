"""The state of one connection of a Redis client. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

_LEADER_IS_GONE: Final = frozenset(["MOVED", "CLUSTERDOWN", "UNKNOWN"])  # codes of errors


@dataclass(slots=True)
class RedisSession:
    """The settings and the transaction of a client's connection. Only calls change them, in the
    order of the commands."""

    number: int = 0  # of the connection, on this node
    # of the client and of this node, in readable form
    addresses: Callable[[], tuple[str, str]] = lambda: ("nowhere", "nowhere")
    user: Callable[[], str | None] = lambda: None  # who is logged in
    version: int = 2  # of the protocol
    name: str = ""  # that the client gave the connection
    facts: dict[str, str] = field(default_factory=dict)  # that the client told about itself
    is_readonly: bool = False  # reads are served here, by a follower too
    queue: list[Any] | None = None  # the commands after MULTI; None: there was no MULTI
    queue_bytes: int = 0  # of their words
    is_spoiled: bool = False  # one of them was refused
    watched: dict[str, Any] = field(default_factory=dict)  # the state of each key after `WATCH`
    held_bytes: int = 0  # of memory that these commands and keys take
    call_bytes: int = 0  # of the words of a long command that waits for its turn
    subscriptions: dict[str, Any] = field(default_factory=dict)  # by their ids
    channels: dict[tuple[str, bool], Any] = field(default_factory=dict)  # the same by their names
    subscribed: int = 0  # how often there was a new one
    was_served: bool = False  # this node has carried out a command
    was_moved: bool = False  # it has sent the client to the leader
    ends: bool = False  # after this reply

    @property
    def is_subscribed(self) -> bool:
        """Whether only subscriptions may change: in RESP2 a message looks like a reply."""
        return self.version == 2 and bool(self.subscriptions)

    def ends_after(self, failure: str) -> bool:
        """Take note of an error; return whether the connection ends after it.

        It does if the client was served here, or has been sent away before: then it takes this node
        for the leader. A client in Sentinel mode looks for the leader only when its connection has
        ended; one in cluster mode has gone there, and needs this connection no more.
        """
        if self.is_readonly or not failure.startswith("MOVED "):
            return False
        ends = self.was_served or self.was_moved
        self.was_moved = True
        return ends

    def ends_instead_of(self, failure: str) -> bool:
        """Return whether the connection ends without a reply, in place of the error of a command
        that may wait.

        It does if the client was served here: as a failover of Redis ends its connections. Workers
        connect again then, and take an error for a mistake in the program. The end says no less:
        the command has taken nothing, or its outcome is unknown.
        """
        is_gone = failure.partition(" ")[0] in _LEADER_IS_GONE
        return is_gone and self.was_served and not self.is_readonly

    def end_transaction(self) -> None:
        """Forget the queue and the watched keys."""
        self.queue, self.queue_bytes, self.is_spoiled, self.held_bytes = None, 0, False, 0
        self.watched.clear()
