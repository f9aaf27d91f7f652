"""The state of a server for an observer, a step of its core, and the form of a rule with its
condition, its sentence, its section and its place. Pure.

This module counts votes and entries itself, without the core's functions: a sentence that relied on
them would justify their mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from raftline.raft.effects import Effects
from raftline.raft.inputs import Read, Receive, Tick
from raftline.raft.messages import Answer, AppendAccepted, AppendEntries, Message
from raftline.raft.node_view import NodeView
from raftline.raft.progress import Progress
from raftline.raft.roles import Role


class Follower(NamedTuple):
    """A leader's view of one follower (paper, Figure 2)."""

    match_index: int
    next_index: int
    mode: str
    is_counted: bool = True  # False: it lost its memory
    heard_at_ms: int = 0
    acked_round: int = 0
    may_be_new: bool = False  # with `is_counted` False: nobody knows whether it lost anything


RUNS_MAX = 8  # runs of equal terms copied from a log's end
LEADER = Role.LEADER.value


class Facts(NamedTuple):
    """The state of a server between two steps."""

    role: str
    term: int
    vote: str | None
    leader: str | None
    last_index: int
    last_term: int
    commit_index: int
    applied: int
    durable_index: int
    base_index: int
    now_ms: int
    election_at_ms: int
    electors: tuple[str, ...]
    votes: Mapping[str, bool]  # for this server, as a candidate and as the leader
    followers: Mapping[str, Follower]  # of a leader
    round: int
    addresses: Mapping[str, str]  # of all members
    halves: tuple[tuple[str, ...], ...]  # the voters; while a configuration is joint, both
    runs: tuple[tuple[int, int], ...]  # of equal terms at the log's end: first index, term
    applying: int  # the last entry that was handed out
    has_memory: bool  # False: it lost its log and catches up without a vote
    timeout_ms: int
    quorum_check_at_ms: int  # a leader's
    read_round: int  # a leader's first round for which reads wait, or 0
    lease_until_ms: int  # a leader's
    may_be_new: bool  # without memory: it can't know whether it lost anything

    @property
    def learners(self) -> list[str]:
        """The members that receive entries and count in no majority."""
        return [name for name in self.addresses if name not in self.electors]

    @property
    def leads(self) -> bool:
        return self.role == LEADER

    @property
    def given(self) -> list[str]:
        """The servers that granted this one their vote."""
        return [name for name, yes in self.votes.items() if yes]

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry, or None if the entry or its term is unknown."""
        if index > self.last_index:
            return None
        return next((term for first, term in reversed(self.runs) if first <= index), None)

    def is_majority(self, names: Collection[str]) -> bool:
        """Whether these servers are a majority of the voters, or of both halves of a joint
        configuration (paper §5.2, §6)."""
        return all(2 * sum(name in names for name in half) > len(half) for half in self.halves)

    def share(self, names: Collection[str]) -> str:
        """Return the number of voters among these servers: `2 of 3`, `2 of 3 and 1 of 3`."""
        return " and ".join(
            f"{sum(name in names for name in half)} of {len(half)}" for half in self.halves
        )


def facts_of(view: NodeView) -> Facts:
    """Return the facts of a server. The caller must hold the lock under which it is stepped."""
    log, members = view.log, view.membership
    return Facts(
        view.role.value,
        view.term,
        view.vote,
        view.leader,
        log.last_index,
        log.last_term,
        view.commit_index,
        view.applied,
        view.durable_index,
        log.base_index,
        view.now_ms,
        view.election_at_ms,
        members.electors,
        dict(view.votes),
        {name: _follower_of(each) for name, each in view.progress.items()},
        view.round,
        members.addresses,
        (members.voters, members.outgoing) if members.outgoing else (members.voters,),
        tuple(log.last_runs(RUNS_MAX)),
        view.applying,
        not view.recovering,
        view.options.election_timeout_ms,
        view.quorum_check_at_ms,
        view.read_round,
        view.lease_until_ms,
        view.may_be_new,
    )


def _follower_of(each: Progress) -> Follower:
    return Follower(
        each.match_index,
        each.next_index,
        each.mode.value,
        each.is_counted,
        each.heard_at_ms,
        each.acked_round,
        each.may_be_new,
    )


@dataclass
class Step:
    """A step of the core: its input, its Effects, and the state before and after."""

    name: str
    at_s: float
    before: Facts
    event: object  # an Input of the core, or an order of a program around it
    effects: Effects
    after: Facts
    refusal: str = ""  # the reason if the input was refused and nothing changed
    term_there: int | None = None  # this log's term at the prev_log_index of an AppendEntries
    message: Message | None = field(init=False)  # the received one, if any
    sent: list[Message] = field(init=False)  # messages that wait for the disk come last
    answer: Message | None = field(init=False)  # to the received message

    def __post_init__(self) -> None:
        self.message = message = self.event.message if isinstance(self.event, Receive) else None
        self.sent = self.effects.messages()
        answers = [one for one in self.sent if isinstance(one, Answer)] if message else []
        self.answer = next((one for one in answers if message and one.to == message.sender), None)

    @property
    def is_idle(self) -> bool:
        """Whether this is a tick on which nothing was due."""
        return isinstance(self.event, Tick) and self.is_pulse and not self.sent

    @property
    def is_pulse(self) -> bool:
        """Whether this is a heartbeat or its answer in an idle cluster."""
        is_asked = self.refusal or isinstance(self.event, Read)
        if is_asked or _settled(self.before) != _settled(self.after):
            return False
        effects, message = self.effects, self.message
        acted = effects.wants_disk or effects.apply or effects.reads or effects.settled
        if acted or effects.refused:
            return False
        received = [message] if message is not None else []
        return all(_is_empty(one) for one in [*received, *self.sent])

    @property
    def is_ignored(self) -> bool:
        """Whether a message came that changes nothing here and gets no answer."""
        effects, before, after = self.effects, self.before, self.after
        acted = effects.wants_disk or effects.apply or effects.reads or effects.settled
        if self.message is None or self.refusal or self.sent or acted or effects.refused:
            return False
        counted = before.votes == after.votes and before.has_memory == after.has_memory
        return counted and _settled(before) == _settled(after)


def _settled(facts: Facts) -> tuple[object, ...]:
    """Return the facts that do not change while a cluster is idle."""
    matches = [each.match_index for each in facts.followers.values()]
    return (
        facts.role, facts.term, facts.vote, facts.leader, facts.last_index, facts.last_term,
        facts.commit_index, facts.applied, facts.durable_index, facts.base_index, matches,
    )  # fmt: skip


def _is_empty(message: Message) -> bool:
    if isinstance(message, AppendEntries):
        return not message.entries
    return isinstance(message, AppendAccepted)


class Reason(NamedTuple):
    """A part of the explanation of a step."""

    text: str
    section: str  # of the paper, or of the thesis if it says so
    place: str  # module.function in src/raft/
    is_broken: bool = False  # the step breaks this rule


class Topic(Enum):
    """The kinds of rules that a step can break. A sentence about a broken topic is left out."""

    VOTE = "vote"  # why a vote is granted or denied
    COUNT = "count"  # the meaning of an answer
    LEAD = "lead"
    APPEND = "append"  # why entries are taken, refused or dropped
    COMMIT = "commit"
    APPLY = "apply"
    READ = "read"
    START = "start"  # the state after a start


class Rule(NamedTuple):
    """A row of a table: a kind of decision."""

    when: Callable[[Step], object]
    say: Callable[[Step], str]
    section: str
    place: str
    claim: Topic | None = None

    def explain(self, step: Step) -> Reason:
        return Reason(self.say(step), self.section, self.place)


def always(step: Step) -> bool:
    return True


def span(first_index: int, last_index: int) -> str:
    """Return the name of consecutive entries: `entry 4`, `entries 4-9`."""
    if first_index == last_index:
        return f"entry {first_index}"
    return f"entries {first_index}-{last_index}"


def among(names: Collection[str]) -> str:
    """Return the names for a sentence: `s1 s3`, `s2 alone`, `nobody`."""
    return f"{next(iter(names))} alone" if len(names) == 1 else " ".join(names) or "nobody"


def holders(step: Step, index: int) -> list[str]:
    """Return the servers that hold an entry, as far as the leader knows from its disk and the
    answers."""
    matches = acknowledged(step)
    return [name for name in electors_of(step) if matches.get(name, 0) >= index]


def electors_of(step: Step) -> tuple[str, ...]:
    """Return the electors for a step, before any configuration that it appends (paper §6)."""
    return step.before.electors if step.before.leads else step.after.electors


def acknowledged(step: Step) -> dict[str, int]:
    """Return the last entry of the leader's log that each voter holds, as far as the leader knows.
    An answer counts for the entry and the term that it names."""
    before, after, message = step.before, step.after, step.message
    leads_on = before.leads and (not after.leads or before.term == after.term)
    facts = before if leads_on else after
    matches = {name: each.match_index for name, each in facts.followers.items()}
    if leads_on and isinstance(message, AppendAccepted) and message.term == before.term:
        match_index = matches.get(message.sender, 0)
        matches[message.sender] = 0 if message.without_vote else max(match_index, message.index)
    for name, each in (after.followers or before.followers).items():
        if not each.is_counted:
            matches.pop(name, None)
    matches[step.name] = after.durable_index
    return matches


def held_index(step: Step) -> int:
    """Return the last entry that a majority holds, as far as the leader knows."""
    facts = step.before if step.before.leads else step.after
    indexes = sorted(set(acknowledged(step).values()), reverse=True)
    return next((index for index in indexes if facts.is_majority(holders(step, index))), 0)


def heard(step: Step) -> list[str]:
    """Return this leader and the servers that answered it within an election timeout."""
    since_ms = step.after.now_ms - step.after.timeout_ms
    followers = step.before.followers.items()
    recent = [name for name, each in followers if each.is_counted and each.heard_at_ms >= since_ms]
    return [name for name in step.before.electors if name == step.name or name in recent]


def commits_as_leader(step: Step) -> bool:
    """Whether a leader commits, even if it steps down with this entry (thesis §4.2.2)."""
    leaves = step.before.leads and not isinstance(step.message, AppendEntries)
    is_higher = step.after.commit_index > step.before.commit_index
    return is_higher and step.effects.install is None and (step.after.leads or leaves)
