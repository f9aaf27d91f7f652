"""The orders of a controller, and how a node carries them out (course/docs/controller.md).

An order is `Controller@VERB …` on the line protocol, or a datagram with the same verbs
(controller/udp.py). There is one order at a time. A node that was shut down keeps only its port and
this object. It obeys only one name, from allowed addresses.
"""

from __future__ import annotations

import difflib
import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence

from raftline.common.config import ConfigError
from raftline.raft.node_view import NodeView
from raftline.storage.disk import StorageError
from raftline.wire.commands.command_table import COMMANDS, Request
from raftline.wire.protocol import ProtocolError, shown
from raftline_course.controller.controlled import ControlledNode
from raftline_course.controller.faults import IN_FORCE, read_fault
from raftline_course.controller.leader_orders import (
    OrderAnswer,
    leader_info,
    retrieve,
    sorry,
    store,
)
from raftline_course.controller.orders import FAULT_FORMS, NODE_ORDERS, ORDERS
from raftline_testing.orders import Campaign, OrderRefused, SetHeartbeat, StepDown

CONTROLLER = "Controller"
OFF = "this server obeys no controller; start it with --controller, for teaching and tests"
DISK_PATIENCE_S = 30.0  # for pending writes, before a node releases its files
WITHOUT_VOTE = " without a vote until it has caught up"


