"""The kit's ends of connections: clients of the node under test, and its peers."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from raftline.clients.requests.one_node import Connect, NextLine, NodeStep, Send
from raftline.raft.messages import Message
from raftline_course.conform.transcript import FROM_NODE, TO_NODE, Line, Transcript

HOST = "127.0.0.1"
CONNECT_S = 30.0
LINE_MAX = 64 << 20  # bytes; a value has at most 1 MiB, and a message has several values
Rule = Callable[[Message], "str | None"]  # a peer's answer to a message; None: silence


class Wire:
    """One connection to or from the node. Its thread records the lines that arrive."""

    def __init__(
        self,
        connection: socket.socket,
        other: str,
        transcript: Transcript,
        take: Callable[[Wire, Line], None] | None = None,
    ) -> None:
        self.other = other
        self.is_ended = threading.Event()
        self._connection = connection
        self._transcript = transcript
        self._take = take
        self._waiting: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(None)
        threading.Thread(target=self._read, daemon=True).start()

    def say(self, *lines: str) -> None:
        """Send lines in one packet. If the connection is gone, the reader notices."""
        for line in lines:
            name, at, text = line.partition("@")
            known = (name, text) if at and " " not in name else ("", line)
            self._transcript.add(TO_NODE, self.other, *known, self)
        self.send("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        with contextlib.suppress(OSError):
            self._connection.sendall(data)

    def next_line(self, timeout_s: float, earlier: Collection[int] = ()) -> Line | None:
        """Return the next line that isn't taken yet; None: no line came, or the node hung up. Skip
        late answers to these earlier rounds."""
        with contextlib.suppress(queue.Empty):
            while True:
                line = self._waiting.get(timeout=timeout_s)
                if line is None or getattr(line.message, "round", 0) not in earlier:
                    return line
        return None

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _read(self) -> None:
        try:
            with self._connection.makefile("rb") as file:
                while raw := file.readline(LINE_MAX):
                    if len(raw) == LINE_MAX:
                        return  # it has no end
                    text = raw.decode("utf-8", "surrogateescape").rstrip("\n")
                    name, at, rest = text.partition("@")
                    known = (name, rest) if at and " " not in name else ("", text)
                    line = self._transcript.add(FROM_NODE, self.other, *known, self)
                    if self._take is None:
                        self._waiting.put(line)
                    else:
                        self._take(self, line)
        except (OSError, ValueError):
            pass
        finally:
            self.is_ended.set()
            self._waiting.put(None)


def dial(port: int, other: str, transcript: Transcript) -> Wire:
    """Return a connection to the node.

    Raises:
        OSError: the node accepts none.
    """
    connection = socket.create_connection((HOST, port), CONNECT_S)
    return Wire(connection, other, transcript)


class KitShell:
    """A conversation with the node, on a wire that records its lines."""

    def __init__(self, other: str, transcript: Transcript) -> None:
        self._other = other
        self._transcript = transcript
        self._wire: Wire | None = None

    def do(self, step: NodeStep) -> Any:
        """Carry out a step, and return its answer. A received line has no node name."""
        wire = self._wire
        if isinstance(step, Connect):
            if wire is None or wire.is_ended.is_set():
                self._wire = dial(step.address.port, self._other, self._transcript)
            return step.address
        if wire is None:
            return None
        if isinstance(step, Send):
            wire.say(step.line.decode("utf-8", "surrogateescape"))
        elif isinstance(step, NextLine):
            line = wire.next_line(step.until_s - time.monotonic())
            if line is None:
                raise TimeoutError
            return line.text.encode("utf-8", "surrogateescape")
        else:
            wire.close()
            self._wire = None
        return None


def silent(_: Message) -> str | None:
    """Answer nothing."""
    return None


class KitPeer:
    """A member that the kit plays: it listens at its configured address, and dials the node."""

    def __init__(self, name: str, transcript: Transcript, port: int) -> None:
        self.name = name
        self.port = port
        self.rule: Rule = silent
        self._transcript = transcript
        self._listener: socket.socket | None = None
        self._wires: list[Wire] = []
        self._dialed: Wire | None = None
        self._lock = threading.Lock()

    def listen(self) -> None:
        """Start to listen."""
        if self._listener is not None:
            return
        self._listener = socket.create_server((HOST, self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Go down: stop listening, and end all connections."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            wires, self._wires = self._wires, []
        for wire in wires:
            wire.close()
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection for this peer's requests."""
        if self._dialed is not None:
            self._dialed.close()
        self._dialed = None

    def wire_to(self, port: int) -> Wire:
        """Return the connection for this peer's requests to the node, made if necessary.

        Raises:
            OSError: the node accepts none.
        """
        if self._dialed is None or self._dialed.is_ended.is_set():
            self._dialed = dial(port, self.name, self._transcript)
        return self._dialed

    def answer(self, wire: Wire, text: str) -> None:
        """Send an answer on the connection of the request."""
        wire.say(f"{self.name}@{text}")

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            wire = Wire(connection, self.name, self._transcript, self._take)
            with self._lock:
                self._wires.append(wire)

    def _take(self, wire: Wire, line: Line) -> None:
        if line.message is None:
            self.answer(wire, f"Sorry, I don't understand: {line.text[:60]}")
        else:
            answer = self.rule(line.message)
            if answer is not None:
                self.answer(wire, answer)
