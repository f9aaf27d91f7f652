"""Publishers and subscribers of a channel, in schedules of faults (redis/message_machine.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from raftline.net.protocol.waits import Waits
from raftline.redis import redis_events
from raftline.redis.redis_events import RedisEvents
from raftline.redis.redis_serving import RedisServing
from raftline.redis.resp.notifications import Subscription
from raftline.redis.resp.replies import Value
from raftline_testing.runner.at_night import in_the_rest
from raftline_testing.virtual.seeds import counts_of, first_failure

SEEDS = (28, 71, 266)  # of schedules with subscribers
EACH = ("messages of PUBLISH", "messages of PUBLISH heard", "subscriptions confirmed")


@pytest.mark.parametrize("seeds", [SEEDS[:1], in_the_rest(SEEDS[1:])])
def test_each_subscriber_hears_every_message_once_in_order(seeds: tuple[int, ...]) -> None:
    counts = sum((counts_of(seed, 1) for seed in seeds), Counter[str]())
    assert not [name for name in EACH if not counts[name]], counts


def test_message_sent_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = redis_events.translated

    def doubled(data: bytes, subscriptions: Mapping[str, Subscription], version: int) -> bytes:
        return 2 * (real(data, subscriptions, version) or b"")

    monkeypatch.setattr(redis_events, "translated", doubled)
    assert " twice" in first_failure(SEEDS)


@pytest.mark.judge
def test_skipped_message_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Subscription.published

    def skipping(self: Subscription, channel: str, text: str) -> list[Value]:
        return [] if text.endswith("3") else real(self, channel, text)

    monkeypatch.setattr(Subscription, "published", skipping)
    assert "and has not got publisher" in first_failure(SEEDS)


@pytest.mark.judge
def test_subscription_in_the_past_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins some entries before the last one, as after a snapshot that is replayed."""
    real = RedisEvents.open

    def opened(self: RedisEvents, watch_id: str, prefixes: list[str], held_bytes: int = 0) -> str:
        watchers = self._host.watchers
        with monkeypatch.context() as patch:
            patch.setattr(
                type(watchers), "last", property(lambda it: max(0, it.feed.history.last - 8))
            )
            return real(self, watch_id, prefixes, held_bytes)

    monkeypatch.setattr(RedisEvents, "open", opened)
    assert "from before its subscription" in first_failure(SEEDS)


@pytest.mark.judge
def test_subscription_at_a_node_that_lags_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is confirmed although the node has not applied what was committed before."""

    def confirmed(self: RedisServing) -> Waits[str]:
        yield from self._replies.flush()
        return ""

    monkeypatch.setattr(RedisServing, "_confirmed", confirmed)
    assert "from before its subscription" in first_failure([141])
