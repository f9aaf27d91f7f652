"""Redis clients at real nodes."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from raftline.access import authority
from raftline.clients.connections.client_login import Credentials, log_in
from raftline.harness.added_users import add_users
from raftline.net.line_connection import LineConnection
from raftline.redis.harness.raw_redis import DEADLINE_S, Raw
from raftline.redis.harness.redis_wire import framed
from raftline.redis.resp.scripts import key_of, sha_of
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.known_users import first_admin
from raftline_testing.nodes.processes import eventually


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


def test_a_client_reads_the_addresses_of_its_connection(nodes: Cluster) -> None:
    node = nodes["s1"]
    with Raw(node) as raw:
        for command in (b"LIST", b"INFO"):
            told = raw.whole(b"CLIENT", command).decode()
            assert f" addr=127.0.0.1:{raw.own_port} laddr=127.0.0.1:{node.port} name=" in told


def test_transactions_of_a_pipeline_follow_one_another(nodes: Cluster) -> None:
    """Each is sent as a whole, and a follower sends the client on."""
    parts = [[b"MULTI"], [b"INCR", b"foo"], [b"EXPIRE", b"foo", b"60"], [b"EXEC"]]
    whole, queued = b"".join([framed(*part) for part in parts]), b"+OK\r\n" + 2 * b"+QUEUED\r\n"
    with Raw(nodes["s1"]) as raw:
        raw.send(whole * 100)
        for number in range(1, 101):
            expected = queued + b"*2\r\n:%d\r\n:1\r\n" % number
            assert b"".join([raw.line() for _ in range(6)]) == expected
    with Raw(nodes["s2"]) as raw:
        raw.send(whole)
        moved = b"-MOVED 12182 localhost:%d\r\n" % nodes["s1"].port
        assert b"".join([raw.line() for _ in range(4)]) == queued + moved


def test_transaction_that_is_refused_for_its_work_is_in_no_log(nodes: Cluster) -> None:
    """Whether it arrives as a whole or in parts."""
    parts = [framed(b"MULTI"), framed(b"INCR", b"too much"), *[framed(b"GET", b"long")] * 9]
    parts.append(framed(b"EXEC"))
    with Raw(nodes["s1"]) as raw:
        assert raw.ask(b"SET", b"long", b"v" * (1 << 20)) == b"+OK\r\n"
        for pieces in ([b"".join(parts)], parts):
            replies = []
            for piece in pieces:
                raw.send(piece)
                replies += [raw.line() for _ in parts] if len(pieces) == 1 else [raw.line()]
            assert replies[-1].startswith(b"-ERR the reply has more than 8388608 bytes"), replies
        script = b"redis.call('SET', 'too much', 1) return string.rep('x', 1e8)"
        assert raw.ask(b"EVAL", script, b"0").startswith(b"-ERR the commands make more than ")
        grown = [framed(b"DEL", b"new"), framed(b"COPY", b"long", b"new")]
        on_new = [framed(b"GET", b"new") if b"long" in part else part for part in parts]
        raw.send(b"".join([*grown, *on_new]))
        replies = [raw.line() for _ in [*grown, *on_new]]
        assert replies[-1].startswith(b"-ERR the reply has more than 8388608 bytes"), replies
        assert raw.ask(b"INCR", b"small") == b":1\r\n"
    nodes.wait_until_on_all_disks()
    log = nodes["s1"].log.read_text()
    assert "incr small" in log.lower()
    assert "too\\smuch" not in log


RELEASE = (
    b"if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
)
KEEP = b"redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], ARGV[1])"


def test_a_full_node_lets_scripts_remove_keys(tmp_path: Path) -> None:
    """As in Redis: a command of a script that may need room fails, the others do not."""
    with Cluster(tmp_path, 1, "--max-bytes", "5000", "--pace", "fast") as cluster:
        (node,) = cluster.start("--new").nodes
        with Raw(node) as raw:
            for key in (b"lock", b"other"):
                assert raw.ask(b"SET", key, b"token") == b"+OK\r\n"
            assert raw.ask(b"SET", b"long", b"v" * 5000) == b"+OK\r\n"
            assert raw.ask(b"SET", b"more", b"v").startswith(b"-OOM ")
            assert raw.ask(b"EVAL", KEEP, b"1", b"other", b"v").startswith(b"-OOM ")
            assert raw.ask(b"GET", b"other") == b"$-1\r\n"
            assert raw.ask(b"EVAL_RO", b"return 7", b"0") == b":7\r\n"
            for answer in (b":1\r\n", b":0\r\n"):
                assert raw.ask(b"EVAL", RELEASE, b"1", b"lock", b"token") == answer
            kept = key_of(sha_of(RELEASE.decode()))
            assert "no such key" in node.ask(f"get {kept}")  # a text takes room
            queued = [
                raw.ask(*words)
                for words in (
                    (b"MULTI",),
                    (b"EVAL", RELEASE, b"1", b"a", b"b"),
                    (b"DEL", b"long"),
                    (b"EXEC",),
                )
            ]
            assert queued[-1] == b"*2\r\n", queued
            assert [raw.line(), raw.line()] == [b":0\r\n", b":1\r\n"]
            assert raw.ask(b"SET", b"more", b"v") == b"+OK\r\n"
            assert raw.ask(b"EVAL_FREEING", RELEASE, b"0").startswith(b"-ERR unknown command")
    assert "EVAL_FREEING" in node.log.read_text()


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


def test_bytes_that_are_not_a_command_end_the_connection(nodes: Cluster) -> None:
    with Raw(nodes["s1"]) as raw:
        raw.send(framed(b"PING") + b"*1\r\nPING\r\n")
        assert raw.rest() == b"+PONG\r\n-ERR Protocol error: expected '$', got 'P'\r\n"


def test_without_a_leader_the_cluster_is_down(cluster: Cluster) -> None:
    cluster["s1"].kill()
    cluster["s2"].kill()
    with Raw(cluster["s3"]) as raw:
        assert raw.ask(b"SET", b"a", b"1") == b"-CLUSTERDOWN The cluster is down\r\n"


def test_quit_ends_the_connection_after_the_replies(nodes: Cluster) -> None:
    with Raw(nodes["s1"]) as raw:
        raw.send(framed(b"PING") + framed(b"QUIT") + framed(b"PING"))
        assert raw.rest() == b"+PONG\r\n+OK\r\n"


def test_a_follower_reads_for_a_connection_that_is_readonly(nodes: Cluster) -> None:
    with Raw(nodes["s1"]) as leader, Raw(nodes["s2"]) as raw:
        assert leader.ask(b"SET", b"seen", b"1") == b"+OK\r\n"
        assert raw.ask(b"READONLY") == b"+OK\r\n"
        eventually(lambda: raw.ask(b"EXISTS", b"seen") == b":1\r\n", "the key at the follower")
        assert raw.ask(b"SET", b"seen", b"2").startswith(b"-MOVED ")
        assert raw.ask(b"READWRITE") == b"+OK\r\n"
        assert raw.ask(b"EXISTS", b"seen").startswith(b"-MOVED ")


# --- redis-py ------------------------------------------------------------------------------------


@pytest.fixture
def redis() -> Any:
    """The package redis-py, without its types."""
    return pytest.importorskip("redis", reason="it asks as redis-py does")


@pytest.fixture(params=[2, 3])
def store(redis: Any, nodes: Cluster, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client at the leader, in each version of the protocol."""
    nodes.wait_until_begun()
    port, version = nodes["s1"].port, request.param
    with redis.Redis(port=port, protocol=version, decode_responses=True) as client:
        client.flushall()
        yield client


