"""A connection in memory, at a node whose lines are carried out at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

from raftline.access.login import Access
from raftline.logmanager import EVERY
from raftline.net.protocol.admission import Admission
from raftline.net.protocol.doors import Door
from raftline.net.protocol.host import Batch
from raftline.net.protocol.outgoing_protocol import OutgoingProtocol
from raftline.net.protocol.server_protocol import ServerProtocol
from raftline.net.protocol.serving import Serving
from raftline.net.protocol.waits import AwaitReplies, SendBytes, Wait, WaitFor
from raftline.state.commands.key_commands import TRIALS, execute
from raftline.state.key_pages import read_selection, take_page
from raftline.state.store import Store
from raftline.state.work import needs_trial

from .fake_host import FakeHost


class StoreReader:
    """Reads from a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, commands: Sequence[str], room: int = EVERY, *, waits: bool = True) -> list[str]:
        return [self._read(command) for command in commands]

    def try_out(self, entry: str) -> str:
        verb, _, operands = entry.rpartition("@")[2].partition(" ")
        return TRIALS[verb].why_refused(self._store, nullcontext(), operands, "")

    def _read(self, command: str) -> str:
        verb, _, key = command.partition(" ")
        if verb == "ttl":
            return f"TTL response{': 7.5' if key in self._store else ', no such key: ' + key}"
        selection = read_selection(command)
        if selection is None:
            return execute(self._store, command)
        return take_page(self._store, selection).format()


class StoreWire(OutgoingProtocol):
    """The machines of a connection, and the bytes that leave."""

    is_private = True  # nobody else reads what is sent

    def __init__(
        self,
        store: Store,
        access: Access | None = None,
        user: str = "",
        doors: Sequence[Door] = (),
    ) -> None:
        """`user` is logged in already, by a certificate."""
        status = 'STATUS response: {"name": "s1", "role": "leader", "leader": "s1", "term": 1, "'
        status += 'members": {"s1": "localhost:10000"}, "version": "0.2.0"}'
        facts: dict[str, Any] = {"submit": self._submit, "logmanager": StoreReader(store)}
        facts["needs_trial"] = partial(needs_trial, store)
        host = self.host = FakeHost(
            is_at_floor=False, access=access, status=lambda: status, **facts
        )
        host.mark_ready = lambda sink: sink.flush()
        super().__init__(cast(Any, host))
        self._store = store
        self.sent = b""
        self.has_ended = False
        admission = Admission(cast(Any, host), cast(Any, self), lambda: self.is_private)
        if user and admission.login is not None:
            admission.login.by_certificate(user)
        protocol = ServerProtocol(cast(Any, host), admission, self, doors=doors)
        self._protocol = protocol
        serving = Serving(
            cast(Any, host), cast(Any, self), protocol, admission, self, self._shut_down, str
        )
        self._steps = serving.steps()
        self._wait: Wait = next(self._steps)

    def feed(self, data: bytes) -> bytes:
        """Take bytes, b"" at the end; return what the node sends."""
        before = len(self.sent)
        self._protocol.receive_data(data, 0.0)
        is_fed = True
        while not self._has_to_wait(is_fed=is_fed):
            is_fed = is_fed and self._wait is not WaitFor.BYTES
            if isinstance(self._wait, SendBytes):
                self._send(self._wait.data)
            try:
                self._wait = self._steps.send(True)
            except StopIteration:
                self.has_ended = True
        return self.sent[before:]

    def give_up(self) -> None:
        """End the present wait for an answer: it has taken too long."""
        self._wait = self._steps.send(False)

    def _has_to_wait(self, *, is_fed: bool) -> bool:
        wait = self._wait
        if isinstance(wait, AwaitReplies) and not wait.batch.is_answered:
            return True
        return self.has_ended or (wait is WaitFor.BYTES and not is_fed)

    def _submit(self, *batches: Batch, more_come: bool = False) -> None:
        for batch in batches:
            if batch.is_read:
                batch.reader = StoreReader(self._store)
            else:
                for command in batch.commands:
                    self._store.number += 1
                    batch.replies.append(execute(self._store, command))
            batch.wake()

    def _send(self, data: bytes) -> int:
        self.sent += data
        return len(data)

    def _send_later(self, data: bytes) -> bool:
        self._send(data)
        return True

    def _shut_down(self) -> None:
        self.has_ended = True
