"""What a node tells of itself, for `status` and `members`: its own view, confirmed by nobody."""

from __future__ import annotations

from raftline.raft.lease import lease_until_ms
from raftline.raft.state import State
from raftline.wire.membercommands import membership_facts

LEASE_SHOWN_MS = 3_600_000  # a node that is alone has an endless lease


def node_facts(state: State, now_ms: int) -> dict[str, object]:
    """Return what `status` tells of a node; whoever calls holds the driver's `core` lock."""
    return {
        "name": state.name,
        "role": state.role.value,
        "term": state.term,
        "leader": state.leader,
        "last_index": state.log.last_index,
        "synced_index": state.durable_index,
        "commit_index": state.commit_index,
        "last_applied": state.last_applied,
        "base_index": state.log.base_index,
        "snapshot_index": state.snapshot.index if state.snapshot else 0,
        "snapshot_bytes": state.snapshot.size if state.snapshot else 0,
        "arriving_bytes": state.incoming.received if state.incoming else 0,
        "recovering": state.amnesiac,
        "newborn": state.newborn,
        "may_be_new": state.may_be_new,
        "no_leader_because": state.no_leader_because,
        **membership_facts(state.configurations, state.commit_index),
        "handing_over_to": state.transfer.to if state.transfer else None,
        "lease_ms": max(0, min(lease_until_ms(state) - now_ms, LEASE_SHOWN_MS)),
    }
