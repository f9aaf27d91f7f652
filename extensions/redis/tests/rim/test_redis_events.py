"""The events of Redis clients are made into messages by the thread that sends them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from raftline.net.connections.outgoing import Outgoing
from raftline.redis.redis_events import RedisEvents
from raftline.redis.resp.notifications import Subscription
from raftline.redis.resp.replies import Value
from raftline.redis.resp.session import RedisSession
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.user_scene import UserScene
from raftline_testing.doubles.watched_store import WatchScene
from raftline_testing.nodes.processes import DEADLINE_S, eventually


class SlowPattern(Subscription):
    """A pattern that takes as long to match as a client likes."""

    def __init__(self) -> None:
        super().__init__("__keyspace@0__:k*", is_pattern=True)
        self.may_match = threading.Event()
        self.threads: set[str] = set()

    def messages(self, kind: str, key: str) -> list[Value]:
        self.threads.add(threading.current_thread().name)
        self.may_match.wait(DEADLINE_S)
        return super().messages(kind, key)


class Subscriber:
    """A Redis client with one subscription."""

    def __init__(self, scene: WatchScene) -> None:
        near, self.far = socket.socketpair()
        self.far.settimeout(DEADLINE_S)
        self.near = near
        host: Any = FakeHost(watchers=scene.watchers)
        self.outgoing = Outgoing(host, near)
        session = RedisSession()
        self.pattern = session.subscriptions["p1"] = SlowPattern()
        self.events = RedisEvents(host.doors[0], host, self.outgoing, session)
        assert self.events.open("p1", ["k"]) == ""
        self.outgoing.pump()

    def receive(self, messages: int) -> list[str]:
        """Return the keys of this many messages."""
        keys: list[str] = []
        with self.far.makefile("rb") as lines:
            while len(keys) < messages:
                line = lines.readline().decode().strip()
                assert line, "the connection ended"
                if line.startswith("__keyspace@0__:k") and not line.endswith("*"):
                    keys.append(line.removeprefix("__keyspace@0__:"))
        return keys


@pytest.fixture
def scene() -> WatchScene:
    return WatchScene()


@pytest.fixture
def client(scene: WatchScene) -> Iterator[Subscriber]:
    one = Subscriber(scene)
    with one.near, one.far:
        yield one
        one.pattern.may_match.set()
        eventually(one.outgoing.is_empty)


def test_the_sending_thread_matches_the_patterns(scene: WatchScene, client: Subscriber) -> None:
    """The thread that took the step may hear a member, and returns while a pattern is matched."""
    scene.apply("set k1 1")
    scene.apply("set k2 2")
    assert not scene.watchers.feed.has_work
    client.pattern.may_match.set()
    assert client.receive(2) == ["k1", "k2"]
    assert threading.current_thread().name not in client.pattern.threads


def test_unread_events_do_not_outgrow_the_history(scene: WatchScene, client: Subscriber) -> None:
    """While it has one message to take, the next ones are the watch's, which the history drops."""
    scene.watchers.feed.history.bound(2, 1 << 20)
    for number in range(8):
        scene.apply(f"set k{number} v")
    client.pattern.may_match.set()
    with client.far.makefile("rb") as lines:
        told = lines.read()
    assert told.count(b"set") == 1


def test_events_that_wait_in_the_history_follow_in_order(
    scene: WatchScene, client: Subscriber
) -> None:
    for number in range(8):
        scene.apply(f"set k{number} v")
    client.pattern.may_match.set()
    assert client.receive(8) == [f"k{number}" for number in range(8)]


def test_a_quiet_subscription_gets_no_positions(scene: WatchScene, client: Subscriber) -> None:
    """They have no message, so nothing is sent, nor made."""
    scene.clock.s = scene.clock.now_s() + 60.0
    scene.watchers.feed.mark_keepalives_due()
    scene.watchers.hand_out()
    assert client.outgoing.bytes_sent == 0
    assert client.outgoing.is_empty()


def test_a_redis_client_gets_no_message_of_a_later_change() -> None:
    """A watch ends when its user loses the right to read."""
    scene = UserScene()
    session = RedisSession()
    session.subscriptions["p1"] = Subscription("__keyspace@0__:app/*", is_pattern=True)
    outgoing: Any = scene.bob
    host: Any = FakeHost(watchers=scene.watchers)
    events = RedisEvents(host.doors[0], host, outgoing, session)
    assert events.open("p1", ["app/"]) == ""
    scene.bob.pump()
    scene.apply("set app/a 1", "user-remove bob", "set app/b 2")
    scene.bob.pump()
    said = "\n".join(scene.bob.read())
    assert "app/a" in said
    assert "app/b" not in said
    assert scene.bob.is_broken_off  # which shows the client that messages are missing
    assert scene.watchers.count == 0
