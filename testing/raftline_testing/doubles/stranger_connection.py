"""Connections of somebody who has not logged in, and what must hold for each of them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, cast

from raftline.access.login import Access
from raftline.net.connections.connection import Connection
from raftline.net.connections.listener import Listener
from raftline.net.line_reader import HalfLines
from raftline.net.protocol.server_protocol import HALF_LINES_FULL
from raftline.wire.commands.rights import UserRole

from ..nodes.known_users import ROOT_ALONE, table_of
from ..nodes.processes import DEADLINE_S, eventually, free_ports
from .fake_host import FakeHost

PASSWORD = "correct horse battery"


class StrangerConnection:
    """A connection of s1 that a thread serves; a stranger has the other end."""

    def __init__(
        self, access: Access | None, half_lines: HalfLines | None = None, **facts: Any
    ) -> None:
        here, self.there = socket.socketpair()
        self.there.settimeout(DEADLINE_S)
        self.host = FakeHost(access=access, is_at_floor=False, **facts)
        self.connection = Connection(
            cast(Any, self.host),
            here,
            for_peers_only=False,
            half_lines=half_lines,
            doors=self.host.doors,
        )
        self.thread = threading.Thread(target=self.connection.serve, daemon=True)
        self.thread.start()
        self.file = self.there.makefile("r")

    @property
    def due_s(self) -> float:
        """When it has to have logged in; 0 if it may take its time."""
        return self.connection._protocol.lines.due_s

    def say(self, data: bytes) -> None:
        self.there.sendall(data)

    def line(self) -> str:
        with contextlib.suppress(ConnectionResetError):
            return self.file.readline().removesuffix("\n")
        return ""

    def rest(self) -> list[str]:
        """Return the lines up to the end."""
        return list(iter(self.line, ""))

    def ask(self, line: str) -> str:
        self.say(f"{line}\n".encode())
        return self.line()

    def repeat(self, data: bytes) -> bytes:
        """Send the same bytes again and again until the end; return what was sent here."""
        self.there.settimeout(0.01)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while True:
                with contextlib.suppress(BrokenPipeError):  # the last words can still be read
                    self.say(data)
                with contextlib.suppress(TimeoutError):
                    piece = self.there.recv(1 << 16)
                    if not piece:
                        break
                    said += piece
        return said

    def end(self) -> None:
        for batch in self.host.batches:  # a connection ends after its replies
            batch.answer_all("SET response: done")
        self.host.flush()
        self.file.close()
        self.there.close()
        self.thread.join(DEADLINE_S)


def check_half_requests(doors: list[StrangerConnection], whole: bytes, begin: str) -> None:
    """Check that of too many half requests the oldest go, whose last line has this beginning."""
    half_lines = HalfLines(250 << 10)
    for held in (100 << 10, 200 << 10, 200 << 10):
        doors.append(door := StrangerConnection(None, half_lines))
        door.say(whole[:-1])
        assert eventually(lambda held=held: half_lines.sum > held)
    assert doors[0].line() == f"{begin}{HALF_LINES_FULL}"
    assert doors[0].line() == ""
    for door in doors[1:]:
        door.say(whole[-1:])
        assert eventually(lambda door=door: door.host.batches)
    assert half_lines.sum == 0


def check_shares_of_users(
    access: Access, login: Callable[[str, str], bytes], welcome: str, full: str
) -> None:
    """Check that one user locks nobody out. A login is answered with `welcome`, and `full` is the
    last line of a connection that gives way."""
    host = FakeHost(access=access, is_at_floor=False)
    access.follow(table_of({**ROOT_ALONE, "bob": (UserRole.READER, ("bob/",))}, PASSWORD))
    port = next(free_ports)
    listener = Listener("127.0.0.1", port, 8)
    listener.open(cast(Any, host), host.doors)
    opened = []

    def log_in(user: str, password: str) -> str:
        opened.append(made := socket.create_connection(("127.0.0.1", port), DEADLINE_S))
        made.sendall(login(user, password))
        return made.makefile("r").readline()

    replies = [log_in("bob", PASSWORD) for _ in range(12)]
    assert [one.startswith(welcome) for one in replies] == [True] * 7 + [False] * 5
    assert replies[7] == f"{full}\n"
    assert log_in("root", PASSWORD).startswith(welcome)
    assert opened[6].makefile("r").readline() == f"{full}\n"
    assert len([one for one in host.reports if "the newest" in one]) == 1
    listener.close()
    listener.end_connections()
    for each in opened:
        each.close()


def check_places_of_the_silent(
    access: Access | None, begun: bytes, rest: bytes, reply: str, full: str
) -> None:
    """Check that connections that begin a request, and do not end it, keep nobody out."""
    host = FakeHost(access=access, is_at_floor=False)
    port = next(free_ports)
    listener = Listener("127.0.0.1", port, 3)
    listener.open(cast(Any, host), host.doors)

    def connect() -> socket.socket:
        before = listener.traffic()[1]
        made = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        assert eventually(lambda: listener.traffic()[1] > before)
        return made

    user = connect()
    speaking = user.makefile("rw")
    print(f"login root {PASSWORD}" if access else "help", file=speaking, flush=True)
    assert speaking.readline().startswith("s1@LOGIN" if access else "s1@HELP")
    silent = []
    for _ in range(8):
        silent.append(one := connect())
        one.sendall(begun)
    assert silent[0].makefile("r").readline() in (f"{full}\n", "")
    assert silent[-3].makefile("r").readline() in (f"{full}\n", "")
    for each, data, said in [(user, b"help\n", "s1@HELP response"), (silent[-1], rest, reply)]:
        each.sendall(data)
        assert each.makefile("r").readline().startswith(said)
    assert len([one for one in host.reports if "all connections are in use" in one]) == 1
    listener.close()
    listener.end_connections()
    for each in [user, *silent]:
        each.close()
