"""A lone state machine that carries out typed calls as a cluster would."""

from __future__ import annotations

from typing import TypeVar

from raftline.clients.calls.calls import Call
from raftline.clients.calls.transaction import Outcome, Transaction
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.node_connection import Refused
from raftline.clients.requests.search import text_of
from raftline.state.commands.key_commands import execute
from raftline.state.key_events import KeyEvent
from raftline.state.lease_table import format_expiry
from raftline.state.store import Store
from raftline.wire.commands.command_table import read_request
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import decode_line
from raftline.wire.replies.replies import Reply

Result = TypeVar("Result")
TERM = 4


class Model:
    """A store above the floor; each call is one entry."""

    def __init__(self) -> None:
        self.store = Store(is_at_floor=False)
        self.store.notes_events = True
        self.store.term = TERM

    def ask(self, call: Call[Result]) -> Result:
        """Carry out a call by its line, and read the reply."""
        line = call.command.encode()
        assert b"\n" not in line
        assert decode_line(line).encode() == line
        request = read_request("program", "", line.decode(), Limits())
        self.store.number += 1
        reply = Reply("s1", execute(self.store, request.command))
        try:
            text = text_of(reply)
        except Refused as refusal:
            raise call.failure(refusal) from None
        return call.read(text)

    def txn(self) -> Transaction[str, Outcome[str]]:
        return Transaction(TEXT, self.ask)

    def expire(self, lease: str) -> None:
        """Expire a lease."""
        self.store.number += 1
        execute(self.store, format_expiry(TERM, [lease]))

    def events(self) -> list[KeyEvent]:
        """Take the events since the last call."""
        return list(map(KeyEvent._make, self.store.take_events().events))
