"""The inputs of the consensus core: one value for each thing that can happen to a server.

The same state, inputs, times and draws of chance give the same Effects. Tokens stand for requests
that are answered later: they come back in an Effects as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .change import Change
from .levels import FIRST
from .log import Snapshot
from .membership import Membership
from .messages import Message


@dataclass(slots=True)
class Receive:
    """A message came from a peer. Raises PeerError if no server of a sound cluster sends it; then
    nothing was changed."""

    message: Message


@dataclass(slots=True)
class Propose:
    """Append commands as the leader; they get the indexes `last_index + 1 …` in order. Raises
    SafetyError unless `takes_proposals`."""

    commands: list[str]


@dataclass(slots=True)
class Read:
    """Confirm reads: each token comes back in `reads` or in `refused`, now or later. `by_lease`:
    serve them under this leader's lease, if it has one."""

    tokens: Sequence[Any]
    by_lease: bool = False


@dataclass(slots=True)
class AskLeader:
    """Confirm reads at this follower by asking its leader; the tokens come back as with `Read`."""

    tokens: Sequence[Any]


@dataclass(slots=True)
class ChangeMembers:
    """Change the members as the leader; `token` comes back in `settled`, now or later. Raises
    SafetyError if this server does not lead."""

    change: Change
    token: Any


@dataclass(slots=True)
class Transfer:
    """Hand the leadership over, to anybody fit if `to` is None. Raises TransferRefused if that
    can't be; then nothing was changed."""

    to: str | None


@dataclass(slots=True)
class Synced:
    """The log up to this entry is on disk."""

    index: int
    term: int


@dataclass(slots=True)
class Applied:
    """The state machine has executed the entries up to `index`, or taken over the snapshot of that
    entry. The Effects hold reads alone. Raises SafetyError if they were not handed out."""

    index: int


@dataclass(slots=True)
class Tick:
    """Time has passed: heartbeats, CheckQuorum, an election, a question once more."""


@dataclass(slots=True)
class PeerDisconnected:
    """The connection of a peer broke."""

    peer: str


@dataclass(slots=True)
class PeerLevel:
    """A peer sent the level of its build, on a connection made by this server; 0: that broke."""

    peer: str
    level: int


@dataclass(slots=True)
class SnapshotTaken:
    """A snapshot of this server's own state lies on its disk, durable (§7). Raises SafetyError if
    it stands for entries that were not applied here, or for other ones."""

    snapshot: Snapshot


@dataclass(slots=True)
class SnapshotChecked:
    """A snapshot whose check was asked for passed; its configuration has these members, and the
    cluster had this level and this identity."""

    snapshot: Snapshot
    members: Membership
    level: int = FIRST
    cluster: str = ""


@dataclass(slots=True)
class SnapshotRejected:
    """A snapshot whose check was asked for did not pass."""

    snapshot: Snapshot
    why: str


@dataclass(slots=True)
class SnapshotGone:
    """A piece for `peer` could not be read: a later snapshot has taken the file's name."""

    peer: str
    snapshot: Snapshot


@dataclass(slots=True)
class Compact:
    """Drop entries up to `index` from memory, some thousand in one step. Raises SafetyError if no
    snapshot on disk stands for them."""

    index: int


@dataclass(slots=True)
class StepDown:
    """Follow, by a controller's word. Raises OrderRefused if this server does so already."""


@dataclass(slots=True)
class Campaign:
    """Stand at once, by a controller's word. Raises OrderRefused without a vote to give."""


@dataclass(slots=True)
class SetHeartbeat:
    """Send heartbeats at this interval, in milliseconds."""

    heartbeat_ms: int


@dataclass(slots=True)
class Stop:
    """This server stops: the tokens of all that waits come back."""


Input = (
    Receive
    | Propose
    | Read
    | AskLeader
    | ChangeMembers
    | Transfer
    | Synced
    | Applied
    | Tick
    | PeerDisconnected
    | PeerLevel
    | SnapshotTaken
    | SnapshotChecked
    | SnapshotRejected
    | SnapshotGone
    | Compact
    | StepDown
    | Campaign
    | SetHeartbeat
    | Stop
)
