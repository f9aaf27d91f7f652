"""The state of one connection of a Redis client. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Session:
    """The settings and the transaction of a client's connection. Only calls change them, in the
    order of the commands."""

    number: int = 0  # of the connection, on this node
    version: int = 2  # of the protocol
    name: str = ""  # that the client gave the connection
    facts: dict[str, str] = field(default_factory=dict)  # that the client told about itself
    is_readonly: bool = False  # reads are served here, by a follower too
    queue: list[Any] | None = None  # the commands after MULTI; None: there was no MULTI
    queue_bytes: int = 0  # of their words
    is_spoiled: bool = False  # one of them was refused
    watched: dict[str, Any] = field(default_factory=dict)  # the state of each key after `WATCH`
    held_bytes: int = 0  # of memory that these commands and keys take
    subscriptions: dict[str, Any] = field(default_factory=dict)  # by their ids
    subscribed: int = 0  # how often there was a new one
    was_served: bool = False  # a line was carried out here
    ends: bool = False  # after this reply

    @property
    def is_subscribed(self) -> bool:
        """Whether only subscriptions may change: in RESP2 a message looks like a reply."""
        return self.version == 2 and bool(self.subscriptions)

    def is_left_by(self, failure: str) -> bool:
        """Whether the connection ends after this error: its node led, and no longer does. A client
        in Sentinel mode then looks for the leader."""
        return self.was_served and not self.is_readonly and failure.startswith("MOVED ")

    def end_transaction(self) -> None:
        """Forget the queue and the watched keys."""
        self.queue, self.queue_bytes, self.is_spoiled, self.held_bytes = None, 0, False, 0
        self.watched.clear()
