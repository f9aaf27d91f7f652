"""Recordings of libraries that send scripts to a Redis, replayed at a node next to it: a slice of
`make -C testing redis-scripts`."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from raftline.redis.harness.raw_redis import Raw, has_redis, redis_beside
from raftline.redis.harness.run_scripts import commands, run
from raftline.redis.harness.script_files import ScriptFile
from raftline.redis.harness.script_recording import Pair, Reply, alike, replayed
from raftline_testing.nodes.cluster import Cluster

pytestmark = pytest.mark.skipif(not has_redis(), reason="needs redis-server 7")


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("redis", "4 scripts, 0 refused"),
        ("limits", "6 scripts, 1 refused"),
        ("walrus", "11 scripts, 0 refused"),
        ("kombu", "2 scripts, 0 refused"),
    ],
)
def test_library_gets_the_replies_and_keys_of_redis(
    nodes: Cluster, tmp_path: Path, name: str, counted: str
) -> None:
    """`KEYS` in a script is refused."""
    pytest.importorskip(name, reason="it is what the test is about")
    nodes.wait_until_begun()
    command = commands(Path(sys.prefix).parent / "absent")[name]
    with redis_beside(tmp_path) as server, Raw(nodes["s1"]) as node, Raw(server) as redis:
        counts, differences = run(command, Pair(node, redis), server, tmp_path / "output")
    assert differences == []
    assert counts.startswith(counted), (counts, (tmp_path / "output").read_text())


def test_difference_of_a_reply_and_of_a_key_is_found(nodes: Cluster, tmp_path: Path) -> None:
    """The order of `pairs` differs, and the time of day in seconds does not."""
    nodes.wait_until_begun()
    pairs = (
        b"local t = {a = 1, b = 2, c = 3, d = 4, e = 5}"
        b"for k in pairs(t) do redis.call('RPUSH', 'l', k) end"
    )
    commands = [
        (b"SET", b"k", b"1"),
        (b"EVAL", b"return redis.call('INCRBY', KEYS[1], ARGV[1])", b"1", b"k", b"5"),
        (b"EVAL", b"return redis.call('TIME')[1]", b"0"),
    ]
    with redis_beside(tmp_path) as server, Raw(nodes["s1"]) as node, Raw(server) as redis:
        pair = Pair(node, redis)
        assert replayed(pair, commands, random.Random(1)) == []
        (difference,) = replayed(pair, [*commands, (b"EVAL", pairs, b"0")])
        assert difference.words == (b"l",)
        pair.empty()
        node.whole(b"SET", b"k", b"7")
        (difference,) = replayed(pair, [(b"GET", b"k"), (b"DEL", b"k")])
        assert (difference.mine, difference.other) == (b"$7", b"$-1")


def test_difference_of_a_script_that_no_program_calls_is_found(
    nodes: Cluster, tmp_path: Path
) -> None:
    nodes.wait_until_begun()
    text = b"return redis.call('GET', KEYS[1]) == 'raftline' and ARGV[1]"
    other = ScriptFile(text, [frozenset([b"k"])], [frozenset()])
    called = (b"EVAL", b"return redis.call('SET', KEYS[1], ARGV[1])", b"1", b"k", b"5")
    with redis_beside(tmp_path) as server, Raw(nodes["s1"]) as node, Raw(server) as redis:
        pair = Pair(node, redis)
        assert replayed(pair, [called], random.Random(1), others=[other]) == []
        pair.empty()
        node.whole(b"SET", b"k", b"raftline")
        (difference,) = replayed(pair, [called], random.Random(1), others=[other])
    assert difference.words[:4] == (b"EVAL", text, b"1", b"k")


@pytest.mark.parametrize(
    ("mine", "other", "are_alike"),
    [
        (b'${"a":1,"b":[2]}', b'${"b":[2],"a":1}', True),
        (b'${"a":1,"b":[2]}', b'${"b":[2],"a":2}', False),
        ([b"$a", b"$1", b"$b", b"$2"], [b"$b", b"$2", b"$a", b"$1"], True),
        ([b"$a", b"$b"], [b"$b", b"$a"], False),
        (b":61000", b":60000", True),
        (b":50000", b":60000", False),
        (b"$1796070547660-3", b"$1796070547661-0", True),
        (b":5", b":6", False),
        ([b":5"], b":5", False),
    ],
)
def test_replies_are_alike_but_for_order_and_time(
    mine: Reply, other: Reply, are_alike: bool
) -> None:
    assert alike(mine, other) is are_alike
