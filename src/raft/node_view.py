"""A read-only view of a server's state. The `ClusterIdentity`, `Configurations` and `Progress`
objects are the server's own: callers must not change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from .identity import ClusterIdentity
from .inputs import StateSummed
from .leader_lease import lease_until_ms
from .log import Entry, Snapshot
from .membership import Configurations, Membership
from .progress import Progress
from .roles import PendingTransfer, Role
from .snapshot import compaction_index
from .state import Options, State
from .upgrade import who_lacks


class LogView(Protocol):
    """A read-only view of the log."""

    @property
    def base_index(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    @property
    def last_term(self) -> int: ...
    @property
    def commands(self) -> Sequence[str]: ...
    def term_at(self, index: int) -> int | None: ...
    def last_runs(self, count: int) -> list[tuple[int, int]]: ...
    def entries(self, first: int, last: int) -> list[Entry]: ...


class NodeView:
    """A read-only view of a server's state after its last step.

    The driver uses it at each step, so creating it is cheap and copies nothing. To read several
    facts of one moment, hold the lock under which the core is stepped. `State` documents each
    field.
    """

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def name(self) -> str:
        return self._state.name

    @property
    def role(self) -> Role:
        return self._state.role

    @property
    def term(self) -> int:
        return self._state.term

    @property
    def led_term(self) -> int:
        """The term that this server leads, 0 if it leads none."""
        return self._state.term if self._state.leading is not None else 0

    @property
    def vote(self) -> str | None:
        return self._state.vote

    @property
    def leader(self) -> str | None:
        return self._state.leader

    @property
    def hears_from_leader(self) -> bool:
        return self._state.hears_from_leader

    @property
    def no_leader_because(self) -> str:
        return self._state.no_leader_because

    @property
    def no_leader_for(self) -> Sequence[str]:
        return self._state.no_leader_for

    @property
    def options(self) -> Options:
        return self._state.options

    @property
    def log(self) -> LogView:
        return self._state.log

    @property
    def commit_index(self) -> int:
        return self._state.commit_index

    @property
    def applying(self) -> int:
        return self._state.applying

    @property
    def applied(self) -> int:
        return self._state.applied

    def apply_waits_ms(self, now_ms: int) -> int:
        return self._state.apply_waits_ms(now_ms)

    def applies_nothing(self, now_ms: int) -> bool:
        return self._state.applies_nothing(now_ms)

    @property
    def reads_wait(self) -> bool:
        """Whether a confirmed read waits for an entry that was handed out."""
        waiting = self._state.confirmed_reads
        return bool(waiting) and waiting[0].index <= self._state.applying

    @property
    def durable_index(self) -> int:
        return self._state.durable_index

    @property
    def snapshot(self) -> Snapshot | None:
        return self._state.snapshot

    @property
    def identity(self) -> ClusterIdentity:
        return self._state.identity

    def who_lacks(self, parts: Sequence[str]) -> tuple[str, str]:
        """Return a part of these that no entry of this leader may need yet, and the member that
        keeps it from that; "" and "" if they may."""
        return who_lacks(self._state, parts)

    def told_parts(self, name: str) -> frozenset[str] | None:
        """Return what a peer last announced that it applies; None if it never did."""
        return self._state.peer_parts.get(name)

    @property
    def cluster(self) -> str:
        """The identity of the cluster; "" until its entry is known to be committed."""
        return self._state.cluster

    @property
    def configurations(self) -> Configurations:
        return self._state.configurations

    @property
    def membership(self) -> Membership:
        return self._state.membership

    @property
    def peers(self) -> list[str]:
        return self._state.peers

    @property
    def contacts(self) -> Mapping[str, str]:
        return self._state.contacts

    @property
    def is_member(self) -> bool:
        return self._state.is_member

    @property
    def removed_by(self) -> int:
        return self._state.removed_by

    @property
    def recovering(self) -> bool:
        return self._state.recovering

    @property
    def differs(self) -> int:
        """The entry at which this server's state is known to differ; 0: it does not."""
        return self._state.differs

    @property
    def received_index(self) -> int:
        """The snapshot by which this server's state came; 0: the others have confirmed it."""
        return self._state.received_index

    @property
    def differing(self) -> Mapping[str, int]:
        """The entry at which the state of each server is known to differ, by name: this server's,
        and at a leader those of its followers."""
        own = {self._state.name: self._state.differs} if self._state.differs else {}
        found = {name: each.differs_at for name, each in self._state.progress.items()}
        return own | {name: index for name, index in found.items() if index}

    @property
    def undecided(self) -> Mapping[str, int]:
        """At a leader, the followers that differ from it while no quorum says who is wrong, with
        the entry."""
        return {
            name: each.difference.index
            for name, each in self._state.progress.items()
            if each.difference is not None and not each.is_told
        }

    @property
    def state_sums(self) -> Mapping[int, StateSummed]:
        """The last sums of this server's state, by the entry after which each was taken."""
        return self._state.state_sums

    @property
    def newborn(self) -> bool:
        return self._state.newborn

    @property
    def may_be_new(self) -> bool:
        return self._state.may_be_new

    @property
    def progress(self) -> Mapping[str, Progress]:
        return self._state.progress

    @property
    def votes(self) -> Mapping[str, bool]:
        return self._state.votes

    @property
    def transfer(self) -> PendingTransfer | None:
        return self._state.transfer

    @property
    def now_ms(self) -> int:
        return self._state.now_ms

    @property
    def election_at_ms(self) -> int:
        return self._state.election_at_ms

    @property
    def is_leader(self) -> bool:
        return self._state.leading is not None

    @property
    def knows_committed(self) -> bool:
        """Whether this node leads and has applied an entry of its term, and so all entries that
        were committed before it led (paper §8)."""
        state = self._state
        return state.leading is not None and state.log.term_at(state.applied) == state.term

    @property
    def arriving_bytes(self) -> int:
        """The received bytes of an arriving snapshot."""
        return self._state.incoming.received if self._state.incoming else 0

    @property
    def compaction_index(self) -> int:
        """The index up to which the log may be dropped from memory."""
        return compaction_index(self._state)

    @property
    def round(self) -> int:
        """The number of the last round of heartbeats."""
        leading = self._state.leading
        return leading.round if leading is not None else 0

    @property
    def read_rounds(self) -> int:
        """The number of rounds in progress that confirm reads."""
        leading = self._state.leading
        return len(leading.read_rounds) if leading is not None else 0

    @property
    def read_round(self) -> int:
        """The first round for which reads wait; 0 if there is none."""
        leading = self._state.leading
        return leading.read_rounds[0].round if leading is not None and leading.read_rounds else 0

    @property
    def quorum_check_at_ms(self) -> int:
        """The time of a leader's next CheckQuorum; 0 in other roles."""
        leading = self._state.leading
        return leading.quorum_check_at_ms if leading is not None else 0

    @property
    def lease_until_ms(self) -> int:
        """The time until which reads may be served under the lease; 0 without a lease."""
        return lease_until_ms(self._state)
