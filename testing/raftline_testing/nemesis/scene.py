"""The parts that faults share: the cluster, what each fault has in hand, and how they wait.

A fault is a generator. First it yields what it does, in words; then how long it wants to wait, in
seconds, again and again; it has healed what it hurt when it ends. So one thread carries on any
number of faults side by side. `hurry` brings all of them to their end.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from raftline.clients.requests.conversation import Client
from raftline.clients.requests.node_connection import ClientError

from ..nodes.cluster import STARTED, Cluster, NodeProcess

Waits = Generator[float, None, None]
Fault = Generator["str | float", None, None]
START_S = 30.0  # then a node that neither serves nor refuses to start is a finding
STOP_S = 30.0  # the same for one that was asked to stop
ASKING_S = 15.0
POLL_S = 0.1
EXIT_FILES, EXIT_DISK = 3, 4


class Busy(Exception):
    """There is nothing free that this fault could strike."""


class Finding(Exception):
    """Something that must never happen, in one line and perhaps more after it."""


class Scene:
    """A cluster under faults, and who has what in hand."""

    def __init__(self, cluster: Cluster, chance: random.Random, say: Callable[[str], None]) -> None:
        self.cluster = cluster
        self.chance = chance
        self.say = say
        self.hurry = False
        self.haste = 1.0  # below 1: faults last so much shorter
        self.leader = ""  # as last heard
        self.damaged: set[str] = set()  # lost a part of their files and haven't caught up yet
        self.claims: set[str] = set()

    def some(self, least: float, most: float) -> float:
        return self.haste * self.chance.uniform(least, most)

    @contextlib.contextmanager
    def claim(self, *names: str) -> Iterator[None]:
        """Have something to oneself. Raises Busy where another fault has it."""
        if self.claims & set(names):
            raise Busy
        self.claims |= set(names)
        try:
            yield
        finally:
            self.claims -= set(names)

    @contextlib.contextmanager
    def struck(self, count: int = 1) -> Iterator[list[NodeProcess]]:
        """Have up to `count` running nodes to oneself, often the leader among them."""
        free = [n for n in self.cluster.nodes if n.name not in self.claims and n.is_running]
        if not free:
            raise Busy
        self.chance.shuffle(free)
        if self.chance.random() < 0.4:
            free.sort(key=lambda node: node.name != self.leader)
        nodes = free[:count]
        with self.claim(*(node.name for node in nodes)):
            yield nodes

    @contextlib.contextmanager
    def losing_files(self, node: NodeProcess) -> Iterator[None]:
        """Let a node lose a part of its files, where at most a minority has lost any."""
        if "members" in self.claims or 2 * (len(self.damaged) + 1) >= len(self.cluster.nodes):
            raise Busy
        if node.name in self.damaged:
            raise Busy
        self.damaged.add(node.name)
        try:
            yield
        finally:
            self.damaged.discard(node.name)

    @contextlib.contextmanager
    def changing_members(self) -> Iterator[None]:
        """Have the members to oneself, while all of them hold what they promised to."""
        if self.damaged:
            raise Busy
        with self.claim("members"):
            yield

    # --- waiting ---------------------------------------------------------------------------

    def start(self, *nodes: NodeProcess) -> Waits:
        """Start nodes and wait until they serve."""
        for node in nodes:
            node.launch()
        for node in nodes:
            yield from self.serves(node)

    def serves(self, node: NodeProcess) -> Waits:
        """Wait until a node serves. Raises Finding where it ends instead, or does neither."""
        if not (yield from self.serves_or_refuses(node)):
            raise Finding(
                f"{node.name} did not start: exit status {node.ended()}\n{node.transcript()}"
            )

    def serves_or_refuses(self, node: NodeProcess) -> Generator[float, None, bool]:
        """Wait until a node serves or has ended; return whether it serves."""
        end_s = time.monotonic() + START_S
        while not any(STARTED in line for line in node.said):
            if not node.is_running:
                node.ended()
                return any(STARTED in line for line in node.said)
            if time.monotonic() > end_s:
                raise Finding(f"{node.name} neither serves nor refuses\n{node.transcript()}")
            yield POLL_S
        return True

    def ends(self, node: NodeProcess) -> Generator[float, None, int]:
        """Wait until a node has ended; return its exit status."""
        end_s = time.monotonic() + STOP_S
        while node.is_running:
            if time.monotonic() > end_s:
                raise Finding(f"{node.name} was to end and does not\n{node.transcript()}")
            yield POLL_S
        return node.ended()

    def ask(self, line: str) -> Generator[float, None, str]:
        """Return the leader's reply to a request for an administrator, or why there is none;
        without holding anybody up."""
        nodes = [node for node in self.cluster.nodes if node.is_running and not node.is_paused]
        if not nodes:
            return "nobody is there to be asked"
        self.chance.shuffle(nodes)
        said: list[str] = []

        def ask() -> None:
            first, *others = [(node.host, node.port) for node in nodes]
            try:
                with Client(*first, "admin", ASKING_S, follow=True, also=others) as client:
                    said.append(client.request(line))
            except ClientError as failure:
                said.append(str(failure))

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        while asking.is_alive():
            yield POLL_S
        return said[0] if said else "the asking itself failed"

    def members(self) -> Generator[float, None, dict[str, Any]]:
        """Return who the members are, as a leader tells it; {} while none does."""
        reply = yield from self.ask("members")
        mark, _, facts = reply.partition("MEMBERS response: ")
        return json.loads(facts) if facts and not mark else {}
