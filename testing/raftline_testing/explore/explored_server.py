"""One server of an explored world: its core, its disk, its write queue, and its inbox.

All of it is data (`Local`). A move leads from one Local to another, and sends messages. The core
takes each pair of state and input once: `Outcome` is the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from raftline.raft import inputs
from raftline.raft.effects import Effects, HardState, ReadReady
from raftline.raft.leader_lease import lease_until_ms
from raftline.raft.log import Entry, Log
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Message,
    PeerError,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.newborn import BeginRefused, is_new
from raftline.raft.node import RawNode, node_from_disk
from raftline.raft.state import Options, State
from raftline.raft.transfer import TransferRefused

from ..invariants import InvariantError, Invariants
from .clocks import forget_times
from .frozen import freeze, thaw_state

DOWN = -1  # instead of a state of the core
# Answers that the core ignores if they are of an earlier term, and denials.
VOIDABLE = (AppendAccepted, AppendRejected, ReadIndexReply, RequestVoteReply)
START_MS = 1_000_000  # each start sets the clock later by this much: see Server.now_ms


class Disk(NamedTuple):
    """The files of a server: NAME.storage, and the entries of NAME.log."""

    term: int = 0
    vote: str | None = None
    lease_ms: int = 0
    mark: str = "whole"  # or newborn, amnesiac, unknown, diverged (src/storage/hard_state.py)
    entries: tuple[Entry, ...] = ()
    cluster: str = ""  # the identity, once it is known

    def holds(self, index: int, term: int) -> bool:
        """Whether the disk has the entry with this index and term."""
        return not index or (index <= len(self.entries) and self.entries[index - 1].term == term)


class Lost(NamedTuple):
    """The files that a server lost, and the votes that it had cast."""

    disk: Disk
    cast: tuple[tuple[int, str], ...]


class Work(NamedTuple):
    """An Effects that waits for the disk: its step 2, and the messages that leave afterwards."""

    save: HardState | None
    cut_after: int | None
    append: tuple[Entry, ...]
    forgot: bool
    recovered: bool
    messages: tuple[int, ...]
    cluster: str | None = None
    differs: int = 0

    @property
    def holds_promise(self) -> bool:
        """Whether no message may overtake it: see `Effects.holds_promise`."""
        changes_log = self.cut_after is not None or self.cluster is not None
        changes_memory = self.forgot or self.recovered or self.differs > 0
        return self.save is not None or changes_log or changes_memory


class Local(NamedTuple):
    """One server, up or down."""

    core: int  # the number of the state of its core, or DOWN
    starts: int
    disk: Disk
    queue: tuple[Work, ...] = ()
    # numbers of messages, sorted; a message that arrived twice is listed twice
    inbox: tuple[int, ...] = ()
    cast: tuple[tuple[int, str], ...] = ()  # votes that left this server: term, candidate
    lost: tuple[Lost, ...] = ()
    copy: Disk | None = None  # an older copy of its files
    has_heard: bool = False  # as a newborn of this life it was told that there are entries
    is_wrong: bool = False  # its state differs


class Event(NamedTuple):
    """The outcome of a step that concerns other servers; facts.py compares it with their facts."""

    name: str
    term: int
    elected: tuple[tuple[Entry, ...], tuple[str, ...]] | None = None  # its log, who voted for it
    # the first new index, and the entries up to the commit index
    committed: tuple[int, tuple[Entry, ...]] | None = None
    # of a leader that committed: the configuration that it used
    quorum_of: Membership | None = None
    held: tuple[str, int, int] | None = None  # a follower's new match index, and the term there
    lease: bool = False  # has a new or longer lease
    log: tuple[Entry, ...] | None = None  # new, in a world in which disks may be lost
    cluster: str = ""  # the identity in its log
    leads: bool = False
    differs: bool = False  # it was told that its state differs, or found that
    ran: bool = False  # it started for the first time

    def elects(self, name: str) -> bool:
        """Whether a server was elected by the named one."""
        return self.elected is not None and name in self.elected[1]


class Outcome(NamedTuple):
    """The result of a step of the core."""

    core: int
    send: tuple[int, ...]  # may leave at once
    work: Work | None
    after: tuple[int, ...]  # leave once all work before is on the disk
    event: Event | None
    bad: str = ""
    past_entries: tuple[int, ...] = ()  # leave past works that hold entries alone


class Core(NamedTuple):
    """The facts that a state of the core shows without a step."""

    frozen: Any
    wake_at_ms: int
    is_heartbeat: bool  # the heartbeat timer is due
    takes_proposals: bool
    leads: int  # the term that it leads, or 0
    follows: str  # the leader that may be asked for reads
    lease_until_ms: int
    applying: int  # the last entry handed out if some are not applied yet, or 0
    log: tuple[Entry, ...]  # of a leader
    durable: tuple[int, int]  # the index and term of the last entry that it counts as on its disk
    cluster: str = ""  # the identity that it knows
    identity: str = ""  # that of its log
    is_newborn: bool = False
    looks: bool = False  # waits for silent members


class Numbers:
    """Numbers for values, counted from 0; each fits in `bits`."""

    def __init__(self, bits: int = 63) -> None:
        self._end = 1 << bits
        self.values: list[Any] = []
        self._known: dict[Any, int] = {}

    def of(self, value: Any) -> int:
        """Return the number of a value."""
        number = self._known.setdefault(value, len(self.values))
        if number == len(self.values):
            if number >= self._end:
                raise OverflowError(f"more than {number:,} different values: give them more bits")
            self.values.append(value)
        return number


class Messages:
    """All messages that were ever sent, numbered."""

    def __init__(self) -> None:
        self._numbers = Numbers()
        self.sent: list[Message] = []
        self.clusters: list[str] = []  # the identities that their senders knew

    def of(self, message: Message, cluster: str) -> int:
        """Return the number of a message from a sender with this identity."""
        number = self._numbers.of((freeze(message), cluster))
        if number == len(self.sent):
            self.sent.append(message)
            self.clusters.append(cluster)
        return number


class Server:
    """The steps of one server, each taken once."""

    def __init__(
        self,
        name: str,
        members: Membership,
        options: Options,
        messages: Messages,
        *,
        applies_at_once: bool,
        is_reduced: bool = False,
        loses_disks: bool = False,
        peers: Sequence[str] = (),
    ) -> None:
        """Prepare a server. In a world in which disks may be lost, it hears the builds of its
        `peers`, and of servers that may become peers."""
        self.name = name
        self.peers = peers
        self.members = members
        self.options = options
        self.messages = messages
        self.applies_at_once = applies_at_once
        self.is_reduced = is_reduced
        self.loses_disks = loses_disks
        self.cores: list[Core] = []
        self._numbers = Numbers()
        self._void: dict[tuple[int, int, int], bool] = {}
        self._steps: dict[tuple[int, Any, int, bool], Outcome] = {}

    @property
    def steps(self) -> int:
        """The number of different steps of the core."""
        return len(self._steps)

    # --- the core --------------------------------------------------------------------------

    def start(self, disk: Disk, starts: int, now_ms: int) -> int:
        """Return the number of the state in which a core starts."""
        log = Log()
        for entry in disk.entries:
            log.append(entry.term, entry.command)
        options = self.options
        if self.loses_disks:
            number = 100 * int(self.name.removeprefix("s")) + starts
            options = replace(options, cluster_if_new=f"{number:016}")
        node = node_from_disk(
            self.name,
            self.members,
            log,
            HardState(disk.term, disk.vote, disk.lease_ms),
            options,
            self._pick_timeout_ms,
            now_ms,
            recovering=disk.mark in ("amnesiac", "unknown", "diverged"),
            newborn=disk.mark == "newborn",
            may_be_new=disk.mark == "unknown",
            incarnation=starts,
            cluster=disk.cluster,
        )
        for peer in self.peers:
            node.step(inputs.PeerBuild(peer, frozenset()), now_ms)
        return self.number_of(node)

    def why_not_started(self, core: int, disk: Disk) -> str:
        """Return which part of the disk's content a start has lost, or ""."""
        state = self.node(core, 0)._state
        recovered = state.term, state.vote, state.log.last_index
        had = disk.term, disk.vote, len(disk.entries)
        return (
            "" if recovered == had else f"{self.name} starts with {recovered}, its disk had {had}"
        )

    def _pick_timeout_ms(self) -> int:
        return self.options.election_timeout_ms

    def number_of(self, node: RawNode) -> int:
        """Return the number of the state of a core."""
        state = node._state
        if self.loses_disks:
            forget_times(state)
        if self.is_reduced:
            _blank(state)
        number = self._numbers.of(freeze(state))
        if number == len(self.cores):
            leads = state.term if state.leading is not None else 0
            follows = state.leader or ""
            self.cores.append(
                Core(
                    self._numbers.values[number],
                    node.wake_at_ms,
                    bool(leads) or node.wake_at_ms < state.election_at_ms,
                    node.takes_proposals,
                    leads,
                    follows if follows != self.name and not state.candidacy else "",
                    lease_until_ms(state) if leads else 0,
                    state.applying if state.applying > state.applied else 0,
                    _entries(state, state.log.last_index) if leads else (),
                    (state.durable_index, state.log.term_at(state.durable_index) or 0),
                    state.cluster,
                    state.identity.latest,
                    state.newborn,
                    not is_new(state),
                )
            )
        return number

    def node(self, core: int, now_ms: int) -> RawNode:
        """Return a core in the state of that number."""
        return RawNode(thaw_state(self.cores[core].frozen, now_ms, self._pick_timeout_ms))

    def is_void(self, core: int, number: int, saved_term: int) -> bool:
        """Whether a message in flight to this server, with this term on its disk, can never matter
        again. Its term is over, or it denies a vote; and the core takes it once, in the current
        state, and nothing changes."""
        place = core, number, saved_term
        verdict = self._void.get(place)
        if verdict is None:
            verdict = self._void[place] = self._is_void(core, number, saved_term)
        return verdict

    def _is_void(self, core: int, number: int, saved_term: int) -> bool:
        message = self.messages.sent[number]
        is_vote = isinstance(message, RequestVoteReply)
        if not isinstance(message, VOIDABLE) or message.term > saved_term - (not is_vote):
            return False
        if core == DOWN:
            return False
        now_ms = 2 * START_MS  # its time makes no difference to an answer
        outcome = self.step(core, number, inputs.Receive(message), now_ms)
        return outcome == Outcome(core, (), None, (), None)

    def step(
        self, core: int, key: Any, taken: inputs.Input, now_ms: int, *, is_wrong: bool = False
    ) -> Outcome:
        """Return the outcome of an input; `key` names it. A refused message has none."""
        place = core, key, now_ms, is_wrong
        outcome = self._steps.get(place)
        if outcome is None:
            outcome = self._steps[place] = self._take(core, taken, now_ms, is_wrong)
        return outcome

    def _take(self, core: int, taken: inputs.Input, now_ms: int, is_wrong: bool) -> Outcome:
        node = self.node(core, now_ms)
        before = _Before(node._state, self.loses_disks)
        unchanged = Outcome(core, (), None, (), None)
        try:
            if isinstance(taken, inputs.Receive):
                if not node.accepts(taken.message):
                    return unchanged  # which the driver checks as well
                before.invariants.taking(node, taken.message)
            effects = node.step(taken, now_ms)
            before.invariants.stepped(node, taken, effects)
            before.check(node._state, effects.reads)
            served = list(effects.reads)
            if self.applies_at_once and effects.apply:
                index = effects.apply[-1].index
                chain = 2 * index + is_wrong if self.loses_disks else None
                effects_of_applied = node.step(inputs.Applied(index, chain), now_ms)
                before.check(node._state, effects_of_applied.reads)
                served += effects_of_applied.reads
        except (TransferRefused, BeginRefused):
            return unchanged
        except Exception as error:
            if self.loses_disks and isinstance(error, PeerError):
                return unchanged  # of a stranger, or of another cluster
            return unchanged._replace(bad=f"{self.name}: {type(error).__name__}: {error}")
        send = self._numbered(effects.send, node._state.cluster)
        after = self._numbered(effects.send_after_save, node._state.cluster)
        work = None
        if effects.wants_disk:
            work = Work(
                effects.save,
                effects.cut_after,
                tuple(effects.append),
                effects.forgot,
                effects.recovered,
                after,
                effects.cluster,
                effects.differs,
            )
        event = before.event(node._state, effects, now_ms)
        past = self._numbered(effects.send_past_entries, node._state.cluster)
        return Outcome(self.number_of(node), send, work, after, event, past_entries=past)

    def _numbered(self, sent: Sequence[Message], cluster: str) -> tuple[int, ...]:
        return tuple(self.messages.of(message, cluster) for message in sent)


