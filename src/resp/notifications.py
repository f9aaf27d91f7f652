"""Keyspace notifications: the subscriptions of a connection, and their messages, made from the
lines of watches. Pure.

Each subscription is one watch, whose id is the number of the subscription.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..wire.protocol import escape, real
from .keys import Pattern, literal_prefix
from .programs import Ask, Context, Program, Steps
from .replies import Failure, Push, Several, Value, failure_of, spell

KEYSPACE: Final = "__keyspace@0__:"
KEYEVENT: Final = "__keyevent@0__:"
_EVENTS: Final[Mapping[str, str]] = {"set": "set", "delete": "del", "expire": "expired"}


class Subscription:
    """A channel, or a pattern of channels."""

    def __init__(self, name: str, *, is_pattern: bool) -> None:
        """Raises:
        Refused: the pattern is too long.
        """
        self.id = ""  # of its watch
        self.name = name
        self.is_pattern = is_pattern
        self._pattern = Pattern(name) if is_pattern else None

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


def translated(
    data: bytes, subscriptions: Mapping[str, Subscription], version: int
) -> bytes | None:
    """Return the messages for lines of watches; None if a watch has ended, or has missed events."""
    messages: list[str] = []
    for line in data.decode("utf-8", "replace").splitlines():
        head, _, text = line.partition("@")
        subscription = subscriptions.get(head.partition("#")[2])
        words = text.split(" ", 4)
        if subscription is None:
            continue
        if words[0] != "EVENT":
            return None
        if len(words) > 3 and words[2] in _EVENTS:
            changes = subscription.messages(words[2], real(words[3]))
            messages += [spell(change, version) for change in changes]
    return "".join(messages).encode("utf-8", "surrogateescape")


# --- the commands --------------------------------------------------------------------------------


def _count(context: Context) -> int:
    return len(context.session.subscriptions)


def _found(context: Context, name: str, *, is_pattern: bool) -> Subscription | None:
    subscriptions: dict[str, Subscription] = context.session.subscriptions
    for one in subscriptions.values():
        if one.name == name and one.is_pattern == is_pattern:
            return one
    return None


def subscribe(context: Context, words: list[str]) -> Program:
    """SUBSCRIBE CHANNEL ..., PSUBSCRIBE PATTERN ..."""
    session, verb = context.session, words[0].lower()
    is_pattern = verb.startswith("p")
    new = [Subscription(name, is_pattern=is_pattern) for name in words[1:]]  # all are right
    replies: list[Value] = []
    for one in new:
        if _found(context, one.name, is_pattern=is_pattern) is None:
            session.subscribed += 1
            one.id = str(session.subscribed)
            session.subscriptions[one.id] = one
            failure = yield from _begin(one)
            if failure is not None:
                del session.subscriptions[one.id]
                replies.append(failure)
                continue
        replies.append(Push([verb, one.name, _count(context)]))
    return Several(replies)


def _begin(one: Subscription) -> Steps[Failure | None]:
    """Begin the watch of a subscription; return why it can't begin."""
    if not one.line:
        return None
    (reply,) = yield Ask([one.line], "watch", takes_refusals=True, watch_id=one.id)
    return failure_of(reply, "")


def unsubscribe(context: Context, words: list[str]) -> Program:
    """UNSUBSCRIBE [CHANNEL ...], PUNSUBSCRIBE [PATTERN ...]"""
    verb = words[0].lower()
    is_pattern = verb.startswith("p")
    subscriptions = context.session.subscriptions.values()
    names = words[1:] or [one.name for one in subscriptions if one.is_pattern == is_pattern]
    replies: list[Value] = []
    for name in names:
        one = _found(context, name, is_pattern=is_pattern)
        if one is not None:
            yield from _end(context, one)
        replies.append(Push([verb, name, _count(context)]))
    return Several(replies or [Push([verb, None, _count(context)])])


def unsubscribe_all(context: Context) -> Steps[None]:
    """End every subscription."""
    for one in list(context.session.subscriptions.values()):
        yield from _end(context, one)


def _end(context: Context, one: Subscription) -> Steps[None]:
    if one.line:
        yield Ask(["unwatch"], "watch", watch_id=one.id)
    del context.session.subscriptions[one.id]
