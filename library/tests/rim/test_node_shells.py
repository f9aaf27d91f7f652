"""The shells of a conversation with one node: a login that is cut short leaves no connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from raftline.clients.asyncio.line_stream import AioNodeShell
from raftline.clients.connections import client_access
from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.client_login import Credentials
from raftline.clients.requests.one_node import Connect, NodeShell
from raftline.common.address import Address

DEADLINE_S = 60.0
ANN = ClientAccess(Credentials("ann", "a password of ann"))


async def test_task_cancelled_amid_its_login_leaves_no_connection() -> None:
    """If a task is cancelled during its login, no connection is kept."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        asked.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        ended.set()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    shell = AioNodeShell("me", ANN)
    task = asyncio.ensure_future(shell.do(Connect(address, DEADLINE_S)))
    await asyncio.wait_for(asked.wait(), DEADLINE_S)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), DEADLINE_S)
    assert shell.stream is None
    server.close()


def test_thread_that_is_interrupted_amid_its_login_begins_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that was kept would be taken for one that is logged in."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client_access, "log_in", interrupt)
    with socket.create_server(("127.0.0.1", 0)) as node, NodeShell("me", ANN) as shell:
        step = Connect(Address("127.0.0.1", node.getsockname()[1]), DEADLINE_S)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                shell.do(step)
            assert shell.connection is None