def test_redis_py_writes_and_reads(store: Any) -> None:
    assert store.ping()
    assert store.set("k", "v", ex=100, nx=True)
    assert store.set("k", "w", xx=True, get=True) == "v"
    assert store.mset({"a": "1", "b": "2"})
    assert store.mget("a", "none", "k") == ["1", None, "w"]
    assert store.incrbyfloat("a", 0.5) == 1.5
    assert store.expire("k", 50)
    assert 40 < store.ttl("k") <= 50
    assert store.rename("k", "l")
    assert 40 < store.ttl("l") <= 50
    assert sorted(store.scan_iter(match="?", count=1)) == ["a", "b", "l"]
    assert store.delete("a", "b", "l", "none") == 3
    assert store.dbsize() == 0


def test_redis_py_keeps_bytes(redis: Any, nodes: Cluster) -> None:
    with redis.Redis(port=nodes["s1"].port) as client:
        assert client.set(b"\xff k", bytes(range(256)))
        assert client.get(b"\xff k") == bytes(range(256))
        assert client.delete(b"\xff k") == 1


def test_redis_py_carries_out_a_transaction(redis: Any, store: Any) -> None:
    with store.pipeline() as pipe:
        pipe.set("a", "1").incr("a").get("a").ttl("a")
        assert pipe.execute() == [True, 2, "2", -1]
        pipe.watch("a")
        store.set("a", "changed")
        pipe.multi()
        pipe.set("a", "lost")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    assert store.get("a") == "changed"


