"""Clients of a workload that ask as redis-py does in cluster mode."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from functools import partial
from typing import Any

from raftline.wire.refusal import OUTCOME_UNKNOWN

from ..nemesis.workload import MachineThread, Workload
from ..workloads.workload_machine import Answer
from .redis_requests import RedisBankMachine, Reply, TalkRequest, line_of, words_of

# Errors that say that nothing was done: redis-py would repeat the command after them.
REFUSALS = ("MOVED ", "CLUSTERDOWN ", "TRYAGAIN ", "ERR max number of clients")


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
            is_refused = is_refused or text.endswith("Nothing was done.")  # until the level rises
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
        )

    def _reply(self, request: Any) -> str:
        """Carry out a request; return what the line's reply would be."""
        if isinstance(request, TalkRequest):
            return self._talked(request)
        options = {"get": True} if request.verb == "cas" else {}
        reply = self._cluster.execute_command(*words_of(request), **options)
        if isinstance(reply, bool):  # as redis-py has it
            reply = "OK" if request.verb == "set" else int(reply)
        return line_of(request, reply)

    def _talked(self, request: TalkRequest) -> str:
        """Carry out several commands on one connection to the leader."""
        from redis import exceptions  # pyright: ignore[reportMissingImports]

        node = self._cluster.get_node_from_key(self._mix.prefix)
        pool = self._cluster.get_redis_connection(node).connection_pool
        connection, steps = pool.get_connection(), request.conversation()
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
