"""The threads that hear members do no work of clients but what is listed here, which is bounded.

Whoever adds work for a client to such a thread meets this test. Leave it to the connection's own
thread; if it is bounded for each connection, and short, add it to the list.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from raftline import KV, connect
from raftline_testing.nodes.processes import DEADLINE_S
from raftline_testing.redis.redis_wire import framed
from tests.lists.walks import Place, place_of, profiled, running_nodes

# What the threads run that hear members, keep time, write the log, or apply long entries.
MEMBER_WORK = {
    ("net/peers/peers.py", "_talk"),
    ("node/loop/driver.py", "receive"),
    ("node/loop/driver.py", "run"),
    ("node/loop/driver.py", "_apply_apart"),
    ("node/loop/writer.py", "run"),
}
# The code that works for one client: its protocol, its login and its connection.
CLIENT_ROOMS = ("doors/", "access/", "net/protocol/", "net/connections/")
ALLOWED = {
    # Replies of at most AT_ONCE_CHARACTERS, and as many on one connection.
    "doors/redis/resp/forms.py": {"_met", "_strlen", "_same", "spell", "value_of"},
    "doors/redis/resp/replies.py": {"spell"},
    "net/protocol/outgoing_protocol.py": {
        "_as_kept", "_forget", "_is_ready", "_let_go", "_next", "_sent_replies", "_settle",
        "give_up_late", "keep", "mark_ready", "push", "push_later", "send_now", "spell",
    },
    "net/protocol/refusal_counts.py": {"add"},
    "net/connections/outgoing.py": {"_has_moved", "_send", "_send_later", "flush"},
    # Events for Redis clients: they are queued, and not translated.
    "doors/redis/redis_events.py": {"__init__", "_translating", "push", "push_later"},
    # The address of a leader is noted; another thread tells of it.
    "doors/redis/redis_node.py": {"is_led_from"},
    # A few fields of each request, and of each connection.
    "net/protocol/host.py": {
        "answer_all", "answer_rest", "asks_leader", "leave_room", "let_go", "stop_waiting", "wake",
    },
    "net/connections/connection_slots.py": {"all"},
    "net/connections/listener.py": {"_all_open", "give_up_late"},
    # The work of members themselves.
    "access/secret.py": {"initiator", "new_nonce"},
    "net/connections/connection.py": {"answer"},
}  # fmt: skip


@contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[Place]]:
    """Collect the functions of CLIENT_ROOMS that are called from MEMBER_WORK meanwhile."""
    ran: set[Place] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        place = place_of(frame)
        if place is None or place in ran or not place[0].startswith(CLIENT_ROOMS):
            return
        if place[1].startswith("<"):  # a part of a function
            return
        outer = frame.f_back
        while outer is not None:
            if place_of(outer) in MEMBER_WORK:
                ran.add(place)
                return
            outer = outer.f_back

    with profiled(note, monkeypatch):
        yield ran


def work_of_a_redis_client(port: int) -> None:
    """Use values, a transaction, channels and patterns on one connection."""
    with socket.create_connection(("localhost", port), DEADLINE_S) as connection:
        lines = connection.makefile("rb")
        for words in (("HELLO", "3"), ("PSUBSCRIBE", "__key*__:*"), ("MGET", "a", "b"), ("INFO",)):
            connection.sendall(framed(*words))
        for number in range(20):
            connection.sendall(framed("SET", f"k{number}", "v") + framed("GET", f"k{number}"))
        connection.sendall(framed("MULTI") + framed("INCR", "n") + framed("EXEC"))
        connection.sendall(framed("SETRANGE", "z", "100000", "x") + framed("STRLEN", "z"))
        while lines.readline() != b":100001\r\n":
            pass


def work_of_a_client(kv: KV[str]) -> None:
    """Use values, a transaction, a watch, a lease and a lock."""
    with kv.watch("k") as watch:
        for number in range(20):
            kv[f"k{number}"] = "v" * 1000
            assert kv[f"k{number}"]
        assert watch.next_event(DEADLINE_S)
    with kv.lock("lock", ttl=10):
        kv["held"] = "1"


@pytest.mark.slow
@pytest.mark.pure
def test_member_threads_do_no_unlisted_work_of_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        recorded(monkeypatch) as ran,
        running_nodes(tmp_path, 3) as nodes,
        connect(",".join(str(node.address) for node in nodes.values())) as kv,
    ):
        kv["a"] = "1"
        leader = nodes["s1"].wait_for_leader()
        assert leader is not None
        work_of_a_redis_client(nodes[leader.name].address.port)
        work_of_a_client(kv)
    unlisted = {place for place in ran if place[1] not in ALLOWED.get(place[0], ())}
    assert unlisted == set()
