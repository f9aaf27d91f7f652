"""The threads that hear members do no work of clients but what client_work.py lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline import KV, connect
from raftline_testing.nodes.processes import DEADLINE_S
from tests.lists.walks import running_nodes
from tests.processes.members.client_work import ALLOWED, recorded


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
        work_of_a_client(kv)
    unlisted = {place for place in ran if place[1] not in ALLOWED.get(place[0], ())}
    assert unlisted == set()
