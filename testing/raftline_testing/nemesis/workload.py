"""Many clients over raw sockets, and the history of their requests and answers."""

from __future__ import annotations

import random
import re
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from raftline.clients.requests.line_connection import LineConnection as Conversation

from ..histories.history import Change, ClientOperation, Increment, learned
from ..nodes.cluster import NodeProcess
from .mix import Mix, Pulse

LONGEST_S = 30.0  # the limit for retries of a numbered request
PAUSE_S = 0.05  # between a refusal and the next try
JITTER_S = 0.003
LEADER = re.compile(r"Last leader I heard from is: (\S+) \(")
NUMBER = re.compile(r"INCR response: ([0-9]+)")
FAITHLESS = {" read index": 1.0, " read lease": 0.6}  # share of such gets that go to any node
UNKNOWN = "Sorry, outcome unknown: "
NEVER_REFUSED = ("session expired", "another command")


class WorkloadClient:
    """One client: a request at a time, to the node that it believes to be the leader."""

    def __init__(
        self,
        name: str,
        nodes: Sequence[NodeProcess],
        mix: Mix,
        seed: str,
        pulse: Pulse | None = None,
    ) -> None:
        self.name = name
        self.history: list[ClientOperation] = []
        self.increments: list[Increment] = []
        self.outcomes: Counter[str] = Counter()
        self._nodes = nodes  # may change during a request
        self._mix = mix
        self._pulse = pulse or Pulse()
        self._chance = random.Random(f"{seed} {name}")
        self._node = self._chance.choice(list(nodes))
        self._conversation: Conversation | None = None
        self._written = 0
        self._number = 0
        self._seen: dict[str, str] = {}  # the last seen value of each key
        self._stop = threading.Event()
        self.is_abandoned = False  # the answers are no longer awaited

    def run(self, stop: threading.Event) -> None:
        """Send requests until asked to stop."""
        self._stop = stop
        while not stop.is_set():
            self._wait_for_the_beat()
            if not self._ask_something():
                stop.wait(PAUSE_S * self._chance.random())
        self._hang_up()

    def _ask_something(self) -> bool:
        """Send one request; return False if it certainly had no effect."""
        if self._mix.counters and self._chance.random() < 0.15:
            return self._increment()
        return self._carry_out(self._pick())

    def _wait_for_the_beat(self) -> None:
        if self._mix.beat_s:
            rest_s = self._mix.beat_s - time.monotonic() % self._mix.beat_s
            self._stop.wait(rest_s + JITTER_S * self._chance.random())

    @property
    def changes(self) -> list[Change]:
        """Return every change that an answer shows, or that has an unknown outcome."""
        return [
            *[Change(one.key, "set", one.called_at) for one in self.increments],
            *[
                Change(one.key, "del" if one.verb == "delete" else "set", one.called_at)
                for one in self.history
                if not one.is_idle
            ],
        ]

    # --- requests -------------------------------------------------------------------------------

    def _pick(self) -> ClientOperation:
        mix, kind = self._mix, self._chance.random()
        key = f"{mix.prefix}k{self._chance.randrange(mix.keys)}"
        if mix.beat_s and self._chance.random() < 0.5:  # one key in each beat is shared by all
            key = f"{mix.prefix}k{int(time.monotonic() / mix.beat_s) % mix.keys}"
        verb: Literal["get", "set", "delete", "cas"] = "delete"
        if kind < mix.cas and key in self._seen:
            verb = "cas"
        elif kind < 0.45 + mix.cas / 2:
            verb = "get"
        elif kind < 0.9:
            verb = "set"
        value = old = None
        if verb in ("set", "cas"):
            self._written += 1
            value = f"{self.name}.{self._written}"
            if self._chance.random() < 0.1:
                value += "." * self._chance.randrange(mix.padding + 1)
            old = self._seen[key] if verb == "cas" else None
        return ClientOperation(self.name, verb, key, value, time.monotonic(), None, None, old)

    def _carry_out(self, asked: ClientOperation) -> bool:
        """Send one request; return False if it certainly had no effect."""
        mode = self._chance.choice(self._mix.reads) if asked.verb == "get" else ""
        words = [asked.verb, asked.key, asked.old, asked.value]
        line = " ".join(word for word in words if word is not None) + mode
        numbered = asked.verb != "get" and self._chance.random() < self._mix.numbered
        if mode == " read local":
            return self._ask_in_passing(line)
        # A paused leader that was replaced gets requests only by chance.
        if self._chance.random() < FAITHLESS.get(mode, 0.0):
            self._look_at(self._chance.choice(list(self._nodes)))
        text, was_sent = self._settle(line, numbered, asked.called_at)
        answered = learned(asked, text, time.monotonic()) if text else None
        if answered is None:
            assert not text, f"{self.name} asked {line!r} and got {text!r}"
            if was_sent:
                self._note(f"{asked.verb} unknown", None)
                self.history.append(asked)
            return False
        self._note(f"{asked.verb} answered", answered)
        self.history.append(answered)
        if asked.verb != "delete" and answered.value is not None and answered.matched is not False:
            self._seen[asked.key] = answered.value
        return True

    def _increment(self) -> bool:
        self._number += 1
        number, called_at = self._number, time.monotonic()
        key = f"{self._mix.prefix}n{self._chance.randrange(self._mix.counters)}"
        text, was_sent = self._settle(f"incr {key}", True, called_at)
        if not text:
            if was_sent:
                self._note("incr unknown", None)
                self.increments.append(Increment(self.name, number, key, called_at))
            return False
        match = NUMBER.fullmatch(text)
        assert match, f"{self.name} asked for incr {key} and got {text!r}"
        increment = Increment(self.name, number, key, called_at, time.monotonic(), int(match[1]))
        self._note("incr answered", increment)
        self.increments.append(increment)
        return True

    def _ask_in_passing(self, line: str) -> bool:
        """Send a read that may be stale to any node: it only has to answer."""
        self._look_at(self._chance.choice(list(self._nodes)))
        text, _ = self._try(f"{self.name}@{line}")
        assert text is None or text.startswith(("GET response", "Sorry, ", "")), text
        self.outcomes["local get " + ("answered" if text else "unanswered")] += 1
        return bool(text)

    # --- retries --------------------------------------------------------------------------------

    def _settle(self, line: str, numbered: bool, called_at: float) -> tuple[str, bool]:
        """Return the answer or "", and whether the request may have taken effect.

        A numbered request is sent again, to any node, until it is answered; one without a number is
        never repeated.
        """
        if numbered and not line.startswith("incr "):
            self._number += 1
        whole = f"{self.name}#{self._number}@{line}" if numbered else f"{self.name}@{line}"
        was_sent = False
        while True:
            text, where = self._try(whole)
            if text and not text.startswith("Sorry, "):
                return text, True
            if text is None:
                self._look_elsewhere("could not connect")
            elif not text or text.startswith(UNKNOWN):
                was_sent = True
                self._look_elsewhere("no answer" if not text else "outcome unknown")
            else:
                self._look_elsewhere("refused", where)
                assert not any(words in text for words in NEVER_REFUSED), f"{whole!r} got {text!r}"
            late = self.is_abandoned or time.monotonic() > called_at + LONGEST_S
            if not numbered or late or (self._stop.is_set() and not was_sent):
                return "", was_sent
            threading.Event().wait(PAUSE_S * self._chance.random())

    def _try(self, line: str) -> tuple[str | None, str | None]:
        """Return the reply, "" if the connection ended before it, None if there was no connection;
        and the leader that a refusal names."""
        try:
            self._conversation = self._conversation or self._node.connect(self._mix.patience_s)
        except OSError:
            return None, None
        try:
            reply = self._conversation.ask(line).partition("@")[2]
        except OSError:
            self._hang_up()  # a late answer must not be taken for the answer to the next line
            return "", None
        leader_match = LEADER.search(reply)
        return reply, leader_match[1] if leader_match else None

    def _note(self, what: str, answered: ClientOperation | Increment | None) -> None:
        self.outcomes[what] += 1
        if answered is not None and answered.returned_at is not None and not what.startswith("get"):
            self._pulse.beat(answered.returned_at)

    def _look_elsewhere(self, why: str, name: str | None = None) -> None:
        self.outcomes[why] += 1
        self._hang_up()
        nodes = list(self._nodes)
        named_nodes = [node for node in nodes if node.name == name]
        self._node = self._chance.choice(named_nodes or nodes)

    def _look_at(self, node: NodeProcess) -> None:
        if node is not self._node:
            self._hang_up()
            self._node = node

    def _hang_up(self) -> None:
        if self._conversation is not None:
            self._conversation.close()
        self._conversation = None


