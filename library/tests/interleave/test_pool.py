"""The connections of one program: each is one thread's at a time, and none stays open."""

from __future__ import annotations

import threading
from unittest import mock

from raftline.clients.connections.node_connection import Closed, Unreachable
from raftline.clients.requests import pool
from raftline.clients.requests.pool import Clients
from raftline_testing.interleave.scenarios import check_interleavings, seeds
from raftline_testing.interleave.threads import Thread

LINES = (pool,)
MAX = 2
THREADS = 4


class Connection:
    """Stands in for a `Client`."""

    made: list[Connection]

    def __init__(self, *_: object, **__: object) -> None:
        self.timeout_s = self.attempt_s = 0.0
        self.is_used = self.is_closed = self.has_session = False
        self.made.append(self)

    def request(self, command: str) -> str:
        assert not self.is_used, "two threads use one connection"
        assert not self.is_closed, "a closed connection is used"
        self.is_used = True
        self.has_session = self.has_session or command.startswith("set")
        in_use = [one for one in self.made if one.is_used and one.has_session]
        assert len(in_use) <= MAX
        Thread.schedule.sleep(0.1)
        self.is_used = False
        if command == "set fails":
            raise Unreachable("no answer")
        return command

    def forget_sessions(self) -> None:
        self.has_session = False
        self.close()

    def close(self) -> None:
        assert not self.is_used
        self.is_closed = True


def threads_ask(*, closes: bool = False) -> None:
    """More threads than connections ask; the client may be closed meanwhile."""
    Connection.made = []
    clients = Clients("localhost:1", timeout=10.0)
    replies: list[str] = []

    def ask(number: int) -> None:
        for command in ("set fails", f"renew {number}", f"set {number}"):
            try:
                replies.append(clients.request(command))
            except Closed:
                assert closes
            except Unreachable:
                punctual = Thread.schedule.is_punctual
                assert command == "set fails" or not punctual, "no connection came free"

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    if closes:
        clients.close()
    for thread in threads:
        thread.join()
    if not closes:
        assert len(replies) == 2 * THREADS or not Thread.schedule.is_punctual
        clients.close()
    left = [one for one in Connection.made if not one.is_closed or one.has_session]
    assert left == [], "a connection stays open"


def bounded(closes: bool) -> None:
    with mock.patch.multiple(pool, CONNECTIONS_MAX=MAX, Client=Connection):
        threads_ask(closes=closes)


@seeds(100, 30_000)
def test_each_connection_is_one_threads_and_everybody_gets_one(seeds: range) -> None:
    check_interleavings(lambda: bounded(closes=False), seeds, LINES)


@seeds(100, 30_000)
def test_a_client_that_is_closed_leaves_no_connection(seeds: range) -> None:
    check_interleavings(lambda: bounded(closes=True), seeds, LINES)
