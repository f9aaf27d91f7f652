"""A server's state for an observer, one step of its core, and the form of a rule: its condition,
its sentence, its section and its place. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from raftline.raft.effects import Effects
from raftline.raft.inputs import Input, Receive, Tick
from raftline.raft.messages import Answer, AppendAccepted, AppendEntries, Message
from raftline.raft.roles import Role
from raftline.raft.view import NodeView


class Follower(NamedTuple):
    """A leader's view of one follower (paper, Figure 2)."""

    match_index: int
    next_index: int
    mode: str


class Facts(NamedTuple):
    """The state between two steps."""

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
    votes: Mapping[str, bool]  # for this server, while it is a candidate
    followers: Mapping[str, Follower]  # of a leader
    held_index: int  # a leader's: the last entry that a majority holds
    held_term: int
    round: int
    addresses: Mapping[str, str]  # of all members

    @property
    def leads(self) -> bool:
        return self.role == Role.LEADER.value

    @property
    def given(self) -> list[str]:
        """The servers that gave this one their vote."""
        return [name for name, yes in self.votes.items() if yes]


def facts_of(view: NodeView) -> Facts:
    """Return the facts of a server. The caller holds the lock under which it is stepped."""
    log = view.log
    followers, held_index = {}, 0
    if view.is_leader:
        progress = view.progress
        followers = {
            name: Follower(each.match_index, each.next_index, each.mode.value)
            for name, each in progress.items()
        }
        held = {name: each.match_index for name, each in progress.items() if each.is_counted}
        held_index = view.membership.reached_by_quorum({**held, view.name: view.durable_index})
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
        tuple(view.membership.electors),
        dict(view.votes),
        followers,
        held_index,
        log.term_at(held_index) or 0,
        view.round,
        view.membership.addresses,
    )


@dataclass(frozen=True)
class Step:
    """One step of the core: its input, its Effects, and the state before and after."""

    name: str
    at_s: float
    before: Facts
    event: Input
    effects: Effects
    after: Facts
    refusal: str = ""  # why the input was refused, so that nothing was changed
    term_there: int | None = None  # this log's term at the prev_log_index of an AppendEntries

    @property
    def message(self) -> Message | None:
        """The message that came, if one did."""
        return self.event.message if isinstance(self.event, Receive) else None

    @property
    def sent(self) -> list[Message]:
        """The messages sent, those that wait for the disk last."""
        return [*self.effects.send, *self.effects.send_after_save]

    @property
    def answer(self) -> Message | None:
        """The answer to the message that came."""
        message = self.message
        if message is None:
            return None
        answers = (one for one in self.sent if isinstance(one, Answer) and one.to == message.sender)
        return next(answers, None)

    @property
    def is_idle(self) -> bool:
        """Whether time has passed, and nothing was due."""
        return isinstance(self.event, Tick) and self.is_pulse and not self.sent

    @property
    def is_pulse(self) -> bool:
        """Whether this is a heartbeat or its answer, of a cluster at rest."""
        if self.refusal or _settled(self.before) != _settled(self.after):
            return False
        effects, message = self.effects, self.message
        acted = effects.wants_disk or effects.apply or effects.reads or effects.settled
        if acted or effects.refused:
            return False
        received = [message] if message is not None else []
        return all(_is_empty(one) for one in [*received, *effects.send, *effects.send_after_save])


def _settled(facts: Facts) -> tuple[object, ...]:
    """Return what does not change while a cluster is at rest."""
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
    section: str  # of the paper, or of the thesis if it is named
    place: str  # module.function in src/raft/


class Rule(NamedTuple):
    """One row of a table: a kind of decision."""

    when: Callable[[Step], object]
    say: Callable[[Step], str]
    section: str
    place: str

    def explain(self, step: Step) -> Reason:
        return Reason(self.say(step), self.section, self.place)


def first(rules: Sequence[Rule], step: Step) -> list[Reason]:
    """Return the reason of the first rule that fits, if one does."""
    return next(([rule.explain(step)] for rule in rules if rule.when(step)), [])


def every(rules: Sequence[Rule], step: Step) -> list[Reason]:
    """Return the reasons of all rules that fit."""
    return [rule.explain(step) for rule in rules if rule.when(step)]


def always(step: Step) -> bool:
    return True


def span(first_index: int, last_index: int) -> str:
    """Return the name of entries in a row: `entry 4`, `entries 4-9`."""
    if first_index == last_index:
        return f"entry {first_index}"
    return f"entries {first_index}-{last_index}"
