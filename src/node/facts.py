"""The facts of a node that `status` prints."""

from __future__ import annotations

from raftline.raft.view import NodeView
from raftline.wire.membercommands import membership_facts

LEASE_SHOWN_MS = 3_600_000  # a node that is alone has an endless lease


def node_facts(view: NodeView, applied_index: int, now_ms: int) -> dict[str, object]:
    """Return what `status` prints of a node that has applied its log up to `applied_index`; whoever
    calls holds the driver's `core` lock."""
    return {
        "name": view.name,
        "role": view.role.value,
        "term": view.term,
        "leader": view.leader,
        "last_index": view.log.last_index,
        "synced_index": view.durable_index,
        "commit_index": view.commit_index,
        "last_applied": applied_index,
        "base_index": view.log.base_index,
        "snapshot_index": view.snapshot.index if view.snapshot else 0,
        "snapshot_bytes": view.snapshot.size if view.snapshot else 0,
        "arriving_bytes": view.arriving_bytes,
        "recovering": view.recovering,
        "newborn": view.newborn,
        "may_be_new": view.may_be_new,
        "no_leader_because": view.no_leader_because,
        **membership_facts(view.configurations, view.commit_index),
        "handing_over_to": view.transfer.to if view.transfer else None,
        "lease_ms": max(0, min(view.lease_until_ms - now_ms, LEASE_SHOWN_MS)),
    }
