"""Clients that read, write, count and append, some with numbers, and retry where they must."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from raftline.wire.refusal import DIVERGED

from ...workloads.client_history import History
from ...workloads.client_request import COUNTER, EXPIRED, ClientRequest, Verb, Way
from ...workloads.journal import END, JOURNAL
from ..nodes.request_interface import Server
from ..world.plan import Plan
from ..world.world import World
from .one_at_a_time import OneAtATime

WAYS: tuple[Way, ...] = ("index", "lease", "ask")
ODD_ENDS = ("", "é", "\\n")  # texts whose bytes, characters and escaped forms differ in length


class SimulatedClient(OneAtATime):
    """A client with one request at a time, to the presumed leader or any node.

    A client with a session numbers each write, and sends it again under that number, to any node,
    until it is answered; at times it repeats it after that, or after the next write.
    """

    request_type = ClientRequest
    _written = 0

    def __init__(
        self, world: World, plan: Plan, name: str, servers: Sequence[Server], history: History
    ) -> None:
        super().__init__(world, plan, name, servers)
        # Some stay with the known leader, others try other nodes and find the new leader early.
        self._roams = world.random.choice([0.02, 0.02, 0.3, 0.8])
        self._reads = world.random.choice([0.3, 0.5, 0.97])  # share of its requests
        self._way: Way | None = world.random.choice((None, *WAYS))  # None: changing
        self._history = history
        self._numbers = world.chance(plan.sessions)
        # Its own name is a session at once; a later session gets an unused name.
        self._session: str | None = name if world.chance(0.5) else None
        self._number = 0
        self._again: ClientRequest | None = None  # sent again in a moment
        # the last numbered request, and its reply
        self._last: tuple[ClientRequest, str] | None = None
        self._counts = world.random.choice([0, 0.3, 0.8])  # a share of its writes
        self._seen: dict[str, str] = {}  # key to its value, as far as this client knows
        self.think()

    def stop(self) -> None:
        """Send no more requests; earlier ones may still be answered."""
        self.stopped = True
        if self._again is not None:
            self._leave(self._again)

    def think(self) -> None:
        """Send a new request, or the same again, after a while."""
        self._world.within(self._plan.think_ms, self._ask_anything)

    def _ask_anything(self) -> None:
        if self.stopped or self.waiting is not None:
            return
        chance = self._world.random
        key = self._world.pick("abc"[: self._plan.keys])
        kind = chance.random()
        if self._plan.appends and chance.random() < self._plan.appends:
            key = JOURNAL
        if kind < self._reads:
            self.ask("get", key, None)
        elif self._numbers and self._session is None:
            self.ask("session", "", None)
        elif key == JOURNAL:
            self.ask("append", key, None)
        elif chance.random() < self._counts:
            self.ask("incr", COUNTER, None)
        elif kind < self._reads + 0.9 * (1 - self._reads):
            self._written += 1
            value = f"{self.name}.{self._written}"
            value = value if chance.random() < 0.9 else f'{value} "é\\n" '
            if self._plan.conditions and chance.random() < self._plan.conditions:
                old = self._seen.get(key)
                self.ask("setnx" if old is None else "cas", key, value, old)
            else:
                self.ask("set", key, value)
        else:
            self.ask("delete", key, None)

    def ask(self, verb: Verb, key: str, value: str | None, old: str | None = None) -> None:
        """Send a request to some node."""
        world = self._world
        if verb == "append":  # a new piece, even if an earlier one may have been appended
            self._written += 1
            value = f" {self.name}.{self._written}{world.pick(ODD_ENDS)}{END}"
        in_log = verb != "get" or world.chance(self._plan.logged_reads)
        how = self._way if self._way is not None else world.pick(WAYS)
        request = self.request_type(self, verb, key, value, world.tick(), in_log, how, old)
        if self._numbers and verb not in ("get", "session"):
            self._number += 1
            request.number, request.session = self._number, self._session or self.name
        self._send(request)

    def _send(self, request: ClientRequest) -> None:
        if self._leader is not None and self._world.chance(self._roams):
            self._leader = None
        super()._send(request)

    def answered(self, request: ClientRequest, reply: str) -> None:
        """Take the reply."""
        if not self._settle(request):
            return
        self._world.counts["operations answered"] += 1
        self._world.tell("answer", f"{self.name} <- {reply}")
        if reply.startswith(EXPIRED) and request.number is not None:
            self._world.counts["sessions expired"] += 1
            self._session = None
            # an earlier try with the same number may have taken effect
            if request.first_reply is None:
                self._history.unknown(request)
        elif request.first_reply is not None:
            if reply != request.first_reply:
                raise AssertionError(f"{request.line}: first {request.first_reply!r}, now {reply}")
        elif request.verb == "session":
            self._session = reply.removeprefix("SESSION response: ")
        elif reply == DIVERGED:
            self._leader = None  # a read, at a node whose state differs
        else:
            self._history.answered(request, reply, self._world.tick())
            self._learn(request, reply)
            if request.number is not None and not self.stopped and self._repeats(request, reply):
                return
        self.think()

    def _repeats(self, request: ClientRequest, reply: str) -> bool:
        """Now and then repeat the request or the previous one, like a late retry; return whether
        one was sent."""
        before, self._last = self._last, (request, reply)
        if self._world.chance(0.1):
            again, first_reply = request, reply
        elif (
            self._plan.retries_behind
            and before is not None
            and before[0].session == request.session
            and self._world.chance(self._plan.retries_behind)
        ):
            again, first_reply = before
            self._world.counts["retries behind a later request"] += 1
        else:
            return False
        self._leader = None
        self._send(replace(again.once_more(), first_reply=first_reply))
        return True

    def _learn(self, request: ClientRequest, reply: str) -> None:
        """Remember the value of the key according to this answer, so that a cas can succeed."""
        is_done = reply.startswith(f"{request.verb.upper()} response: ")
        if request.verb in ("cas", "setnx"):
            self._world.counts[f"conditions {'met' if is_done else 'not met'}"] += 1
        if request.verb == "append":
            self._world.counts["appends answered"] += 1
        if request.verb == "get" and is_done:
            self._seen[request.key] = reply.removeprefix("GET response: ")
        elif request.verb in ("set", "cas", "setnx") and is_done and request.value is not None:
            self._seen[request.key] = request.value
        elif request.verb != "incr":
            self._seen.pop(request.key, None)

    def refused(self, request: ClientRequest, leader: str | None) -> None:
        """Retry at the named leader, or at any node: the request certainly had no effect."""
        if self._settle(request):
            self._world.counts["operations refused"] += 1
            self._leader = leader if leader in self._servers else None
            if not self.stopped:
                longest_ms = 4 if leader else self._plan.options.election_timeout_ms // 2
                pause_ms = self._world.random.randint(2, longest_ms)
                self._ask_again_in(pause_ms, request)
            else:
                self._leave(request)

    def unknown(self, request: ClientRequest) -> None:
        """Handle a request that may have taken effect, may yet do so, or never will."""
        if not self._settle(request):
            return
        if request.verb != "get":
            self._world.counts["operations of unknown outcome"] += 1
        self._world.tell("answer", f"{self.name} gives up on {request.line}")
        self._leader = None
        request.was_unknown = True
        if request.number is not None and not self.stopped:
            self._ask_again_in(2, request)
            return
        if request.first_reply is None:
            self._history.unknown(request)
        if self.stopped:
            return
        if self._world.chance(0.3):
            self._ask_again_in(2, request)
        else:
            self.think()

    def _ask_again_in(self, pause_ms: int, request: ClientRequest) -> None:
        self._again = request
        self._world.after(pause_ms, self._ask_again, request)

    def _ask_again(self, request: ClientRequest) -> None:
        self._again = None
        if self.stopped:
            return
        if request.number is None:
            self.ask(request.verb, request.key, request.value, request.old)
        else:
            self._send(request.once_more())

    def _leave(self, request: ClientRequest) -> None:
        """Give up without an answer: an earlier try with the same number may have taken effect."""
        if request.was_unknown and request.number is not None and request.first_reply is None:
            self._history.unknown(request)
