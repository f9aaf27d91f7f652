"""What a controller may ask of a node, and how it is carried out (docs/learn/controller.md).

`Controller@VERB …` on the line protocol, or a datagram in front of the same verbs
(controller/udp.py). One order at a time. A node that was shut down keeps its port and this object,
and nothing else.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from raftline.common.config import ConfigError
from raftline.controller.permits import CONTROLLER, Permits
from raftline.controller.store import Answer, leader_info, retrieve, sorry, store
from raftline.controller.verbs import FAULT_FORMS, IN_FORCE, read_fault
from raftline.node.joining import check_member
from raftline.node.startup import Startup
from raftline.raft.inputs import Campaign, SetHeartbeat, StepDown
from raftline.raft.orders import OrderRefused
from raftline.raft.view import NodeView
from raftline.storage.errors import StorageError
from raftline.wire.escapes import ProtocolError, shown
from raftline.wire.requests import VERBS as COMMAND_VERBS
from raftline.wire.requests import Request

if TYPE_CHECKING:
    from raftline.node.server import Server

NEED_A_LIFE = ("STORE", "RETRIEVE", "LEADER_INFO", "CONVERT_FOLLOWER", "TIMEOUT")
DISK_PATIENCE_S = 30.0  # for what waits to be written, before a node lets go of its files
WITHOUT_VOTE = " without a vote until it has caught up"
VERBS = frozenset({*NEED_A_LIFE, "SHUTDOWN", "RESTART", "DELETE-LOG", *FAULT_FORMS})


def no_order(verb: str) -> str:
    """Return what to say of a word that is none of the verbs: the nearest, and all there are."""
    if not verb:
        return f"the order is missing. There are {', '.join(sorted(VERBS))}"
    near = difflib.get_close_matches(verb.upper(), sorted(VERBS), 1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return f"{shown(verb)} is no order{hint} There are {', '.join(sorted(VERBS))}"


class Control:
    """Obeys the controller of one node."""

    def __init__(
        self,
        server: Server,
        startup: Startup,
        say: Callable[[str], None],
        allowed: Sequence[str] | None,
    ) -> None:
        self.permits = Permits(allowed)
        self._server = server
        self._name = server.name
        self._startup = startup
        self._say = say
        self._lock = threading.RLock()  # one order at a time that ends or begins a life
        self._slowing = object()  # the last order about heartbeats; an earlier one's end is void

    def is_allowed(self, sender: str, host: str) -> bool:
        """Whether orders of `sender` from the address `host` are obeyed."""
        return self.permits.why_not(sender, host) is None

    def why_no_order(self, sender: str, text: str) -> str:
        """Return what is wrong with a line of the controller's that is neither an order nor a
        client's command; "" for every other line."""
        verb = text.strip(" ").partition(" ")[0]
        meant = sender == CONTROLLER and self.permits.is_on and verb
        return no_order(verb) if meant and verb not in COMMAND_VERBS else ""

    def facts(self) -> dict[str, object]:
        """Return what `status` tells beside a node's own facts."""
        faults = self._server.faults.table.described()
        facts = {"controlled": self.permits.is_on, "down": self._server.is_down, "faults": faults}
        down = {"role": "down", "leader": None, "log_bytes": None}  # the files are let go
        return facts | (down if self._server.is_down else {})

    def obey(self, request: Request, host: str) -> Answer:
        """Carry out one order, `request.command`, that came from the address `host`."""
        verb, _, operands = request.command.partition(" ")
        refusal = self.permits.why_not(request.sender, host)
        if refusal is not None:
            return sorry(verb, refusal)
        self._say(f"[*] {self._name}: its controller says {request.command[:200]}")
        if self._server.is_down and verb in NEED_A_LIFE:
            return sorry(verb, f"{self._name} was shut down by its controller; RESTART it first")
        try:
            return self._carry_out(verb, operands, request)
        except (ProtocolError, OrderRefused) as refused:
            return sorry(verb, str(refused))
        except (StorageError, ConfigError) as failure:
            return sorry(verb, f"{self._name} stays down: {failure}")

    def _carry_out(self, verb: str, operands: str, request: Request) -> Answer:
        if verb in FAULT_FORMS:
            return self._fault(verb, operands.split())
        if verb == "STORE":
            return store(self._server, operands, request)
        if verb == "RETRIEVE":
            return retrieve(self._server, operands.split())
        if operands.strip():
            raise ProtocolError(f"the form is: {verb}")
        match verb:
            case "LEADER_INFO":
                return leader_info(self._server)
            case "CONVERT_FOLLOWER":
                self._server.driver.order(StepDown())
                return Answer(verb, f"{self._name} follows in term {self._view.term}")
            case "TIMEOUT":
                self._server.driver.order(Campaign())
                return Answer(verb, f"{self._name} stands in term {self._view.term}")
            case "SHUTDOWN":
                return self._shut_down()
            case "RESTART":
                return self._restart()
        return self._delete_log()

    @property
    def _view(self) -> NodeView:
        return self._server.node.view

    # --- faults --------------------------------------------------------------------------------

    def _fault(self, verb: str, words: list[str]) -> Answer:
        server = self._server
        leader = [name for name in (self._view.leader,) if name and server.is_peer(name)]
        fault = read_fault(verb, words, {*server.book, *leader})
        before = server.faults.table
        table = server.faults.change(fault.change)
        if verb == "HEARTBEAT":
            self._slowing = object()
        slowing = self._slowing
        if before.heartbeat_ms != table.heartbeat_ms or fault.for_ms:
            self._beat()
        if fault.for_ms:
            server.faults.after(fault.for_ms / 1000, lambda: self._beat_again(slowing))
        described = table.described()
        in_force = IN_FORCE + "; ".join(described) if described else "no fault in force"
        return Answer(verb, in_force, "faults", described)

    def _beat(self) -> None:
        server = self._server
        heartbeat_ms = server.faults.table.heartbeat_ms or server.pace.heartbeat_ms
        self._say(f"[*] {self._name}: heartbeats are {heartbeat_ms / 1000:g} s apart")
        if not server.is_down:
            server.driver.order(SetHeartbeat(heartbeat_ms))

    def _beat_again(self, slowing: object) -> None:
        """End this slowing of heartbeats, unless another was ordered meanwhile."""
        if self._slowing is slowing:
            self._fault("HEARTBEAT", ["normal"])

    # --- the ends and beginnings of a life -------------------------------------------------------

    def _shut_down(self) -> Answer:
        with self._lock:
            if self._server.is_down:
                raise OrderRefused(f"{self._name} was shut down already")
            self._stand_down()
        return Answer("SHUTDOWN", f"{self._name} is down; it hears its controller alone")

    def _restart(self) -> Answer:
        with self._lock:
            if not self._server.is_down:
                raise OrderRefused(f"{self._name} is not down; SHUTDOWN it first")
            without = WITHOUT_VOTE if self._stand_up() else ""
        return Answer("RESTART", f"{self._name} is up in term {self._view.term}{without}")

    def _delete_log(self) -> Answer:
        """Put the log aside, as if it had been deleted while the node was down.

        Under a running node that would be unsafe: it would go on with a vote although it lacks
        what it acknowledged. So it stands down first, and comes back without a vote.
        """
        with self._lock:
            if set(self._view.membership.names) <= {self._name}:
                raise OrderRefused(
                    f"{self._name} is the only member: there is nobody to catch up from"
                )
            if not self._server.is_down:
                self._stand_down()
            aside = self._put_aside()
            without = WITHOUT_VOTE if self._stand_up() else ""
        return Answer(
            "DELETE-LOG", f"{self._name}.log is put aside as {aside}; {self._name} is back{without}"
        )

    def _put_aside(self) -> str:
        """Give the log another name; return that name.

        Raises:
            StorageError: its files are still in use, or the disk failed.
        """
        log = f"{self._name}.log"
        self._let_go()
        folder = self._startup.folder()
        try:
            folder.lock(self._name)
            number = 1
            while folder.exists(f"{log}.aside-{number}"):
                number += 1
            folder.rename(log, f"{log}.aside-{number}")
        finally:
            folder.close()
        return f"{log}.aside-{number}"

    def _stand_down(self) -> None:
        server = self._server
        server.is_down = True  # from here on nothing is heard but a controller
        server.halt(DISK_PATIENCE_S)
        server.listener.end_connections(but_controllers=True)
        self._say(f"[!] {self._name}: shut down by its controller; it waits for RESTART")

    def _let_go(self) -> None:
        """Let go of the files of the life before, which a write that took long kept open."""
        if self._server.driver.has_written:
            self._server.logmanager.close()

    def _stand_up(self) -> bool:
        """Come back as a process that boots does; return whether without a vote.

        Raises:
            StorageError, ConfigError: not from these files; the node stays down.
        """
        server = self._server
        self._let_go()
        server.recover()
        try:
            notes = check_member(self._view, self._startup.configuration)
        except (StorageError, ConfigError):
            server.logmanager.close()
            raise
        for note in notes:
            self._say(note)
        without_vote = self._view.amnesiac  # before it starts: it may catch up at once
        server.listener.end_connections(but_controllers=True)  # they spoke to the life before
        server.start()
        server.is_down = False
        self._say(f"[*] {self._name}: restarted by its controller in term {self._view.term}")
        return without_vote
