"""Many clients over raw sockets, and the history of what each asked and learned."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from raftline.linearizable import Operation
from tests.e2e.node import Node
from tests.e2e.wire import Conversation

PATIENCE_S = 8.0  # then a client gives up on its reply: the outcome is unknown
PAUSE_S = 0.05  # between a refusal and the next try
LEADER = re.compile(r"Last leader I heard from is: (\S+) \(")


class WorkloadClient:
    """One client: a request at a time, to the node it takes for the leader."""

    def __init__(self, name: str, nodes: Sequence[Node], keys: int, seed: str) -> None:
        self.name = name
        self.history: list[Operation] = []
        self.outcomes: Counter[str] = Counter()
        self._nodes = {node.name: node for node in nodes}
        self._keys = keys
        self._chance = random.Random(f"{seed} {name}")
        self._node = self._chance.choice(list(nodes))
        self._conversation: Conversation | None = None
        self._written = 0

    def run(self, stop: threading.Event) -> None:
        """Ask until told to stop."""
        while not stop.is_set():
            if not self._ask_something():
                stop.wait(PAUSE_S * self._chance.random())
        self._hang_up()

    def _ask_something(self) -> bool:
        """Ask one thing; return False where nothing was done for certain."""
        try:
            self._conversation = self._conversation or Conversation(self._node.port, PATIENCE_S)
        except OSError:
            self._look_elsewhere("could not connect")
            return False
        verb, key, value = self._pick()
        line = f"{self.name}@{verb} {key}" + (f" {value}" if verb == "set" else "")
        called_at = time.monotonic()
        try:
            reply = self._conversation.ask(line)
        except OSError:
            reply = ""
        return self._learn(verb, key, value, called_at, reply.partition("@")[2])

    def _pick(self) -> tuple[Literal["get", "set", "delete"], str, str | None]:
        key = f"k{self._chance.randrange(self._keys)}"
        kind = self._chance.random()
        if kind < 0.45:
            return "get", key, None
        if kind < 0.9:
            self._written += 1
            return "set", key, f"{self.name}.{self._written}"
        return "delete", key, None

    def _learn(
        self,
        verb: Literal["get", "set", "delete"],
        key: str,
        value: str | None,
        called_at: float,
        text: str,
    ) -> bool:
        returned_at: float | None = time.monotonic()
        word, found = f"{verb.upper()} response", None
        if text == f"{word}, no such key: {key}" and verb != "set":
            value, found = None, False
        elif verb == "get" and text.startswith(f"{word}: "):
            value = text.removeprefix(f"{word}: ")
        elif verb == "delete" and text == f"{word}: {key} deleted":
            found = True
        elif verb != "set" or text != f"{word}: {key} set to {value}":
            if not text or text.startswith("Sorry, outcome unknown: "):
                returned_at = None
                self._look_elsewhere("unknown outcome")
            else:
                return self._refused(text)
        if returned_at is not None:
            self.outcomes[f"{verb} answered"] += 1
        self.history.append(Operation(self.name, verb, key, value, called_at, returned_at, found))
        return returned_at is not None

    def _refused(self, text: str) -> bool:
        """Take note of a refusal, which did nothing, and go where it points."""
        assert text.startswith("Sorry, "), f"{self.name} got {text!r}"
        named = LEADER.search(text)
        self._look_elsewhere("refused", named[1] if named else None)
        return False

    def _look_elsewhere(self, why: str, name: str | None = None) -> None:
        self.outcomes[why] += 1
        self._hang_up()
        self._node = self._nodes[name or self._chance.choice(list(self._nodes))]

    def _hang_up(self) -> None:
        if self._conversation is not None:
            self._conversation.close()
        self._conversation = None


class Workload:
    """Clients in threads of their own; leaving it stops them all."""

    def __init__(self, nodes: Sequence[Node], clients: int, keys: int, seed: int) -> None:
        self.clients = [
            WorkloadClient(f"client{number}", nodes, keys, str(seed))
            for number in range(1, clients + 1)
        ]
        self._stop = threading.Event()
        self._problems: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(client,), daemon=True)
            for client in self.clients
        ]

    def __enter__(self) -> Workload:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(3 * PATIENCE_S)
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"
        assert not self._problems, self._problems[0]

    def _run(self, client: WorkloadClient) -> None:
        try:
            client.run(self._stop)
        except BaseException as problem:
            self._problems.append(problem)

    @property
    def history(self) -> list[Operation]:
        return [operation for client in self.clients for operation in client.history]

    @property
    def outcomes(self) -> Counter[str]:
        return sum((client.outcomes for client in self.clients), Counter())
