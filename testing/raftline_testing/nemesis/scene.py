"""The parts that faults share: the cluster, the nodes that each fault has claimed, and how faults
wait.

A fault is a generator. First it yields its description, and then the seconds to wait, again and
again; when it ends, it has healed its damage. So one thread runs any number of faults in parallel.
`hurry` brings all of them to their end.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from raftline.clients.connections.node_connection import ClientError
from raftline.clients.requests.conversation import Client

from ..nodes.cluster import STARTED, Cluster, NodeProcess

Waits = Generator[float, None, None]
Fault = Generator["str | float", None, None]
START_S = 30.0  # then a node that neither serves nor refuses to start is a finding
STOP_S = 30.0  # the same for a node that was asked to stop
ASKING_S = 15.0
POLL_S = 0.1
EXIT_FILES, EXIT_DISK = 3, 4


class Busy(Exception):
    """No target is free for this fault."""


class Finding(Exception):
    """Something that must never happen, in one line, perhaps with more after it."""


class Scene:
    """A cluster under faults, and the claims of each fault."""

    def __init__(self, cluster: Cluster, chance: random.Random, say: Callable[[str], None]) -> None:
        self.cluster = cluster
        self.chance = chance
        self.say = say
        self.hurry = False
        self.haste = 1.0  # below 1: the factor by which faults are shorter
        self.leader = ""  # as last heard
        # nodes that lost a part of their files and haven't caught up yet
        self.damaged: set[str] = set()
        self.claims: set[str] = set()

    def some(self, least: float, most: float) -> float:
        return self.haste * self.chance.uniform(least, most)

    @contextlib.contextmanager
    def claim(self, *names: str) -> Iterator[None]:
        """Claim a resource for one fault. Raises Busy if another fault has it."""
        if self.claims & set(names):
            raise Busy
        self.claims |= set(names)
        try:
            yield
        finally:
            self.claims -= set(names)

    @contextlib.contextmanager
    def struck(self, count: int = 1) -> Iterator[list[NodeProcess]]:
        """Claim up to `count` running nodes, often including the leader."""
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
        """Claim a node that may lose a part of its files, while at most a minority has lost any."""
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
        """Claim the members, while all of them hold the data that they promised to keep."""
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
        """Wait until a node serves. Raises Finding if it ends instead, or does neither."""
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
        """Return the leader's reply to an administrator's request, or why there is none, without
        blocking other faults."""
        nodes = [node for node in self.cluster.nodes if node.is_running and not node.is_paused]
        if not nodes:
            return "there is no node to ask"
        self.chance.shuffle(nodes)
        replies: list[str] = []

        def ask() -> None:
            first, *others = [(node.host, node.port) for node in nodes]
            try:
                with Client(*first, "admin", ASKING_S, follow=True, also=others) as client:
                    replies.append(client.request(line))
            except ClientError as failure:
                replies.append(str(failure))

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        while asking.is_alive():
            yield POLL_S
        return replies[0] if replies else "the asking itself failed"

    def members(self) -> Generator[float, None, dict[str, Any]]:
        """Return the members as a leader reports them; {} while none does."""
        reply = yield from self.ask("members")
        mark, _, facts = reply.partition("MEMBERS response: ")
        return json.loads(facts) if facts and not mark else {}
