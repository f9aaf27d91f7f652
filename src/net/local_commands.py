"""What a connection asks that its own thread answers, one after the other, in order."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from raftline.net.backupfile import Backups
from raftline.node.queue import BY_ROUND, Batch, Reading
from raftline.raft.change import Change
from raftline.raft.messages import Message
from raftline.wire.membercommands import CHANGE_S
from raftline.wire.protocol import HELP, NO_LEADER, Request, outcome_unknown

if TYPE_CHECKING:
    from raftline.node.server import Server


class ParsedLine(NamedTuple):
    """One line, understood as far as it goes; lines of one `kind` in a row are served together."""

    # "peer", "write", "read", "show", "members", "backup", "control", or "local": answered here
    kind: str
    request: Request
    message: Message | None = None
    reply: str = ""
    reading: Reading = BY_ROUND
    change: Change | None = None


class LocalCommands:
    """Answers the kinds "show", "members", "backup", "control" and "local" of one connection.

    `flush` sends the replies that have gathered: they need not wait for what takes long.
    """

    def __init__(
        self, server: Server, connection: socket.socket, flush: Callable[[], None]
    ) -> None:
        self._server = server
        self._socket = connection
        self._flush = flush
        self._backups = Backups(server)
        self.is_controllers = False  # such a connection outlives a node that is shut down

    def answer(self, kind: str, run: Sequence[ParsedLine]) -> list[str]:
        """Return the replies to lines of one kind, and of one way of reading."""
        if kind == "show":
            return self._shows([one.request for one in run], run[0].reading)
        answer = {
            "members": self._members,
            "backup": self._backup,
            "control": self._obey,
            "local": self._local,
        }[kind]
        return [answer(one) for one in run]

    def _shows(self, requests: Sequence[Request], reading: Reading) -> list[str]:
        commands = [request.command for request in requests]
        batch = Batch(commands, is_read=True, reading=reading)
        self._server.driver.submit(batch)
        if not batch.wait(self._server.patience_s):
            return [NO_LEADER] * len(requests)
        return batch.reader.read(commands) if batch.reader is not None else batch.replies

    def _members(self, asked: ParsedLine) -> str:
        """Change the members, or tell who they are once this server is known to lead."""
        server, change = self._server, asked.change
        self._flush()
        batch = Batch([asked.request.command], is_read=change is None, change=change)
        server.driver.submit(batch)
        if not batch.wait(server.patience_s if change is None else CHANGE_S):
            return NO_LEADER if change is None else outcome_unknown("it takes long; see: members")
        if batch.replies:
            return batch.replies[0]
        return "MEMBERS response: " + json.dumps(server.driver.members())

    def _backup(self, asked: ParsedLine) -> str:
        self._flush()
        return self._backups.serve(asked.request.command)

    def _obey(self, asked: ParsedLine) -> str:
        self._flush()  # what came before may be about to end
        host = self._socket.getpeername()[0]
        control, request = self._server.control, asked.request
        self.is_controllers = control.is_allowed(request.sender, host)
        return control.obey(request, host).line

    def _local(self, asked: ParsedLine) -> str:
        request = asked.request
        if asked.reply:
            return asked.reply
        if request.verb in ("get", "show"):
            return self._server.logmanager.read([request.command])[0]
        if request.verb == "transfer":
            return self._transfer(request)
        return HELP if request.verb == "help" else self._server.status()

    def _transfer(self, request: Request) -> str:
        batch = self._server.driver.transfer(request.command.partition(" ")[2] or None)
        if batch.wait(self._server.patience_s):
            return batch.replies[0]
        return outcome_unknown("it is not known yet who leads")
