"""The core's options."""

from __future__ import annotations

from dataclasses import dataclass

from raftline.raft.messages import CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Options:
    """The core's constants. Broadcast time ≪ election timeout ≪ time between failures (§5.6)."""

    election_timeout_ms: int = 500  # T: timeouts are picked anew each time from [T, T + spread)
    heartbeat_ms: int = 100
    batch_entries: int = 2000  # most entries in one AppendEntries
    batch_bytes: int = 1 << 20  # most bytes of commands in one; a single entry may be longer
    window: int = 8  # most unanswered AppendEntries to one follower
    read_rounds: int = 2  # most confirmation rounds under way for reads
    chunk_bytes: int = CHUNK_BYTES  # of a snapshot in one message
    chunk_window: int = 2  # most unanswered chunks to one follower
    trailing_bytes: int = 4 << 20  # of entries kept behind a snapshot, for followers just behind
    lease: bool = False  # promise one's vote for a while in each answer, and serve reads on that
    lease_drift_percent: int = 10  # how much faster a follower's clock may run (raft/lease.py)
