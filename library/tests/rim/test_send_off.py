"""A request that is sent off, whose answer is not awaited: it is sent with the next one, or by
`flush`, and no other request takes its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from raftline.clients.asyncio.asker import AioAsker
from raftline.clients.requests.pool import Clients
from raftline.common.address import Address
from raftline_testing.doubles.scripted_node import ScriptedNode, store
from raftline_testing.nodes.processes import eventually

Settled = list["str | None"]


@pytest.fixture
def node() -> Iterator[ScriptedNode]:
    answers = store()

    def handler(message: str) -> str | None:
        if message.startswith("release "):
            return f"RELEASE response: {message.removeprefix('release ')}"
        return answers(message)

    scripted = ScriptedNode(handler)
    yield scripted
    scripted.close()


@pytest.fixture
def clients(node: ScriptedNode) -> Iterator[Clients]:
    with Clients(f"localhost:{node.port}", name="program") as clients:
        clients.request("set a 1")
        yield clients


def take(settled: Settled) -> Callable[[str | None], object]:
    return settled.append


def test_sent_off_request_goes_with_the_next_one(node: ScriptedNode, clients: Clients) -> None:
    """A request without a waiter is sent along with the next one, which gets its own reply."""
    settled: Settled = []
    before = len(node.asked)
    assert clients.send_off("release lease-1", take(settled))
    assert clients.send_off("release lease-2", take(settled))
    assert (len(node.asked), settled) == (before, [])
    assert clients.request("get a") == "GET response: 1"
    assert settled == ["RELEASE response: lease-1", "RELEASE response: lease-2"]
    assert clients.request("get a") == "GET response: 1"
    assert [line.partition("@")[2] for line in node.asked[before:]][:2] == [
        "release lease-1",
        "release lease-2",
    ]


def test_flush_sends_it_alone_and_its_answer_may_wait(node: ScriptedNode, clients: Clients) -> None:
    settled: Settled = []
    connections = node.connections
    assert clients.send_off("release lease-1", take(settled))
    clients.flush()
    assert eventually(lambda: any("release" in line for line in node.asked), "it is sent")
    assert clients.request("get a") == "GET response: 1"
    assert settled == ["RELEASE response: lease-1"]
    assert node.connections == connections


def test_sent_off_request_is_sent_as_the_client_closes(
    node: ScriptedNode, clients: Clients
) -> None:
    """A request without a waiter is sent when the client closes, and its reply is dropped."""
    settled: Settled = []
    assert clients.send_off("release lease-1", take(settled))
    clients.close()
    assert settled == [None]
    assert eventually(lambda: node.asked[-1] == "program@release lease-1", "it is sent")


def test_without_a_connection_nothing_is_sent(node: ScriptedNode) -> None:
    settled: Settled = []
    with Clients(f"localhost:{node.port}", name="program") as clients:
        assert not clients.send_off("release lease-1", take(settled))
    assert not clients.send_off("release lease-1", take(settled))
    assert settled == []


def test_a_task_s_is_sent_in_order(node: ScriptedNode) -> None:
    async def work() -> None:
        settled: Settled = []
        asker = AioAsker([Address("localhost", node.port)], "program", 5.0)
        assert not asker.send_off("release lease-1", take(settled))
        await asker.request("set a 1", 5.0)
        before = len(node.asked)
        assert asker.send_off("release lease-1", take(settled))
        assert await asker.request("get a", 5.0) == "GET response: 1"
        assert settled == ["RELEASE response: lease-1"]
        assert [line.partition("@")[2] for line in node.asked[before:]] == [
            "release lease-1",
            "get a",
        ]
        assert asker.send_off("release lease-2", take(settled))
        await asker.close()
        await asyncio.sleep(0)
        assert settled[1:] == [None]

    asyncio.run(asyncio.wait_for(work(), 30))