def tells_of_entries(message: Message) -> bool:
    """Whether a message comes from a server with entries of a cluster."""
    if isinstance(message, RequestVote):
        return message.last_index > 0
    return isinstance(message, AppendEntries)


def _blank(state: State) -> None:
    """Clear the fields that no rule of these worlds reads: the voters of a leader, the last commit
    index sent, which counts from the second level on, denied votes, which count for newborns, and
    the entry that is due, since no entry is late."""
    state.due_index = 0
    if state.leading is not None:
        state.leading.votes = {}
        for progress in state.leading.progress.values():
            progress.commit_sent = 0
    elif state.candidacy is not None:
        votes = state.candidacy.votes
        state.candidacy.votes = {name: yes for name, yes in votes.items() if yes}


class _Before:
    """A server before a step, for the checks of that step alone."""

    def __init__(self, state: State, loses_disks: bool) -> None:
        self.log = _entries(state, state.log.last_index) if loses_disks else None
        self.differs = state.differs
        self.term, self.vote = state.term, state.vote
        self.commit_index = state.commit_index
        self.leads = state.leading is not None
        self.last_index = state.log.last_index
        self.matched = {name: one.match_index for name, one in state.progress.items()}
        self.lease_until_ms = lease_until_ms(state)
        self.invariants = _of_one_step(state)

    def check(self, state: State, served: Sequence[ReadReady]) -> None:
        """Check the rules that this server alone can show: it keeps its votes, and reads see all
        that they must."""
        if state.term == self.term and self.vote not in (None, state.vote):
            raise InvariantError(f"takes back its vote for {self.vote} in term {state.term}")
        for ready in served:
            if ready.index < ready.token:
                raise InvariantError(
                    f"serves a read from entry {ready.index}, though entry {ready.token} was "
                    "committed before the read came"
                )
            if ready.index > state.applied:
                raise InvariantError(f"serves a read of entry {ready.index} before it is applied")

    def event(self, state: State, effects: Effects, now_ms: int) -> Event | None:
        """Return the event that concerns other servers, or None."""
        leads = state.leading is not None
        event = Event(state.name, state.term)
        if leads and (not self.leads or state.term != self.term):
            voters = tuple(sorted(name for name, yes in state.votes.items() if yes))
            event = event._replace(elected=(_entries(state, state.log.last_index), voters))
        if state.commit_index > self.commit_index:
            entries = _entries(state, state.commit_index)
            event = event._replace(committed=(self.commit_index + 1, entries))
            # Except a server that learns of commits from the leader of a later term.
            if leads or (self.leads and state.term == self.term):
                # Entries that this step appended came after the count.
                appended = effects.append[0].index if effects.append else state.log.last_index + 1
                event = event._replace(quorum_of=state.configurations.at(appended - 1))
        for name, progress in state.progress.items():
            index = progress.match_index
            if index > self.matched.get(name, 0):
                event = event._replace(held=(name, index, state.log.term_at(index) or 0))
        if leads and now_ms < lease_until_ms(state) > self.lease_until_ms:
            event = event._replace(lease=True)
        if self.log is not None:
            log = _entries(state, state.log.last_index)
            if log != self.log:
                event = event._replace(log=log)
            event = event._replace(differs=state.differs > self.differs)
        if event == Event(state.name, state.term):
            return None
        return event._replace(cluster=state.identity.latest, leads=leads)


