"""The threads that hear members, keep time and write the log do little for Redis clients."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from raftline.redis.harness.library_scripts import TEXTS
from raftline.redis.harness.redis_wire import framed
from raftline_testing.nodes.processes import DEADLINE_S
from tests.lists.walks import running_nodes
from tests.processes.members.client_work import ALLOWED, CLIENT_PACKAGES, recorded

ALLOWED_AT_THE_DOOR = {
    **ALLOWED,
    # Replies of at most AT_ONCE_CHARACTERS, and as many on one connection.
    "redis/resp/forms.py": {
        "_element", "_entry", "_executed", "_format_numbers", "_met", "_published", "_strlen",
        "_same", "format", "value_of",
    },
    # Among them the refusals of a node that has just lost its place, after which it hangs up.
    "redis/resp/replies.py": {
        "_failure", "_one_line", "_format_several", "bulk", "failure_of", "length_of", "slot_of",
        "format_reply", "format_double",
    },
    "redis/resp/session.py": {"ends_after"},
    "net/connections/outgoing.py": {
        *ALLOWED.get("net/connections/outgoing.py", ()), "read_no_more",
    },
    # Events for Redis clients: they are queued, and those for patterns are not translated.
    "redis/redis_events.py": {
        "__init__", "_translate", "_translating", "push", "push_later",
    },
    # Messages for channels by name: at most PUSHED_BYTES, and as many on one connection.
    "redis/resp/notifications.py": {
        "_values", "without_values", "message", "published", "translated",
    },
    "redis/redis_sink.py": {"uses_positions"},
    # Who waits for an element is woken.
    "redis/redis_waiting.py": {
        "_concerns", "push", "push_later", "wake",
    },
    # The address of a leader is noted; another thread tells of it.
    "redis/redis_node.py": {"is_led_from"},
}  # fmt: skip

# Entries are applied there, as other short ones are by the modules of state/.
APPLY = ("redis/command_effects.py", *(
    f"redis/resp/{name}.py"
    for name in (
        "entry", "functions", "function_rows", "view", "strings", "keys", "times",
        "scripts", "programs", "messages", "request_ledger",
        "types/combined_scores", "types/counted_keys", "types/elements", "types/hashes",
        "types/lists",
        "types/scans", "types/scores", "types/sets", "types/sorted_ranges", "types/sorted_sets",
        "types/streams", "types/typed",
    )
), *(
    f"redis/resp/lua/{name}.py"
    for name in (
        "formats", "library", "machine", "patterns", "reader", "scripts", "statements", "tokens",
        "values",
    )
))  # fmt: skip


def work_of_a_redis_client(port: int) -> None:
    """Use values, a transaction, channels and patterns on one connection."""
    with socket.create_connection(("localhost", port), DEADLINE_S) as connection:
        lines = connection.makefile("rb")
        for words in (("HELLO", "3"), ("PSUBSCRIBE", "__key*__:*"), ("MGET", "a", "b"), ("INFO",)):
            connection.sendall(framed(*words))
        connection.sendall(framed("SUBSCRIBE", "news", "other"))
        for number in range(20):
            connection.sendall(framed("PUBLISH", "news", str(number)))
        for number in range(20):
            connection.sendall(framed("SET", f"k{number}", "v") + framed("GET", f"k{number}"))
        connection.sendall(framed("MULTI") + framed("INCR", "n") + framed("EXEC"))
        connection.sendall(framed("EVAL", TEXTS["lock-release"][0], "1", "k1", "v"))
        connection.sendall(framed("EVAL", TEXTS["incr-expire"][0], "1", "n", "60"))
        window = TEXTS["limits-moving-window"][0]
        connection.sendall(framed("EVAL", window, "1", "w", "5", "3", "60", "1"))
        connection.sendall(framed("EVAL", TEXTS["pyrate-put"][0], "1", "b", *"51a0"))
        for line in ("HSET h f 1", "HGET h f", "ZADD y 1 m", "ZSCORE y m", "BLPOP l 0.05",
                     "RPUSH l a", "BLPOP l 0", "SADD s m", "SMEMBERS s", "XADD x MAXLEN 1 * f v",
                     "XREAD BLOCK 0 STREAMS x 0", "XTRIM x MAXLEN 0", "LMPOP 1 l LEFT",
                     "ZUNIONSTORE u 2 y s"):  # fmt: skip
            connection.sendall(framed(*line.split()))
        connection.sendall(framed("SETRANGE", "z", "100000", "x") + framed("STRLEN", "z"))
        while lines.readline() != b":100001\r\n":
            pass


@pytest.mark.slow
@pytest.mark.pure
def test_member_threads_do_no_unlisted_work_of_redis_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = ("redis/", *CLIENT_PACKAGES)
    with recorded(monkeypatch, packages) as ran, running_nodes(tmp_path, 3) as nodes:
        leader = nodes["s1"].wait_for_leader()
        assert leader is not None
        work_of_a_redis_client(nodes[leader.name].address.port)
    unlisted = {
        (path, name)
        for path, name in ran
        if path not in APPLY and name not in ALLOWED_AT_THE_DOOR.get(path, ())
    }
    assert unlisted == set()
