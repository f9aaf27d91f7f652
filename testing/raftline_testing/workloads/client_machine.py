"""The client that reads, writes, counts and appends, and retries where it must."""

from __future__ import annotations

from collections.abc import Callable, Generator, MutableMapping
from dataclasses import replace
from random import Random
from typing import Any

from raftline.wire.refusal import DIVERGED

from .client_history import History
from .client_request import EXPIRED, ClientRequest, Verb, Way
from .journal import END
from .mix import Mix
from .workload_machine import Answer, Rest, Steps, WorkloadMachine

ODD_ENDS = ("", "é", "\\n")  # texts whose bytes, characters and escaped forms differ in length


class ClientMachine(WorkloadMachine):
    """A client that may number its writes.

    A client with a session numbers each write, and sends it again under that number, to any node,
    until it is answered; at times it repeats it after that, or after the next write.
    """

    def __init__(
        self,
        name: str,
        mix: Mix,
        chance: Random,
        now: Callable[[], float],
        history: History,
        counts: MutableMapping[str, int],
        request_type: type[ClientRequest] = ClientRequest,
    ) -> None:
        """Create a client; `now` is the clock of its history."""
        super().__init__(name)
        self._mix = mix
        self._chance = chance
        self._now = now
        self._history = history
        self._counts = counts
        self._request_type = request_type
        # Some stay with the known leader, others try other nodes and find the new leader early.
        self._roams = chance.choice([0.02, 0.02, 0.3, 0.8])
        self._reads = chance.choice([0.3, 0.5, 0.97])  # share of its requests
        self._way: Way | None = chance.choice((None, *mix.ways))  # None: changing
        self.numbers = chance.random() < mix.sessions
        # Its own name is a session at once; a later session gets an unused name.
        self.session: str | None = name if chance.random() < 0.5 else None
        self._number = 0
        self._written = 0
        # the last numbered request, and its reply
        self._last: tuple[ClientRequest, str] | None = None
        # increments are a share of its writes
        self._increments = chance.choice([0, 0.3, 0.8]) if mix.counters else 0
        self._seen: dict[str, str] = {}  # key to its value, as far as this client knows

    def steps(self) -> Steps:
        """Ask until it is stopped."""
        yield Rest(self._mix.think_ms)
        while not self.stopped:
            yield from self.asking(self._anything())

    def _anything(self) -> ClientRequest:
        mix, chance = self._mix, self._chance
        key = chance.choice(mix.key_names)
        if mix.beat_s and chance.random() < 0.5:  # one key in each beat is shared by all
            key = mix.key_names[int(self._now() / mix.beat_s) % mix.keys]
        kind = chance.random()
        if mix.appends and chance.random() < mix.appends:
            key = mix.journal
        if kind < self._reads:
            return self.request("get", key)
        if self.numbers and self.session is None:
            return self.request("session", "")
        if key == mix.journal:
            return self.request("append", key)
        if chance.random() < self._increments:
            return self.request("incr", mix.counter_names[self._written % mix.counters])
        if kind >= self._reads + 0.9 * (1 - self._reads):
            return self.request("delete", key)
        value = self._new_value()
        if not mix.conditions or chance.random() >= mix.conditions:
            return self.request("set", key, value)
        old = self._seen.get(key)
        return self.request("setnx" if old is None else "cas", key, value, old)

    def _new_value(self) -> str:
        self._written += 1
        value = f"{self.name}.{self._written}"
        if self._chance.random() < 0.9:
            return value
        padding = "." * self._chance.randrange(self._mix.padding + 1) if self._mix.padding else ""
        return f'{value} "é\\n" {padding}'

    def request(
        self, verb: Verb, key: str, value: str | None = None, old: str | None = None
    ) -> ClientRequest:
        """Return a new request."""
        chance = self._chance
        if verb == "append":  # a new piece, even if an earlier one may have been appended
            self._written += 1
            value = f" {self.name}.{self._written}{chance.choice(ODD_ENDS)}{END}"
        in_log = verb != "get" or chance.random() < self._mix.logged_reads
        way = self._way if self._way is not None else chance.choice(self._mix.ways)
        request = self._request_type(self, verb, key, value, self._now(), in_log, way, old)
        if self.numbers and verb not in ("get", "session"):
            self._number += 1
            request.number, request.session = self._number, self.session or self.name
        return request

    # --- a request ------------------------------------------------------------------------------

    def asking(self, request: ClientRequest) -> Steps:
        """Send a request until its outcome is known, or it is given up; then rest."""
        again: ClientRequest | None = request
        while again is not None:
            request = again
            self._roam(request)
            answer: Answer = yield request
            if answer.kind == "done":
                again = self._answered(request, answer.reply)
            elif answer.kind == "denied":
                self._leave(request)
                break
            else:
                again = yield from self._waiting(request, answer)
                if again is None and self.stopped:
                    return
        yield Rest(self._mix.think_ms)

    def _waiting(
        self, request: ClientRequest, answer: Answer
    ) -> Generator[Any, Any, ClientRequest | None]:
        """Wait after a refusal or a loss; return the request to send then, if any."""
        chance, pause_ms = self._chance, 2
        self.leader = answer.leader
        if answer.kind == "lost":
            if self._is_given_up(request) and (self.stopped or chance.random() >= 0.3):
                return None
        else:
            self._counts["operations refused"] += 1
            if self.stopped:
                self._leave(request)
                return None
            pause_ms = chance.randint(2, 4 if answer.leader else self._mix.election_ms // 2)
        yield Rest(pause_ms, is_exact=True)
        if self.was_stopped():
            self._leave(request)
            return None
        if request.number is not None:
            return request.once_more()
        return self.request(request.verb, request.key, request.value, request.old)

    def _roam(self, request: ClientRequest) -> None:
        """Now and then leave the known leader."""
        faithless = self._mix.faithless.get(request.how, 0.0) if not request.in_log else 0.0
        if self.leader is not None and self._chance.random() < max(self._roams, faithless):
            self.leader = None

    def _answered(self, request: ClientRequest, reply: str) -> ClientRequest | None:
        """Take a reply; return the request to send at once, if any.

        Raises:
            AssertionError: it does not answer the request, or is not the first reply to it.
        """
        self._counts["operations answered"] += 1
        if reply.startswith(EXPIRED) and request.number is not None:
            self._counts["sessions expired"] += 1
            self.session = None
            # an earlier try with the same number may have taken effect
            if request.first_reply is None:
                self._history.unknown(request)
        elif request.first_reply is not None:
            if reply != request.first_reply:
                raise AssertionError(f"{request.line}: first {request.first_reply!r}, now {reply}")
        elif request.verb == "session":
            self.session = reply.removeprefix("SESSION response: ")
        elif reply == DIVERGED:
            self.leader = None  # a read, at a node whose state differs
        elif request.is_stale:
            request.found(reply)
        else:
            self._history.answered(request, reply, self._now())
            self._learn(request, reply)
            if request.number is not None and not self.stopped:
                return self._repeated(request, reply)
        return None

    def _repeated(self, request: ClientRequest, reply: str) -> ClientRequest | None:
        """Now and then return the request or the previous one again, like a late retry."""
        before, self._last = self._last, (request, reply)
        if self._chance.random() < 0.1:
            again, first_reply = request, reply
        elif (
            self._mix.retries_behind
            and before is not None
            and before[0].session == request.session
            and self._chance.random() < self._mix.retries_behind
        ):
            again, first_reply = before
            self._counts["retries behind a later request"] += 1
        else:
            return None
        self.leader = None
        return replace(again.once_more(), first_reply=first_reply)

    def _learn(self, request: ClientRequest, reply: str) -> None:
        """Remember the value of the key according to this answer, so that a cas can succeed."""
        is_done = reply.startswith(f"{request.verb.upper()} response: ")
        if request.verb in ("cas", "setnx"):
            self._counts[f"conditions {'met' if is_done else 'not met'}"] += 1
        if request.verb == "append":
            self._counts["appends answered"] += 1
        if request.verb == "get" and is_done:
            self._seen[request.key] = reply.removeprefix("GET response: ")
        elif request.verb in ("set", "cas", "setnx") and is_done and request.value is not None:
            self._seen[request.key] = request.value
        elif request.verb != "incr":
            self._seen.pop(request.key, None)

    def _is_given_up(self, request: ClientRequest) -> bool:
        """Take the loss of a request; return whether it is not sent again under its number."""
        if request.verb != "get":
            self._counts["operations of unknown outcome"] += 1
        request.was_unknown = True
        if request.number is not None and not self.stopped:
            return False
        if request.first_reply is None:
            self._history.unknown(request)
        return True

    def _leave(self, request: ClientRequest) -> None:
        """Give up without an answer: an earlier try with the same number may have taken effect."""
        if request.was_unknown and request.number is not None and request.first_reply is None:
            self._history.unknown(request)
