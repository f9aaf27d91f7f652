"""Figure 2 of the paper as one dataclass, and the operations that keep it consistent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .effects import Effects, HardState, ReadReady
from .identity import PREFIX as IDENTITY_PREFIX
from .identity import CannotApply, ClusterIdentity, check_needs, lacking
from .inputs import StateSummed
from .log import Entry, Log, SafetyError, Snapshot, is_run
from .membership import PREFIX, Configurations, Membership
from .messages import CHUNK_BYTES, Message
from .progress import Progress
from .roles import Candidacy, ForwardedReads, Incoming, Leading, PendingTransfer, Role

# A disk, or a state machine, without progress for this many election timeouts counts as hung; one
# that is merely slow ends its work long before that.
DISK_TIMEOUTS = 10
LATE_TIMEOUTS = 2  # election timeouts after which an entry is applied late
APPLY_MAX = 4096  # entries handed out at a time, so that heartbeats continue


@dataclass(frozen=True, slots=True)
class Options:
    """The core's constants. Broadcast time ≪ election timeout ≪ time between failures (§5.6)."""

    election_timeout_ms: int = 500  # T: timeouts are drawn each time from [T, T + spread)
    heartbeat_ms: int = 100
    batch_entries: int = 2000  # most entries in one AppendEntries
    batch_bytes: int = 1 << 20  # most bytes of commands in one; a single entry may be longer
    window: int = 8  # most unanswered AppendEntries to one follower
    read_rounds: int = 2  # most confirmation rounds under way for reads
    chunk_bytes: int = CHUNK_BYTES  # of a snapshot in one message
    chunk_window: int = 2  # most unanswered chunks to one follower
    trailing_bytes: int = 4 << 20  # entries of a snapshot kept for followers that lack a few
    lease: bool = False  # promise the vote for a while in each answer; serve reads by lease
    lease_drift_percent: int = (
        10  # how much faster a follower's clock may run (raft/leader_lease.py)
    )
    # The identity for a cluster that has none; "" at the floor, where others take part.
    cluster_if_new: str = ""
    # What this build applies, each `PART=DIGEST` (raft/upgrade.py). None: it checks no entry.
    applies: frozenset[str] | None = None
    own_parts: Sequence[str] = ()  # of these, without the digests of earlier builds
    # Election timeouts after which a newborn begins without silent members (raft/newborn.py). None:
    # it never does. No time proves that a silent member has no entries.
    patience: int | None = None