def _entries(state: State, last: int) -> tuple[Entry, ...]:
    return tuple(state.log.entries(state.log.base_index + 1, last))


def _of_one_step(state: State) -> Invariants:
    """Return the invariants of every run (`invariants.py`), as if a run had led here."""
    invariants = Invariants()
    name, log = state.name, state.log
    invariants._commit[name], invariants._applied[name] = state.commit_index, state.applying
    invariants._term[name] = state.term
    if state.leading is not None:
        invariants._led[name] = state.term, log.last_index
    committed = log.entries(log.base_index + 1, state.commit_index)
    invariants.committed = [(entry.term, entry.command) for entry in committed]
    invariants.commit_terms = [0] * len(committed)
    invariants._lost_a_log = True  # facts.py checks the rules that need other servers' disks
    return invariants


# --- the disk ------------------------------------------------------------------------------


def written(disk: Disk, works: Sequence[Work]) -> Disk:
    """Return the disk after all of these writes."""
    *_, last = disks_of_a_write(disk, works)
    return last


def disks_of_a_write(disk: Disk, works: Sequence[Work]) -> Iterator[Disk]:
    """Yield the disk at each point of one write, as src/logmanager.py does it: first the last term
    and vote, then the log in order, at last the mark that the disk is whole."""
    forgot = any(work.forgot for work in works)
    recovered = any(work.recovered for work in works)
    yield disk
    if forgot and disk.mark == "newborn" and disk.entries:
        disk = disk._replace(entries=())
        yield disk
    disk = _promised(disk, works, forgot=forgot, recovered=recovered)
    yield disk
    for work in works:
        if work.cut_after is not None:
            disk = disk._replace(entries=disk.entries[: work.cut_after])
            yield disk
        for entry in work.append:
            if entry.index != len(disk.entries) + 1:
                raise InvariantError(f"entry {entry.index} after entry {len(disk.entries)}")
            disk = disk._replace(entries=(*disk.entries, entry))
            yield disk
    if recovered:
        disk = disk._replace(mark="whole")
    yield disk


