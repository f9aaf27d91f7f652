"""The machines of workloads in threads, against real nodes."""

from __future__ import annotations

import random
import re
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from raftline.clients.steps import carry_out
from raftline.net.line_connection import LineConnection as Conversation
from raftline.wire.refusal import OUTCOME_UNKNOWN

from ..histories.history import Change
from ..nodes.cluster import NodeProcess
from ..workloads.client_history import History
from ..workloads.client_machine import ClientMachine
from ..workloads.client_request import formatted
from ..workloads.ledger import Ledger
from ..workloads.mix import Mix
from ..workloads.transactor_machine import TransactorMachine
from ..workloads.workload_machine import Answer, Rest, WorkloadMachine
from .pulse import Pulse

JITTER_S = 0.003
LEADER = re.compile(r"Last leader I heard from is: (\S+) \(")
NEVER_REFUSED = ("session expired", "another command")
JOIN_S = 60.0


class MachineThread:
    """The runner of a machine: it sends each request to the node that is believed to lead."""

    def __init__(
        self,
        machine: WorkloadMachine,
        nodes: Sequence[NodeProcess],
        mix: Mix,
        seed: str,
        pulse: Pulse | None = None,
    ) -> None:
        self.machine = machine
        self.outcomes: Counter[str] = Counter()  # of tries
        self._nodes = nodes  # may change during a request
        self._mix = mix
        self._pulse = pulse or Pulse()
        self._chance = random.Random(f"{seed} {machine.name} runs")
        self._node: NodeProcess | None = None
        self._conversation: Conversation | None = None
        self._stop = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Send requests until asked to stop."""
        self._stop = stop
        try:
            carry_out(self.machine.steps(), self._do)
        finally:
            self._hang_up()

    def _do(self, step: Any) -> Answer | None:
        answer = None
        if isinstance(step, Rest):
            self._rest(step)
        else:
            answer = self._ask(step)
            self._count(step, answer)
        self.machine.stopped = self._stop.is_set()
        return answer

    def _rest(self, step: Rest) -> None:
        rest_s = step.ms / 1000
        if not step.is_exact:
            rest_s *= self._chance.random()
            if self._mix.beat_s:
                rest_s = self._mix.beat_s - time.monotonic() % self._mix.beat_s
                rest_s += JITTER_S * self._chance.random()
        if rest_s:
            self._stop.wait(rest_s)

    def _count(self, request: Any, answer: Answer) -> None:
        verb = request.command.rpartition("@")[2].partition(" ")[0]
        what = f"local {verb}" if request.how == "local" and not request.in_log else verb
        if answer.kind == "done":
            self.outcomes[f"{what} answered"] += 1
            if verb not in ("get", "show"):
                self._pulse.beat(time.monotonic())
            return
        if answer.kind == "lost":
            self.outcomes[f"{what} lost"] += 1
        self._hang_up()

    def _ask(self, request: Any) -> Answer:
        """Send a request once."""
        node = self._chosen()
        if node is not self._node:
            self._hang_up()
            self._node = node
        try:
            self._conversation = self._conversation or node.connect(self._mix.patience_s)
        except OSError:
            self.outcomes["could not connect"] += 1
            return Answer("refused")
        try:
            reply = self._conversation.ask(formatted(request)).partition("@")[2]
        except OSError:
            reply = ""
        if not reply or reply.startswith(OUTCOME_UNKNOWN):
            return Answer("lost")
        if not reply.startswith("Sorry, "):
            return Answer("done", reply)
        assert not any(words in reply for words in NEVER_REFUSED), f"{request.line} got {reply}"
        self.outcomes["refused"] += 1
        leader_match = LEADER.search(reply)
        return Answer("refused", leader=leader_match[1] if leader_match else None)

    def _chosen(self) -> NodeProcess:
        """Return the node that the machine believes to lead, or any, and tell the machine."""
        nodes = list(self._nodes)
        named = [node for node in nodes if node.name == self.machine.leader]
        node = self._chance.choice(named or nodes)
        self.machine.leader = node.name
        return node

    def _hang_up(self) -> None:
        """End the conversation: a late reply must not be taken for the reply to the next line."""
        if self._conversation is not None:
            self._conversation.close()
        self._conversation = None


class Running(Protocol):
    """The runner of any machine in a thread."""

    outcomes: Counter[str]

    def run(self, stop: threading.Event) -> None:
        """Carry out its steps until asked to stop."""


One = TypeVar("One", bound=Running)


class Workload:
    """Machines in separate threads, and what they saw. On exit, all stop once their requests are
    answered or given up."""

    def __init__(
        self,
        nodes: Sequence[NodeProcess],
        clients: int,
        mix: Mix,
        seed: str,
        pulse: Pulse | None = None,
        transactors: int = 0,
    ) -> None:
        self.nodes, self.mix, self.seed, self.pulse = nodes, mix, seed, pulse
        self.history = History(mix.journal)
        self.ledger = Ledger(mix.prefix)
        self.counts: Counter[str] = Counter()  # of machines
        self.problems: list[str] = []  # the tracebacks of machines that ended
        self.threads: list[Running] = []
        self._stop = threading.Event()
        self._running: list[threading.Thread] = []
        for number in range(1, clients + 1):
            self.add(self.client(f"client{number}"))
        for number in range(1, transactors + 1):
            self.add(self.transactor(f"transactor{number}"))

    def client(
        self, name: str, mix: Mix | None = None, kind: type[MachineThread] = MachineThread
    ) -> MachineThread:
        """Return a client that reads and writes."""
        mix, (name, chance, now) = mix or self.mix, self.parts(name)
        machine = ClientMachine(name, mix, chance, now, self.history, self.counts)
        return kind(machine, self.nodes, mix, self.seed, self.pulse)

    def transactor(
        self,
        name: str,
        made: Callable[..., WorkloadMachine] = TransactorMachine,
        kind: type[MachineThread] = MachineThread,
    ) -> MachineThread:
        """Return a client of transactions."""
        name, chance, now = self.parts(name)
        machine = made(name, self.mix, chance, now, self.ledger, self.counts)
        return kind(machine, self.nodes, self.mix, self.seed, self.pulse)

    def parts(self, name: str) -> tuple[str, random.Random, Callable[[], float]]:
        """Return the whole name of a machine, its chance and its clock."""
        name = self.mix.prefix + name
        return name, random.Random(f"{self.seed} {name}"), time.monotonic

    def add(self, thread: One) -> One:
        """Run this machine as well."""
        self.threads.append(thread)
        return thread

    def __enter__(self) -> Workload:
        for each in self.threads:
            self._running.append(threading.Thread(target=self._guarded(each.run), daemon=True))
            self._running[-1].start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        for thread in self._running:
            thread.join(JOIN_S)
        if kind is None:
            assert not any(thread.is_alive() for thread in self._running), "a client hangs"
            assert not self.problems, self.problems[0]

    def _guarded(self, run: Callable[[threading.Event], None]) -> Callable[[], None]:
        def guarded() -> None:
            try:
                run(self._stop)
            except BaseException:
                self.problems.append(traceback.format_exc())

        return guarded

    @property
    def changes(self) -> list[Change]:
        """Every change that an answer shows, or that has an unknown outcome."""
        return [*self.history.changes, *self.ledger.changes]

    @property
    def outcomes(self) -> Counter[str]:
        return sum((each.outcomes for each in self.threads), Counter())
