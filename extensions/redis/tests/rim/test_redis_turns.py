"""The commands of Redis clients that take several lines use the turns of their users."""

from __future__ import annotations

import pytest

from raftline.access.login import Access
from raftline.net.protocol.host import Batch
from raftline.node.loop.queue import RequestQueue
from raftline.redis.harness.redis_wire import RedisWire, framed
from raftline.state.store import Store
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline.wire.limits import READS_TOGETHER, WRITES_TOGETHER
from raftline_testing.nodes.known_users import access_with

pytestmark = pytest.mark.pure
CROWD = 60  # connections of bob
MGET = framed(b"MGET", *[b"k%d" % number for number in range(8)])
EXEC = b"".join([framed(b"MULTI"), *[framed(b"INCR", b"k")] * 8, framed(b"EXEC")])


@pytest.fixture(scope="module")
def access() -> Access:
    return access_with(dict.fromkeys(("ann", "bob"), (UserRole.WRITER, EVERYWHERE)), "right")


class QueuedWire(RedisWire):
    """A connection at a node whose requests wait in its queue."""

    def __init__(self, queue: RequestQueue, access: Access | None, user: str) -> None:
        self.submitted: list[Batch] = []
        self._queue = queue
        super().__init__(Store(), access, user)

    def _submit(self, *batches: Batch, more_come: bool = False) -> None:
        self.submitted += batches
        self._queue.put(*batches)


@pytest.mark.parametrize("data", [MGET, EXEC], ids=["MGET", "EXEC"])
def test_one_user_does_not_crowd_out_another(access: Access, data: bytes) -> None:
    """Ann's second command is served at once as well, however many connections bob has."""
    queue = RequestQueue(hold_ms=1000)
    bobs = [QueuedWire(queue, access, "bob") for _ in range(CROWD)]
    anns = [QueuedWire(queue, access, "ann") for _ in range(2)]
    for wire in (*bobs, *anns):
        wire.feed(data)
    taken = queue.take(writes=True, reads=True)
    assert len(taken) == CROWD + len(anns)
    assert {batch.account for batch in taken} == {"ann", "bob"}
    reads = taken if data is MGET else []
    chosen = queue.leave_reads(reads, queue.reads) or queue.leave_writes(taken)
    assert sum(len(batch.commands) for batch in chosen) <= READS_TOGETHER == WRITES_TOGETHER
    assert len(chosen) < CROWD
    assert all(wire.submitted[0] in chosen for wire in anns)


def test_without_users_a_connection_has_one_turn() -> None:
    queue = RequestQueue(hold_ms=1000)
    one, other = (QueuedWire(queue, None, "") for _ in range(2))
    for wire in (one, one, other):
        wire.feed(MGET)
    assert [batch.account for batch in queue.take(writes=True, reads=True)] == [one, other]
