"""An item that a cancelled `get` of a queue took is put back, however long nobody can be asked."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

import raftline
from raftline.clients.requests.node_connection import ClientError

DEADLINE_S = 20.0
INSERT = 'object jobs list.insert 0 "the job"'
RETRIED = [
    raftline.Unreachable("nobody answers"),
    raftline.NoLeader("I know of no leader."),
    raftline.NotLeader("I am not the leader. Last leader I heard from is: s1 (h:1)"),
]


class Cluster:
    """Gives one item once it may, then answers to what comes after as it is asked."""

    name = "program"

    def __init__(self, *answers: ClientError | None) -> None:
        self.may_give = threading.Event()
        self.asked: list[str] = []
        self._answers: Iterator[ClientError | None] = iter(answers)

    def request(self, command: str, timeout: float | None = None) -> str:
        if command == "object jobs queue.take":
            assert self.may_give.wait(DEADLINE_S)
            return 'OBJECT response: "the job"'
        self.asked.append(command)
        problem = next(self._answers)
        if problem is not None:
            raise problem
        return "OBJECT response: null"


async def cancelled_get(cluster: Cluster) -> None:
    """Take the item for somebody who is gone by then."""
    jobs = raftline.ReplicatedQueue("jobs", node=cluster)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(jobs.awaitable.get(), 0.01)
    cluster.may_give.set()
    await asyncio.to_thread(end, "raftline awaits")
    await asyncio.sleep(0)  # what it brought is handed over


def end(name: str) -> None:
    """Wait for the end of the threads of this name."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


def test_a_put_back_is_retried_until_it_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(*RETRIED, *RETRIED, None)
    asyncio.run(cancelled_get(cluster))
    end("raftline takes back")
    assert cluster.asked == [INSERT] * 7
    assert not caplog.records


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (raftline.OutcomeUnknown("outcome unknown"), 'may be lost: "the job" (outcome'),
        (raftline.Refused("the value would be too long"), 'is lost: "the job" (the value'),
    ],
)
def test_an_item_that_can_not_be_put_back_is_logged(
    problem: ClientError, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(RETRIED[0], problem)
    with caplog.at_level(logging.ERROR, "raftline"):
        asyncio.run(cancelled_get(cluster))
        end("raftline takes back")
    assert cluster.asked == [INSERT] * 2
    [record] = caplog.records
    assert record.getMessage().startswith("jobs: an item that a cancelled get took ")
    assert said in record.getMessage()


def test_no_put_back_is_sent_after_the_clients_are_closed(caplog: pytest.LogCaptureFixture) -> None:
    clients = raftline.Clients("127.0.0.1:1")
    clients.close()
    cluster = Cluster()
    cluster.request = lambda command, timeout=None: (  # type: ignore[method-assign]
        Cluster.request(cluster, command) if "take" in command else clients.request(command)
    )
    with caplog.at_level(logging.ERROR, "raftline"):
        asyncio.run(cancelled_get(cluster))
        end("raftline takes back")
    assert 'is lost: "the job" (this client was closed' in caplog.text
