"""Clients of Redis that follow the leader, as sentinels name it or by `MOVED`."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from typing import Any

import pytest

from raftline.redis.harness.raw_redis import DEADLINE_S, Raw
from raftline.redis.harness.redis_wire import framed
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import eventually

SERVED = [
    (b"PING",), (b"GET", b"absent"), (b"INCR", b"n"), (b"SET", b"l", b"t", b"NX", b"PX", b"9999"),
    (b"MGET", b"a", b"b"), (b"EXISTS", b"a"), (b"TTL", b"a"), (b"DEL", b"a", b"b"),
    (b"SETRANGE", b"r", b"0", b"x"), (b"KEYS", b"*"), (b"WATCH", b"a"),
]  # fmt: skip


@pytest.fixture
def redis() -> Any:
    """The package redis-py, without its types."""
    return pytest.importorskip("redis", reason="it asks as redis-py does")


def transferred(cluster: Cluster, to: str) -> None:
    """Make another node lead."""
    at = cluster.leader()
    if at.name != to:
        eventually(lambda: f"{to} leads" in at.ask(f"transfer {to}"), f"{to} to lead")


def test_a_connection_that_was_served_ends_with_the_leader(cluster: Cluster) -> None:
    """Whatever it was served, so that a client in Sentinel mode looks for the leader again. One
    that reads at followers stays, and so does a subscriber."""
    cluster.wait_until_begun()
    with ExitStack() as stack:
        each = [stack.enter_context(Raw(cluster["s1"])) for _ in SERVED]
        for raw, words in zip(each, SERVED, strict=True):
            assert not raw.whole(*words).startswith(b"-"), words
        reader, subscriber = (stack.enter_context(Raw(cluster["s1"])) for _ in range(2))
        assert reader.ask(b"GET", b"absent") == b"$-1\r\n"
        assert reader.ask(b"READONLY") == b"+OK\r\n"
        assert subscriber.ask(b"GET", b"absent") == b"$-1\r\n"
        subscriber.whole(b"SUBSCRIBE", b"c")
        transferred(cluster, "s2")
        for raw, words in zip(each, SERVED, strict=True):
            assert raw.rest() == b"", words
        assert reader.ask(b"GET", b"absent") == b"$-1\r\n"
        assert subscriber.ask(b"PING") == b"*2\r\n"


def test_the_second_moved_ends_a_connection(nodes: Cluster) -> None:
    """Even if it was never served: perhaps a sentinel named a node that has just lost its
    leadership. Commands that have arrived by then are answered."""
    with Raw(nodes["s2"]) as raw:
        raw.send(framed(b"HELLO", b"2") + framed(b"GET", b"a") + framed(b"INCR", b"a") * 3)
        assert raw.rest().count(b"-MOVED ") == 4
    with Raw(nodes["s2"]) as raw:
        assert raw.ask(b"READONLY") == b"+OK\r\n"
        for _ in range(4):
            assert raw.ask(b"INCR", b"a").startswith(b"-MOVED ")


def test_in_sentinel_mode_a_client_finds_the_leader(redis: Any, cluster: Cluster) -> None:
    sentinel = redis.Sentinel([("localhost", node.port) for node in cluster.nodes])
    assert sentinel.discover_master("raftline") == ("localhost", cluster["s1"].port)
    assert sentinel.master_for("raftline").set("a", "1")
    cluster["s1"].kill()
    leader = cluster.leader()
    eventually(
        lambda: sentinel.discover_master("raftline") == ("localhost", leader.port), "the leader"
    )
    assert sentinel.master_for("raftline").get("a") == b"1"


def test_in_sentinel_mode_reads_for_replicas_are_served(redis: Any, nodes: Cluster) -> None:
    """Such a client reads at the leader if no sentinel names a replica. A follower would refuse,
    since none of these clients sends `READONLY`."""
    sentinel = redis.Sentinel([("localhost", node.port) for node in nodes.nodes])
    store = sentinel.slave_for("raftline")
    assert sentinel.master_for("raftline").set("a", "1")
    assert [store.get("a") for _ in range(20)] == [b"1"] * 20
    assert sentinel.discover_slaves("raftline") == []
    assert sentinel.sentinels[0].sentinel_masters()["raftline"]["num-slaves"] == 0


def test_in_sentinel_mode_a_client_leaves_a_leader_that_follows(
    redis: Any, cluster: Cluster
) -> None:
    sentinel = redis.Sentinel([("localhost", node.port) for node in cluster.nodes])
    store = sentinel.master_for("raftline")
    assert store.set("a", "1")
    assert "s2" in cluster["s1"].ask("transfer s2")

    def value() -> Any:
        with contextlib.suppress(redis.ResponseError, redis.ConnectionError):
            return store.get("a")
        return None

    eventually(lambda: value() == b"1", "a connection to the new leader")


@pytest.mark.parametrize("channel", ["+switch-master", "+switch-*"])
def test_each_node_tells_its_subscribers_of_a_new_leader(
    redis: Any, cluster: Cluster, channel: str
) -> None:
    """Clients such as Jedis and node-redis wait for this message, instead of asking again."""
    cluster.wait_until_begun()
    with ExitStack() as stack:
        each = [
            stack.enter_context(redis.Redis(port=node.port, decode_responses=True).pubsub())
            for node in cluster.nodes
        ]
        for pubsub in each:
            (pubsub.psubscribe if "*" in channel else pubsub.subscribe)(channel)
            pubsub.subscribe("+slave")
            assert [pubsub.get_message(timeout=DEADLINE_S)["data"] for _ in range(2)] == [1, 2]
        for before, after in (("s1", "s2"), ("s2", "s3")):
            transferred(cluster, after)
            ports = cluster[before].port, cluster[after].port
            told = "raftline localhost {} localhost {}".format(*ports)
            for pubsub in each:
                message = pubsub.get_message(timeout=DEADLINE_S)
                assert (message["channel"], message["data"]) == ("+switch-master", told)
        with Raw(cluster["s3"]) as raw:
            for verb in (b"SUBSCRIBE", b"UNSUBSCRIBE"):
                assert raw.whole(verb, b"+switch-master").startswith(b"*3")
            transferred(cluster, "s1")
            message = each[2].get_message(timeout=DEADLINE_S)
            assert str(cluster["s1"].port) in message["data"]
            assert raw.ask(b"PING") == b"+PONG\r\n"


def test_in_cluster_mode_no_change_of_the_leader_shows(redis: Any, cluster: Cluster) -> None:
    """Such a client lives on `MOVED`, and the end of a connection after it is not an error."""
    cluster.wait_until_begun()
    with redis.RedisCluster(host="localhost", port=cluster["s2"].port) as store:
        done = 0
        for to in ["s2", "s3", "s1"] * 2:
            for _ in range(5):
                done += 1
                assert store.incr("n") == done
            with store.pipeline() as pipe:
                pipe.get("n").exists("n").get("absent")
                assert pipe.execute() == [str(done).encode(), 1, None]
            transferred(cluster, to)
        assert store.get("n") == str(done).encode()
