"""The view of a server: its state to look at, and nothing to change it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from raftline.raft.change import Change, PendingChange
from raftline.raft.entries import Entry, Snapshot
from raftline.raft.lease import lease_until_ms
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


class NodeView:
    """A window on a server's state, as of its last step.

    It costs nothing to make and copies nothing, since the driver looks through it at each step.
    Whoever needs several facts of one moment holds the lock under which the core is stepped.
    """

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        self._state = state

    # --- who it is, and whom it follows ------------------------------------------------------

    @property
    def name(self) -> str:
        return self._state.name

    @property
    def role(self) -> Role:
        return self._state.role

    @property
    def is_leader(self) -> bool:
        return self._state.leading is not None

    @property
    def term(self) -> int:
        return self._state.term

    @property
    def vote(self) -> str | None:
        return self._state.vote

    @property
    def leader(self) -> str | None:
        return self._state.leader

    @property
    def hears_from_leader(self) -> bool:
        """Whether a leader spoke within the shortest election timeout, or has its promise."""
        return self._state.hears_from_leader

    @property
    def no_leader_because(self) -> str:
        """Why no leader is heard, if servers without a vote are the reason; else ""."""
        return self._state.no_leader_because

    @property
    def options(self) -> Options:
        return self._state.options

    # --- its log -----------------------------------------------------------------------------

    @property
    def log(self) -> LogView:
        return self._state.log

    @property
    def commit_index(self) -> int:
        return self._state.commit_index

    @property
    def last_applied(self) -> int:
        return self._state.last_applied

    @property
    def durable_index(self) -> int:
        """Up to where its log is known to be on its disk."""
        return self._state.durable_index

    @property
    def snapshot(self) -> Snapshot | None:
        """The one on its disk."""
        return self._state.snapshot

    @property
    def arriving_bytes(self) -> int:
        """How much is here of a snapshot that arrives."""
        return self._state.incoming.received if self._state.incoming else 0

    @property
    def compaction_index(self) -> int:
        """Up to where the log may be dropped from memory."""
        return compaction_index(self._state)

    # --- the members -------------------------------------------------------------------------

    @property
    def configurations(self) -> Configurations:
        return self._state.configurations

    @property
    def membership(self) -> Membership:
        """The latest configuration in the log, committed or not."""
        return self._state.membership

    @property
    def peers(self) -> list[str]:
        """The other members."""
        return self._state.peers

    @property
    def contacts(self) -> Mapping[str, str]:
        """Name and host:port of everybody to keep a connection to."""
        return self._state.contacts

    @property
    def is_member(self) -> bool:
        return self._state.is_member

    @property
    def removed_by(self) -> int:
        """The entry that took this server out, 0 if none did."""
        return self._state.removed_by

    # --- memory that may be lost -------------------------------------------------------------

    @property
    def recovering(self) -> bool:
        """Whether it lost its memory, and has no vote until it has caught up."""
        return self._state.recovering

    @property
    def newborn(self) -> bool:
        """Whether it began with nothing and has not voted yet."""
        return self._state.newborn

    @property
    def may_be_new(self) -> bool:
        """Whether it can't tell if it lost anything."""
        return self._state.may_be_new

    # --- as a leader -------------------------------------------------------------------------

    @property
    def progress(self) -> Mapping[str, Progress]:
        """The progress of each follower; empty unless it leads."""
        return self._state.progress

    @property
    def votes(self) -> Mapping[str, bool]:
        """The answers of the servers that it asked for their vote last."""
        return self._state.votes

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
    def transfer(self) -> PendingTransfer | None:
        """The leadership transfer under way."""
        return self._state.transfer

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

    # --- time --------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """The time of its last step."""
        return self._state.now_ms

    @property
    def election_at_ms(self) -> int:
        """The time at which it stands for election, unless a leader is heard."""
        return self._state.election_at_ms
