"""The watches of a Redis client's connection, whose lines are sent as messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...resp.notifications import translated
from ...resp.session import Session
from ...state.user_table import UserTable
from ...wire.commands.watch_lines import WatchAsked
from .host import Backlog, Host
from .outgoing_protocol import OutgoingProtocol


class RedisEvents:
    """Takes the lines of watches, and passes messages on to the connection.

    Redis has no way to say that messages are missing. So a watch that ends, or that missed events,
    ends the connection: the client subscribes again on the next one.
    """

    def __init__(self, host: Host, outgoing: OutgoingProtocol, session: Session) -> None:
        self._host = host
        self._outgoing = outgoing
        self._session = session
        self.is_used = False
        self.has_new = False  # watches whose lines follow the next replies

    def open(self, watch_id: str, prefix: str) -> str:
        """Begin to watch the changes from now on; return a refusal, or ""."""
        watchers = self._host.watchers
        asked = WatchAsked(prefix, watchers.last)
        self.is_used = self.has_new = True
        (lines,) = watchers.open(self, [(watch_id, asked)])
        return lines[0] if lines and lines[0].startswith("Sorry") else ""

    def close(self, watch_id: str) -> None:
        """End a watch."""
        self._host.watchers.unwatch(self, watch_id)

    def drop(self) -> None:
        """Forget all watches, since the connection ends."""
        if self.is_used:
            self._host.watchers.drop(self)

    def end_refused(self, why_not: Callable[[str], str]) -> None:
        """End the watches that are no longer allowed; any thread may call this."""
        if self.is_used:
            self._host.watchers.end_refused(self, why_not)

    def translate(self, data: bytes) -> bytes:
        """Return the messages for lines; end the connection if some are missing."""
        messages = translated(data, self._session.subscriptions, self._session.version)
        if messages is None:
            self.break_off()
            return b""
        return messages

    # --- a sink of events ------------------------------------------------------------------------

    @property
    def user(self) -> str | None:
        return self._outgoing.user

    @property
    def puts_codes(self) -> bool:
        return False

    def reads_by(self, users: UserTable) -> tuple[str, ...]:
        return self._outgoing.reads_by(users)

    def denial_by_now(self, command: str) -> str:
        return self._outgoing.denial_by_now(command)

    def push(self, data: bytes, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        messages = self.translate(data)
        if messages:
            self._outgoing.push(messages, lambda: self._translating(to_backlogs()))

    def push_later(self, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        self._outgoing.push_later(lambda: self._translating(to_backlogs()))

    def add_backlogs(self, backlogs: Sequence[Backlog]) -> None:
        self._outgoing.add_backlogs(self._translating(backlogs))

    def go_on(self, backlogs: Sequence[Backlog]) -> None:
        self._outgoing.go_on(self._translating(backlogs))

    def break_off(self) -> None:
        self._outgoing.break_off()

    def _translating(self, backlogs: Sequence[Backlog]) -> list[Backlog]:
        return [_Translating(self, backlog) for backlog in backlogs]


class _Translating:
    """A lagging watch, whose pieces are messages."""

    def __init__(self, events: RedisEvents, backlog: Backlog) -> None:
        self._events = events
        self._backlog = backlog

    def next_piece(self) -> bytes:
        while data := self._backlog.next_piece():
            if messages := self._events.translate(data):
                return messages
        return b""
