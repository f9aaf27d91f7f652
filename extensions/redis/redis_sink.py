"""The common part of all sinks of events on a Redis client's connection: the rights of its login,
and no codes or positions, which RESP has no place for."""

from __future__ import annotations

from raftline.net.protocol.outgoing_protocol import OutgoingProtocol
from raftline.state.user_table import UserTable


class RedisSink:
    """The facts about a connection that watches ask; see `EventSink`."""

    def __init__(self, outgoing: OutgoingProtocol) -> None:
        self._outgoing = outgoing

    @property
    def user(self) -> str | None:
        return self._outgoing.user

    @property
    def puts_codes(self) -> bool:
        return False

    @property
    def uses_positions(self) -> bool:
        return False

    def reads_by(self, users: UserTable) -> tuple[str, ...]:
        return self._outgoing.reads_by(users)

    def denial_by_now(self, command: str) -> str:
        return self._outgoing.denial_by_now(command)