def _promised(disk: Disk, works: Sequence[Work], *, forgot: bool, recovered: bool) -> Disk:
    """Return the disk after the first line of NAME.storage is written."""
    born = disk.mark == "newborn"
    saves = [work.save for work in works if work.save is not None]
    if saves:
        term, vote, lease_ms = saves[-1]
        disk = disk._replace(term=term, vote=vote, lease_ms=lease_ms)
    if clusters := [work.cluster for work in works if work.cluster is not None]:
        disk = disk._replace(cluster=clusters[-1])
    if any(work.differs for work in works):
        disk = disk._replace(mark="diverged")
    elif forgot:
        disk = disk._replace(mark="unknown" if born else "amnesiac")
    elif recovered and born:
        disk = disk._replace(mark="whole")
    return disk


def check_left(message: Message, disk: Disk, cast: tuple[tuple[int, str], ...]) -> None:
    """Check that the disk of the sender, which has cast these votes, holds what the message
    claims."""
    invariants = Invariants()
    name = message.sender
    invariants.saved_states[name] = HardState(disk.term, disk.vote)
    invariants.durable[name] = len(disk.entries)
    invariants.votes = {(name, term): candidate for term, candidate in cast}
    invariants.sent(message)


def with_vote(cast: tuple[tuple[int, str], ...], message: Message) -> tuple[tuple[int, str], ...]:
    """Return the votes that a server has cast once this message has left."""
    if isinstance(message, RequestVoteReply) and message.granted and not message.pre_vote:
        return tuple(sorted({*cast, (message.term, message.to)}))
    return cast
