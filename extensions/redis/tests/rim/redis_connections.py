"""Connections of Redis clients with rights, and with room for replies."""

from __future__ import annotations

from raftline.access.login import Access
from raftline.net.protocol.waits import AwaitReplies, ReserveRoom
from raftline.redis.harness.redis_wire import RedisWire, framed
from raftline.state.store import Store
from raftline_testing.doubles.wired_connection import UserConnection

APP, WEB = "__keyspace@0__:app/*", "__keyspace@0__:web/*"


class Subscriber(UserConnection):
    """A connection on which bob is logged in by AUTH."""

    def command(self, *words: str) -> str:
        """Send a command; return the first line of its reply."""
        self.there.sendall(framed(*words))
        return self.line()

    def subscribe(self, pattern: str, verb: str = "PSUBSCRIBE") -> str:
        """Subscribe; return "" or the error."""
        said = self.command(verb, pattern)
        if said.startswith("-"):
            return said
        assert [said, *[self.line() for _ in range(5)]][2::2] == [verb.lower(), pattern]
        return ""

    def message(self) -> str:
        """Return the channel and the text of the next message; "" at the end."""
        lines = [self.line() for _ in range(9)]
        return " ".join(lines[6::2]).strip()


class Wire(RedisWire):
    """A connection that notes the room for replies at each send, and while it waits."""

    def __init__(self, store: Store, access: Access | None = None, user: str = "") -> None:
        self.rooms: list[int] = []
        self.rooms_amid: list[int] = []  # while it waits for answers
        self.reserved = 0
        super().__init__(store, access, user)

    def _has_to_wait(self, *, is_fed: bool) -> bool:
        if isinstance(self._wait, AwaitReplies):
            self.rooms_amid.append(self.host.reply_room.used)
        self.reserved += isinstance(self._wait, ReserveRoom)
        return super()._has_to_wait(is_fed=is_fed)

    def _send(self, data: bytes) -> int:
        self.rooms.append(self.host.reply_room.used)
        return super()._send(data)
