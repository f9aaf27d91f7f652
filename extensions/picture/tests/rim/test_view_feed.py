"""The conversations of the view with nodes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from raftline.clients.connections.client_access import ClientAccess
from raftline.common.address import Address
from raftline.picture.harness.saved_page import held
from raftline.picture.view import feed, picture, viewer
from raftline.picture.view.feed import PageFeed
from raftline.picture.view.viewed_nodes import ViewedNodes
from raftline_testing.doubles.scripted_node import ScriptedNode

STATE = '{"clock": 1.0, "role": "follower", "term": 1, "log": []}'


@pytest.mark.parametrize("odd", ["{}", "[1]", '{"clock": null}', '{"clock": 1}', "no"])
def test_node_with_unreadable_news_is_asked_again(
    odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that tells what this build cannot read is asked again."""
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
        watched = PageFeed(ViewedNodes({"s1": Address("localhost", port)}, ClientAccess()))
        task = asyncio.create_task(watched.run())
        while all(event["k"] != "begin" for event in watched.kept):
            assert not task.done(), task.exception()
            await asyncio.sleep(0.001)
        task.cancel()
        server.close()

    asyncio.run(asyncio.wait_for(look(), 30))


async def observed(*lines: str, until: Callable[[PageFeed], object]) -> list[str]:
    """Observe a node that says these lines and hangs up; return what the console shows."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write("".join(f"s1@{line}\n" for line in lines).encode())
        writer.close()
        server.close()

    server = await asyncio.start_server(answer, "localhost", 0)
    said: list[str] = []
    nodes = ViewedNodes({"s1": Address("localhost", port_of(server))}, ClientAccess())
    watched = PageFeed(nodes, said.append)
    task = asyncio.create_task(watched.run())
    while not until(watched):
        assert not task.done(), task.exception()
        await asyncio.sleep(0.001)
    task.cancel()
    return said


def test_what_a_node_sent_last_is_lost_even_if_the_node_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(picture, "LOST_AFTER_S", 0.01)
    step = {
        "at": 1.0, "in": "Tick", "from": None, "line": None, "kind": "Tick", "why": [],
        "changed": [], "sent": [["s2", "hello"]], "refused": False, "pulse": False, "cut": None,
        "append": [], "role": "follower", "term": 1,
    }  # fmt: skip
    lines = (f"OBSERVE response: {STATE}", f"OBSERVED {json.dumps(step)}")

    def is_lost(watched: PageFeed) -> bool:
        return [event["k"] for event in watched.kept].count("lost") == 1

    asyncio.run(asyncio.wait_for(observed(*lines, until=is_lost), 30))


def test_the_refusal_of_a_node_can_t_steer_the_terminal() -> None:
    refusal = "Sorry, \x1b[2J no"
    said = asyncio.run(
        asyncio.wait_for(observed(refusal, until=lambda watched: watched.problems), 30)
    )
    assert said == ["[!] s1 can't be observed: Sorry, \\x1b[2J no"]


@pytest.mark.parametrize("at_old_place", ["nobody", "another node"])
def test_moved_member_is_found_where_another_says(
    at_old_place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that has moved is found where another says it is."""
    monkeypatch.setattr(feed, "AGAIN_S", 0.001)
    monkeypatch.setattr(feed, "AGAIN_REFUSED_S", 0.001)

    async def node(name: str, members: dict[str, str]) -> asyncio.Server:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            state = {**json.loads(STATE), "members": members}
            writer.write(f"{name}@OBSERVE response: {json.dumps(state)}\n".encode())

        return await asyncio.start_server(answer, "localhost", 0)

    async def look() -> None:
        moved = await node("s2", {})
        old = await node("s3", {})
        first = await node("s1", {"s2": f"localhost:{port_of(moved)}"})
        given = {
            "s1": Address("localhost", port_of(first)),
            "s2": Address("localhost", port_of(old)),
        }
        if at_old_place == "nobody":
            old.close()
        watched = PageFeed(ViewedNodes(given, ClientAccess()))
        task = asyncio.create_task(watched.run())
        while {"s1", "s2"} - {event["node"] for event in watched.kept if event["k"] == "begin"}:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.001)
        assert watched.nodes.members["s2"].port == port_of(moved)
        task.cancel()
        for server in (moved, old, first):
            server.close()

    asyncio.run(asyncio.wait_for(look(), 10))


def port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


@pytest.mark.parametrize("was_there", [False, True])
def test_a_saved_page_is_for_its_owner_alone(tmp_path: Path, was_there: bool) -> None:
    page = tmp_path / "run.html"
    if was_there:
        page.write_text("an older page")
        page.chmod(0o644)
    node = ScriptedNode(lambda _: f"OBSERVE response: {STATE}")
    with contextlib.closing(node):
        members = {"s1": Address("localhost", node.port)}
        assert viewer.save(members, ClientAccess(), page, 0.0) == 0
    assert held(page.read_text(encoding="utf-8"))["events"]
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
