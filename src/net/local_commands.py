"""The commands that a connection's own thread answers, one after the other, in order."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence

from raftline.net.host import Batch, Host
from raftline.net.local_commands import Backups
from raftline.wire.commands import COMMANDS, HELP, Request
from raftline.wire.membercommands import CHANGE_S
from raftline.wire.parsing import ParsedLine, Reading
from raftline.wire.protocol import NO_LEADER, outcome_unknown


class LocalCommands:
    """Answers the kinds "show", "members", "backup", "control" and "local" of one connection.

    `flush` sends the replies that have gathered: they need not wait for what takes long.
    """

    def __init__(
        self, host: Host, connection: socket.socket, flush: Callable[[], None]
    ) -> None:
        self._host = host
        self._socket = connection
        self._flush = flush
        self._backups = Backups(host)
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
        self._host.submit(batch)
        if not batch.wait(self._host.patience_s):
            return [NO_LEADER] * len(requests)
        return batch.reader.read(commands) if batch.reader is not None else batch.replies

    def _members(self, asked: ParsedLine) -> str:
        """Change the members, or tell who they are once this server is known to lead."""
        host, change = self._host, asked.change
        self._flush()
        batch = Batch([asked.request.command], is_read=change is None, change=change)
        host.submit(batch)
        if not batch.wait(host.patience_s if change is None else CHANGE_S):
            return NO_LEADER if change is None else outcome_unknown("it takes long; see: members")
        if batch.replies:
            return batch.replies[0]
        return "MEMBERS response: " + json.dumps(host.members())

    def _backup(self, asked: ParsedLine) -> str:
        self._flush()
        return self._backups.serve(asked.request.command)

    def _obey(self, asked: ParsedLine) -> str:
        self._flush()  # what came before may be about to end
        host = self._socket.getpeername()[0]
        control, request = self._host.control, asked.request
        self.is_controllers = control.is_allowed(request.sender, host)
        return control.obey(request, host).line

    def _local(self, asked: ParsedLine) -> str:
        request = asked.request
        if asked.reply:
            return asked.reply
        if COMMANDS[request.verb].access.takes_mode:
            return self._host.logmanager.read([request.command])[0]
        if request.verb == "transfer":
            return self._transfer(request)
        return HELP if request.verb == "help" else self._host.status()

    def _transfer(self, request: Request) -> str:
        batch = self._host.transfer(request.command.partition(" ")[2] or None)
        if batch.wait(self._host.patience_s):
            return batch.replies[0]
        return outcome_unknown("it is not known yet who leads")
