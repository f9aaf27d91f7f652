"""A stand-in for the node that connections see: it records its requests."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from raftline.access.secret import NO_AUTH
from raftline.net.peers.build_exchange import Foreigners
from raftline.net.peers.peers import Speakers
from raftline.net.protocol.doors import Door, doors_at
from raftline.net.protocol.host import Batch, ReplySink, RequestRoom
from raftline.net.protocol.refusal_counts import RefusalCounts
from raftline.net.protocol.turns import CALLS_AT_ONCE, Turns
from raftline.net.reply_budget import ReplyRoom
from raftline.net.state_copies import Backups
from raftline.raft.messages import Message
from raftline.state.store import Store
from raftline.state.work import is_quick, needs_trial
from raftline.wire.commands.parsing import ReadSettings
from raftline.wire.commands.rights import LeaseKeys
from raftline.wire.commands.watch_lines import too_many
from raftline.wire.limits import QUEUED_BYTES
from raftline.wire.operands.operands import Limits
from raftline.wire.refusal import AT_FLOOR, NO_LEADER, NOT_REACHED


class FakeHost:
    """`s1`, whose peer is `s2`. A test passes other facts where it needs them."""

    def __init__(self, **facts: Any) -> None:
        self.name, self.limits, self.readings = "s1", Limits(), ReadSettings()
        self.access = None
        self.keys_of_lease: Callable[[str], LeaseKeys | None] = lambda lease: LeaseKeys([])
        self.not_here = lambda: NO_LEADER
        self.not_confirmed, self.why_late = (lambda: NO_LEADER), (lambda: NOT_REACHED)
        self.without_machine = lambda command: ""  # it has every state machine
        self.is_down, self.patience_s = False, 60.0
        self.announces_build = True
        self.is_quick, self.needs_trial = partial(is_quick, Store()), partial(needs_trial, Store())
        self.is_at_floor, self.why_at_floor = True, lambda: AT_FLOOR("the nodes are fakes")
        self.with_build = lambda change: change
        self.logmanager: Any = SimpleNamespace(try_out=lambda entry: "")  # nothing is too much
        self.speakers, self.peer_auth, self.tls = Speakers(0.3, lambda: 0.0), NO_AUTH, None
        self.reply_room, self.foreigners = ReplyRoom(), Foreigners("s1")
        self.refusals = RefusalCounts()
        self.request_room = RequestRoom(QUEUED_BYTES)
        self.backups = Backups(lambda folder, size: True)
        self.batches: list[Batch] = []
        self.heard: list[Message] = []
        self.reports: list[str] = []  # warnings, and lost peers
        self.ready_sinks: deque[ReplySink] = deque()
        self.submit = lambda *batches: self.batches.extend(batches)
        self.mark_ready = self.ready_sinks.append
        self.new_token = secrets.token_hex
        self.warn = self.peer_disconnected = self.fail = self.reports.append
        self.traffic_log = SimpleNamespace(
            connected=lambda _: None,
            requested=lambda *_: None,
            shows_requests=lambda _: True,
            received=lambda *_: None,
        )
        self.orders = None
        self.is_peer, self.hears_from_leader = (lambda name: name == "s2"), lambda: True
        self.peer_refusal = lambda name, _: "" if name == "s2" else f"{name} is not a peer of s1"
        # Nothing was applied, and there is no room for a watch.
        self.watchers: Any = SimpleNamespace(
            last=0,
            keep=lambda *_, **__: too_many(0),
            open=lambda _, asked: [[too_many(0)] for _ in asked],
            drop=lambda _: None,
        )
        self.calls = Turns(CALLS_AT_ONCE, time.monotonic)
        # The doors of its connections, which are no part of `Host`.
        self.doors: Sequence[Door] = doors_at(self.limits, time.time, self.new_token)
        self.__dict__.update(facts)

    def hear(self, received: Iterable[Any], _: object) -> list[Any]:
        """Keep what a peer said; there is nothing to answer."""
        self.heard.extend(received)
        return []

    def flush(self) -> None:
        """Send the replies that can leave, as the driver does after a step."""
        while self.ready_sinks:
            self.ready_sinks.popleft().flush()
