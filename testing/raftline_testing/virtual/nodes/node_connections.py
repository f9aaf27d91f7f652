"""The connections of one simulated node: a node's own code parses, admits and serves the lines;
replies leave in the order of the lines.

A connection has no socket. Its bytes stay here until the node, or its client, reads them.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import ceil
from random import Random
from typing import Any

from raftline.access.login import Access
from raftline.access.secret import NO_AUTH, PeerAuth
from raftline.access.tls import Tls
from raftline.net.peers.build_exchange import Foreigners
from raftline.net.peers.peers import Speakers
from raftline.net.protocol.admission import Admission
from raftline.net.protocol.doors import doors_at
from raftline.net.protocol.host import Batch, Orders, Origin, ReplySink, RequestRoom
from raftline.net.protocol.outgoing_protocol import OutgoingProtocol
from raftline.net.protocol.refusal_counts import RefusalCounts
from raftline.net.protocol.server_protocol import ServerProtocol
from raftline.net.protocol.serving import Ending, Serving
from raftline.net.protocol.turns import CALLS_AT_ONCE, Turns
from raftline.net.protocol.waits import AwaitReplies, ReserveRoom, SendBytes, Wait, WaitFor
from raftline.net.reply_budget import ReplyRoom
from raftline.net.state_copies import Backups
from raftline.node.loop.measures import node_facts
from raftline.node.loop.queue import RequestQueue
from raftline.node.loop.stepper import Stepper
from raftline.node.watches.watch_registry import WatchRegistry
from raftline.raft.change import Change
from raftline.raft.messages import Message
from raftline.raft.node_view import NodeView
from raftline.state.work import is_quick, needs_trial
from raftline.wire.commands.member_commands import membership_facts
from raftline.wire.commands.parsing import ReadSettings
from raftline.wire.commands.rights import LeaseKeys
from raftline.wire.limits import LONG_REPLY_BYTES
from raftline.wire.operands.operands import Limits
from raftline.wire.refusal import NO_IDENTITY, NO_LEADER, NO_QUORUM, NOT_REACHED, error

from ...invariants import InvariantError
from ..world.virtual_clock import Clock
from .manager import Manager
from .pairs_lock import PairsLock
from .request_interface import Asked

PATIENCE_S = 8.0


class NoTraffic:
    """A console that prints nothing about connections."""

    def connected(self, address: object) -> None: ...
    def requested(self, sender: str, text: str) -> None: ...
    def shows_requests(self, count: int) -> bool:
        return False

    def received(self, sender: str, text: str | None, message: Message) -> None: ...


class ServingNode(ABC):
    """A simulated node as its connections use it (simulated_node.py)."""

    name: str
    view: NodeView | None
    clock: Clock
    manager: Manager
    pairs_lock: PairsLock
    queue: RequestQueue
    stepper: Stepper

    @property
    @abstractmethod
    def cluster(self) -> str: ...
    @property
    @abstractmethod
    def is_applying_offloaded(self) -> bool: ...
    @abstractmethod
    def after_long(self, act: Callable[[], None]) -> bool: ...
    @abstractmethod
    def beside(
        self, delay_ms: int, tie: float, act: Callable[..., object], *of: object
    ) -> None: ...
    @abstractmethod
    def keep_waiting(self, connection: SimulatedConnection) -> None: ...
    @abstractmethod
    def mark_ready(self, sink: ReplySink) -> None: ...
    @abstractmethod
    def note_reply(self, connection: SimulatedConnection, asked: Asked) -> None: ...
    @abstractmethod
    def not_leader(self, leader: str) -> str: ...
    @abstractmethod
    def fail(self, error: BaseException) -> None: ...


class Doors:
    """A simulated node as its connections see it: `net.protocol.host.Host`."""

    def __init__(self, host: ServingNode) -> None:
        self._host = host
        self.name = host.name
        self.limits = Limits()
        self.readings = ReadSettings()
        self.patience_s = PATIENCE_S
        self.is_down = False
        self.speakers = Speakers(0.1, host.clock.now_s)
        self.access: Access | None = None
        self.is_private = False  # no third party can read a connection
        self.peer_auth: PeerAuth = NO_AUTH
        self.tls: Tls | None = None
        self.announces_build = True
        self.foreigners = Foreigners(host.name, lambda: host.cluster, now_s=host.clock.now_s)
        self.reply_room = ReplyRoom(LONG_REPLY_BYTES, now_s=host.clock.now_s)
        self.refusals = RefusalCounts()
        self.backups = Backups(lambda folder, size: True, host.clock.now_s)
        chance = Random(self.new_token(3))  # a schedule is the same whichever doors there are
        self.others = doors_at(
            self.limits,
            host.clock.day_s,
            lambda size: f"{chance.getrandbits(8 * size):0{2 * size}x}",
        )
        self.calls = Turns(CALLS_AT_ONCE, host.clock.now_s)
        self.traffic_log = NoTraffic()
        self.orders: Orders | None = None
        self.observers: Any = None
        self.observed_incarnation = 0  # the incarnation that these observe
        self.submitted: list[Batch] = []  # some are answered by now
        self.mark_ready: Callable[[ReplySink], None] = host.mark_ready

    @property
    def request_room(self) -> RequestRoom:
        return self._host.queue.room

    @property
    def is_at_floor(self) -> bool:
        return self._host.manager.store.is_at_floor

    def is_quick(self, commands: Sequence[str]) -> bool:
        return is_quick(self._host.manager.store, commands)

    def needs_trial(self, command: str, grown: int) -> bool:
        return needs_trial(self._host.manager.store, command, grown)

    @property
    def logmanager(self) -> Manager:
        return self._host.manager

    @property
    def watchers(self) -> WatchRegistry:
        return self._host.stepper.watchers

    @property
    def _view(self) -> NodeView:
        assert self._host.view is not None
        return self._host.view

    def submit(self, *batches: Batch, more_come: bool = False) -> None:
        for batch in batches:
            self.submitted.append(batch)
            self._host.stepper.arrivals.put(batch)

    @property
    def unanswered(self) -> int:
        """The number of unanswered batches."""
        self.submitted = [batch for batch in self.submitted if not batch.is_answered]
        return len(self.submitted)

    def begin_without(self, names: Sequence[str]) -> str:
        return self._host.stepper.begin_without(names)

    def transfer(self, to: str | None) -> Batch:
        batch = Batch(["transfer"], is_read=False)
        self._host.stepper.transfer(batch, to)
        return batch

    def members(self) -> dict[str, object]:
        view = self._view
        return membership_facts(view.configurations, view.commit_index)

    def status(self) -> str:
        facts = node_facts(self._view, self._host.clock.now_ms())
        return "STATUS response: " + json.dumps(facts)

    def why_at_floor(self) -> str:
        """Refuse commands beyond the floor; a real node first waits for an identity to come."""
        leader = self._view.leader
        if leader is None or leader == self.name:
            return NO_IDENTITY
        return self._host.not_leader(leader)

    def why_elsewhere(self, change: Change) -> str:
        return ""

    def with_build(self, change: Change) -> Change:
        return change

    def keys_of_lease(self, lease: str) -> LeaseKeys | None:
        if not self._view.knows_committed:
            return None
        return self._host.manager.store.keys_of(lease)

    def not_here(self) -> str:
        leader = self._view.leader
        if leader == self.name:
            return NO_QUORUM(leader)
        return NO_LEADER if leader is None else self._host.not_leader(leader)

    def not_confirmed(self) -> str:
        leader = self._view.leader
        return NO_LEADER if leader is None else NO_QUORUM(leader)

    def why_late(self) -> str:
        return NOT_REACHED

    def without_machine(self, command: str) -> str:
        why = self._host.manager.state.machines.why_not(command.split(" ", 2)[1])
        return error(why) if why else ""

    def is_peer(self, name: str) -> bool:
        return name in self._view.contacts

    def hears_from_leader(self) -> bool:
        return self._view.hears_from_leader

    def peer_refusal(self, sender: str, message: Message | None) -> str:
        return f"{sender} is not a peer of {self.name}"

    def hear(self, received: Sequence[Message], origin: Origin | None) -> list[str]:
        return []

    def peer_disconnected(self, peer: str) -> None: ...

    def new_token(self, size: int) -> str:
        return "0" * 2 * size

    def warn(self, what: str) -> None: ...

    def fail(self, error: BaseException) -> None:
        self._host.fail(error)


class SimulatedConnection(OutgoingProtocol):
    """One connection at a node: the state machines of a real one, and the bytes that wait for the
    client. `window` limits these bytes; None: the client reads all at once."""

    def __init__(
        self, doors: Doors, host: ServingNode, made: Callable[[SimulatedConnection, str], None]
    ) -> None:
        """Pass each line that leaves to `made`, whole and in order."""
        super().__init__(doors)
        self._sim = host
        self._made = made
        self.window: int | None = None
        self.held = 0  # bytes that wait for the client
        self.is_over = False
        self._failure: Exception | None = None  # of sending replies
        self._incoming = b""
        self.has_hung_up = False  # the client or the node has
        self._reads_no_more = False  # the node takes no more bytes than those that are here
        self._rest = b""  # bytes for which the client has no room yet
        self._has_turn = False  # the rest is the machine's own reply
        self._half = b""  # a part of a line that leaves
        self._until_ms = 0  # the end of a wait for replies
        self.admission = Admission(doors, self, lambda: doors.is_private)
        self.protocol = ServerProtocol(doors, self.admission, self, doors=doors.others)
        self.serving = Serving(
            doors, self, self.protocol, self.admission, self, self._shut_down, lambda: "nowhere"
        )
        self.protocol.bound_strangers(host.clock.now_s())
        self._steps = self.serving.steps()
        self._wait: Wait = next(self._steps)

    # --- the client, while the node is up --------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take arriving bytes, which the node reads in its turn."""
        self._incoming += data
        self.proceed()

    def take(self, size: int) -> None:
        """Read this many bytes as the client."""
        if self._sim.after_long(lambda: self.take(size)):
            return
        self.held -= min(size, self.held)
        self._drain()
        self.proceed()

    def hang_up(self) -> None:
        """Disconnect the client."""
        self.has_hung_up = True
        self._forget()
        self.take(self.held)

    # --- the thread of the connection ------------------------------------------------------------

    def proceed(self) -> bool:
        """Serve until the connection must wait; return whether anything was done."""
        if self._wait is WaitFor.EMPTY and not self.is_over and not self.is_empty():
            self._sim.keep_waiting(self)
            return False
        has_proceeded = False
        lock = self._sim.pairs_lock
        lock.may_be_waited_for = True  # this thread does not hold `core`
        try:
            while not self.is_over:
                wait = self._wait
                if wait is WaitFor.BYTES:
                    if not (self._incoming or self.has_hung_up or self._reads_no_more):
                        break
                    self._read()
                    result: bool | None = True
                else:
                    result = self._result_of(wait)
                if result is None:
                    self._sim.keep_waiting(self)
                    break
                has_proceeded = True
                try:
                    self._wait = self._steps.send(result)
                except StopIteration:
                    self.end()
        finally:
            lock.may_be_waited_for = False
        return has_proceeded

    def _result_of(self, wait: Wait) -> bool | None:
        """Return the result of a wait for something other than bytes; None if it isn't over."""
        if wait is WaitFor.EMPTY:
            return self.is_empty() or None
        if wait is WaitFor.ROOM:
            return not self.is_full() or None
        if isinstance(wait, SendBytes):
            return self._has_sent(wait.data)
        if isinstance(wait, AwaitReplies):
            return self._has_answer(wait)
        assert isinstance(wait, ReserveRoom)
        return self._host.reply_room.reserve_now(wait.holder, in_turn=wait.in_turn) or None

    def _read(self) -> None:
        data, self._incoming = self._incoming, b""
        self.protocol.receive_data(data, self._sim.clock.now_s())

    def _has_sent(self, data: bytes) -> bool | None:
        """Send the machine's own reply in its turn; return None until all of it is taken."""
        if not self._has_turn:
            if not self.take_turn():
                return None
            self._has_turn = True
            self._rest = data[self._send(data) :]
        if self._rest:
            return None
        self._has_turn = False
        self.end_turn()
        self._pump()
        return True

    def _has_answer(self, wait: AwaitReplies) -> bool | None:
        now_ms = self._sim.clock.now_ms()
        self._until_ms = self._until_ms or now_ms + ceil(1000 * wait.within_s)
        if not wait.batch.is_answered and now_ms < self._until_ms:
            return None
        self._until_ms = 0
        return wait.batch.is_answered

    def rights_changed(self) -> None:
        """Take a change of the users by another thread."""
        ending = Ending.NONE if self.is_over else self.serving.end_refused()
        if ending is Ending.AT_ONCE:
            self.break_off()
        self._reads_no_more = self._reads_no_more or ending is Ending.AFTER_REPLIES
        if ending is not Ending.NONE:
            self._sim.beside(0, 0.5, self.take, 0)

    def end(self) -> None:
        """Stop receiving: the connection or the node has ended."""
        self.is_over = True
        self._steps.close()
        self.serving.end()

    def answer(self, messages: Sequence[Message]) -> None:
        """Answer a peer; there are none here."""

    # --- the wire --------------------------------------------------------------------------------

    def flush(self) -> None:
        try:
            super().flush()
        except Exception as error:
            self._failure = error  # Rounds breaks off the connection, and continues
            raise

    def _send(self, data: bytes) -> int:
        if self.has_hung_up or self.is_over:
            return len(data)
        if self.window is not None:
            data = data[: max(self.window - self.held, 0)]
            self.held += len(data)
        self.bytes_sent += len(data)
        self._hear(data)
        return len(data)

    def _hear(self, data: bytes) -> None:
        """Take bytes that leave, as the client."""
        *lines, self._half = (self._half + data).split(b"\n")
        for line in lines:
            self._made(self, line.decode())

    def _send_later(self, data: bytes) -> bool:
        self._is_stuck, self._rest = True, data
        if not data:
            self._sim.beside(1, 0.5, self.take, 0)
        return True

    def _shut_down(self) -> None:
        self.has_hung_up = True

    def _drain(self) -> None:
        """Send waiting bytes to a slow reader, as far as it has room."""
        while self._is_stuck:
            self._rest = self._rest[self._send(self._rest) :] if self._rest else b""
            if self._rest or self._has_turn or not self._drained(0):
                return
            self._rest = self._next_to_drain()

    def break_off(self) -> None:
        if self._failure is not None:
            raise InvariantError(f"a reply could not be sent: {self._failure!r}")
        super().break_off()