class Permits:
    """The right to control. There is no authentication: a node obeys any program that reaches the
    port from an allowed address and calls itself Controller."""

    def __init__(self, allowed: Sequence[str] | None) -> None:
        """Create the permits; this machine is always allowed, and `allowed` names further hosts and
        networks. None: no program may control."""
        self.is_on = allowed is not None
        self._allowed = list(allowed or ())

    def why_not(self, sender: str, host: str) -> str | None:
        """Return why a line from the address `host` is not obeyed; None if it is."""
        if not self.is_on:
            return OFF
        if sender != CONTROLLER:
            return f"only {CONTROLLER} gives orders: {CONTROLLER}@STORE KEY VALUE"
        if not self._is_allowed(host):
            return f"orders from {host} are not taken; --controller-from {host} would allow them"
        return None

    def _is_allowed(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        # the form of an IPv4 address on an IPv6 socket
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        return address.is_loopback or any(_holds(place, address) for place in self._allowed)


def _holds(place: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether `place`, a network or the name of a host, holds an address. A name is looked up each
    time: a restarted container may have another address."""
    try:
        return address in ipaddress.ip_network(place, strict=False)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(place, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return str(address) in {str(info[4][0]) for info in found}


def no_order(verb: str) -> str:
    """Return the message for an unknown verb, with the nearest verb and all verbs."""
    if not verb:
        return f"the order is missing. There are {', '.join(sorted(ORDERS))}"
    near = difflib.get_close_matches(verb.upper(), sorted(ORDERS), 1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return f"{shown(verb)} is not an order{hint} There are {', '.join(sorted(ORDERS))}"


class Control:
    """The part of a node that obeys its controller."""

    def __init__(
        self,
        node: ControlledNode,
        say: Callable[[str], None],
        allowed: Sequence[str] | None,
    ) -> None:
        self.permits = Permits(allowed)
        self._node = node
        self._name = node.name
        self._say = say
        self._lock = threading.RLock()  # one start or stop order at a time
        self._slowing = object()  # the last order about heartbeats; an earlier one's end is void

    def is_allowed(self, sender: str, host: str) -> bool:
        """Whether orders of `sender` from the address `host` are obeyed."""
        return self.permits.why_not(sender, host) is None

    def is_order(self, text: str) -> bool:
        """Whether a line is an order, from any sender."""
        return text.lstrip(" ").partition(" ")[0] in ORDERS

    def why_no_order(self, sender: str, text: str) -> str:
        """Return the error of a line from the controller that is neither an order nor a client's
        command; "" for every other line."""
        verb = text.strip(" ").partition(" ")[0]
        meant = sender == CONTROLLER and self.permits.is_on and verb
        return no_order(verb) if meant and verb not in COMMANDS else ""

    def facts(self) -> dict[str, object]:
        """Return the facts that `status` adds to the node's own."""
        faults = self._node.faults.table.described()
        facts = {"controlled": self.permits.is_on, "down": self._node.is_down, "faults": faults}
        down = {"role": "down", "leader": None, "log_bytes": None}  # the files are released
        return facts | (down if self._node.is_down else {})

    def obey(self, request: Request, host: str) -> OrderAnswer:
        """Carry out one order, `request.command`, from the address `host`."""
        verb, _, operands = request.command.partition(" ")
        refusal = self.permits.why_not(request.sender, host)
        if refusal is not None:
            return sorry(verb, refusal)
        self._say(f"[*] {self._name}: its controller says {request.command[:200]}")
        if self._node.is_down and verb in NODE_ORDERS:
            return sorry(verb, f"{self._name} was shut down by its controller; RESTART it first")
        try:
            return self._carry_out(verb, operands, request)
        except ProtocolError as mistake:
            return sorry(verb, mistake.refusal)
        except OrderRefused as refused:
            return sorry(verb, str(refused))
        except (StorageError, ConfigError) as failure:
            return sorry(verb, f"{self._name} stays down: {failure}")

    def _carry_out(self, verb: str, operands: str, request: Request) -> OrderAnswer:
        if verb in FAULT_FORMS:
            return self._fault(verb, operands.split())
        if verb == "STORE":
            return store(self._node, operands, request)
        if verb == "RETRIEVE":
            return retrieve(self._node, operands.split())
        if operands.strip():
            raise ProtocolError(f"the form is: {verb}")
        match verb:
            case "LEADER_INFO":
                return leader_info(self._node)
            case "CONVERT_FOLLOWER":
                self._node.order(StepDown())
                return OrderAnswer(verb, f"{self._name} follows in term {self._view.term}")
            case "TIMEOUT":
                self._node.order(Campaign())
                return OrderAnswer(verb, f"{self._name} stands in term {self._view.term}")
            case "SHUTDOWN":
                return self._shut_down()
            case "RESTART":
                return self._restart()
        return self._delete_log()

    @property
    def _view(self) -> NodeView:
        return self._node.view

    # --- faults --------------------------------------------------------------------------------

    def _fault(self, verb: str, words: list[str]) -> OrderAnswer:
        node = self._node
        fault = read_fault(verb, words, node.peers())
        before = node.faults.table
        table = node.faults.change(fault.change)
        if verb == "HEARTBEAT":
            self._slowing = object()
        slowing = self._slowing
        if before.heartbeat_ms != table.heartbeat_ms or fault.for_ms:
            self._beat()
        if fault.for_ms:
            node.faults.after(fault.for_ms / 1000, lambda: self._beat_again(slowing))
        described = table.described()
        in_force = IN_FORCE + "; ".join(described) if described else "no fault in force"
        return OrderAnswer(verb, in_force, "faults", described)

    def _beat(self) -> None:
        node = self._node
        heartbeat_ms = node.faults.table.heartbeat_ms or node.pace.heartbeat_ms
        self._say(f"[*] {self._name}: heartbeats are {heartbeat_ms / 1000:g} s apart")
        if not node.is_down:
            self._node.order(SetHeartbeat(heartbeat_ms))

    def _beat_again(self, slowing: object) -> None:
        """End this slowing of heartbeats, unless another was ordered meanwhile."""
        if self._slowing is slowing:
            self._fault("HEARTBEAT", ["normal"])

    # --- stops and starts -----------------------------------------------------------------------

    def _shut_down(self) -> OrderAnswer:
        with self._lock:
            if self._node.is_down:
                raise OrderRefused(f"{self._name} was shut down already")
            self._stand_down()
        return OrderAnswer("SHUTDOWN", f"{self._name} is down; it hears its controller alone")

    def _restart(self) -> OrderAnswer:
        with self._lock:
            if not self._node.is_down:
                raise OrderRefused(f"{self._name} is not down; SHUTDOWN it first")
            without = WITHOUT_VOTE if self._stand_up() else ""
        return OrderAnswer("RESTART", f"{self._name} is up in term {self._view.term}{without}")

    def _delete_log(self) -> OrderAnswer:
        """Rename the log, as if it had been deleted while the node was down.

        Under a running node that would be unsafe: it would keep its vote although it lacks
        acknowledged entries. So it goes down first, and returns without a vote.
        """
        with self._lock:
            if set(self._view.membership.names) <= {self._name}:
                raise OrderRefused(
                    f"{self._name} is the only member: there is no node to catch up from"
                )
            if not self._node.is_down:
                self._stand_down()
            aside = self._put_aside()
            without = WITHOUT_VOTE if self._stand_up() else ""
        return OrderAnswer(
            "DELETE-LOG", f"{self._name}.log is put aside as {aside}; {self._name} is back{without}"
        )

    def _put_aside(self) -> str:
        """Rename the log; return the new name.

        Raises:
            StorageError: its files are still in use, or the disk failed.
        """
        self._node.release_files()
        folder = self._node.folder()
        try:
            folder.lock(self._name)
            return folder.put_aside(f"{self._name}.log", "aside")
        finally:
            folder.close()

    def _stand_down(self) -> None:
        node = self._node
        node.is_down = True  # from here on only a controller is heard
        node.halt(DISK_PATIENCE_S)
        node.end_connections()
        self._say(f"[!] {self._name}: shut down by its controller; it waits for RESTART")

    def _stand_up(self) -> bool:
        """Start again like a new process; return whether without a vote.

        Raises:
            StorageError, ConfigError: these files can't be used; the node stays down.
        """
        node = self._node
        self._node.release_files()
        node.recover()
        try:
            notes = node.check_member()
        except (StorageError, ConfigError):
            node.release_files()
            raise
        for note in notes:
            self._say(note)
        without_vote = self._view.recovering  # read before the start: it may catch up at once
        node.end_connections()  # they belong to the previous start
        node.start()
        node.is_down = False
        self._say(f"[*] {self._name}: restarted by its controller in term {self._view.term}")
        return without_vote
