"""Clients of a workload that ask as redis-py does in cluster mode."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from typing import Any

from ..nodes.cluster import NodeProcess
from .mix import Mix, Pulse
from .workload import UNKNOWN, WorkloadClient

# Errors that say that nothing was done: redis-py would repeat the command after them.
REFUSALS = ("MOVED ", "CLUSTERDOWN ", "TRYAGAIN ", "ERR max number of clients")


class RedisClient(WorkloadClient):
    """Carries out the same operations by RedisCluster, which finds the leader itself.

    It repeats nothing: a repeated increment would count twice, and a repeated set would be two
    operations of the history.
    """

    def __init__(
        self,
        name: str,
        nodes: Sequence[NodeProcess],
        mix: Mix,
        seed: str,
        pulse: Pulse | None = None,
    ) -> None:
        super().__init__(name, nodes, mix, seed, pulse)
        self._cluster: Any = None

    def _settle(self, line: str, numbered: bool, called_at: float) -> tuple[str, bool]:
        from redis import exceptions  # pyright: ignore[reportMissingImports]

        words = line.removesuffix(" read index").removesuffix(" read lease").split(" ")
        try:
            self._cluster = self._cluster or self._connected()
        except (exceptions.RedisError, exceptions.RedisClusterException):
            return self._refused("could not connect", was_sent=False)
        try:
            return self._line_for(*words), True
        except (
            exceptions.ConnectionError,
            exceptions.TimeoutError,
            exceptions.RedisClusterException,
        ):
            return self._refused("no answer", was_sent=True)
        except exceptions.ResponseError as error:
            # redis-py leaves out the code of a few errors.
            text = f"{getattr(error, 'code', '')} {error}"
            is_refused = type(error).__name__ != "ResponseError" or str(error).startswith(REFUSALS)
            assert is_refused or UNKNOWN.removeprefix("Sorry, ") in text, text
            return self._refused("refused", was_sent=not is_refused)
        except exceptions.RedisError:  # it found no leader, before it sent anything
            return self._refused("refused", was_sent=False)

    def _connected(self) -> Any:
        import redis.cluster  # pyright: ignore[reportMissingImports]
        from redis.backoff import NoBackoff  # pyright: ignore[reportMissingImports]
        from redis.retry import Retry  # pyright: ignore[reportMissingImports]

        library: Any = redis.cluster  # it has no types for this

        nodes = list(self._nodes)
        random.Random(self.name).shuffle(nodes)
        return library.RedisCluster(
            startup_nodes=[library.ClusterNode(node.host, node.port) for node in nodes],
            retry=Retry(NoBackoff(), 0),
            socket_timeout=self._mix.patience_s,
            decode_responses=True,
        )

    def _line_for(self, verb: str, key: str, *words: str) -> str:
        """Carry out an operation; return what the line's reply would be."""
        match verb:
            case "get":
                value = self._cluster.get(key)
                return f"GET response{_absent(key) if value is None else f': {value}'}"
            case "set":
                assert self._cluster.set(key, words[0])
                return f"SET response: {key} set to {words[0]}"
            case "delete":
                is_done = self._cluster.delete(key)
                return f"DELETE response{f': {key} deleted' if is_done else _absent(key)}"
            case "incr":
                return f"INCR response: {self._cluster.incr(key)}"
        old, new = words
        before = self._cluster.execute_command("SET", key, new, "IFEQ", old, "GET", get=True)
        if before is None:
            return f"CAS response{_absent(key)}"
        return f"CAS response{f': {key} set to {new}' if before == old else f', no match: {key}'}"

    def _refused(self, why: str, *, was_sent: bool) -> tuple[str, bool]:
        """Begin again with a new client; return that there is no answer."""
        self.outcomes[why] += 1
        self._hang_up()
        return "", was_sent

    def _hang_up(self) -> None:
        super()._hang_up()
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            with contextlib.suppress(Exception):
                cluster.close()


def redis_clients(
    count: int, nodes: Sequence[NodeProcess], mix: Mix, seed: str, pulse: Pulse | None = None
) -> list[RedisClient]:
    """Return this many clients."""
    names = [f"{mix.prefix}redis{number}" for number in range(1, count + 1)]
    return [RedisClient(name, nodes, mix, seed, pulse) for name in names]


def _absent(key: str) -> str:
    return f", no such key: {key}"
