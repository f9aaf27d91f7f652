"""Messages of `PUBLISH`, and what subscribers hear of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from itertools import combinations
from math import inf
from random import Random
from typing import Any

from raftline_testing.workloads.watcher_machine import (
    LEAVE_MS,
    STAYS_MS,
    Leave,
    ListenSteps,
    NextLine,
    Open,
)
from raftline_testing.workloads.workload_machine import Steps

from .command_machine import CommandMachine


class Published:
    """When a message was published, and when that was acknowledged."""

    def __init__(self, called_at: float) -> None:
        self.called_at = called_at
        self.told_at = inf

    def precedes(self, other: Published) -> bool:
        """Whether it comes before another one in the log for certain."""
        return self.told_at < other.called_at


class Listening:
    """One subscription of a subscriber, and the messages that it has heard."""

    def __init__(self, subscriber: str, asked_at: float) -> None:
        self.subscriber = subscriber
        self.asked_at = asked_at
        self.confirmed_at = inf
        self.texts: dict[str, None] = {}  # in order


class MessageBeliefs:
    """The knowledge of the publishers and subscribers of one channel, and its judge."""

    def __init__(self, counts: MutableMapping[str, int], prefix: str = "") -> None:
        self.channel = self.prefix = f"{prefix}news"
        self.is_closing = False  # nothing more is published
        self._counts = counts
        self._published: dict[str, Published] = {}
        self._heard: defaultdict[str, set[str]] = defaultdict(set)  # by each subscriber
        self._all: list[Listening] = []

    def publishes(self, text: str, at: float) -> None:
        """Record a message that is about to be published."""
        self._published[text] = Published(at)

    def published(self, text: str, at: float) -> None:
        """Record the acknowledgement."""
        self._published[text].told_at = at
        self._counts["messages of PUBLISH"] += 1

    def begins(self, subscriber: str, at: float) -> Listening:
        """Return a subscription that a client asks for."""
        self._all.append(Listening(subscriber, at))
        return self._all[-1]

    def hears(self, one: Listening, text: str) -> None:
        """Check a message that a subscription gets.

        Raises:
            AssertionError: it is from before the subscription, comes twice or out of order, or an
                earlier one is missing.
        """
        message, name = self._published.get(text), one.subscriber
        assert message is not None, f"nobody has published {text}"
        assert one.confirmed_at < inf, f"{name} gets {text} without a subscription"
        assert message.told_at > one.asked_at, f"{name} gets {text} from before its subscription"
        assert text not in self._heard[name], f"{name} gets {text} twice"
        after = [each for each in one.texts if message.precedes(self._published[each])]
        assert not after, f"{name} gets {text} after {after[0]}"
        missing = [
            earlier
            for earlier, each in [*self._published.items()]  # threads may add to them
            if each.called_at > one.confirmed_at and each.precedes(message)
            if earlier not in one.texts
        ]
        assert not missing, f"{name} gets {text}, and has not got {missing[0]}"
        self._heard[name].add(text)
        one.texts[text] = None
        self._counts["messages of PUBLISH heard"] += 1

    def is_current(self, one: Listening) -> bool:
        """Whether a subscription has all messages that it must get."""
        return one.confirmed_at < inf and all(
            text in one.texts
            for text, each in [*self._published.items()]
            if each.called_at > one.confirmed_at and each.told_at < inf
        )

    def judge(self, _: Mapping[str, str]) -> None:
        """Compare the subscriptions with one another; no key shows what was published.

        Raises:
            AssertionError: two got the same messages in different orders.
        """
        for one, other in combinations([each for each in self._all if each.texts], 2):
            both = one.texts.keys() & other.texts.keys()
            orders: Sequence[list[str]] = [
                [text for text in each.texts if text in both] for each in (one, other)
            ]
            assert orders[0] == orders[1], f"two orders: {orders}"


class PublisherMachine(CommandMachine):
    """A client that publishes messages, none of them twice."""

    def __init__(self, beliefs: MessageBeliefs, *parts: Any) -> None:
        super().__init__(*parts)
        self._beliefs = beliefs
        self._count = 0

    def _act(self) -> Steps:
        beliefs = self._beliefs
        if beliefs.is_closing:
            return
        self._count += 1
        text = f"{self.name}.{self._count}"
        beliefs.publishes(text, self._now())
        said = yield from self._say("PUBLISH", beliefs.channel, text)
        if said.is_known:
            beliefs.published(text, self._now())


class SubscriberMachine:
    """A client with one subscription at a time, at one node after the other."""

    def __init__(
        self,
        beliefs: MessageBeliefs,
        name: str,
        chance: Random,
        now: Callable[[], float],
        counts: MutableMapping[str, int],
        stays_ms: Sequence[int] = STAYS_MS,
    ) -> None:
        """Create a subscriber; `now` is the clock of the history."""
        self.stopped = False  # set by the runner
        self._beliefs = beliefs
        self._name = name
        self._chance = chance
        self._now = now
        self._counts = counts
        self._stays_ms = stays_ms
        self._listening: Listening | None = None

    @property
    def is_current(self) -> bool:
        """Whether it has all messages, in a subscription of now."""
        return self._listening is not None and self._beliefs.is_current(self._listening)

    def steps(self) -> ListenSteps:
        """Listen until it is stopped."""
        while not self.stopped:
            self._listening = self._beliefs.begins(self._name, self._now())
            line = f"SUBSCRIBE {self._beliefs.channel}"
            yield Open(line, self._chance.choice(self._stays_ms))
            while reply := (yield NextLine()):
                self._hear(self._listening, reply)
            self._listening = None
            yield Leave(LEAVE_MS)

    def _hear(self, listening: Listening, reply: object) -> None:
        """Take the reply to `SUBSCRIBE`, or a message."""
        if reply == ["subscribe", self._beliefs.channel, 1]:
            listening.confirmed_at = self._now()
            self._counts["subscriptions confirmed"] += 1
            return
        assert isinstance(reply, list), f"{self._name} gets {reply!r}"
        assert reply[:2] == ["message", self._beliefs.channel], f"{self._name} gets {reply}"
        self._beliefs.hears(listening, reply[2])
