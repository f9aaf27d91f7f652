"""The subscriptions of a connection, and their messages: those of `PUBLISH` and keyspace
notifications, made from the lines of watches, and that of a sentinel about a new leader. Pure.

A subscription has a watch of messages, or one of keys, or both, with its own id and `ALSO`. The id
of a pattern begins with `OF_PATTERN`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from sys import getsizeof
from typing import Final

from raftline.wire.commands.watch_lines import (
    MESSAGE,
    WatchAsked,
    format_watch,
    topic_of,
    topics_under,
)
from raftline.wire.protocol import escape, real, size_of

from .keys import Pattern, literal_prefix
from .limits import REDIS_PATTERN_BYTES
from .messages import KEYEVENT, KEYSPACE, NO_NAME, OF_SENTINELS, SWITCH, is_own
from .programs import CommandContext, CommandRefused, Program, RedisAsk, Steps
from .replies import Failure, Push, Several, Value, failure_of, format_reply

OF_PATTERN: Final = "p"
ALSO: Final = "+"
_MARK: Final = f" {MESSAGE} ".encode()
_EVENTS: Final[Mapping[str, str]] = {"set": "set", "delete": "del", "expire": "expired"}


class Subscription:
    """A channel, or a pattern of channels."""

    def __init__(self, name: str, *, is_pattern: bool) -> None:
        """`_check` allows the name."""
        self.id = ""  # of its watch
        self.name = name
        self.is_pattern = is_pattern
        self.pattern = Pattern(name) if is_pattern else None
        self.hears_switch = name == SWITCH if self.pattern is None else self.pattern.fits(SWITCH)
        self._literal = literal_prefix(name) if is_pattern else name

    @property
    def held_bytes(self) -> int:
        """The memory that it takes, in addition to that of any watch."""
        pattern = 0 if self.pattern is None else self.pattern.held_bytes
        return getsizeof(self.name) + pattern

    @property
    def line(self) -> str:
        """The line of its watch of keys; "" if no change of a key is a message for it."""
        literal = self._literal
        if literal.startswith(KEYSPACE):
            return _watch_line(literal.removeprefix(KEYSPACE))  # of all its keys
        if self.name in OF_SENTINELS:
            return ""
        is_possible = KEYSPACE.startswith(literal) or KEYEVENT.startswith(literal)
        is_possible = is_possible and self.is_pattern
        return "watch" if is_possible or literal.startswith(KEYEVENT) else ""

    @property
    def topic(self) -> str:
        """The topic of its watch of messages; "" if no program can publish for it."""
        if is_own(self._literal) or self.name in OF_SENTINELS:
            return ""
        if not self.is_pattern:
            return topic_of(escape(self.name, key=True))
        return topics_under(escape(self._whole_literal, key=True))

    @property
    def lines(self) -> list[str]:
        """The lines whose rights its watches need, that of the messages last: a channel is checked
        like the key of its name."""
        of_topic = [_watch_line(self._whole_literal)] if self.topic else []
        return [line for line in [self.line, *of_topic] if line]

    @property
    def _whole_literal(self) -> str:
        """Its literal prefix without the first bytes of a character, which may end otherwise."""
        literal = self._literal
        while self.is_pattern and literal and "\udc80" <= literal[-1] <= "\udcff":
            literal = literal[:-1]
        return literal

    def messages(self, kind: str, key: str) -> list[Value]:
        """Return the messages about a change of a key."""
        event = _EVENTS[kind]
        both = ((KEYSPACE + key, event), (KEYEVENT + event, key))
        if self.pattern is None:
            return [Push(["message", *one]) for one in both if one[0] == self.name]
        fits = self.pattern.fits
        return [Push(["pmessage", self.name, *one]) for one in both if fits(one[0])]

    def published(self, channel: str, text: str) -> list[Value]:
        """Return the messages for what was published on a channel."""
        fits = channel == self.name if self.pattern is None else self.pattern.fits(channel)
        return [self.message(channel, text)] if fits else []

    def message(self, channel: str, text: str) -> Value:
        """Return the message with this text, for a channel that fits."""
        if self.is_pattern:
            return Push(["pmessage", self.name, channel, text])
        return Push(["message", channel, text])


def _watch_line(prefix: str) -> str:
    """Return the line of a watch of the keys with a prefix."""
    return format_watch(WatchAsked(escape(prefix, key=True)))


def translated(
    data: bytes, subscriptions: Mapping[str, Subscription], version: int
) -> bytes | None:
    """Return the messages for lines of watches, in the order of the log; None if a watch has ended,
    or has missed events."""
    messages: list[tuple[int, str]] = []
    for line in without_values(data):
        head, _, text = line.decode("utf-8", "replace").partition("@")
        subscription = subscriptions.get(head.partition("#")[2].removesuffix(ALSO))
        words = text.split(" ", 4)
        if subscription is None:
            continue
        if words[0] != "EVENT":
            return None
        if len(words) > 3:
            values = _values(subscription, *words[2:])
            messages += [(int(words[1]), format_reply(value, version)) for value in values]
    if len(messages) > 1:  # of several watches
        messages.sort(key=itemgetter(0))
    return "".join([text for _, text in messages]).encode("utf-8", "surrogateescape")


def _values(subscription: Subscription, kind: str, name: str, text: str = "") -> list[Value]:
    """Return the messages for one event."""
    if kind == MESSAGE:
        return subscription.published(real(name), real(text))
    return subscription.messages(kind, real(name)) if kind in _EVENTS else []


def without_values(data: bytes) -> Iterator[bytes]:
    """Yield each line up to its fourth space, that of a message as a whole. No notification has the
    value, which may be long."""
    begin = 0
    while begin < len(data):
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        stop = begin - 1
        for _ in range(4):  # EVENT INDEX KIND KEY VALUE
            stop = data.find(b" ", stop + 1, end)
            if stop < 0:
                stop = end
                break
        is_whole = stop < end and data.find(_MARK, begin, stop) > 0
        yield data[begin : end if is_whole else stop]
        begin = end + 1


# --- the commands --------------------------------------------------------------------------------


def _count(context: CommandContext) -> int:
    return len(context.session.subscriptions)


def _check(context: CommandContext, name: str, *, is_pattern: bool) -> None:
    """Raises:
    Refused: the name is empty, or longer than any channel, or than a pattern may be.
    """
    if not name:
        raise CommandRefused(NO_NAME)
    longest = len(KEYSPACE) + context.node.limits.key_bytes
    if is_pattern and size_of(name) > REDIS_PATTERN_BYTES:
        raise CommandRefused(f"ERR a pattern has at most {REDIS_PATTERN_BYTES} bytes")
    if size_of(name) > longest:
        raise CommandRefused(f"ERR the name of a channel has at most {longest} bytes")


def subscribe(context: CommandContext, words: list[str]) -> Program:
    """SUBSCRIBE CHANNEL ..., PSUBSCRIBE PATTERN ..."""
    session, verb = context.session, words[0].lower()
    is_pattern = verb.startswith("p")
    for name in words[1:]:  # all are right, or none begins
        _check(context, name, is_pattern=is_pattern)
    new = {
        name: Subscription(name, is_pattern=is_pattern)
        for name in words[1:]
        if (name, is_pattern) not in session.channels
    }
    if any([one.topic for one in new.values()]):
        # Messages from before are none of this subscription. A node that does not hear of new ones
        # ends the connection, so that the client asks another one.
        (refusal,) = yield RedisAsk([], "confirmed", takes_refusals=True)
        if refusal:
            session.ends = True
            return failure_of(refusal, "")
    replies: list[Value] = []
    for name in words[1:]:
        one = new.pop(name, None)
        failure = None if one is None else (yield from _begin(context, one))
        replies.append(Push([verb, name, _count(context)]) if failure is None else failure)
    return Several(replies)


def _begin(context: CommandContext, one: Subscription) -> Steps[Failure | None]:
    """Begin a subscription; return why it can't begin."""
    session = context.session
    session.subscribed += 1
    one.id = f"{OF_PATTERN * one.is_pattern}{session.subscribed}"
    session.subscriptions[one.id] = session.channels[one.name, one.is_pattern] = one
    context.node.count_subscription(one.name, one.pattern, 1)
    ask = RedisAsk(one.lines, "watch", takes_refusals=True, watch_id=one.id, topic=one.topic)
    ask.held_bytes = one.held_bytes
    failure = failure_of("".join((yield ask)[:1]), "")
    if failure is not None:
        _forget(context, one)
    return failure


def _forget(context: CommandContext, one: Subscription) -> None:
    context.node.count_subscription(one.name, one.pattern, -1)
    del context.session.subscriptions[one.id]
    del context.session.channels[one.name, one.is_pattern]


def unsubscribe(context: CommandContext, words: list[str]) -> Program:
    """UNSUBSCRIBE [CHANNEL ...], PUNSUBSCRIBE [PATTERN ...]"""
    verb = words[0].lower()
    is_pattern = verb.startswith("p")
    subscriptions = context.session.subscriptions.values()
    names = words[1:] or [one.name for one in subscriptions if one.is_pattern == is_pattern]
    replies: list[Value] = []
    for name in names:
        one = context.session.channels.get((name, is_pattern))
        if one is not None:
            yield from _end(context, one)
        replies.append(Push([verb, name, _count(context)]))
    return Several(replies or [Push([verb, None, _count(context)])])


def unsubscribe_all(context: CommandContext) -> Steps[None]:
    """End every subscription."""
    for one in list(context.session.subscriptions.values()):
        yield from _end(context, one)


def _end(context: CommandContext, one: Subscription) -> Steps[None]:
    yield RedisAsk(["unwatch"], "watch", takes_refusals=True, watch_id=one.id)
    _forget(context, one)
