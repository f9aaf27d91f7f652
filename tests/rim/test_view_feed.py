"""The conversations of the view with nodes."""

from __future__ import annotations

import asyncio

import pytest

from raftline.clients.options import ClientAccess
from raftline.common.address import Address
from raftline.view import feed
from raftline.view.feed import PageFeed
from raftline.view.nodes import Nodes

STATE = '{"clock": 1.0, "role": "follower", "term": 1, "log": []}'


@pytest.mark.parametrize("odd", ["{}", "[1]", '{"clock": null}', '{"clock": 1}', "no"])
def test_a_node_that_tells_what_this_build_cannot_read_is_asked_again(
    odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "AGAIN_S", 0.001)
    answers = [odd, STATE]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(f"s1@OBSERVE response: {answers.pop(0)}\n".encode())
        if answers:
            writer.close()

    async def look() -> None:
        server = await asyncio.start_server(answer, "localhost", 0)
        port = server.sockets[0].getsockname()[1]
        watched = PageFeed(Nodes({"s1": Address("localhost", port)}, ClientAccess()))
        task = asyncio.create_task(watched.run())
        while all(event["k"] != "begin" for event in watched.kept):
            assert not task.done(), task.exception()
            await asyncio.sleep(0.001)
        task.cancel()
        server.close()

    asyncio.run(asyncio.wait_for(look(), 30))
