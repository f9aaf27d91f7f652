"""Typed clients of a cluster that answers at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from raftline.clients.asyncio.asker import AioAsker
from raftline.clients.calls.calls import Call, CallFactory
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.kv.aio_kv import AioKV
from raftline.clients.kv.kv import KV
from raftline.clients.requests.addresses import Addresses
from raftline.clients.requests.pool import Clients
from raftline.wire.operands.operands import show_operands
from raftline.wire.protocol import escape

from .kv_model import Model

CALLS = CallFactory(TEXT)
PAGE = 3  # pairs


class KVCluster:
    """Answers at once, as the threads' and as the tasks' way to a cluster; counts what it was
    asked. `before` is called with each command before that is done."""

    name = "program"
    timeout = timeout_s = 1.0
    is_closed = False

    def __init__(self) -> None:
        self.addresses = Addresses([("h", 1)])
        self.model = Model()
        self.asked: list[str] = []
        self.before: Callable[[str], None] = lambda command: None

    def request(self, command: str, timeout: float | None = None) -> str:
        self.asked.append(command)
        self.before(command)
        if not command.startswith("show"):
            return self.model.ask(Call(command, str))
        prefix, after = show_operands(command)
        keys = [key for key in sorted(self.model.store) if key.startswith(prefix or "")]
        keys = [key for key in keys if key > (after or "")]
        pairs = {key: self.model.ask(CALLS.get(key)) for key in keys[:PAGE]}
        more = f" more: show after {escape(keys[PAGE - 1], key=True)}" if keys[PAGE:] else ""
        return f"SHOW response: {json.dumps(pairs)}{more}"

    def request_together(self, commands: Sequence[str], timeout: float) -> Any:
        return [self.request(command) for command in commands]

    def close(self, last: Sequence[str] = ()) -> None:
        self.asked += last

    def asked_for(self, verb: str) -> int:
        """Return how often, since the last look."""
        count = sum(command.split(" ")[0] == verb for command in self.asked)
        self.asked.clear()
        return count


class AioKVCluster(KVCluster):
    async def request(self, command: str, timeout: float) -> str:  # type: ignore[override]
        return super().request(command)

    async def request_together(self, commands: Sequence[str], timeout: float) -> list[str]:
        return [KVCluster.request(self, command) for command in commands]


def threads(pairs: int = 0) -> tuple[KV[str], KVCluster]:
    cluster = KVCluster()
    for number in range(pairs):
        cluster.model.ask(CALLS.set(f"k{number}", str(number)))
    return KV(cast(Clients, cluster), TEXT), cluster


def tasks(pairs: int = 0) -> tuple[AioKV[str], KVCluster]:
    cluster = AioKVCluster()
    for number in range(pairs):
        cluster.model.ask(CALLS.set(f"k{number}", str(number)))
    return AioKV(cast(AioAsker, cluster), TEXT), cluster


def awaited(call: Awaitable[Any]) -> Any:
    async def run() -> Any:
        return await call

    return asyncio.run(run())