@pytest.mark.parametrize("ends", ["deleted", "expired"])
def test_a_cache_filled_under_watch_is_never_stale(redis: Any, store: Any, ends: str) -> None:
    """Another client filled the absent key meanwhile, and it was dropped when the data changed."""
    with store.pipeline() as pipe:
        pipe.watch("page")
        assert store.set("page", "old", px=50 if ends == "expired" else None)
        if ends == "deleted":
            assert store.delete("page") == 1
        eventually(lambda: store.get("page") is None, "the end of the key")
        pipe.multi()
        pipe.set("page", "old")
        with pytest.raises(redis.WatchError):
            pipe.execute()
        assert store.get("page") is None
        pipe.watch("page")
        pipe.multi()
        pipe.set("page", "new")
        assert pipe.execute() == [True]


@pytest.mark.parametrize("count", [200, 1000])
def test_redis_py_takes_many_keys_at_a_time(store: Any, count: int) -> None:
    """Its pipelines are transactions unless a program says otherwise."""
    keys = [f"k{number}" for number in range(count)]
    with store.pipeline() as pipe:
        for key in keys:
            pipe.set(key, key)
        assert pipe.execute() == [True] * count
        for key in keys:
            pipe.get(key)
        assert pipe.execute() == keys
        pipe.mset(dict.fromkeys(keys, "v"))
        for key in keys:
            pipe.expire(key, 60)
        assert pipe.execute() == [True] * (count + 1)
    assert store.mget(keys) == ["v"] * count
    assert store.exists(*keys, "absent") == count
    assert store.delete(*keys) == count
    assert store.mset(dict.fromkeys(keys, "w"))
    assert store.unlink(*store.keys()) == count


def test_redis_py_counts_in_transactions_that_meet(store: Any) -> None:
    def add(pipe: Any) -> None:
        number = int(pipe.get("n") or 0)
        pipe.multi()
        pipe.set("n", number + 1)

    def client() -> None:
        for _ in range(5):
            store.transaction(add, "n")

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(client) for _ in range(4)]:
            done.result(DEADLINE_S)
    assert store.get("n") == "20"


def test_many_clients_add_to_one_float(store: Any) -> None:
    with ThreadPoolExecutor(12) as pool:
        for done in [pool.submit(store.incrbyfloat, "f", 0.5) for _ in range(60)]:
            done.result(DEADLINE_S)
    assert store.get("f") == "30"


def test_the_lock_of_redis_py_is_held_by_one(redis: Any, store: Any) -> None:
    lock, other = store.lock("job", timeout=60), store.lock("job", timeout=60)
    assert lock.acquire(blocking=False)
    assert not other.acquire(blocking=False)
    assert lock.extend(30)
    assert 60 < store.ttl("job") <= 90
    assert lock.reacquire()
    assert store.ttl("job") <= 60
    lock.release()
    with pytest.raises(redis.exceptions.LockError):
        other.release()
    assert other.acquire(blocking=False)


