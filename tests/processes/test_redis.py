"""Redis clients at real nodes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from raftline_testing.nodes.cluster import Cluster, NodeProcess
from tests.core.test_redis_framing import framed

DEADLINE_S = 60.0


class Raw:
    """A connection that sends commands, and reads bytes."""

    def __init__(self, node: NodeProcess) -> None:
        self._socket = socket.create_connection(("localhost", node.port), DEADLINE_S)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def line(self) -> bytes:
        return self._file.readline()

    def ask(self, *words: bytes) -> bytes:
        """Return the first line of a reply."""
        self.send(framed(*words))
        return self.line()

    def rest(self) -> bytes:
        """Return all bytes until the node closes the connection."""
        return self._file.read()


def test_a_pipeline_is_answered_in_order(nodes: Cluster) -> None:
    commands = [
        framed(b"PING"), framed(b"SET", b"a b", b"1\r\n\xff"), framed(b"get", b"a b"),
        framed(b"GET", b"none"), framed(b"DEL", b"a b"), framed(b"DEL", b"a b"),
        framed(b"NOPE", b"x"), framed(b"GET"), framed(b"ECHO", b"end"),
    ]  # fmt: skip
    expected = (
        b"+PONG\r\n+OK\r\n$4\r\n1\r\n\xff\r\n$-1\r\n:1\r\n:0\r\n"
        b"-ERR unknown command 'NOPE', with args beginning with: 'x' \r\n"
        b"-ERR wrong number of arguments for 'get' command\r\n$3\r\nend\r\n"
    )
    with Raw(nodes["s1"]) as raw:
        raw.send(b"".join(commands))
        assert b"".join([raw.line() for _ in range(expected.count(b"\n"))]) == expected


def test_both_kinds_of_clients_see_the_same_pairs(nodes: Cluster) -> None:
    with Raw(nodes["s1"]) as raw:
        assert raw.ask(b"SET", b"two words", b"tab\there") == b"+OK\r\n"
        assert nodes["s1"].ask(r"get two\swords") == r"s1@GET response: tab\there"
        assert nodes["s1"].ask(r"delete two\swords").startswith("s1@DELETE response: ")


def test_a_follower_names_the_leader(nodes: Cluster) -> None:
    with Raw(nodes["s2"]) as raw:
        at = f"localhost:{nodes['s1'].port}"
        assert raw.ask(b"GET", b"foo") == f"-MOVED 12182 {at}\r\n".encode()
        assert raw.ask(b"SET", b"foo", b"1") == f"-MOVED 12182 {at}\r\n".encode()


def test_bytes_that_are_no_command_end_the_connection(nodes: Cluster) -> None:
    with Raw(nodes["s1"]) as raw:
        raw.send(framed(b"PING") + b"*1\r\nPING\r\n")
        assert raw.rest() == b"+PONG\r\n-ERR Protocol error: expected '$', got 'P'\r\n"


def test_without_a_leader_the_cluster_is_down(cluster: Cluster) -> None:
    cluster["s1"].kill()
    cluster["s2"].kill()
    with Raw(cluster["s3"]) as raw:
        assert raw.ask(b"SET", b"a", b"1") == b"-CLUSTERDOWN The cluster is down\r\n"


@pytest.fixture(params=[2, 3])
def store(nodes: Cluster, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client of redis-py at the leader, in each version of the protocol."""
    redis = pytest.importorskip("redis", reason="it asks as redis-py does")
    with redis.Redis(port=nodes["s1"].port, protocol=request.param) as client:
        yield client


def test_redis_py_writes_and_reads(store: Any) -> None:
    assert store.ping()
    assert store.set("k", b"\x00\xff")
    assert store.get("k") == b"\x00\xff"
    assert store.delete("k") == 1
    assert store.get("k") is None
