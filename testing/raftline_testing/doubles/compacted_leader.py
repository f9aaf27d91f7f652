"""A leader that has compacted its log, and a follower that needs its snapshot."""

from __future__ import annotations

from raftline.raft.inputs import Receive, SnapshotTaken
from raftline.raft.log import Snapshot
from raftline.raft.membership import all_vote
from raftline.raft.messages import (
    AppendAccepted,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
)
from raftline.raft.node import RawNode
from raftline.raft.state import Options

from .cores import TIMEOUT_MS, compact, established

SMALL = Options(
    election_timeout_ms=150, heartbeat_ms=50, chunk_bytes=10, trailing_bytes=0, chunk_window=2
)
THREE_PIECES = 25
MEMBERS = all_vote({f"s{n}": f"localhost:{9999 + n}" for n in (1, 2, 3)})


def leader_with_snapshot(index: int = 3, size: int = THREE_PIECES) -> RawNode:
    """Return a leader of entries 1-5 (5 is its no-op), compacted up to `index`."""
    node = established("s1", 1, 1, 1, 2, options=SMALL)
    node.step(
        SnapshotTaken(Snapshot(index, node.view.log.term_at(index) or 0, size, 7)), TIMEOUT_MS
    )
    while compact(node, node.view.compaction_index):
        pass
    return node


def fall_behind(node: RawNode, peer: str = "s2") -> list[InstallSnapshot]:
    """Make a follower say that it has lost everything; return the pieces it is sent."""
    node.view.progress[peer].match_index = 0
    # It refuses what follows on its match index, and then what follows on the log's base.
    pieces(node, AppendRejected(peer, "s1", node.view.term, 0, node.view.round))
    return pieces(node, AppendRejected(peer, "s1", node.view.term, 0, node.view.round))


def pieces(
    node: RawNode, message: AppendRejected | InstallSnapshotReply | AppendAccepted
) -> list[InstallSnapshot]:
    effects = node.step(Receive(message), node.view.now_ms)
    return [m for m in effects.send_after_save if isinstance(m, InstallSnapshot)]
