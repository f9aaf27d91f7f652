"""The values that a core starts with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raftline.raft.log import Entry, Log, Snapshot
from raftline.raft.membership import Membership
from raftline.raft.state import Options


@dataclass
class Start:
    """The arguments of a core when its server starts: the content of its disk, and its
    constants."""

    name: str
    members: Membership  # at the base of the log; entries of the log may change it
    log: Log
    term: int
    vote: str | None
    snapshot: Snapshot | None  # the snapshot on its disk, for other servers
    options: Options  # election_timeout_ms, heartbeat_ms, chunk_bytes
    pick_timeout_ms: Callable[[], int]  # the next election timeout, by chance
    lost: bool  # files of this server were lost: it must never give or ask for a vote again


@dataclass
class Given:
    """A start in the form in which it is sent."""

    name: str
    members: Membership
    entries: Sequence[Entry]
    base_index: int
    base_term: int
    term: int
    vote: str | None
    snapshot: Snapshot | None = None
    lost: bool = False
