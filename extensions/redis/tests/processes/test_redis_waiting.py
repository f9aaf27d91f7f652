"""Redis clients that wait for an element, or for an entry of a stream, at real nodes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from raftline.redis.harness.raw_redis import Raw
from raftline.redis.harness.redis_wire import framed
from raftline.redis.resp.types import rows
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually

_CLOSE_WAIT = "08"  # in /proc/net/tcp
READER = framed("XREAD", "BLOCK", "0", "STREAMS", "k", "0")
ENTRY = (  # of this stream
    b"*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
)


def wait_for_waiters(node: NodeProcess, count: int) -> None:
    with Raw(node) as raw:
        eventually(lambda: b"blocked_clients:%d\r\n" % count in raw.whole(b"INFO", b"clients"))


def test_waiters_are_served_in_the_order_of_arrival(nodes: Cluster) -> None:
    """Also if they wait for several keys, or move what they get, and at once."""
    node = nodes["s1"]
    with Raw(node) as one, Raw(node) as two, Raw(node) as three, Raw(node) as giver:
        one.send(framed(b"BLPOP", b"jobs", b"0"))
        wait_for_waiters(node, 1)
        two.send(framed(b"BRPOP", b"none", b"jobs", b"60"))
        wait_for_waiters(node, 2)
        three.send(framed(b"BLMOVE", b"jobs", b"taken", b"LEFT", b"RIGHT", b"0"))
        wait_for_waiters(node, 3)
        assert giver.ask(b"RPUSH", b"jobs", b"a", b"b", b"c") == b":3\r\n"
        assert one.reply() == framed(b"jobs", b"a")
        assert two.reply() == framed(b"jobs", b"c")
        assert three.reply() == b"$1\r\nb\r\n"
        assert giver.whole(b"LRANGE", b"taken", b"0", b"-1") == framed(b"b")
        assert giver.ask(b"EXISTS", b"jobs") == b":0\r\n"
        wait_for_waiters(node, 0)


@pytest.mark.parametrize(
    ("waits", "gives", "reply"),
    [
        ("BLPOP k 60", "RPUSH k a", framed(b"k", b"a")),
        ("BRPOP k 60", "RENAME other k", framed(b"k", b"x")),
        ("BRPOPLPUSH k l 60", "LMOVE other k LEFT LEFT", b"$1\r\nx\r\n"),
        ("BZPOPMIN k 60", "ZADD k 1 a 2 b", b"*3\r\n$1\r\nk\r\n$1\r\na\r\n$1\r\n1\r\n"),
        ("BZPOPMAX k 60", "ZADD k 1 a 2 b", b"*3\r\n$1\r\nk\r\n$1\r\nb\r\n$1\r\n2\r\n"),
        ("BLMPOP 60 2 none k LEFT COUNT 2", "RPUSH k a b",
         b"*2\r\n$1\r\nk\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("BZMPOP 60 1 k MIN", "ZADD k 1 a",
         b"*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
        ("XREAD BLOCK 0 STREAMS k 0", "XADD k 5-1 f v", ENTRY),
        ("XREAD COUNT 1 BLOCK 60000 STREAMS none k $ $", "XADD k 5-1 f v", ENTRY),
        ("XREAD BLOCK 0 STREAMS k 0", "SET k text",
         b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
    ],
)  # fmt: skip
def test_a_waiter_gets_what_arrives(nodes: Cluster, waits: str, gives: str, reply: bytes) -> None:
    node = nodes["s1"]
    with Raw(node) as waiter, Raw(node) as giver:
        giver.ask(b"DEL", b"k", b"other", b"l")
        giver.ask(b"RPUSH", b"other", b"x")
        waiter.send(framed(*waits.split()))
        wait_for_waiters(node, 1)
        giver.send(framed(*gives.split()))
        assert waiter.reply() == reply


def test_each_reader_of_a_stream_gets_an_entry(nodes: Cluster) -> None:
    """Also one that came after a reader who waits for a later entry, and one at a follower."""
    node = nodes["s1"]
    with Raw(node) as later, Raw(node) as one, Raw(nodes["s2"]) as far, Raw(node) as giver:
        giver.ask(b"DEL", b"k")
        later.send(framed("XREAD", "BLOCK", "0", "STREAMS", "k", "9-0"))
        wait_for_waiters(node, 1)
        one.send(READER)
        wait_for_waiters(node, 2)
        assert far.ask(b"READONLY") == b"+OK\r\n"
        far.send(READER)
        wait_for_waiters(nodes["s2"], 1)
        assert giver.ask(*b"XADD k 5-1 f v".split()) == b"$3\r\n"
        assert (one.reply(), far.reply()) == (ENTRY, ENTRY)
        wait_for_waiters(node, 1)
        giver.ask(*b"XADD k 9-1 f v".split())
        assert later.reply() == ENTRY.replace(b"5-1", b"9-1")


WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"


@pytest.mark.parametrize(
    ("waits", "then", "reply"),
    [
        ("BLPOP k 0", "DEL k ; RPUSH k a", framed(b"k", b"a")),
        ("BLPOP k other 0", "RPUSH other a", framed(b"other", b"a")),
        ("BLMPOP 0 2 k other LEFT", "RPUSH other a", b"*2\r\n$5\r\nother\r\n*1\r\n$1\r\na\r\n"),
        ("BZPOPMIN other k 0", "DEL k ; ZADD k 1 a", b"*3\r\n$1\r\nk\r\n$1\r\na\r\n$1\r\n1\r\n"),
        ("BLMOVE k text LEFT LEFT 0", "DEL k ; RPUSH k a", WRONG_TYPE),
    ],
)  # fmt: skip
def test_a_waiter_waits_on_at_a_wrong_type(
    nodes: Cluster, waits: str, then: str, reply: bytes
) -> None:
    """A value of another type ends no wait that has begun; only one where an element would go."""
    node = nodes["s1"]
    with Raw(node) as waiter, Raw(node) as giver:
        giver.ask(b"DEL", b"k", b"other")
        giver.ask(b"SET", b"text", b"x")
        waiter.send(framed(*waits.split()))
        wait_for_waiters(node, 1)
        giver.ask(b"SET", b"k", b"text")
        for command in then.split(" ; "):
            giver.whole(*command.encode().split())
        assert waiter.reply() == reply


@pytest.mark.parametrize(
    ("waits", "gives", "entry"),
    [
        ("BLPOP k other 0", "RPUSH other a", "BLPOP other 0"),
        ("BLMPOP 0 3 k no other LEFT COUNT 2", "RPUSH other a", "BLMPOP 0 1 other LEFT COUNT 2"),
        ("BZPOPMAX k other 0", "ZADD other 1 a", "BZPOPMAX other 0"),
        ("BLMOVE k other LEFT LEFT 0", "DEL k ; RPUSH k a", "BLMOVE k other LEFT LEFT 0"),
    ],
)  # fmt: skip
def test_a_waiter_writes_one_entry_for_its_element(
    cluster: Cluster, waits: str, gives: str, entry: str
) -> None:
    """No change of a key of another type is an entry, and the entry names one key alone."""
    node, name = cluster["s1"], waits.split()[0]
    with Raw(node) as waiter, Raw(node) as giver:
        waiter.send(framed(*waits.split()))
        wait_for_waiters(node, 1)
        for number in range(3):
            giver.ask(b"SET", b"k", b"text%d" % number)
        for command in gives.split(" ; "):
            giver.whole(*command.encode().split())
        assert not waiter.reply().startswith(b"-")
    cluster.wait_until_on_all_disks()
    found = [line for line in node.log.read_text().splitlines() if f" {name} " in line]
    assert [line.partition(f" {name} ")[2] for line in found] == [entry.partition(" ")[2]]


def wait_for_end(node: NodeProcess, port: int) -> None:
    """Wait until the system has told the node's side of a connection that the other side, at this
    port, is closed: another connection may be faster."""
    end = f":{node.port:04X} "
    shown = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]

    def has_ended() -> bool:
        lines = [line for path in shown if path.exists() for line in path.read_text().splitlines()]
        own = [line for line in lines if end in line and f":{port:04X} {_CLOSE_WAIT} " in line]
        return bool(own) or not lines

    eventually(has_ended, "the end of a connection")


def test_a_waiter_that_is_gone_takes_nothing(nodes: Cluster) -> None:
    node = nodes["s1"]
    with Raw(node) as gone, Raw(node) as other, Raw(node) as giver:
        gone.send(framed(b"BLPOP", b"left", b"0"))
        wait_for_waiters(node, 1)
        other.send(framed(b"BLPOP", b"left", b"0"))
        wait_for_waiters(node, 2)
        port = gone.own_port
        gone.__exit__()
        wait_for_end(node, port)
        assert giver.ask(b"RPUSH", b"left", b"a") == b":1\r\n"
        assert other.reply() == framed(b"left", b"a")


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("BLPOP none 0.01", b"*-1\r\n"), ("BZPOPMIN none 0.01", b"*-1\r\n"),
        ("BLMOVE none l LEFT LEFT 0.01", b"*-1\r\n"),
        ("BLMOVE none l LEFT UP 0", b"-ERR syntax error\r\n"),
        ("BLMPOP 0.01 1 none LEFT", b"*-1\r\n"),
        ("XREAD BLOCK 10 STREAMS none 0", b"*-1\r\n"),
        ("XREAD BLOCK -1 STREAMS none 0", b"-ERR timeout is negative\r\n"),
        ("BLMPOP x 1 none LEFT", b"-ERR timeout is not a float or out of range\r\n"),
        ("BLPOP none -1", b"-ERR timeout is negative\r\n"),
        ("BLPOP none x", b"-ERR timeout is not a float or out of range\r\n"),
    ],
)  # fmt: skip
def test_a_waiter_waits_for_its_time(nodes: Cluster, words: str, reply: bytes) -> None:
    with Raw(nodes["s1"]) as raw:
        assert raw.whole(*words.encode().split()) == reply


@pytest.mark.parametrize(
    "words",
    [
        "BLPOP none x", "BRPOP none -1", "BZPOPMIN none x", "BLMOVE none l UP LEFT 0",
        "BRPOPLPUSH none l -1", "BLMPOP 0 x none LEFT", "BLMPOP 0 0 none LEFT",
        "BLMPOP 0 9999999999 none LEFT", "BLMPOP 0 2 none LEFT", "BLMPOP 0 1 none UP",
        "BLMPOP 0 1 none LEFT COUNT 0", "BLMPOP 0 1 none LEFT COUNT x",
        "BLMPOP 0 1 none LEFT COUNT", "BLMPOP x 1 none LEFT", "BZMPOP 0 0 none MIN",
        "BZMPOP 0 1 none MID", "BZMPOP -1 1 none MIN",
        "XREAD BLOCK x STREAMS none 0", "XREAD BLOCK 0 STREAMS none x",
        "XREAD BLOCK 0 STREAMS none",
    ],
)  # fmt: skip
def test_a_mistake_is_told_before_the_wait(nodes: Cluster, words: str) -> None:
    """By the same error as after `MULTI`, where nothing waits."""
    with Raw(nodes["s1"]) as raw, Raw(nodes["s1"]) as other:
        told = raw.whole(*words.encode().split())
        assert told.startswith(b"-ERR ")
        other.ask(b"MULTI")
        queued = other.ask(*words.encode().split())
        assert told == (queued if queued.startswith(b"-") else other.whole(b"EXEC")[4:])


def test_after_multi_nothing_waits(nodes: Cluster) -> None:
    with Raw(nodes["s1"]) as raw:
        raw.ask(b"MULTI")
        raw.ask(b"BLPOP", b"none", b"0")
        assert raw.whole(b"EXEC") == b"*1\r\n*-1\r\n"


def test_a_job_that_was_moved_survives_the_death_of_the_leader(cluster: Cluster) -> None:
    with Raw(cluster["s1"]) as waiter, Raw(cluster["s1"]) as giver:
        waiter.send(framed(b"BLMOVE", b"jobs", b"taken", b"LEFT", b"RIGHT", b"0"))
        wait_for_waiters(cluster["s1"], 1)
        giver.send(framed(b"RPUSH", b"jobs", b"a", b"b"))
        assert waiter.reply() == b"$1\r\na\r\n"
        cluster["s1"].kill()
    with Raw(cluster.leader()) as there:
        assert there.whole(b"LRANGE", b"taken", b"0", b"-1") == framed(b"a")
        assert there.whole(b"LRANGE", b"jobs", b"0", b"-1") == framed(b"b")


WAITING = {  # a command of each kind that may wait for the key k
    "BLPOP": "BLPOP k 0", "BRPOP": "BRPOP k 0", "BLMPOP": "BLMPOP 0 1 k LEFT",
    "BLMOVE": "BLMOVE k l LEFT LEFT 0", "BRPOPLPUSH": "BRPOPLPUSH k l 0",
    "BZPOPMIN": "BZPOPMIN k 0", "BZPOPMAX": "BZPOPMAX k 0", "BZMPOP": "BZMPOP 0 1 k MIN",
    "XREAD": "XREAD BLOCK 0 STREAMS k $",
}  # fmt: skip


@pytest.mark.parametrize("change", ["transfer", "SIGTERM"])
def test_a_new_leader_ends_the_connections_of_waiters(cluster: Cluster, change: str) -> None:
    """They get no error, which a worker would take for a fault of its own, and take nothing."""
    assert WAITING.keys() == {row.name for row in rows.BLOCKING}
    node = cluster["s1"]
    with ExitStack() as stack:
        each = [stack.enter_context(Raw(node)) for _ in WAITING]
        for raw, words in zip(each, WAITING.values(), strict=True):
            raw.send(framed("GET", "none") + framed(*words.split()) + framed("PING"))
            assert raw.reply() == b"$-1\r\n"
        wait_for_waiters(node, len(each))
        if change == "transfer":
            node.ask("transfer s2")
        else:
            node.running.terminate()
        assert [raw.rest() for raw in each] == [b""] * len(each)
    with Raw(cluster.leader()) as there:
        assert there.ask(b"RPUSH", b"k", b"a") == b":1\r\n"
        assert there.whole(b"LRANGE", b"k", b"0", b"-1") == framed(b"a")


def test_a_served_connection_ends_when_it_would_wait(cluster: Cluster) -> None:
    """The leader changes between two waits: for a worker this makes no difference. A new connection
    is told who leads, since a client in cluster mode asks so."""
    node = cluster["s1"]
    with ExitStack() as stack:
        each = [stack.enter_context(Raw(node)) for _ in WAITING]
        assert {raw.ask(b"GET", b"none") for raw in each} == {b"$-1\r\n"}
        node.ask("transfer s3")
        eventually(lambda: cluster.leader().name == "s3", "s3 leads")
        for raw, words in zip(each, WAITING.values(), strict=True):
            raw.send(framed(*words.split()) + framed("PING"))
            assert raw.rest() == b"", words
            with Raw(node) as new:
                assert new.whole(*words.encode().split()).startswith(b"-MOVED "), words