class Workload:
    """Clients in separate threads; on exit, all stop once their requests are answered or given
    up."""

    def __init__(
        self,
        nodes: Sequence[NodeProcess],
        clients: int,
        mix: Mix,
        seed: str,
        pulse: Pulse | None = None,
        others: Sequence[WorkloadClient] = (),
    ) -> None:
        self.clients = [
            WorkloadClient(f"{mix.prefix}client{number}", nodes, mix, seed, pulse)
            for number in range(1, clients + 1)
        ]
        self.clients += others
        self._stop = threading.Event()
        self.problems: list[str] = []  # the tracebacks of clients that ended
        self._threads = [
            threading.Thread(target=self._guarded(client.run), daemon=True)
            for client in self.clients
        ]

    def __enter__(self) -> Workload:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        for client in self.clients:
            client.is_abandoned = kind is not None
        for thread in self._threads:
            thread.join(2 * LONGEST_S)
        if kind is None:
            assert not any(thread.is_alive() for thread in self._threads), "a client hangs"
            assert not self.problems, self.problems[0]

    def _guarded(self, run: Callable[[threading.Event], None]) -> Callable[[], None]:
        def guarded() -> None:
            try:
                run(self._stop)
            except BaseException:
                self.problems.append(traceback.format_exc())

        return guarded

    @property
    def history(self) -> list[ClientOperation]:
        return [operation for client in self.clients for operation in client.history]

    @property
    def increments(self) -> list[Increment]:
        return [increment for client in self.clients for increment in client.increments]

    @property
    def changes(self) -> list[Change]:
        return [change for client in self.clients for change in client.changes]

    @property
    def outcomes(self) -> Counter[str]:
        return sum((client.outcomes for client in self.clients), Counter())
