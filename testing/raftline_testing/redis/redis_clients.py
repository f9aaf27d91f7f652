"""Clients of a workload that ask as redis-py does in cluster mode."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Sequence
from typing import Any

from ..nemesis.mix import Mix, Pulse
from ..nemesis.transactors import Transactor
from ..nemesis.workload import UNKNOWN, WorkloadClient
from ..nodes.cluster import NodeProcess

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
            is_refused = is_refused or text.endswith("Nothing was done.")  # until the level rises
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


class RedisTransactor(RedisClient, Transactor):
    """Moves money between the accounts by MULTI, and reads their sum by MULTI and MGET. Accounts
    are opened by the other transactors."""

    _changed: Sequence[str] = ()  # the accounts that the last request may have changed

    def _ask_something(self) -> bool:
        look, called_at, self._changed = self._chance.random() < 0.4, time.monotonic(), ()
        text, was_sent = self._settle("look" if look else "transfer", False, called_at)
        if was_sent and text != "multi aborted":
            self._note_changes(self._changed, called_at)
        if not text:
            self.outcomes["multi unknown" if was_sent else "multi not done"] += 1
            return False
        self._note(text, None)
        return text != "no accounts"

    def _line_for(self, verb: str, *words: str) -> str:
        accounts = self._accounts()
        node = self._cluster.get_node_from_key(accounts[0])
        client = self._cluster.get_redis_connection(node)
        if verb == "look":
            return self._look(client, accounts)
        with client.pipeline() as pipe:
            pair = self._chance.sample(accounts, 2)
            pipe.watch(*pair)
            have = pipe.mget(pair)
            if None in have:
                return "no accounts"
            amount = self._chance.randrange(1, 20)
            return self._move(pipe, pair, [int(have[0]) - amount, int(have[1]) + amount], amount)

    def _look(self, client: Any, accounts: list[str]) -> str:
        balances = client.mget(accounts)
        if self._chance.random() < 0.5:
            with client.pipeline() as pipe:
                for account in accounts:
                    pipe.get(account)
                balances = pipe.execute()
        if None in balances:
            return "no accounts"
        self.sums.append(sum(map(int, balances)))
        return "multi looked"

    def _move(self, pipe: Any, pair: list[str], values: list[int], amount: int) -> str:
        """Set both values, if nobody has changed them; or add to them."""
        from redis.exceptions import WatchError  # pyright: ignore[reportMissingImports]

        sets = self._chance.random() < 0.5
        if not sets:
            pipe.unwatch()
        pipe.multi()
        if sets:
            pipe.set(pair[0], values[0]).set(pair[1], values[1])
        else:
            pipe.incrby(pair[0], -amount).incrby(pair[1], amount)
        self._changed = pair
        try:
            pipe.execute()
        except WatchError:
            return "multi aborted"
        return "multi answered"


def redis_clients(
    count: int, nodes: Sequence[NodeProcess], mix: Mix, seed: str, pulse: Pulse | None = None
) -> list[RedisClient]:
    """Return this many clients."""
    names = [f"{mix.prefix}redis{number}" for number in range(1, count + 1)]
    return [RedisClient(name, nodes, mix, seed, pulse) for name in names]


def redis_transactors(
    count: int, nodes: Sequence[NodeProcess], mix: Mix, seed: str, pulse: Pulse | None = None
) -> list[RedisTransactor]:
    """Return this many clients of the accounts."""
    names = [f"{mix.prefix}redistransactor{number}" for number in range(1, count + 1)]
    return [RedisTransactor(name, nodes, mix, seed, pulse) for name in names]


def _absent(key: str) -> str:
    return f", no such key: {key}"
