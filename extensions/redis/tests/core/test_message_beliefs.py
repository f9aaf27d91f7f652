"""The judge of messages and subscriptions (redis/message_machine.py)."""

from __future__ import annotations

from collections import Counter

import pytest

from raftline.redis.harness.message_machine import Listening, MessageBeliefs


def published(*texts: str) -> MessageBeliefs:
    """Return beliefs of messages that were published one after the other: the first one from 10 to
    11, the second one from 20 to 21."""
    beliefs = MessageBeliefs(Counter())
    for place, text in enumerate(texts, start=1):
        beliefs.publishes(text, 10 * place)
        beliefs.published(text, 10 * place + 1)
    return beliefs


def listening(beliefs: MessageBeliefs, at: float = 1, name: str = "s") -> Listening:
    """Return a subscription that is confirmed a moment after this time."""
    one = beliefs.begins(name, at)
    one.confirmed_at = at + 0.5
    return one


def test_message_comes_once_to_a_subscriber() -> None:
    """Also in a later subscription, at another node."""
    beliefs = published("a")
    beliefs.hears(listening(beliefs), "a")
    beliefs.hears(listening(beliefs, name="t"), "a")
    with pytest.raises(AssertionError, match="gets a twice"):
        beliefs.hears(listening(beliefs, 2), "a")


def test_message_from_before_a_subscription_is_not_heard() -> None:
    """One that was under way may be."""
    beliefs = published("a")
    beliefs.hears(listening(beliefs, 10.5), "a")
    with pytest.raises(AssertionError, match="from before its subscription"):
        beliefs.hears(listening(beliefs, 12, "t"), "a")


def test_message_before_the_confirmation_is_not_heard() -> None:
    beliefs = published("a")
    with pytest.raises(AssertionError, match="without a subscription"):
        beliefs.hears(beliefs.begins("s", 1), "a")


def test_gap_before_a_message_is_found() -> None:
    beliefs = published("a", "b")
    with pytest.raises(AssertionError, match="gets b, and has not got a"):
        beliefs.hears(listening(beliefs), "b")


def test_older_message_comes_first() -> None:
    """A subscription that was asked for while the first one was under way need not get it."""
    beliefs = published("a", "b")
    one = listening(beliefs, 10.2)
    beliefs.hears(one, "b")
    with pytest.raises(AssertionError, match="gets a after b"):
        beliefs.hears(one, "a")


def test_subscription_is_current_with_all_messages() -> None:
    beliefs = published("a", "b")
    one = listening(beliefs)
    beliefs.hears(one, "a")
    assert not beliefs.is_current(one)
    beliefs.hears(one, "b")
    assert beliefs.is_current(one)


def test_two_subscriptions_have_one_order() -> None:
    beliefs = MessageBeliefs(Counter())
    for text in ("a", "b"):
        beliefs.publishes(text, 5)
    for name, texts in (("s", "ab"), ("t", "ba")):
        one = listening(beliefs, name=name)
        for text in texts:
            beliefs.hears(one, text)
    with pytest.raises(AssertionError, match="two orders"):
        beliefs.judge({})
