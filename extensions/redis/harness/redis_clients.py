"""Clients of a workload that ask as redis-py does in cluster mode, and listen as it does."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from raftline.clients.steps import carry_out
from raftline.wire.refusal import OUTCOME_UNKNOWN
from raftline_testing.nemesis.workload import MachineThread, Workload
from raftline_testing.nodes.cluster import NodeProcess
from raftline_testing.workloads.watcher_machine import Leave, NextLine, Open
from raftline_testing.workloads.workload_machine import Answer

from .command_machine import CommandMachine
from .element_machine import ElementBeliefs, ElementMachine
from .message_machine import MessageBeliefs, PublisherMachine, SubscriberMachine
from .queue_machine import ProducerMachine, QueueBeliefs, WorkerMachine
from .redis_requests import (
    Conversation,
    RedisBankMachine,
    Reply,
    TalkRequest,
    conversation_of,
    line_of,
    words_of,
)

# Errors that say that nothing was done: redis-py would repeat the command after them.
REFUSALS = ("MOVED ", "CLUSTERDOWN ", "TRYAGAIN ", "ERR max number of clients")
BY_LEADER = 0.5  # share of the plain requests that go to the leader as in the virtual world
EACH_KIND = 2  # producers, workers, publishers, subscribers and clients of elements
STAYS_MS = (500, 2000, 10_000)  # of subscribers
CHECK_S = 0.2  # for one message
PATIENCE_S = 3.0
PEACE_S = 20.0  # for the last messages


class RedisClient(MachineThread):
    """Carries out the same requests by RedisCluster, which finds the leader itself.

    It repeats nothing: a repeated increment would count twice, and a repeated set would be two
    operations of the history.
    """

    _cluster: Any = None

    def _ask(self, request: Any) -> Answer:
        from redis import exceptions  # pyright: ignore[reportMissingImports]

        try:
            self._cluster = self._cluster or self._connected()
        except (exceptions.RedisError, exceptions.RedisClusterException):
            self.outcomes["could not connect"] += 1
            return Answer("refused")
        try:
            return Answer("done", self._reply(request))
        except (
            exceptions.ConnectionError,
            exceptions.TimeoutError,
            exceptions.RedisClusterException,
        ):
            return Answer("lost")
        except exceptions.ResponseError as error:
            # redis-py leaves out the code of a few errors.
            text = f"{getattr(error, 'code', '')} {error}"
            is_refused = type(error).__name__ != "ResponseError" or str(error).startswith(REFUSALS)
            is_refused = is_refused or text.endswith("Nothing was done.")  # at the floor
            assert is_refused or OUTCOME_UNKNOWN.removeprefix("Sorry, ") in text, text
            self.outcomes["refused"] += is_refused
            return Answer("refused" if is_refused else "lost")
        except exceptions.RedisError:  # it found no leader, before it sent anything
            self.outcomes["refused"] += 1
            return Answer("refused")

    def _connected(self) -> Any:
        import redis.cluster  # pyright: ignore[reportMissingImports]
        from redis.backoff import NoBackoff  # pyright: ignore[reportMissingImports]
        from redis.retry import Retry  # pyright: ignore[reportMissingImports]

        library: Any = redis.cluster  # it has no types for this

        nodes = list(self._nodes)
        random.Random(self.machine.name).shuffle(nodes)
        return library.RedisCluster(
            startup_nodes=[library.ClusterNode(node.host, node.port) for node in nodes],
            retry=Retry(NoBackoff(), 0),
            socket_timeout=self._mix.patience_s,
            decode_responses=True,
            protocol=2,  # the replies that the machines know
        )

    def _reply(self, request: Any) -> str:
        """Carry out a request; return what the line's reply would be."""
        if isinstance(request, TalkRequest):
            return self._talked(request.conversation())
        if self._chance.random() < BY_LEADER:
            return self._talked(conversation_of(request, self._chance.randrange(10)))
        options = {"get": True} if request.verb == "cas" else {}
        reply = self._cluster.execute_command(*words_of(request), **options)
        if isinstance(reply, bool):  # as redis-py has it
            reply = "OK" if request.verb == "set" else int(reply)
        return line_of(request, reply)

    def _talked(self, steps: Conversation) -> str:
        """Carry out several commands on one connection to the leader."""
        from redis import exceptions  # pyright: ignore[reportMissingImports]

        node = self._cluster.get_node_from_key(self._mix.prefix)
        pool = self._cluster.get_redis_connection(node).connection_pool
        connection = pool.get_connection()
        try:
            commands = next(steps)
            while True:
                replies: list[Reply] = []
                errors = []
                connection.send_packed_command(connection.pack_commands(commands))
                for _ in commands:
                    try:
                        replies.append(connection.read_response())
                    except exceptions.ResponseError as error:
                        errors.append(error)
                if errors:
                    raise errors[0]
                commands = steps.send(replies)
        except StopIteration as end:
            return str(end.value)
        finally:
            pool.release(connection)

    def _hang_up(self) -> None:
        """Begin again with a new client."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            with contextlib.suppress(Exception):
                cluster.close()


def redis_clients(count: int, workload: Workload) -> list[MachineThread]:
    """Add this many clients to a workload."""
    mix = replace(workload.mix, ways=("index",), sessions=0.0)
    names = [f"redis{number}" for number in range(1, count + 1)]
    return [workload.add(workload.client(name, mix, RedisClient)) for name in names]


def redis_transactors(count: int, workload: Workload) -> list[MachineThread]:
    """Add this many clients of the accounts to a workload."""
    made = partial(RedisBankMachine, workload.seed)
    names = [f"redistransactor{number}" for number in range(1, count + 1)]
    return [workload.add(workload.transactor(name, made, RedisClient)) for name in names]


# --- lists, messages and elements ---------------------------------------------------------------


class RedisSubscriber:
    """The runner of a subscriber's machine: redis-py's client of one node after the other."""

    def __init__(
        self, machine: SubscriberMachine, nodes: Sequence[NodeProcess], chance: random.Random
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self._machine = machine
        self._nodes = nodes  # may change
        self._chance = chance
        self._stop = threading.Event()
        self._end_s: float | None = None  # when it must have got all messages
        self._leave_s = 0.0
        self._client: Any = None  # it closes its connections when it is deleted
        self._messages: Any = None
        self._is_first = True  # no message has come on this connection
        self._has_all = False  # at the end

    def run(self, stop: threading.Event) -> None:
        """Listen until asked to stop, and then until no message is missing."""
        self._stop = stop
        try:
            carry_out(self._machine.steps(), self._do)
        finally:
            self._hang_up()

    def _do(self, step: object) -> object:
        from redis import exceptions  # pyright: ignore[reportMissingImports]

        try:
            if isinstance(step, NextLine):
                return self._next()
            if isinstance(step, Open):
                self._leave_s = time.monotonic() + step.stay_ms / 1000
                self._open(step.line.split()[1])
        except (OSError, exceptions.RedisError):
            self.outcomes["subscriptions that ended"] += 1
            self._hang_up()
        if isinstance(step, Leave):
            self._hang_up()
            self._machine.stopped = self._has_all
            self._stop.wait(step.ms / 1000)
        return None

    def _next(self) -> object:
        """Return a message; "" at the end of the stay, and None without a connection."""
        while self._messages is not None and time.monotonic() < self._leave_s:
            if self._stop.is_set():
                self._end_s = self._end_s or time.monotonic() + PEACE_S
                assert time.monotonic() < self._end_s, "a subscriber never got all messages"
                self._has_all = self._machine.is_current
                if self._has_all:
                    break
            message = self._messages.get_message(timeout=CHECK_S)
            if message is None:
                continue
            is_first, self._is_first = self._is_first, False
            if message["type"] == "subscribe" and not is_first:
                return None  # redis-py has connected again by itself
            return [message["type"], message["channel"], message["data"]]
        return None if self._messages is None else ""

    def _open(self, channel: str) -> None:
        import redis  # pyright: ignore[reportMissingImports]

        library: Any = redis
        node = self._chance.choice(list(self._nodes))
        self._client = library.Redis(
            host=node.host,
            port=node.port,
            socket_timeout=PATIENCE_S,
            decode_responses=True,
            protocol=2,
        )
        self._messages, self._is_first = self._client.pubsub(), True
        self._messages.subscribe(channel)

    def _hang_up(self) -> None:
        messages, self._messages = self._messages, None
        if messages is not None:
            with contextlib.suppress(Exception):
                messages.close()
                self._client.close()


def redis_programs(workload: Workload) -> list[QueueBeliefs | MessageBeliefs | ElementBeliefs]:
    """Add clients of a list, of a channel and of elements to a workload; return their judges."""
    counts, prefix = workload.counts, f"programs.{workload.mix.prefix}"
    queue, elements = QueueBeliefs(counts, prefix), ElementBeliefs(counts, prefix)
    messages = MessageBeliefs(counts, prefix)
    kinds: dict[str, Callable[..., CommandMachine]] = {
        "producer": partial(ProducerMachine, queue),
        "worker": partial(WorkerMachine, queue),
        "publisher": partial(PublisherMachine, messages),
        "element": partial(ElementMachine, elements),
    }
    for kind, made in kinds.items():
        for number in range(1, EACH_KIND + 1):
            parts = workload.parts(f"{kind}{number}")
            machine = made(*parts, 0)  # the workload's beat is its pause
            thread = RedisClient(
                machine, workload.nodes, workload.mix, workload.seed, workload.pulse
            )
            workload.add(thread)
    for number in range(1, EACH_KIND + 1):
        name, chance, now = workload.parts(f"subscriber{number}")
        subscriber = SubscriberMachine(messages, name, chance, now, counts, STAYS_MS)
        workload.add(RedisSubscriber(subscriber, workload.nodes, chance))
    return [queue, messages, elements]
