"""A cluster of one node that never fails, asked without a network."""

from __future__ import annotations

import itertools
import threading

import raftline
from raftline.clients.requests.search import text_of
from raftline.logmanager import LogManager
from raftline.raft.log import Entry
from raftline.wire.commands.command_table import read_request
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError
from raftline.wire.replies.replies import Reply
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS


class LoneCluster:
    """Answers at once, as a cluster of one that never fails; counts what it was asked."""

    name = "program"

    def __init__(self) -> None:
        self._manager = LogManager("s1", MemoryFolder(), MEMBERS)
        self._index = itertools.count(1)
        self._one_at_a_time = threading.Lock()
        self.asked: list[str] = []

    def request(self, command: str, timeout: float | None = None) -> str:
        self.asked.append(command)
        try:
            request = read_request("c", "", command, Limits())
        except ProtocolError as error:
            raise raftline.Refused(str(error)) from None
        with self._one_at_a_time:
            if command.startswith("get "):
                return self._manager.read([request.command])[0]
            reply = self._manager.apply([Entry(next(self._index), 1, request.command)])[0]
        return text_of(Reply("s1", reply))