@dataclass(slots=True)
class State:
    """The state of a server. Times are in milliseconds; random delays come from a function."""

    name: str
    configurations: Configurations
    log: Log
    term: int
    vote: str | None
    options: Options
    pick_timeout_ms: Callable[[], int]
    now_ms: int
    recovering: bool = False  # it lost its log, or its term and vote, or all (raft/recovering.py)
    newborn: bool = False  # it began with nothing and has not voted yet (raft/newborn.py)
    looks_until_ms: int = 0  # a newborn waits so long for members that are silent
    # Members that a newborn heard as such, and the last term in which each may have stood.
    without_history: dict[str, int] = field(default_factory=dict)
    never_ran: frozenset[str] = frozenset()  # silent members, as an operator claims
    better_log_until_ms: int = 0  # another newborn has shown a hand-written log until then
    may_be_new: bool = False  # with `recovering`: it can't know whether it lost anything
    differs: int = 0  # its state differs from this entry on (raft/agreement.py)
    begins_again: bool = False  # with `differs`: its next start begins with nothing
    received_index: int = 0  # the snapshot by which its state came, until the others confirmed it
    incarnation: int = 1  # unique to each start of this server
    leader: str | None = None
    leader_heard_at_ms: int | None = None  # None: no leader, or its connection broke
    far_term: int = 0  # a term too far ahead, named while no leader is heard (raft/far_terms.py)
    commit_index: int = 0
    applying: int = 0  # handed out to be applied: the rim executes these in order
    applied: int = 0  # the rim has executed these, and reported that by `Applied`
    apply_since_ms: int = 0  # since when committed entries wait for the next `Applied`; 0: none
    due_index: int = 0  # the commit index when `due_since_ms` began
    due_since_ms: int = 0  # since when that entry waits to be applied; 0: none waits
    points: dict[int, int] = field(default_factory=dict)  # chains by applied index
    state_sums: dict[int, StateSummed] = field(default_factory=dict)  # by index
    durable_index: int = 0  # entries up to here are on this server's disk
    election_at_ms: int = 0
    snapshot: Snapshot | None = None  # the current one on this server's disk
    incoming: Incoming | None = None  # the arriving one, never mixed with another
    quick_retries_left: int = 0  # remaining short election timeouts: the leader's process ended
    promised_until_ms: int = 0  # this server's vote is promised to a leader (raft/leader_lease.py)
    lease_ms: int = 0  # the longest promise recorded on disk
    identity: ClusterIdentity = field(default_factory=lambda: ClusterIdentity(0))  # of the log
    cluster: str = ""  # the identity of the cluster, once its entry is known to be committed
    # By peer that has announced its build on an open connection: whether it is above the floor.
    peer_builds: dict[str, bool] = field(default_factory=dict)
    peer_parts: dict[str, frozenset[str]] = field(default_factory=dict)  # as they last announced
    own_needs: str | None = None  # the needs of the log when they were last those of this build
    forwarded_reads: ForwardedReads = field(default_factory=ForwardedReads)
    confirmed_reads: deque[ReadReady] = field(default_factory=deque)  # until these are applied
    removed_by: int = 0  # the printed entry that removed this server, or a later one
    # Voters whose latest denials show that they have no vote; True: it may be new.
    without_vote_now: dict[str, bool] = field(default_factory=dict)
    no_leader_because: str = ""  # as printed, if voters without a vote are the reason
    no_leader_for: Sequence[str] = ()  # these voters
    candidacy: Candidacy | None = None  # during an election or PreVote
    leading: Leading | None = None  # while it leads
    out: Effects = field(default_factory=Effects)

    @property
    def role(self) -> Role:
        if self.leading is not None:
            return Role.LEADER
        if self.candidacy is None:
            return Role.FOLLOWER
        return Role.PRE_CANDIDATE if self.candidacy.pre_vote else Role.CANDIDATE

    @property
    def as_leader(self) -> Leading:
        """This server's state as a leader.

        Raises:
            SafetyError: this server does not lead, so a rule for leaders must not run.
        """
        if self.leading is None:
            raise SafetyError(f"{self.name} does not lead, it is {self.role.value}")
        return self.leading

    @property
    def votes(self) -> dict[str, bool]:
        """The answers to vote requests, in this election or in the one that this leader won."""
        election = self.leading or self.candidacy
        return election.votes if election is not None else {}

    @property
    def progress(self) -> dict[str, Progress]:
        """A leader's table of its followers; empty in any other role."""
        return self.leading.progress if self.leading is not None else {}

    @property
    def transfer(self) -> PendingTransfer | None:
        """The leadership transfer in progress."""
        return self.leading.transfer if self.leading is not None else None

    @property
    def membership(self) -> Membership:
        """The latest configuration in the log, whether or not it is committed (paper §6)."""
        return self.configurations.latest

    @property
    def peers(self) -> list[str]:
        """The other members, including learners, all of which receive entries."""
        return [name for name in self.configurations.latest.names if name != self.name]

    @property
    def contacts(self) -> Mapping[str, str]:
        """The name and host:port of each server to keep a connection to. A leader keeps contact
        with removed members until they know of their removal."""
        takes_part = self.is_member or self.may_stand
        names = {*self.peers, *self.progress} if takes_part else {*self.progress}
        leaving = self.leading.leaving if self.leading is not None else {}
        addresses = {**leaving, **self.configurations.latest.addresses}
        return {name: where for name, where in addresses.items() if name in names}

    @property
    def without_vote(self) -> int:  # for answers to a leader
        return self.incarnation if self.recovering else 0

    @property
    def is_member(self) -> bool:
        return self.configurations.latest.has(self.name)

    @property
    def is_changing_members(self) -> bool:
        """Whether this leader has a membership change to make (raft/reconfiguration.py)."""
        leading, members = self.leading, self.configurations.latest
        return leading is not None and bool(
            leading.pending_change is not None
            or leading.leaving
            or leading.waiting
            or members.outgoing
            or self.name not in members.voters
        )

    @property
    def may_stand(self) -> bool:
        """Whether this server may lead: it is an elector in the latest configuration, or was one in
        the previous configuration and doesn't know whether the latest is committed. Perhaps no
        other server has that entry, and its voters can't be elected without this server (thesis
        §4.2.2).
        """
        if self.name in self.configurations.latest.electors:
            return True
        index = self.configurations.index
        return index > self.commit_index and self.name in self.configurations.at(index - 1).electors

    @property
    def hears_from_leader(self) -> bool:
        """Whether a leader sent a message within the shortest election timeout (thesis §4.2.3), or
        this server's vote is promised to one."""
        return (
            self.role is Role.LEADER
            or self.now_ms < self.promised_until_ms
            or (
                self.leader_heard_at_ms is not None
                and self.now_ms - self.leader_heard_at_ms < self.options.election_timeout_ms
            )
        )

    def apply_waits_ms(self, now_ms: int) -> int:
        """How long committed entries have waited for the state machine without progress."""
        return now_ms - self.apply_since_ms if self.apply_since_ms else 0

    def applies_nothing(self, now_ms: int) -> bool:
        """Whether they have waited too long."""
        limit_ms = DISK_TIMEOUTS * self.options.election_timeout_ms
        return self.apply_waits_ms(now_ms) >= limit_ms

    @property
    def applies_late(self) -> bool:
        """Whether a committed entry has waited long, even if others before it are being applied, as
        after a restart with a long log."""
        limit_ms = LATE_TIMEOUTS * self.options.election_timeout_ms
        return self.due_since_ms > 0 and self.now_ms - self.due_since_ms >= limit_ms

    def may_send(self, name: str) -> bool:
        """Whether this server may send its log to the named one: rule 3 of raft/upgrade.py."""
        identity = self.identity
        if identity.is_at_floor:
            return True
        return self.peer_builds.get(name, False) and not lacking(
            identity.needs.latest, self.peer_parts.get(name, ())
        )

    @property
    def has_adopted_log(self) -> bool:
        """Whether this server's entries were all written by hand (raft/newborn.py)."""
        return self.newborn and self.log.last_index > 0

    @property
    def only_entries_wait(self) -> bool:
        """Whether entries of earlier steps are being written to disk, and this step adds nothing
        that must be on disk before a message is sent. After the installation of a snapshot, its
        write comes first."""
        is_behind = self.log.base_index <= self.durable_index < self.log.last_index
        return is_behind and not self.out.wants_disk

    def note(self, text: str) -> None:
        self.out.notes.append(text)

    def note_removed(self, index: int, how: str) -> None:
        """Note that this server was removed, as the log shows up to `index`."""
        self.removed_by = index
        self.out.members_changed = True
        self.note(
            f"[!] {self.name} was removed from the cluster {how}: it stands in no election and "
            "serves nobody. Stop it; to have it back, add it again"
        )

    def send(self, message: Message) -> None:
        """Send a message after everything that this input saves is on disk, which is the normal
        case."""
        self.out.send_after_save.append(message)

    def send_past_entries(self, message: Message) -> None:
        """Send a message without a new promise, which need not wait for writes of entries. It still
        waits for the write of a term, a vote or a lease."""
        out = self.out
        (out.send_past_entries if self.only_entries_wait else out.send_after_save).append(message)

    def send_early(self, message: Message) -> None:
        """Send a message ahead of the leader's own disk write (thesis §10.2.1). This gives 1.5
        times as many writes at one connection, and 1.2 times at 64 (docs/develop/speed.md). The
        message still waits for a pending write of a term or vote. Others vote only for a term that
        is on the candidate's disk, but a lone voter elects itself before that, and may have
        learners. A server that led with a log written by hand, and crashed before its write,
        forgets that others have that log. So leaders of these two kinds send early only after the
        write of `term_durable_index`."""
        out, leading = self.out, self.leading or self.as_leader  # which raises
        early = out.save is None and self.durable_index >= leading.term_durable_index
        (out.send if early else out.send_after_save).append(message)

    def save(self, term: int, vote: str | None) -> None:
        """Set the term and vote, which are on disk before any later message is sent."""
        if term < self.term or (term == self.term and self.vote not in (None, vote)):
            raise SafetyError(
                f"{self.name} would go from term {self.term} vote {self.vote} "
                f"to term {term} vote {vote}"
            )
        if self.out.send:
            raise SafetyError(f"{self.name} saves a term after a message was sent early")
        self.term, self.vote = term, vote
        if not self.options.lease and self.now_ms >= self.promised_until_ms:
            self.lease_ms = 0
        self.out.save = HardState(term, vote, self.lease_ms)
        if vote is not None and self.newborn and not self.log.last_index:
            self.newborn, self.out.recovered = False, True  # it takes part in the first election

    def arm_election(self) -> None:
        """Restart the election timer with a new random timeout (§5.2). It begins now, or later if a
        promise is longer than the shortest timeout (raft/leader_lease.py). A server that applies
        late lets the others stand first: it would answer nobody before it has caught up."""
        promised_ms = self.promised_until_ms - self.options.election_timeout_ms
        self.election_at_ms = max(self.now_ms, promised_ms) + self.pick_timeout_ms()
        if self.applies_late:
            self.election_at_ms += 4 * self.options.election_timeout_ms

    def refuse_forwarded_reads(self) -> None:
        """Refuse the reads for which the leader was asked, since the leader has changed."""
        self.out.refused += self.forwarded_reads.give_back()

    def follow(self, term: int, leader: str | None) -> None:
        """Become a follower in `term`. The election timer keeps running: only a leader's message or
        a granted vote resets it (Figure 2, followers), but a leader that steps down starts a new
        one."""
        if term > self.term or leader != self.leader:
            self.refuse_forwarded_reads()
        if term > self.term:
            self.save(term, None)  # a new term, a new vote
        leading = self.leading
        if leading is not None or self.candidacy is not None or self.leader != leader:
            self.note(_describe(self.role, term, leader))
        if leading is not None:
            self.arm_election()
            self.leader_heard_at_ms = None
            self.stop()
            self.out.members_changed |= bool(leading.leaving)
        self.leader = leader
        self.leading = self.candidacy = None
        if leader is not None:
            self.has_found_leader()

    def has_found_leader(self) -> None:
        """Drop what was known about the wait for a leader."""
        self.without_vote_now, self.no_leader_because, self.no_leader_for = {}, "", ()
        self.without_history, self.never_ran = {}, frozenset()

    def stop(self) -> None:
        """Drop all waiting requests and return their tokens, since this server stops or no longer
        leads."""
        if self.leading is not None:
            self.out.refused += self.leading.drop_reads()
            self.out.settled += self.leading.drop_changes()
        self.out.refused += self.forwarded_reads.give_back()
        self.out.refused += [ready.token for ready in self.confirmed_reads]
        self.confirmed_reads.clear()

    def append(self, entries: list[Entry]) -> None:
        """Add entries at the end of the log, in memory and, through `out`, on disk. A configuration
        among them is in use from now on (paper §6)."""
        first = self.log.last_index + 1
        indexes, terms, commands = zip(*entries)  # noqa: B905
        if len(entries) > 1 and is_run(indexes, terms, first):
            self.log.extend(terms[0], commands)
        else:
            for index, term, command in entries:
                if index != self.log.last_index + 1:
                    raise SafetyError(f"entry {index} after entry {self.log.last_index}")
                self.log.append(term, command)
        are_changed = False
        for index, command in zip(indexes, commands, strict=True):
            if command.startswith(PREFIX):
                index_before = self.configurations.index
                self.configurations.append(index, command)
                are_changed |= self.configurations.index != index_before
            elif command.startswith(IDENTITY_PREFIX):
                self.identity.append(index, command)
                self._check_identity(index)
        self.out.append += entries
        if are_changed:
            self._note_members()

    def cut_after(self, index: int) -> None:
        """Drop the log's tail after `index`; committed entries are never dropped (§5.4.3)."""
        if index < self.commit_index:
            raise SafetyError(f"cut after {index}, but {self.commit_index} is committed")
        if self.role is Role.LEADER:
            raise SafetyError("a leader never cuts its own log (§5.3, Leader Append-Only)")
        self.log.cut_after(index)
        index_before = self.configurations.index
        self.identity.cut_after(index)
        self.configurations.cut_after(index)
        if self.configurations.index != index_before:
            self.note(f"[!] The change of members in entry {index_before} is rolled back")
            self._note_members()
        self.durable_index = min(self.durable_index, index)
        self.out.cut_after = index

    def _check_identity(self, index: int) -> None:
        """Check that this server can take part where the entry at `index` gives the log an identity
        or adds parts."""
        needs = self.identity.needs
        if needs.index == index:
            check_needs(self.options.applies, f"entry {index}", needs.latest)
        if self.identity.index == index and not self.options.cluster_if_new:
            raise CannotApply(
                f"entry {index} gives this cluster an identity, and {self.name} is at the floor: "
                "start it without --floor"
            )

    def _note_members(self) -> None:
        index = self.configurations.index
        self.note(f"[*] Members from entry {index} on: {self.configurations.latest.describe()}")
        self.out.members_changed = True

    def advance_commit_index(self, index: int) -> None:
        """Raise the commit index to `index`; it never falls."""
        if index > self.log.last_index:
            raise SafetyError(f"commit index {index} beyond the log's end {self.log.last_index}")
        self.commit_index = max(self.commit_index, index)
        if not self.cluster:
            self.learn_cluster()

    def learn_cluster(self) -> None:
        """Adopt the identity of the cluster if its entry is committed. Until then the entry may be
        rolled back, and another leader's candidate may win."""
        identity = self.identity
        if identity.latest and identity.index <= self.commit_index:
            self.cluster = self.out.cluster = identity.latest
            self.note(f"[*] The identity of this cluster is {self.cluster}")

    def hand_out_committed(self) -> None:
        """Put the next committed entries into `out.apply`, each once, in order (Figure 2)."""
        last = min(self.commit_index, self.applying + APPLY_MAX)
        if last > self.applying:
            self.out.apply += self.log.entries(self.applying + 1, last)
            self.applying = last


def _describe(role: Role, term: int, leader: str | None) -> str:
    if leader is not None:
        return f"[*] I am Follower of {leader} in term {term}"
    if role is Role.FOLLOWER:
        return f"[*] I am Follower in term {term}, no leader yet"
    return f"[*] I am Follower in term {term}, was {role.value}"