def test_in_cluster_mode_a_client_follows_the_leader(redis: Any, cluster: Cluster) -> None:
    cluster.wait_until_begun()
    with redis.RedisCluster(
        host="localhost", port=cluster["s2"].port, decode_responses=True
    ) as client:
        assert client.set("a", "1")
        cluster["s1"].kill()
        cluster.leader()
        assert client.set("b", "2")
        assert client.get("a") == "1"


def test_notifications_arrive_in_order_at_a_follower(redis: Any, nodes: Cluster) -> None:
    port = nodes["s2"].port
    with redis.Redis(port=port).pubsub() as pubsub, redis.Redis(port=nodes["s1"].port) as store:
        pubsub.psubscribe("__key*__:n?")
        pubsub.subscribe("__keyevent@0__:del")
        assert [pubsub.get_message(timeout=DEADLINE_S)["type"] for _ in range(2)] == [
            "psubscribe", "subscribe",
        ]  # fmt: skip
        store.set("n1", "1")
        store.set("other", "1")
        store.incr("n1")
        store.delete("n1", "other")
        store.set("n2", "1", px=100)
        messages = [pubsub.get_message(timeout=DEADLINE_S) for _ in range(7)]
        assert sorted((one["channel"], one["data"]) for one in messages) == [
            (b"__keyevent@0__:del", b"n1"), (b"__keyevent@0__:del", b"other"),
            (b"__keyspace@0__:n1", b"del"), (b"__keyspace@0__:n1", b"set"),
            (b"__keyspace@0__:n1", b"set"), (b"__keyspace@0__:n2", b"expired"),
            (b"__keyspace@0__:n2", b"set"),
        ]  # fmt: skip
        pubsub.punsubscribe()
        pubsub.unsubscribe()
        assert [pubsub.get_message(timeout=DEADLINE_S)["data"] for _ in range(2)] == [1, 0]


def test_a_connection_with_subscriptions_takes_no_other_commands(nodes: Cluster) -> None:
    channel = b"__keyspace@0__:k"
    with Raw(nodes["s1"]) as raw:
        raw.send(framed(b"SUBSCRIBE", channel) + framed(b"GET", b"k") + framed(b"HELLO", b"3"))
        subscribed = b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n" % (len(channel), channel)
        assert b"".join([raw.line() for _ in range(6)]) == subscribed
        assert raw.line().startswith(b"-ERR Can't execute 'get': only (P|S)SUBSCRIBE")
        assert raw.line().startswith(b"-ERR Can't execute 'hello': only ")
        assert raw.ask(b"RESET") == b"+RESET\r\n"
        assert raw.ask(b"GET", b"k") == b"$-1\r\n"


def test_an_asyncio_client_of_redis_py(redis: Any, nodes: Cluster) -> None:
    from redis import asyncio as aioredis  # pyright: ignore[reportMissingImports]

    async def main() -> None:
        async with aioredis.Redis(port=nodes["s1"].port) as client:
            assert await client.set("a", "1")
            assert await asyncio.gather(*[client.incr("a") for _ in range(20)])
            assert await client.getdel("a") == b"21"

    asyncio.run(main())


def test_redis_py_speaks_tls_with_a_certificate(redis: Any, tmp_path: Path) -> None:
    authority.make(tmp_path, ["s1=localhost"], ["app"])
    ca = str(tmp_path / "ca.pem")
    options = ["--tls-cert", str(tmp_path / "s1.pem"), "--tls-key", str(tmp_path / "s1.key")]
    with Cluster(tmp_path, 1, *STEADY, *options, "--tls-ca", ca, "--tls-only") as cluster:
        port = cluster["s1"].start().port
        client = redis.Redis(
            port=port, ssl=True, ssl_ca_certs=ca,
            ssl_certfile=str(tmp_path / "app.pem"), ssl_keyfile=str(tmp_path / "app.key"),
        )  # fmt: skip
        with client, redis.Redis(port=port) as plain:
            eventually(lambda: client.set("a", b"\x00" * 100_000), "a leader")
            assert client.get("a") == b"\x00" * 100_000
            with pytest.raises(redis.RedisError):
                plain.ping()


