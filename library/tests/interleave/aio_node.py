"""A node in the event loop of `tasks.py`: its connections are slow, break, and deliver in
pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from raftline_testing.interleave.tasks import Loop

WAYS_S = (0.0, 0.0, 0.05, 0.4)  # delays of data
BREAKS = (0.0, 0.0, 0.05)  # chances that a connection breaks, or is refused
PIECES = (3, 20, 1000)  # bytes that arrive at once

Handler = Callable[[str, str, str], str]  # maps sender, number and command to the reply


class Node:
    """A node that answers lines by a function."""

    def __init__(self, loop: Loop, handler: Handler) -> None:
        """Replace the network of a loop."""
        self.loop, self.handler = loop, handler
        self.breaks = loop.chance.choice(BREAKS)
        self.open: list[Connection] = []
        vars(loop)["create_connection"] = self._connect

    async def way(self) -> None:
        await asyncio.sleep(self.loop.chance.choice(WAYS_S))

    async def _connect(self, make: Callable[[], Any], *_: object, **__: object) -> tuple[Any, Any]:
        await self.way()
        if self.loop.chance.random() < self.breaks:
            raise ConnectionRefusedError("Connection refused")
        connection = self.connection(make())
        self.open.append(connection)
        connection.protocol.connection_made(connection)
        return connection, connection.protocol

    def connection(self, protocol: Any) -> Connection:
        return Connection(self, protocol)


class Connection(asyncio.Transport):
    """The client's end of a connection; the node's end is a task."""

    def __init__(self, node: Node, protocol: Any) -> None:
        super().__init__()
        self.node, self.protocol = node, protocol
        self._received = b""
        self._came = asyncio.Event()
        self._has_ended = False
        self._task = asyncio.ensure_future(self._run())

    def write(self, data: Any) -> None:
        self._received += data
        self._came.set()

    def abort(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self.node.open.remove(self)
            self._task.cancel()
            self.node.loop.call_soon(self.protocol.connection_lost, None)

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    async def _run(self) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
            await self.node.way()
            whole, newline, self._received = self._received.rpartition(b"\n")
            for line in whole.decode().splitlines() if newline else ():
                await self.serve(line)

    async def serve(self, line: str) -> None:
        head, _, command = line.partition("@")
        sender, sharp, number = head.partition("#")
        reply = self.node.handler(sender, number, command)
        await self.send(f"s1{sharp}{number}@{reply}\n")

    async def send(self, text: str) -> None:
        """Send data to the client in pieces; the connection may break in between."""
        chance, data = self.node.loop.chance, text.encode()
        while data:
            size = chance.choice(PIECES)
            if chance.random() < self.node.breaks:
                self.abort()
            await self.node.way()
            piece, data = data[:size], data[size:]
            self.protocol.data_received(piece)
