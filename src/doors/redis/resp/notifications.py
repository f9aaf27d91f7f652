"""The subscriptions of a connection, and their messages: keyspace notifications, made from the
lines of watches, and the message of a sentinel about a new leader. Pure.

A subscription to changes of keys is one watch, whose id is the number of the subscription.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from sys import getsizeof
from typing import Final

from ....wire.protocol import escape, real, size_of
from .keys import Pattern, literal_prefix
from .limits import REDIS_PATTERN_BYTES
from .programs import Ask, Context, Program, Refused, Steps
from .replies import Failure, Push, Several, Value, failure_of, spell

KEYSPACE: Final = "__keyspace@0__:"
KEYEVENT: Final = "__keyevent@0__:"
SWITCH: Final = "+switch-master"  # the channel on which a sentinel tells of a new leader
_EVENTS: Final[Mapping[str, str]] = {"set": "set", "delete": "del", "expire": "expired"}


class Subscription:
    """A channel, or a pattern of channels."""

    def __init__(self, name: str, *, is_pattern: bool) -> None:
        """`_check` allows the name."""
        self.id = ""  # of its watch
        self.name = name
        self.is_pattern = is_pattern
        self._pattern = Pattern(name) if is_pattern else None
        self.hears_switch = name == SWITCH if self._pattern is None else self._pattern.fits(SWITCH)

    @property
    def held_bytes(self) -> int:
        """The memory that it takes, in addition to that of any watch."""
        pattern = 0 if self._pattern is None else self._pattern.held_bytes
        return getsizeof(self.name) + pattern

    @property
    def line(self) -> str:
        """The line of its watch; "" if there are no messages on such a channel."""
        literal = literal_prefix(self.name) if self.is_pattern else self.name
        if literal.startswith(KEYSPACE):
            prefix = literal.removeprefix(KEYSPACE)  # of all its keys
            return f"watch {escape(prefix, key=True)}" if prefix else "watch"
        is_possible = KEYSPACE.startswith(literal) or KEYEVENT.startswith(literal)
        return "watch" if is_possible or literal.startswith(KEYEVENT) else ""

    def messages(self, kind: str, key: str) -> list[Value]:
        """Return the messages about a change of a key."""
        event = _EVENTS[kind]
        both = ((KEYSPACE + key, event), (KEYEVENT + event, key))
        if self._pattern is None:
            return [Push(["message", *one]) for one in both if one[0] == self.name]
        fits = self._pattern.fits
        return [Push(["pmessage", self.name, *one]) for one in both if fits(one[0])]

    def switch_message(self, text: str) -> Value:
        """Return the message about a new leader."""
        if self.is_pattern:
            return Push(["pmessage", self.name, SWITCH, text])
        return Push(["message", SWITCH, text])


def translated(
    data: bytes, subscriptions: Mapping[str, Subscription], version: int
) -> bytes | None:
    """Return the messages for lines of watches; None if a watch has ended, or has missed events."""
    messages: list[str] = []
    for line in _without_values(data):
        head, _, text = line.decode("utf-8", "replace").partition("@")
        subscription = subscriptions.get(head.partition("#")[2])
        words = text.split(" ")
        if subscription is None:
            continue
        if words[0] != "EVENT":
            return None
        if len(words) > 3 and words[2] in _EVENTS:
            changes = subscription.messages(words[2], real(words[3]))
            messages += [spell(change, version) for change in changes]
    return "".join(messages).encode("utf-8", "surrogateescape")


def _without_values(data: bytes) -> Iterator[bytes]:
    """Yield each line up to its fourth space. No message has the value, which may be long."""
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
        yield data[begin:stop]
        begin = end + 1


# --- the commands --------------------------------------------------------------------------------


def _count(context: Context) -> int:
    return len(context.session.subscriptions)


def _check(context: Context, name: str, *, is_pattern: bool) -> None:
    """Raises:
    Refused: the name is longer than any channel, or than a pattern may be.
    """
    longest = len(KEYSPACE) + context.node.limits.key_bytes
    if is_pattern and size_of(name) > REDIS_PATTERN_BYTES:
        raise Refused(f"ERR a pattern has at most {REDIS_PATTERN_BYTES} bytes")
    if size_of(name) > longest:
        raise Refused(f"ERR the name of a channel has at most {longest} bytes")


def subscribe(context: Context, words: list[str]) -> Program:
    """SUBSCRIBE CHANNEL ..., PSUBSCRIBE PATTERN ..."""
    session, verb = context.session, words[0].lower()
    is_pattern = verb.startswith("p")
    for name in words[1:]:  # all are right, or none begins
        _check(context, name, is_pattern=is_pattern)
    replies: list[Value] = []
    for name in words[1:]:
        failure = None
        if (name, is_pattern) not in session.channels:
            failure = yield from _begin(context, Subscription(name, is_pattern=is_pattern))
        replies.append(Push([verb, name, _count(context)]) if failure is None else failure)
    return Several(replies)


def _begin(context: Context, one: Subscription) -> Steps[Failure | None]:
    """Begin a subscription; return why it can't begin."""
    session = context.session
    session.subscribed += 1
    one.id = str(session.subscribed)
    session.subscriptions[one.id] = session.channels[one.name, one.is_pattern] = one
    lines = [one.line] if one.line else []
    ask = Ask(lines, "watch", takes_refusals=True, watch_id=one.id, held_bytes=one.held_bytes)
    failure = failure_of("".join((yield ask)), "")
    if failure is not None:
        _forget(context, one)
    return failure


def _forget(context: Context, one: Subscription) -> None:
    del context.session.subscriptions[one.id]
    del context.session.channels[one.name, one.is_pattern]


def unsubscribe(context: Context, words: list[str]) -> Program:
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


def unsubscribe_all(context: Context) -> Steps[None]:
    """End every subscription."""
    for one in list(context.session.subscriptions.values()):
        yield from _end(context, one)


def _end(context: Context, one: Subscription) -> Steps[None]:
    yield Ask(["unwatch"], "watch", takes_refusals=True, watch_id=one.id)
    _forget(context, one)
