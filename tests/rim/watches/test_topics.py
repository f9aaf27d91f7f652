"""Messages on topics travel with the events of keys, to the watches of their topics alone."""

from __future__ import annotations

import pytest

from raftline.state.commands.key_commands import APPLIED
from raftline.state.store import Store
from raftline.wire.commands.watch_lines import topic_of, topics_under
from raftline_testing.doubles.watched_store import FakeSink, WatchScene


def tell(store: Store, operands: str) -> str:
    """Apply a command of an extension: `tell TOPIC MESSAGE`."""
    topic, _, message = operands.partition(" ")
    store.tell(topic, message)
    return "told"


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> WatchScene:
    monkeypatch.setitem(APPLIED, "tell", tell)
    return WatchScene()


def test_message_reaches_the_watches_of_its_topic_alone(scene: WatchScene) -> None:
    """It reaches no longer topic, no key of that name, and no watch of all keys."""
    of_topic, under, others = FakeSink(), FakeSink(), FakeSink()
    scene.watch(topic_of("news"), 1, sink=of_topic)
    scene.watch(topics_under("new"), 1, sink=under)
    for number, prefix in enumerate(["", "news", topic_of("new"), topic_of("newsroom")]):
        scene.watch(prefix, 1, str(number), others)
    scene.apply("tell news hello world", "tell newsroom x", "tell other x")
    assert of_topic.read() == ["s1@EVENT 2 message news hello world"]
    assert under.read() == [
        "s1@EVENT 2 message news hello world", "s1@EVENT 3 message newsroom x",
    ]  # fmt: skip
    assert others.read() == ["s1#3@EVENT 3 message newsroom x"]
    scene.apply("set news 1")
    assert of_topic.read() == under.read() == []
    assert others.read() == ["s1#0@EVENT 5 set news 1", "s1#1@EVENT 5 set news 1"]


def test_slow_reader_takes_messages_from_the_history(scene: WatchScene) -> None:
    keys, topic = FakeSink(), FakeSink()
    scene.watch("", 1, sink=keys)
    scene.watch(topic_of("news"), 1, sink=topic)
    keys.is_slow = topic.is_slow = True
    for number in range(2, 5):
        scene.apply(f"set a {number}")
        scene.apply(f"tell news {number}")
    keys.is_slow = topic.is_slow = False
    keys.pump()
    topic.pump()
    assert [line.rpartition(" ")[2] for line in topic.read()] == ["2", "3", "4"]
    assert [line.split(" ", 2)[2] for line in keys.read()] == ["set a 2", "set a 3", "set a 4"]


def test_messages_are_kept_while_a_topic_is_watched(scene: WatchScene) -> None:
    """At a node without subscribers, they take no space in the history."""
    history = scene.watchers.feed.history
    scene.apply("tell news 1")
    scene.watch(topic_of("news"), 2, "w")
    scene.apply("tell other 2")
    assert len(history) == 1
    scene.watchers.unwatch(scene.sink, "w")
    scene.apply("tell news 3")
    assert len(history) == 1
