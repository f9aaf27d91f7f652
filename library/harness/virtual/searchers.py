"""Simulated clients that run the search of raftline's own clients, several requests at a time.

`clients/requests/search.py` decides which node to ask, with which number, and which outcomes are
certain. This module provides its surroundings: connections that break, nodes that are down or
never answer,
replies that get lost. Each call must end in time. Its reports go into the history.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from raftline.clients.connections.node_connection import (
    LEAST_ATTEMPT_S,
    ClientError,
    Deadline,
    OutcomeUnknown,
    unreachable,
)
from raftline.clients.requests.addresses import MEMBERS, Addresses
from raftline.clients.requests.pool import PARTS
from raftline.clients.requests.search import (
    AskNode,
    AwaitSession,
    ClientSessions,
    Connected,
    NodeTurns,
    SearchPause,
    lost,
    search,
    text_of,
)
from raftline.common.address import Address
from raftline.common.mypyc_compat import mypyc_attr
from raftline.net.dialing import NEXT_S
from raftline.wire.refusal import NO_LEADER, not_leader
from raftline.wire.replies.replies import Reply
from raftline_testing.virtual.nodes.simulated_node import Host
from raftline_testing.virtual.world.plan import Plan
from raftline_testing.virtual.world.world import World
from raftline_testing.workloads.client_history import History
from raftline_testing.workloads.client_request import COUNTER, EXPIRED, ClientRequest, Verb

logging.getLogger("raftline").addHandler(logging.NullHandler())  # of a library's client

PORT = 1  # of each node, as it names its leader
AT_ONCE = 3
VERBS: tuple[Verb, ...] = ("get", "get", "set", "set", "cas", "incr", "incr", "delete")
WAYS = ("index", "lease", "ask")
# A search asks each node at least once, for this long, in three passes: session, write, retry.
LATE_S = LEAST_ATTEMPT_S


@dataclass(eq=False)
class Attempt:
    """A step of a search, in the form that `Requests` needs, and its call."""

    client: Searcher
    call: ProgramCall
    step: AskNode
    in_log: bool
    how: str
    settled: bool = False
    must_see_index: int = 0

    @property
    def line(self) -> str:
        return f"{self.step.sender}@{self.step.command}"

    @property
    def command(self) -> str:
        is_typed = "#" in self.step.sender or self.step.command == "session"
        return self.line if is_typed else self.step.command


@dataclass(eq=False)
class ProgramCall:
    """A request of a program, and its current search."""

    request: ClientRequest
    steps: Generator[Any, Any, Any]
    until_ms: float
    latest_ms: float
    ended: Any = None  # the promise of a program that waits for it


@mypyc_attr(allow_interpreted_subclasses=True)
class Searcher:
    """A program with some tasks that share sessions, and knowledge of the nodes."""

    numbered: float = math.inf  # after so many calls, one as a command of the shell sends it

    def __init__(
        self, world: World, plan: Plan, name: str, hosts: Sequence[Host], history: History
    ) -> None:
        """Create a program that knows some of the nodes; it has to learn the others."""
        self.name = name
        self.stopped = False
        self.found = 0
        self._world = world
        self._plan = plan
        self._hosts = {Address(host.name, PORT): host for host in hosts}
        self._history = history
        chance = world.random
        named = chance.sample(sorted(self._hosts), chance.randint(1, len(hosts)))
        self._nodes = NodeTurns(named, Addresses(named, learns=True))
        self._sessions = ClientSessions()
        self._begun = self._written = 0
        self._under_way = 0
        self._seen: dict[str, str] = {}
        for _ in range(AT_ONCE):
            self._think()

    @property
    def waiting(self) -> object:
        """A true value while a call is in progress."""
        return self._under_way or None

    def knows(self, names: Iterable[str]) -> bool:
        """Whether it knows one of these nodes."""
        known = {address.host for address in self._nodes.addresses.known}
        return any(name in known for name in names)

    def stop(self) -> None:
        """Begin no more calls. Running calls end within their time."""
        self.stopped = True

    def _think(self) -> None:
        self._world.within(AT_ONCE * self._plan.think_ms, self._begin)

    def _now_s(self) -> float:
        return self._world.now_ms / 1000

    def _begin(self) -> None:
        if self.stopped:
            return
        world = self._world
        verb = world.pick(VERBS)
        key = COUNTER if verb == "incr" else world.pick("abc"[: self._plan.keys])
        old = self._seen.get(key)
        if verb == "cas" and old is None:
            verb = "setnx"
        value = None
        if verb in ("set", "cas", "setnx"):
            self._written += 1
            value = f"{self.name}.{self._written}"
        request = ClientRequest(
            self, verb, key, value, world.tick(), False, "index", old if verb == "cas" else None
        )
        limit_s = self._plan.options.election_timeout_ms * world.pick((1, 3, 10, 30)) / 1000
        deadline = Deadline(limit_s, attempt_s=limit_s / PARTS, now=self._now_s)
        self._begun += 1
        is_unnumbered = self._begun % self.numbered == 0
        sessions = None if is_unnumbered else self._sessions
        steps = search(self._nodes, sessions, self.name, request.command, deadline)
        until_ms = world.now_ms + 1000 * limit_s
        latest_ms = until_ms + 3000 * LATE_S * (len(self._hosts) + 1)
        self._under_way += 1
        self._go_on(ProgramCall(request, steps, until_ms, latest_ms), None)

    def _go_on(self, call: ProgramCall, answer: Reply | ClientError | Connected | None) -> None:
        """Send the search an answer, and carry out its next step.

        Raises:
            AssertionError: the call did not end in time.
        """
        late_ms = self._world.now_ms - call.latest_ms
        assert late_ms <= 0, f"{self.name}: {call.request.command} ends {late_ms:.0f} ms late"
        try:
            step = call.steps.send(answer)
        except StopIteration as end:
            self._end(call, end.value)
        except ClientError as error:
            self._fail(call, error)
        else:
            if isinstance(step, SearchPause):
                self._world.after(round(1000 * step.seconds), self._go_on, call, None)
            elif isinstance(step, AwaitSession):
                self._await_session(call, step)
            else:
                self._ask(call, step)

    def _await_session(self, call: ProgramCall, step: AwaitSession) -> None:
        """Resume a call once another has begun a session, or when its time is up."""
        is_over = False

        def go_on() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._go_on(call, None)

        self._world.counts["waits for a session"] += 1
        step.sessions.when_begun(lambda: self._world.after(0, go_on))
        self._world.after(math.ceil(1000 * step.seconds), go_on)

    # --- one node ---------------------------------------------------------------------------------

    def _ask(self, call: ProgramCall, step: AskNode) -> None:
        world = self._world
        is_read = step.command.startswith(("get ", "show ", "stat "))
        attempt = Attempt(self, call, step, not is_read, world.pick(WAYS))
        world.after(round(1000 * step.limit_s), self._give_up, attempt)
        if world.chance(self._plan.loss):
            world.counts["attempts lost"] += 1
        else:
            world.within(2, self._arrive, attempt)

    def _give_up(self, attempt: Attempt) -> None:
        self._settle(attempt, self._lost(attempt, TimeoutError()))

    def _arrive(self, attempt: Attempt) -> None:
        host = self._hosts[attempt.step.address]
        if host.node is None:
            self._find_down(attempt)
        elif attempt.step.command == MEMBERS:
            self.answered(attempt, self._status(host))
        else:
            host.submit(attempt)

    def _find_down(self, attempt: Attempt) -> None:
        """Handle a node that is off or doesn't listen: the search tries other nodes as well."""
        world, step = self._world, attempt.step
        if world.now_ms % 2:
            refused = unreachable(step.address, ConnectionRefusedError(), step.connect_s)
            self._settle(attempt, refused)
            return
        waited_s = NEXT_S
        while waited_s < step.connect_s and (other := next(step.others, None)) is not None:
            if self._hosts[other].node is not None:
                world.counts["nodes reached before one that hangs"] += 1
                world.after(round(1000 * waited_s), self._settle, attempt, Connected(other))
                return
            waited_s += NEXT_S
        late = unreachable(step.address, TimeoutError(), step.connect_s)
        world.after(round(1000 * step.connect_s), self._settle, attempt, late)

    def _status(self, host: Host) -> str:
        assert host.node is not None
        view = host.node.view
        members = {name: f"{name}:{PORT}" for name in view.membership.names}
        return "STATUS response: " + json.dumps({"leader": view.leader, "members": members})

    def _lost(self, attempt: Attempt, error: OSError) -> ClientError:
        step = attempt.step
        return lost(step.command, step.address, error, step.limit_s)

    def answered(self, attempt: Attempt, reply: str) -> None:
        """Take the node's reply."""
        if reply.startswith(EXPIRED):
            self._world.counts["searches begun anew"] += 1
        if self._world.chance(self._plan.loss):
            self._world.counts["attempts lost"] += 1
            self._settle(attempt, self._lost(attempt, ConnectionResetError()))
        else:
            self._settle(attempt, Reply(attempt.step.address.host, reply))

    def refused(self, attempt: Attempt, leader: str | None) -> None:
        """Handle a refusal: the node doesn't lead, or knows no leader."""
        self.answered(attempt, not_leader(leader, leader, PORT) if leader else NO_LEADER)

    def unknown(self, attempt: Attempt) -> None:
        """Handle an unknown outcome: the node died or was deposed, and the write may have taken
        effect."""
        self._settle(attempt, self._lost(attempt, ConnectionResetError()))

    def _settle(self, attempt: Attempt, answer: Reply | ClientError | Connected) -> None:
        if not attempt.settled:
            attempt.settled = True
            self._go_on(attempt.call, answer)

    # --- the end of a call ------------------------------------------------------------------------

    def _end(self, call: ProgramCall, reply: Reply) -> None:
        try:
            text = text_of(reply)
        except ClientError as error:
            self._fail(call, error)
            return
        request = call.request
        self._world.tell("answer", f"{self.name} <- {text}")
        self._world.counts["searches that found"] += 1
        self.found += 1
        self._history.answered(request, text, self._world.tick())
        if request.verb == "get" and text.startswith("GET response: "):
            self._seen[request.key] = text.removeprefix("GET response: ")
        self._ended()

    def _fail(self, call: ProgramCall, error: ClientError) -> None:
        """Fail a call: it certainly had no effect, or its outcome is unknown."""
        self._world.tell("answer", f"{self.name} gives up on {call.request.command}: {error}")
        if isinstance(error, OutcomeUnknown):
            self._world.counts["searches that don't know"] += 1
            self._history.unknown(call.request)
        else:
            self._world.counts["searches in vain"] += 1
        self._ended()

    def _ended(self) -> None:
        self._under_way -= 1
        self._think()
