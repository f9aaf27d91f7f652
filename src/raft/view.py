"""The view of a server: its state to look at, and nothing to change it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, Protocol

from raftline.raft.change import Change, PendingChange
from raftline.raft.entries import Entry, Snapshot
from raftline.raft.lease import lease_until_ms
from raftline.raft.levels import Levels
from raftline.raft.membership import Configurations, Membership
from raftline.raft.progress import Progress
from raftline.raft.roles import PendingTransfer, Role
from raftline.raft.snapshot import compaction_index
from raftline.raft.state import Options, State


class LogView(Protocol):
    """The log, to look at."""

    @property
    def base_index(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    @property
    def last_term(self) -> int: ...
    @property
    def commands(self) -> Sequence[str]: ...
    def term_at(self, index: int) -> int | None: ...
    def entries(self, first: int, last: int) -> list[Entry]: ...


def _same(name: str) -> Any:
    """Return a property that reads this name of the state."""
    return property(attrgetter(f"_state.{name}"))


class NodeView:
    """A window on a server's state, as of its last step.

    It costs nothing to make and copies nothing, since the driver looks through it at each step.
    Whoever needs several facts of one moment holds the lock under which the core is stepped.
    `State` says what each field is.
    """

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        self._state = state

    name: Final[str] = _same("name")
    role: Final[Role] = _same("role")
    term: Final[int] = _same("term")
    vote: Final[str | None] = _same("vote")
    leader: Final[str | None] = _same("leader")
    hears_from_leader: Final[bool] = _same("hears_from_leader")
    no_leader_because: Final[str] = _same("no_leader_because")
    options: Final[Options] = _same("options")

    log: Final[LogView] = _same("log")
    commit_index: Final[int] = _same("commit_index")
    last_applied: Final[int] = _same("last_applied")
    durable_index: Final[int] = _same("durable_index")
    snapshot: Final[Snapshot | None] = _same("snapshot")

    levels: Final[Levels] = _same("levels")
    peer_levels: Final[Mapping[str, int]] = _same("peer_levels")
    configurations: Final[Configurations] = _same("configurations")
    membership: Final[Membership] = _same("membership")
    peers: Final[list[str]] = _same("peers")
    contacts: Final[Mapping[str, str]] = _same("contacts")
    is_member: Final[bool] = _same("is_member")
    removed_by: Final[int] = _same("removed_by")

    recovering: Final[bool] = _same("recovering")
    newborn: Final[bool] = _same("newborn")
    may_be_new: Final[bool] = _same("may_be_new")

    progress: Final[Mapping[str, Progress]] = _same("progress")
    votes: Final[Mapping[str, bool]] = _same("votes")
    transfer: Final[PendingTransfer | None] = _same("transfer")

    now_ms: Final[int] = _same("now_ms")
    election_at_ms: Final[int] = _same("election_at_ms")

    @property
    def is_leader(self) -> bool:
        return self._state.leading is not None

    @property
    def arriving_bytes(self) -> int:
        """How much is here of a snapshot that arrives."""
        return self._state.incoming.received if self._state.incoming else 0

    @property
    def compaction_index(self) -> int:
        """Up to where the log may be dropped from memory."""
        return compaction_index(self._state)

    @property
    def round(self) -> int:
        """The last round of heartbeats."""
        leading = self._state.leading
        return leading.round if leading is not None else 0

    @property
    def read_rounds(self) -> int:
        """How many rounds that confirm reads are under way."""
        leading = self._state.leading
        return len(leading.read_rounds) if leading is not None else 0

    @property
    def pending_change(self) -> PendingChange | None:
        """The change of members under way."""
        leading = self._state.leading
        return leading.pending_change if leading is not None else None

    @property
    def waiting_changes(self) -> list[Change]:
        """The changes of members that may not begin yet."""
        leading = self._state.leading
        return [change for change, _ in leading.waiting] if leading is not None else []

    @property
    def lease_until_ms(self) -> int:
        """Until when reads may be served under the lease; 0 without one."""
        return lease_until_ms(self._state)