USERS = {
    "bob": (UserRole.WRITER, ("app/",)),
    "default": (UserRole.READER, EVERYWHERE),
}


def test_the_keys_of_a_user_count_for_it(tmp_path: Path) -> None:
    """`SET` is a line of the node's own protocol; `SETRANGE` asks and writes on its own."""
    options = [*first_admin(tmp_path, "right"), "--insecure"]
    with Cluster(tmp_path, 1, *STEADY, *options) as cluster, Raw(cluster.start()["s1"]) as bob:
        node = cluster["s1"]
        add_users(f"localhost:{node.port}", USERS, "right")

        def facts() -> dict[str, Any]:
            """Return the status for a user who may read all keys."""
            with LineConnection(node.port) as reader:
                log_in(reader, Credentials("default", "right"), "c", DEADLINE_S)
                return dict(json.loads(reader.ask("status").partition(": ")[2]))

        assert bob.ask(b"AUTH", b"bob", b"right") == b"+OK\r\n"
        assert bob.ask(b"SET", b"app/a", b"1") == b"+OK\r\n"
        one = facts()["accounts"]["bob"]["bytes"]
        assert bob.ask(b"SETRANGE", b"app/b", b"0", b"1") == b":1\r\n"
        both = facts()["accounts"]["bob"]["bytes"]
        assert 2 * one <= both <= 2 * one + 1  # a byte for each digit of an entry's number


def test_a_user_of_redis_py_has_the_rights_of_the_node(redis: Any, tmp_path: Path) -> None:
    options = [*first_admin(tmp_path, "right"), "--insecure"]
    refused = redis.exceptions.NoPermissionError
    with Cluster(tmp_path, 1, *STEADY, *options) as cluster:
        port = cluster.start()["s1"].port
        add_users(f"localhost:{port}", USERS, "right")
        with redis.Redis(port=port) as nobody, pytest.raises(redis.AuthenticationError):
            nobody.set("app/a", "1")
        wrong = redis.Redis(port=port, username="bob", password="wrong")
        with wrong, pytest.raises(redis.AuthenticationError, match="invalid username-password"):
            wrong.ping()
        with redis.Redis(port=port, username="bob", password="right") as bob:
            eventually(lambda: bob.set("app/a", "1"), "a leader")
            for words in (("SET", "b", "1"), ("MSET", "app/a", "1", "b", "1"), ("KEYS", "*")):
                with pytest.raises(refused):
                    bob.execute_command(*words)
            assert bob.keys("app/*") == [b"app/a"]
        with redis.Redis(port=port, password="right") as reader:
            assert reader.get("app/a") == b"1"
            with pytest.raises(refused):
                reader.set("app/a", "1")


def cli(port: int, *words: str, data: bytes = b"") -> str:
    """Return what redis-cli prints."""
    command = ["redis-cli", "-p", str(port), *words]
    done = subprocess.run(command, input=data, capture_output=True, timeout=DEADLINE_S, check=False)
    return done.stdout.decode()


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="needs redis-cli")
def test_redis_cli_finds_the_leader_and_loads_keys(nodes: Cluster) -> None:
    port = nodes["s1"].port

    def leader() -> list[str]:
        return cli(port, "sentinel", "get-master-addr-by-name", "raftline").split()

    eventually(lambda: len(leader()) == 2, "a leader")
    at = int(leader()[1])
    commands = b"".join([framed(b"SET", b"piped:%d" % number, b"1") for number in range(100)])
    assert "errors: 0, replies: 100" in cli(at, "--pipe", data=commands)
    assert len(cli(at, "--scan", "--pattern", "piped:*").split()) == 100
    assert "All 16384 slots covered" in cli(port, "--cluster", "check", f"localhost:{port}")
    assert "unknown command 'monitor'" in cli(at, "monitor")
