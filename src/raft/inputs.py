"""The inputs of the consensus core: one class for each event that a server handles.

The same state, inputs, times and random draws give the same Effects. A token stands for a request
that is answered later: an Effects returns it unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .change import Change
from .log import Snapshot
from .membership import Membership
from .messages import Message


@dataclass(slots=True)
class Receive:
    """A message arrived from a peer. Raises PeerError, and changes nothing, if no server of a
    correct cluster sends it."""

    message: Message


@dataclass(slots=True)
class Propose:
    """Append commands as the leader, in order, from index `last_index + 1` on. Raises SafetyError
    unless `takes_proposals`."""

    commands: list[str]


@dataclass(slots=True)
class Read:
    """Confirm reads: each token is returned in `reads` or in `refused`, now or later. With
    `by_lease`, serve them under this leader's lease, if it has one."""

    tokens: Sequence[Any]
    by_lease: bool = False


@dataclass(slots=True)
class AskLeader:
    """Confirm reads at this follower by asking its leader; tokens are returned as with `Read`."""

    tokens: Sequence[Any]


@dataclass(slots=True)
class ChangeMembers:
    """Change the members as the leader; `token` is returned in `settled`, now or later. Raises
    SafetyError if this server does not lead."""

    change: Change
    token: Any


@dataclass(slots=True)
class Transfer:
    """Hand the leadership over to `to`, or to any suitable follower if `to` is None. Raises
    TransferRefused, and changes nothing, if that is impossible."""

    to: str | None


@dataclass(slots=True)
class Begin:
    """An operator's claim that these silent members never ran, so that a newborn begins without
    them (raft/newborn.py). Raises BeginRefused, and changes nothing, if that can't be true or does
    not help."""

    without: Sequence[str]


@dataclass(slots=True)
class Synced:
    """The log up to this entry is on disk."""

    index: int
    term: int


@dataclass(slots=True)
class Applied:
    """The state machine has executed the entries up to `index`, or loaded the snapshot of that
    entry. The Effects contain only reads. Raises SafetyError if these entries were not handed out.

    `chain` is a checksum of all entries up to there, the same on every server, if the rim keeps one
    (raft/agreement.py).
    """

    index: int
    chain: int | None = None


@dataclass(slots=True)
class StateSummed:
    """The state after entry `index` has this checksum, which every server must find there
    (raft/agreement.py). `chain` is that of the entries up to there."""

    index: int
    sum: int
    chain: int = 0


@dataclass(slots=True)
class Tick:
    """Time has passed: heartbeats, CheckQuorum, an election or a repeated question may be due."""


@dataclass(slots=True)
class NeedParts:
    """The next commands need these parts, each `PART=DIGEST`, and all members apply them
    (raft/upgrade.py)."""

    parts: Sequence[str]


@dataclass(slots=True)
class PeerDisconnected:
    """The connection of a peer broke."""

    peer: str


@dataclass(slots=True)
class PeerBuild:
    """A peer announced on a connection from this server which parts its build applies; None: the
    connection broke. `is_at_floor`: it announces none, as other implementations do."""

    peer: str
    applies: frozenset[str] | None
    is_at_floor: bool = False


@dataclass(slots=True)
class SnapshotTaken:
    """A snapshot of this server's own state is durable on its disk (§7). Raises SafetyError if it
    covers entries that were not applied here, or different ones."""

    snapshot: Snapshot


@dataclass(slots=True)
class SnapshotChecked:
    """A snapshot passed the requested check. It contains these members, the identity of
    the cluster, and what the entries after it may need."""

    snapshot: Snapshot
    members: Membership
    cluster: str = ""
    needs: str = ""


@dataclass(slots=True)
class SnapshotRejected:
    """A snapshot failed the requested check."""

    snapshot: Snapshot
    why: str


@dataclass(slots=True)
class SnapshotGone:
    """A chunk for `peer` could not be read: a later snapshot has replaced the file."""

    peer: str
    snapshot: Snapshot


@dataclass(slots=True)
class Compact:
    """Drop entries up to `index` from memory, a few thousand in one step. Raises SafetyError if no
    snapshot on disk covers them."""

    index: int


@dataclass(slots=True)
class Stop:
    """This server stops: the tokens of all waiting requests are returned."""


Input = (
    Receive
    | Propose
    | Read
    | AskLeader
    | ChangeMembers
    | Transfer
    | Begin
    | Synced
    | Applied
    | StateSummed
    | Tick
    | NeedParts
    | PeerDisconnected
    | PeerBuild
    | SnapshotTaken
    | SnapshotChecked
    | SnapshotRejected
    | SnapshotGone
    | Compact
    | Stop
)
