"""The messages of `PUBLISH` at one node: rights, order, bounds, and what a client is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftline.redis.harness.redis_wire import RedisWire, framed, redis_door
from raftline.redis.resp.notifications import Subscription, translated
from raftline.redis.tests.rim.redis_connections import Subscriber
from raftline.state.store import Store
from raftline_testing.doubles.store_wire import StoreWire
from raftline_testing.doubles.watched_store import WatchScene
from raftline_testing.doubles.wired_connection import PASSWORD
from raftline_testing.nodes.processes import eventually

CHANNEL = "app/news"


@pytest.fixture
def scene() -> Iterator[Subscriber]:
    scene = Subscriber()
    assert scene.command("AUTH", "bob", PASSWORD) == "+OK"
    yield scene
    scene.close()


def published(*messages: str, channel: str = CHANNEL) -> list[str]:
    return [f"redis 1000 PUBLISH {channel} {message}" for message in messages]


def message(scene: Subscriber) -> str:
    """Return the channel and the text of the next message for a channel; "" at the end."""
    lines = [scene.line() for _ in range(7)]
    return " ".join(lines[4::2]).strip()


@pytest.mark.pure
def test_messages_sent_together_have_the_order_of_the_log() -> None:
    """Each subscription has its own watch, whose lines come in one piece."""
    each = {"1": Subscription("a", is_pattern=False), "2": Subscription("b", is_pattern=False)}
    lines = b"s1#1@EVENT 2 message a 0\ns1#1@EVENT 5 message a 3\ns1#2@EVENT 3 message b 1\n"
    messages = [
        b"*3\r\n$7\r\nmessage\r\n$1\r\n%c\r\n$1\r\n%c\r\n" % tuple(one)
        for one in (b"a0", b"b1", b"a3")
    ]
    assert translated(lines, each, 2) == b"".join(messages)


def test_messages_of_a_channel_come_in_the_order_of_the_log(scene: Subscriber) -> None:
    assert scene.subscribe(CHANNEL, "SUBSCRIBE") == ""
    for number in range(100):
        scene.apply(*published(str(number)))
    assert [message(scene) for _ in range(100)] == [f"{CHANNEL} {n}" for n in range(100)]


def test_pattern_gets_messages_and_events_that_fit(scene: Subscriber) -> None:
    assert scene.subscribe("app/n?w*") == ""
    scene.apply("set app/news 1", *published("no", channel="app/nw"), *published(r"a\nb"))
    lines = [scene.line() for _ in range(10)]
    assert lines[4::2] == ["app/n?w*", CHANNEL, "a"]
    assert lines[9] == "b"


def test_client_subscribes_to_channels_that_it_may_read(scene: Subscriber) -> None:
    for verb, name in (("SUBSCRIBE", "other"), ("PSUBSCRIBE", "ap*"), ("PSUBSCRIBE", "*")):
        assert scene.subscribe(name, verb).startswith("-NOPERM "), name
    for words in (("NUMSUB", "other"), ("CHANNELS",), ("CHANNELS", "a*")):
        assert scene.command("PUBSUB", *words).startswith("-NOPERM "), words
    assert scene.subscribe(CHANNEL, "SUBSCRIBE") == ""
    scene.apply(*published("x", channel="other"), *published("y"))
    assert message(scene) == f"{CHANNEL} y"


@pytest.mark.parametrize("verb", ["SUBSCRIBE", "PSUBSCRIBE"])
def test_empty_channel_takes_no_subscribers_either(scene: Subscriber, verb: str) -> None:
    """No message can be sent on it."""
    assert scene.subscribe("", verb) == "-ERR the empty channel is not supported"
    assert scene.subscribe(CHANNEL, "SUBSCRIBE") == ""


def test_client_publishes_on_channels_that_it_may_write(scene: Subscriber) -> None:
    assert scene.command("PUBLISH", CHANNEL, "x").startswith("-NOPERM ")


def test_subscription_ends_with_the_right_to_its_channel(scene: Subscriber) -> None:
    assert scene.subscribe(CHANNEL, "SUBSCRIBE") == ""
    scene.change(bob=("web/",))
    scene.apply(*published("x"))
    assert scene.line() == ""
    eventually(lambda: scene.watchers.count == 0, "no watch")


def test_slow_subscriber_is_ended_at_the_bound_of_history(scene: Subscriber) -> None:
    """Up to there it gets every message."""
    scene.watchers.feed.history.bound(10, 1 << 20)
    assert scene.subscribe(CHANNEL, "SUBSCRIBE") == ""
    for number in range(1000):
        scene.apply(*published(f"{'x' * 500}{number}"))
    heard = [text.rpartition("x")[2] for text in iter(lambda: message(scene), "")]
    assert heard == list(map(str, range(len(heard))))
    assert len(heard) < 1000


def test_end_of_a_connection_ends_its_counts(scene: Subscriber) -> None:
    (door,) = scene.host.doors
    assert scene.subscribe(CHANNEL, "SUBSCRIBE") == ""
    assert scene.subscribe("app/*") == ""
    assert door.receivers([CHANNEL]) == [2]
    scene.close()
    eventually(lambda: door.receivers([CHANNEL]) == [0], "no receiver")
    assert (door.channels(), door.count_patterns()) == ({}, 0)


def test_receivers_are_counted_by_few_comparisons(scene: Subscriber) -> None:
    """A long name of a channel, or many in one request, is compared with each pattern of others."""
    (door,) = scene.host.doors
    for number in range(40):
        assert scene.subscribe(f"app/*[ab]*[ab]*{number}") == ""
    assert scene.subscribe("app/*") == ""
    assert door.receivers(["app/ab7"]) == [2]
    assert door.receivers(["web/ab7"]) == [0]
    assert door.receivers(["app/ab7".ljust(900, "x")]) == [0], "it takes 36,000 steps"
    counts = door.receivers(["app/ab7"] * 8000)
    assert (counts[0], counts[-1]) == (2, 0), "those that are left are counted by name alone"
    assert scene.subscribe("app/ab7", "SUBSCRIBE") == ""
    assert door.receivers(["app/ab7"] * 8000)[-1] == 1


@pytest.mark.pure
@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (("", "x"), b"-ERR the empty channel is not supported\r\n"),
        (("__keyspace@0__:a", "set"), b"-ERR only the node itself publishes on this channel\r\n"),
        (("+switch-master", "x"), b"-ERR only the node itself publishes on this channel\r\n"),
        (("c" * 1025, "x"), b"-ERR the name of the channel has 1025 bytes; the limit is 1024\r\n"),
        (("c", "x" * 1048577), b"-ERR the message has 1048577 bytes; the limit is 1048576\r\n"),
    ],
    ids=["empty", "event", "sentinel", "channel", "message"],
)
def test_what_nobody_may_publish_is_refused(words: tuple[str, str], refused: bytes) -> None:
    """Alone and in a transaction, in which the other commands are carried out."""
    wire = RedisWire(Store(is_at_floor=False))
    assert wire.feed(framed("PUBLISH", *words)) == refused
    wire.feed(framed("MULTI") + framed("SET", "a", "1") + framed("PUBLISH", *words))
    assert wire.feed(framed("EXEC")) == b"*2\r\n+OK\r\n" + refused


LEAVING = ("UNSUBSCRIBE", "PUNSUBSCRIBE", "RESET")


@pytest.mark.parametrize("is_queued", [False, True], ids=["alone", "queued"])
@pytest.mark.parametrize("verb", ["SUBSCRIBE", "PSUBSCRIBE"])
def test_new_leader_is_announced_to_each_subscription(verb: str, is_queued: bool) -> None:
    """However it began and ended: a transaction carries out the same commands."""

    def ask(*words: str) -> bytes:
        data = framed(*words)
        in_multi = is_queued and words != ("RESET",)  # which ends a transaction
        return wire.feed(framed("MULTI") + data + framed("EXEC") if in_multi else data)

    for leaving in LEAVING:
        door = redis_door()
        wire = StoreWire(Store(is_at_floor=False), doors=[door])
        wire.host.watchers = WatchScene().watchers
        wire.feed(framed("HELLO", "3"))
        door.is_led_from("s1:10", is_here=False)
        assert not door.is_led_from("s1:11", is_here=False)
        assert b"+switch-master" in ask(verb, "+switch-master")
        before = len(wire.sent)
        assert door.is_led_from("s1:12", is_here=False)
        door.announce_leader()
        assert b"raftline s1 11 s1 12" in wire.sent[before:], (verb, leaving)
        ask(leaving)
        is_left = leaving in (f"UN{verb}", f"PUN{verb[1:]}", "RESET")
        assert door.is_led_from("s1:13", is_here=False) != is_left, (verb, leaving)


class Connected(StoreWire):
    """A connection that notes whether its input was ended."""

    is_left = False

    def read_no_more(self) -> None:
        self.is_left = True


@pytest.mark.parametrize(
    ("command", "leaves"),
    [("GET a", True), ("SET a 1", True), ("READONLY", False), ("SUBSCRIBE c", False), ("", False)],
)
def test_leader_that_leads_no_longer_ends_what_it_has_served(command: str, *, leaves: bool) -> None:
    """Never while it leads, and never at a node that has not led."""
    door = redis_door()
    wire = Connected(Store(is_at_floor=False), doors=[door])
    wire.host.watchers = WatchScene().watchers
    wire.feed(framed("HELLO", "2"))
    if command:
        wire.feed(framed("GET", "a") + framed(*command.split()))
    for address, is_here in (("s2:11", False), ("s3:12", False), ("s1:10", True)):
        assert not door.is_led_from(address, is_here=is_here)
    assert door.is_led_from("s2:11", is_here=False)
    door.is_led_from("s1:10", is_here=True)
    door.announce_leader()
    assert not wire.is_left, "this node leads again"
    assert door.is_led_from("s2:11", is_here=False)
    door.announce_leader()
    assert wire.is_left is leaves


def test_connection_that_has_ended_is_told_of_no_leader() -> None:
    """A node forgets it, with what it holds."""
    scene = Subscriber()
    (door,) = scene.host.doors
    assert scene.command("PING").startswith("-NOAUTH")
    door.is_led_from("s1:10", is_here=True)
    assert door.is_led_from("s2:11", is_here=False)
    scene.close()
    door.is_led_from("s1:10", is_here=True)
    assert not door.is_led_from("s2:11", is_here=False)
