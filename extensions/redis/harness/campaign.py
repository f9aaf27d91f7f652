"""Redis clients in a campaign against real nodes: `make -C testing redis-faults`."""

from __future__ import annotations

from collections.abc import Sequence

from raftline_testing.nodes.cluster import NodeProcess

from .redis_clients import redis_clients, redis_programs, redis_transactors
from .redis_listeners import RedisListeners

LISTENERS = 2  # to keyspace notifications

clients, transactors, programs = redis_clients, redis_transactors, redis_programs


def listeners(nodes: Sequence[NodeProcess], prefix: str, seed: str) -> RedisListeners:
    """Return the listeners of a window."""
    return RedisListeners(LISTENERS, nodes, prefix, seed)
