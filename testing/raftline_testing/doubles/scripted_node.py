"""A node that answers from a script, and how tests run the client against it."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from raftline.wire.commands.command_table import help_on, read_request
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import CODES, ProtocolError
from raftline.wire.refusal import error
from raftline.wire.replies.refusals import CODES_ID

from ..nodes.processes import free_ports

SOURCE = Path(__file__).resolve().parents[3] / "src"
DEADLINE_S = 60

Handler = Callable[[str], "str | None"]
Start = Callable[..., "ScriptedNode"]


def answer_to_codes(line: str, name: str = "s1") -> bytes:
    """Return the answer to the line by which clients ask for codes; b"" for another line."""
    verb = line.partition("@")[2].partition(" ")[0]
    return f"{name}#{CODES_ID}@{CODES}\n".encode() if verb == "codes" else b""


class ScriptedNode:
    """A node that answers each line `NAME@COMMAND` with `s1@` and what `handler(COMMAND)` returns;
    to `NAME#ID@COMMAND` it begins with `s1#ID@`.

    None closes the connection without an answer. `received` keeps all lines except `codes`, which
    is answered here.
    """

    def __init__(self, handler: Handler, name: str = "s1", port: int = 0) -> None:
        self.handler = handler
        self.name = name
        self.received: list[str] = []
        self.listener = socket.create_server(("localhost", port))
        self.port = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self._taker = threading.Thread(target=self._accept, daemon=True)
        self._taker.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                for raw in lines:
                    line = raw.decode("utf-8", "surrogateescape").removesuffix("\n")
                    if answer := answer_to_codes(line):
                        connection.sendall(answer)
                        continue
                    self.received.append(line)
                    text = self.handler(line.partition("@")[2])
                    if text is None:
                        connection.shutdown(socket.SHUT_RDWR)
                        return
                    _, hash_sign, number = line.partition("@")[0].partition("#")
                    reply = f"{self.name}{hash_sign}{number}@{text}\n"
                    connection.sendall(reply.encode("utf-8", "surrogateescape"))
            except OSError:
                return

    @property
    def asked(self) -> list[str]:
        """The lines received, except the last line of a command, which doesn't wait for an
        answer."""
        return [line for line in self.received if not line.endswith("@forget")]

    def close(self) -> None:
        with contextlib.suppress(OSError):  # so that the thread in `accept` releases the port
            self.listener.shutdown(socket.SHUT_RDWR)
        self._taker.join(DEADLINE_S)  # else it would accept for the next user of this descriptor
        self.listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def store() -> Handler:
    """A small node's answers: the shapes of docs/use/protocol.md over a dict."""
    pairs: dict[str, str] = {"ana": "4"}

    def handler(message: str) -> str:
        try:
            command = read_request("client", "", message, Limits()).command
        except ProtocolError as refused:
            return error(str(refused))
        verb, _, operands = command.partition(" ")
        key, _, value = operands.partition(" ")
        if verb == "set":
            pairs[key] = value
            return f"SET response: {key} set to {value}"
        if verb == "show":
            return f"SHOW response: {json.dumps(pairs, sort_keys=True)}"
        if verb == "status":
            return 'STATUS response: {"role": "leader"}'
        if verb == "help":
            return help_on(command)
        if verb == "session":
            return "SESSION response: client-7"
        if key not in pairs:
            return f"{verb.upper()} response, no such key: {key}"
        if verb == "delete":
            del pairs[key]
            return f"DELETE response: {key} deleted"
        return f"GET response: {pairs[key]}"

    return handler


def free_port() -> int:
    """Return a free port, outside the range that the kernel hands out to other tests or to
    outgoing connections."""
    return next(free_ports)


def run(*arguments: object, typed: str | bytes = "") -> subprocess.CompletedProcess[str]:
    """Run the client, which is in the library."""
    from raftline import client

    from .in_process import run_main

    raw = typed.encode() if isinstance(typed, str) else typed
    return run_main(client.main, "client.py", *arguments, typed=raw)


@contextlib.contextmanager
def scripted_nodes() -> Iterator[Start]:
    """Yield a function that starts nodes; stop all of them at the end."""
    nodes: list[ScriptedNode] = []

    def start_node(handler: Handler, name: str = "s1") -> ScriptedNode:
        nodes.append(ScriptedNode(handler, name))
        return nodes[-1]

    try:
        yield start_node
    finally:
        for node in nodes:
            node.close()
