"""Listeners to keyspace notifications: programs of redis-py that keep a copy of all keys.

Each subscribes at any node, reads all keys, and reads a key again after each message about it. Its
copy has to reach the final state: no last message of a key may be lost on a connection that stands.
And each message has to be about a change that a client asked for before.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from raftline.common.process.server_process import NotAsExpected
from raftline_testing.histories.history import Change
from raftline_testing.nodes.cluster import NodeProcess
from raftline_testing.nodes.processes import DEADLINE_S, eventually

PATIENCE_S = 3.0
PEACE_S = 20.0  # for the last messages and reads
CHECK_S = 0.2  # for one message
AT_ONCE = 64  # keys of one MGET


class Message(NamedTuple):
    """A message about a key, and when it was read."""

    key: str
    event: str
    at: float


def invented(messages: Iterable[Message], changes: Iterable[Change]) -> list[str]:
    """Return the messages of one subscription that no change explains: the n-th message about an
    event of a key needs n such changes that were asked for before."""
    called: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for change in sorted(changes, key=lambda change: change.called_at, reverse=True):
        called[change.key, change.event].append(change.called_at)
    problems = []
    for one in messages:
        times = called[one.key, one.event]
        if not times or times.pop() > one.at:
            problems.append(f"nobody asked for {one}")
    return problems


class RedisListener:
    """One program; its thread ends with `stop`. It subscribes to keys or to events."""

    def __init__(
        self, nodes: Sequence[NodeProcess], prefix: str, seed: str, *, by_event: bool = False
    ) -> None:
        self.copy: dict[str, str] = {}
        self.outcomes: Counter[str] = Counter()
        self.problems: list[str] = []
        self.messages: list[list[Message]] = []  # of each subscription
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self._nodes = nodes  # may change
        self._prefix = prefix
        self._pattern = "__keyevent@0__:*" if by_event else f"__keyspace@0__:{prefix}*"
        self._by_event = by_event
        self._chance = random.Random(seed)
        self._changed: set[str] = set()
        self._readers: Any = None
        self._ended = 0  # connections, when these readers began

    def _run(self) -> None:
        from redis import exceptions  # pyright: ignore[reportMissingImports]

        while not self.is_over.is_set():
            try:
                self._listen(self._chance.choice(list(self._nodes)))
            except (OSError, exceptions.RedisError, exceptions.RedisClusterException):
                self.outcomes["connections that ended"] += 1
                self.is_over.wait(CHECK_S)
            except Exception:
                self.problems.append(traceback.format_exc())
                break
        self._hang_up()

    def _listen(self, node: NodeProcess) -> None:
        import redis  # pyright: ignore[reportMissingImports]

        library: Any = redis
        client = library.Redis(
            host=node.host, port=node.port, socket_timeout=PATIENCE_S, decode_responses=True
        )
        with contextlib.closing(client), client.pubsub() as messages:
            messages.psubscribe(self._pattern)
            begun = messages.get_message(timeout=PATIENCE_S)
            if begun is None or begun["type"] != "psubscribe":
                raise OSError("no answer to PSUBSCRIBE")
            self._begin()
            while not self.is_over.is_set():
                self._hear(messages.get_message(timeout=CHECK_S))
                while message := messages.get_message(timeout=0):
                    self._hear(message)
                self._read()

    def _begin(self) -> None:
        """Take all keys for changed: messages may have been missed before the subscription."""
        self.outcomes["subscriptions"] += 1
        self.messages.append([])
        self._changed |= {*self.copy, *self._leader().keys(self._prefix + "*")}

    def _hear(self, message: Mapping[str, Any] | None) -> None:
        if message is None:
            return
        if message["type"] == "psubscribe":  # redis-py has connected again by itself
            self._begin()
            return
        if message["type"] != "pmessage" or message["pattern"] != self._pattern:
            self.problems.append(f"a listener got {message}")
            return
        key, event = message["channel"].partition(":")[2], message["data"]
        if self._by_event:
            key, event = event, key
        if not key.startswith(self._prefix):
            return
        self.outcomes["messages"] += 1
        self.messages[-1].append(Message(key, event, time.monotonic()))
        self._changed.add(key)

    def _read(self) -> None:
        """Read the keys that have changed; a key whose read fails stays marked as changed."""
        keys = sorted(self._changed)[:AT_ONCE]
        if not keys:
            return
        for key, value in zip(keys, self._leader().mget(keys), strict=True):
            self._changed.discard(key)
            if value is None:
                self.copy.pop(key, None)
            else:
                self.copy[key] = value

    def _leader(self) -> Any:
        """Return the client of the leader, which may read several keys at once. An error of a read
        ends the subscription, and then this client as well."""
        import redis.cluster  # pyright: ignore[reportMissingImports]

        library: Any = redis.cluster
        if self._readers is None or self.outcomes["connections that ended"] != self._ended:
            self._hang_up()
            self._ended = self.outcomes["connections that ended"]
            self._readers = library.RedisCluster(
                startup_nodes=[library.ClusterNode(node.host, node.port) for node in self._nodes],
                socket_timeout=PATIENCE_S,
                decode_responses=True,
            )
        node = self._readers.get_node_from_key(self._prefix)
        return self._readers.get_redis_connection(node)

    def _hang_up(self) -> None:
        readers, self._readers = self._readers, None
        if readers is not None:
            with contextlib.suppress(Exception):
                readers.close()


class RedisListeners:
    """The listeners of a window."""

    def __init__(self, count: int, nodes: Sequence[NodeProcess], prefix: str, seed: str) -> None:
        self.all = [
            RedisListener(nodes, prefix, f"{seed} {place}", by_event=place % 2 == 1)
            for place in range(count)
        ]

    def __enter__(self) -> RedisListeners:
        for each in self.all:
            each.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in self.all:
            each.is_over.set()
        for each in self.all:
            each.thread.join(DEADLINE_S)

    @property
    def outcomes(self) -> Counter[str]:
        counts = sum((each.outcomes for each in self.all), Counter[str]())
        return Counter({f"{what} of Redis": count for what, count in counts.items()})

    def findings(self, pairs: Mapping[str, str], changes: Sequence[Change]) -> list[str]:
        """Wait until each copy equals the final state; return what is wrong."""
        with contextlib.suppress(NotAsExpected):
            eventually(lambda: all(each.copy == pairs for each in self.all), "copies", PEACE_S)
        problems = [problem for each in self.all for problem in each.problems]
        problems += [
            f"listener {place}: {problem}"
            for place, each in enumerate(self.all)
            for messages in [*each.messages]
            for problem in invented([*messages], changes)
        ]
        for place, each in enumerate(self.all):
            differing = {
                key: (each.copy.get(key), pairs.get(key))
                for key in {*each.copy, *pairs}
                if each.copy.get(key) != pairs.get(key)
            }
            if differing:
                problems.append(f"listener {place} never saw the final state of {differing}")
        return problems
