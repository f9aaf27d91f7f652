"""The keys of one PostgreSQL cluster in the store, read and made into Patroni's `Cluster`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from patroni.dcs import (
    Cluster,
    ClusterConfig,
    Failover,
    Leader,
    Member,
    Status,
    SyncState,
    TimelineHistory,
)

import raftline
from raftline_patroni.deadline import Deadline

INITIALIZE, CONFIG, LEADER, FAILOVER = "initialize", "config", "leader", "failover"
HISTORY, MEMBERS, STATUS, SYNC, FAILSAFE = "history", "members/", "status", "sync", "failsafe"
OLD_STATUS = "optime/leader"
NEVER = 0  # `unchanged since 0` holds for no key
_WITH_INDEX = (CONFIG, FAILOVER, LEADER, SYNC)  # those that are written on a condition, or leased


class Loaded:
    """The values of all keys as of one moment, and of some keys the index of the last change.

    The indexes are read before the values. So where a key is changed between the two, a write on
    the condition of its index fails, and never passes wrongly.
    """

    def __init__(self, kv: raftline.KV[str], prefix: str, deadline: Deadline) -> None:
        self._stats = {key: kv.within(deadline.left).stat(prefix + key) for key in _WITH_INDEX}
        pairs = kv.within(deadline.left).items(prefix)
        self.values: Mapping[str, str] = {key.removeprefix(prefix): each for key, each in pairs}

    def version(self, key: str) -> int:
        """Return the index of a key's last change."""
        stat = self._stats[key]
        return NEVER if stat is None else stat.index

    @property
    def lease(self) -> str | None:
        """The lease of the leader's key."""
        stat = self._stats[LEADER]
        return None if stat is None else stat.lease


def version_of(value: str) -> str:
    """Return a version for a key that is never written on a condition: one for each value."""
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def cluster_of(loaded: Loaded) -> Cluster:
    """Return what the keys say of the cluster."""
    values = loaded.values
    members = [
        Member.from_node(version_of(value), key.removeprefix(MEMBERS), None, value)
        for key, value in values.items()
        if key.startswith(MEMBERS) and key.count("/") == 1
    ]
    config = failover = history = None
    if CONFIG in values:
        config = ClusterConfig.from_node(loaded.version(CONFIG), values[CONFIG])
    if FAILOVER in values:
        failover = Failover.from_node(loaded.version(FAILOVER), values[FAILOVER])
    if HISTORY in values:
        history = TimelineHistory.from_node(version_of(values[HISTORY]), values[HISTORY])
    sync_version = loaded.version(SYNC) if SYNC in values else None
    return Cluster(
        values.get(INITIALIZE),
        config,
        _leader(loaded, members),
        Status.from_node(values.get(STATUS) or values.get(OLD_STATUS)),
        members,
        failover,
        SyncState.from_node(sync_version, values.get(SYNC)),
        history,
        _failsafe(values),
    )


def _leader(loaded: Loaded, members: list[Member]) -> Leader | None:
    name = loaded.values.get(LEADER)
    if name is None:
        return None
    unknown = Member(-1, name, None, {})
    member = next((each for each in members if each.name == name), unknown)
    return Leader(loaded.version(LEADER), loaded.lease, member)


def _failsafe(values: Mapping[str, str]) -> Any:
    try:
        return json.loads(values[FAILSAFE])
    except (KeyError, ValueError):
        return None
