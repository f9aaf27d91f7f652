"""Messages of `PUBLISH` at real nodes: everywhere, in order, and none from before."""

from __future__ import annotations

from contextlib import ExitStack

from raftline.redis.harness.raw_redis import Raw
from raftline.redis.harness.redis_wire import framed
from raftline_testing.nodes.cluster import Cluster


def subscribed(raw: Raw, version: int = 2) -> Raw:
    """Subscribe a connection to `news`."""
    raw.whole(b"HELLO", b"%d" % version)
    said = raw.whole(b"SUBSCRIBE", b"news")
    assert said == b"%c3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n" % b"**>"[version - 1]
    return raw


def heard(raw: Raw) -> bytes:
    """Return the text of the next message."""
    lines = [raw.line() for _ in range(7)]
    assert lines[2::2][:2] == [b"message\r\n", b"news\r\n"], lines
    return lines[6].removesuffix(b"\r\n")


def test_message_reaches_each_subscriber_at_each_node_once(nodes: Cluster) -> None:
    with ExitStack() as stack:
        each = [
            subscribed(stack.enter_context(Raw(node)), version)
            for node in nodes.nodes
            for version in (2, 3)
        ]
        with Raw(nodes.leader()) as raw:
            assert raw.ask(b"PUBLISH", b"news", b"\xff\x00 one") == b":2\r\n"
            raw.send(framed(b"MULTI") + framed(b"PUBLISH", b"news", b"two"))
            raw.send(framed(b"SET", b"k", b"v") + framed(b"PUBLISH", b"other", b"three"))
            raw.send(framed(b"EXEC") + framed(b"PUBLISH", b"news", b"four"))
            said = [raw.line() for _ in range(9)]
            assert said[4:] == [b"*3\r\n", b":2\r\n", b"+OK\r\n", b":0\r\n", b":2\r\n"]
        for subscriber in each:
            assert [heard(subscriber) for _ in range(3)] == [b"\xff\x00 one", b"two", b"four"]


def test_follower_sends_publishers_to_the_leader(nodes: Cluster) -> None:
    with Raw(nodes["s2"]) as raw:
        said = raw.ask(b"PUBLISH", b"news", b"x")
        assert said.startswith(b"-MOVED ")
        assert said.endswith(b":%d\r\n" % nodes["s1"].port)


def test_restarted_node_sends_no_message_from_before(cluster: Cluster) -> None:
    """Neither what it had sent already, nor what was published while it was down."""
    cluster.wait_until_begun()
    with Raw(cluster.leader()) as publisher:
        with Raw(cluster["s3"]) as raw:
            subscribed(raw)
            for number in range(200):
                publisher.ask(b"PUBLISH", b"news", b"early %d" % number)
            assert heard(raw) == b"early 0"
        cluster["s3"].kill()
        publisher.ask(b"PUBLISH", b"news", b"missed")
        cluster["s3"].start()
        with Raw(cluster["s3"]) as raw:
            subscribed(raw)
            publisher.ask(b"PUBLISH", b"news", b"new")
            assert heard(raw) == b"new"


def test_node_that_hears_no_leader_takes_no_subscriber(cluster: Cluster) -> None:
    """Its clients would hear nothing. The end of the connection sends them to another node."""
    cluster.wait_until_begun()
    for name in ("s1", "s2"):
        cluster[name].kill()
    with Raw(cluster["s3"]) as raw:
        raw.send(framed(b"SUBSCRIBE", b"news"))
        assert raw.rest().startswith(b"-CLUSTERDOWN ")
    with Raw(cluster["s3"]) as raw:
        assert raw.whole(b"SUBSCRIBE", b"+switch-master").endswith(b":1\r\n")
