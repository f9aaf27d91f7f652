"""The subscriptions of a Redis client's connection: the lines of its watches are sent as messages,
and it is told of each new leader.

A client chooses how long it takes to match its patterns. So only the sending thread of its
connection makes messages for patterns, never the thread that took a step and hears a member.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raftline.net.protocol.host import Backlog, DoorHost
from raftline.net.protocol.outgoing_protocol import OutgoingProtocol
from raftline.wire.commands.watch_lines import WatchAsked
from raftline.wire.refusal import is_refusal

from .redis_node import RedisNode
from .redis_sink import RedisSink
from .resp.messages import SWITCH
from .resp.notifications import ALSO, OF_PATTERN, Subscription, translated
from .resp.replies import format_reply
from .resp.session import RedisSession

_OF_PATTERNS = f"#{OF_PATTERN}".encode()  # is in the head of each line for a pattern


class RedisEvents(RedisSink):
    """Takes the lines of watches, and passes messages on to the connection.

    Redis has no way to say that messages are missing. So a watch that ends, or that missed events,
    ends the connection: the client subscribes again on the next one.
    """

    def __init__(
        self, node: RedisNode, host: DoorHost, outgoing: OutgoingProtocol, session: RedisSession
    ) -> None:
        super().__init__(outgoing)
        self._node = node
        self._host = host
        self._session = session
        self.is_used = False
        self.has_new = False  # watches whose lines follow the next replies
        self._of_leaders: tuple[Subscription, ...] = ()  # replaced as a whole
        self._followed = (0, 0)  # the subscriptions that these are of: how many, and the last one

    def open(self, watch_id: str, prefixes: Sequence[str], held_bytes: int = 0) -> str:
        """Begin a subscription that takes so many bytes: watch what has these prefixes, of keys or
        of topics, from now on. Return a refusal, or ""."""
        watchers = self._host.watchers
        self.is_used = True
        if refusal := watchers.keep(self, watch_id, held_bytes, is_watch=bool(prefixes)):
            return refusal
        for place, prefix in enumerate(prefixes):
            asked = WatchAsked(prefix, watchers.last)
            self.has_new = True
            (lines,) = watchers.open(self, [(watch_id + ALSO * place, asked)])
            if lines and is_refusal(lines[0]):
                self.close(watch_id)
                return lines[0]
        return ""

    def close(self, watch_id: str) -> None:
        """End a subscription."""
        for one in (watch_id, watch_id + ALSO):
            self._host.watchers.unwatch(self, one)

    @property
    def must_follow(self) -> bool:
        """Whether a subscription has begun or ended since the last `follow_leaders`."""
        return self._followed != (len(self._session.subscriptions), self._session.subscribed)

    def follow_leaders(self) -> None:
        """Start or stop listening for new leaders, as the present subscriptions say."""
        subscriptions = self._session.subscriptions.values()
        self._followed = (len(subscriptions), self._session.subscribed)
        self._of_leaders = tuple([one for one in subscriptions if one.hears_switch])
        if self._of_leaders:
            self._node.listen(self)
        else:
            self._node.listen_no_more(self)

    def announce_switch(self, text: str) -> None:
        """Send the messages about a new leader, without waiting; any thread may call this."""
        version = self._session.version
        told = "".join(
            [format_reply(one.message(SWITCH, text), version) for one in self._of_leaders]
        )
        if told:
            data = told.encode("utf-8", "surrogateescape")
            self._outgoing.push(data, lambda: [_Once(data)])

    def drop(self) -> None:
        """Forget all subscriptions, since the connection ends."""
        self._session.channels.clear()
        while self._session.subscriptions:
            _, one = self._session.subscriptions.popitem()
            self._node.count_subscription(one.name, one.pattern, -1)
        if self._of_leaders:
            self._node.listen_no_more(self)
        if self.is_used:
            self._host.watchers.drop(self)

    def end_refused(self, why_not: Callable[[str], str]) -> None:
        """End the watches that are no longer allowed; any thread may call this."""
        if self.is_used:
            self._host.watchers.end_refused(self, why_not)

    def _translate(self, data: bytes) -> bytes:
        """Return the messages for lines; end the connection if some are missing."""
        messages = translated(data, self._session.subscriptions, self._session.version)
        if messages is None:
            self.break_off()
            return b""
        return messages

    # --- a sink of events ------------------------------------------------------------------------

    def push(self, data: bytes, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        """See `EventSink`. A connection that has not sent its last messages keeps no others."""
        if _OF_PATTERNS not in data:
            if messages := self._translate(data):
                self._outgoing.push(messages, lambda: self._translating(to_backlogs()))
            return
        pushed = _Pushed(self._translate, data)
        self._outgoing.push_later(lambda: self._translating(to_backlogs()), pushed)

    def push_later(self, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        self._outgoing.push_later(lambda: self._translating(to_backlogs()))

    def add_backlogs(self, backlogs: Sequence[Backlog]) -> None:
        self._outgoing.add_backlogs(self._translating(backlogs))

    def resume(self, backlogs: Sequence[Backlog]) -> None:
        self.push_later(lambda: backlogs)

    def break_off(self) -> None:
        self._outgoing.break_off()

    def _translating(self, backlogs: Sequence[Backlog]) -> list[Backlog]:
        return [_Translating(self._translate, backlog) for backlog in backlogs]


class _Pushed:
    """Lines that were pushed, and are made into messages by the thread that sends them."""

    def __init__(self, translate: Callable[[bytes], bytes], data: bytes) -> None:
        self._translate = translate
        self._data = data

    def next_piece(self) -> bytes:
        data, self._data = self._data, b""
        return self._translate(data) if data else b""


class _Once:
    """Bytes that are sent once the reader has taken what came before."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def next_piece(self) -> bytes:
        data, self._data = self._data, b""
        return data


class _Translating:
    """A lagging watch, whose pieces are messages."""

    def __init__(self, translate: Callable[[bytes], bytes], backlog: Backlog) -> None:
        self._translate = translate
        self._backlog = backlog

    def next_piece(self) -> bytes:
        while data := self._backlog.next_piece():
            if messages := self._translate(data):
                return messages
        return b""
