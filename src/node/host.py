"""The node as its connections see it: requests in, peers let in or kept out."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence

from raftline.access.login import Access
from raftline.access.secret import PeerAuth
from raftline.access.tls import Tls
from raftline.common.address import Address
from raftline.common.arguments import build
from raftline.common.config import Pace
from raftline.common.derived import mypyc_attr
from raftline.common.level import LEVEL, Build
from raftline.common.version import VERSION
from raftline.logmanager import LogManager
from raftline.net.host import Batch, Orders, Origin, ReplySink
from raftline.net.levels import Builds, ask_level
from raftline.net.peerbook import PeerBook, Speakers
from raftline.net.reply_room import ReplyRoom
from raftline.node.clock import SYSTEM
from raftline.node.driver import Driver
from raftline.node.observers import Observers
from raftline.node.traffic_log import TrafficLog
from raftline.node.watchers import Watchers
from raftline.raft.change import Change
from raftline.raft.levels import FIRST
from raftline.raft.messages import Message
from raftline.raft.node import RawNode
from raftline.wire.membercommands import membership_facts
from raftline.wire.operands import Limits
from raftline.wire.parsing import Readings
from raftline.wire.protocol import NO_LEADER, RISING, error, not_leader

LOOK_S = 0.1  # between two looks for a leader, of a request that waits for a level


@mypyc_attr(allow_interpreted_subclasses=True)
class NodeHost:
    """`net.host.Host` of one node, which documents each method. `Server` makes the parts of
    the node, starts and stops them."""

    traffic_log: TrafficLog
    orders: Orders | None
    observers: Observers  # of this process
    # Of this start; a life that an order begins makes others.
    node: RawNode
    driver: Driver
    logmanager: LogManager
    book: PeerBook
    speakers: Speakers
    builds: Builds  # that peers have announced

    def __init__(
        self,
        name: str,
        pace: Pace,
        readings: Readings,
        access: Access | None,
        peer_auth: PeerAuth,
        tls: Tls | None,
    ) -> None:
        self.name = name
        self.pace = pace
        self.clock = SYSTEM
        self.slowest_ms = pace.election_timeout_ms + pace.election_spread_ms
        self.patience_ms = 4 * self.slowest_ms + 5000
        self.patience_s = self.patience_ms / 1000
        self.limits = Limits()
        self.readings = readings
        self.orders = None
        self.is_down = False
        self._stopping = False
        self._level_rises = threading.Condition(threading.Lock())
        self._noted_level = FIRST
        self.access = access
        self.peer_auth = peer_auth
        self.tls = tls
        self.reply_room = ReplyRoom()

    # --- requests ---------------------------------------------------------------------------

    def submit(self, *batches: Batch, more_come: bool = False) -> None:
        self.driver.submit(*batches, more_come=more_come)

    def mark_ready(self, sink: ReplySink) -> None:
        self.driver.ready_sinks.append(sink)

    @property
    def watchers(self) -> Watchers:
        return self.driver.watchers

    def transfer(self, to: str | None) -> Batch:
        return self.driver.transfer(to)

    def members(self) -> dict[str, object]:
        with self.driver.core:
            view = self.node.view
            return membership_facts(view.configurations, view.commit_index)

    def status(self) -> str:
        facts = {**self.driver.status(), "sessions": len(self.logmanager.state.sessions)}
        facts |= {"reads": self.readings.mode, "pid": os.getpid(), "build": build()}
        facts |= {"level": self.level, "build_level": LEVEL, "version": VERSION}
        if self.orders is not None:
            facts |= self.orders.facts()
        if self.peer_auth.secret:
            facts["secret"] = "require" if self.peer_auth.is_required else "offer"
            facts["unproven"] = [] if self.is_down else self.book.unproven()
        return "STATUS response: " + json.dumps(facts)

    @property
    def level(self) -> int:
        return self.logmanager.level

    def applied(self) -> None:
        """Record that entries were applied; with the driver's `core` held."""
        if self.level != self._noted_level:
            with self._level_rises:
                self._noted_level = self.level
                self._level_rises.notify_all()

    def why_level(self, needed: int) -> str:
        """Return the reply to a request that needs a level above that of this cluster.

        If the cluster is about to reach it, as after each start, this waits, as for a leader. If
        it reaches the level, this returns "".
        """
        end_s = self.clock.now_s() + 2 * self.slowest_ms / 1000
        with self._level_rises:
            while (why := self._why_below(needed)) == RISING:
                left_s = end_s - self.clock.now_s()
                if left_s <= 0 or self.is_down or self._stopping:
                    break
                self._level_rises.wait(min(left_s, LOOK_S))
        return why

    def _why_below(self, needed: int) -> str:
        """Return the members that keep this cluster from a level, "" if it is reached. If this node
        knows of none, another may, or this one soon."""
        if self.level >= needed:
            return ""
        view, members = self.node.view, self.node.view.membership.names
        below = [name for name in members if self._build(name).level < needed]
        if view.levels.latest < needed and below:
            are = "is" if len(below) == 1 else "are"
            named = " and ".join(f"{name} ({self._build(name).version})" for name in below)
            return error(
                f"this cluster is at level {self.level} until {named} {are} upgraded. "
                "Nothing was done."
            )
        leader = view.leader
        return RISING if leader is None or leader == self.name else self.not_leader(leader)

    def _build(self, name: str) -> Build:
        if name == self.name:
            return Build(LEVEL, VERSION)
        return self.builds.of(name)

    def with_level(self, change: Change) -> Change:
        view = self.node.view
        if not change.address or not view.is_leader or view.levels.latest <= FIRST:
            return change
        address = self.book.address(change.name) or Address.parse(change.address)
        build = ask_level(self.name, address, change.name, self.tls)
        return change if build is None else change._replace(level=build.level)

    def keys_of_lease(self, lease: str) -> list[str]:
        with self.logmanager.client_lock:
            return list(self.logmanager.store.leased.get(lease, ()))

    def without_machine(self, command: str) -> str:
        """Return the reply to a command for a state machine that this node lacks, "" if it has
        it. Another leader may have it; here the command must never become an entry."""
        why = self.logmanager.state.machines.why_not(command.split(" ", 2)[1])
        leader = self.node.view.leader
        if not why or leader == self.name:
            return error(why) if why else ""
        return self.not_leader(leader) if leader else NO_LEADER

    def not_leader(self, leader: str) -> str:
        """Return the reply that sends a client on to `leader`."""
        address = self.book.address(leader)
        if address is None:  # no entry has yet where it is
            return NO_LEADER
        return not_leader(leader, address.host, address.port)

    # --- peers ------------------------------------------------------------------------------

    def is_peer(self, name: str) -> bool:
        return name in self.book or name == self.node.view.leader != self.name

    def hears_from_leader(self) -> bool:
        with self.driver.core:
            return self.node.view.hears_from_leader

    def why_not_heard(self, sender: str, message: Message | None) -> str:
        """Return why nothing is taken from `sender`; "" for a peer, and for a stranger's message
        that the core listens to (reconfiguration)."""
        if self.is_peer(sender):
            return ""
        with self.driver.core:  # what follows looks at several facts of one moment
            if message is not None and self.node.accepts(message):
                return ""
            return self.why_no_peer(sender)

    def why_no_peer(self, name: str) -> str:
        """Return why messages of `name`, which is no peer, are refused; with `core` held."""
        removed_by = self.node.view.configurations.removed_by(name)
        if removed_by:
            return f"{name} was removed from the cluster by entry {removed_by}"
        if self.node.view.newborn:  # it obeys only members (raft/newborn.py)
            return (
                f"{name} is no peer of {self.name}, which never ran before (if the members have "
                f"changed, start it with --join HOST:PORT)"
            )
        return f"{name} is no peer of {self.name}"

    def hear(self, received: Sequence[Message], origin: Origin | None) -> list[str]:
        """Step what peers send, as far as this node hears it; return a complaint for each message
        that was refused."""
        if self.is_down:
            return []
        return self.driver.receive(received, origin)

    def peer_disconnected(self, peer: str) -> None:
        self.driver.peer_disconnected(peer)
