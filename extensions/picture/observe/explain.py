"""The explanation of a step from the tables of rules: docs/operate/observe.md. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raftline.raft import inputs, messages

from . import election_rules, replication_rules
from .consequences import CONSEQUENCES
from .facts import Reason, Rule, Step, Topic, always, heard, span

BEYOND = "docs/develop/divergence.md"  # not in the paper

_TIME = (
    Rule(
        lambda step: step.before.leads and not step.after.leads,
        lambda step: f"of {len(step.before.electors)} only {' '.join(heard(step))} answered within "
        "an election timeout, no majority, so I give up",
        "thesis §6.2", "election.check_quorum",
    ),
    Rule(
        lambda step: step.after.leads and not step.before.leads,
        lambda step: f"my vote alone is a majority, so I lead term {step.after.term}",
        "§5.2", "election.start_election", Topic.LEAD,
    ),
    Rule(
        lambda step: step.after.role == "candidate" and step.before.role != "pre-candidate",
        lambda step: f"my election timer has run out, so I stand in term {step.after.term}",
        "§5.2", "election.start_election",
    ),
    Rule(
        lambda step: step.after.role == "candidate",
        lambda step: f"no server answered in time, so I stand in term {step.after.term}",
        "§5.2", "election.on_silence",
    ),
    Rule(
        lambda step: step.after.role == "pre-candidate",
        lambda step: "my election timer has run out, so I ask who would vote for me in term "
        f"{step.after.term + 1}",
        election_rules.PRE_VOTE, "election.on_silence",
    ),
    Rule(
        lambda step: step.after.leads and step.after.round > step.before.round,
        lambda step: f"a heartbeat is due: round {step.after.round}",
        "§5.2", "replication.send_heartbeats",
    ),
    Rule(
        lambda step: step.after.leads and step.before.electors != step.after.electors,
        lambda step: "a waiting change of members begins",
        "§6", "reconfiguration.advance_change",
    ),
    Rule(
        lambda step: step.after.leads and step.sent and not step.effects.append,
        lambda step: "no entries follow to carry it, so I send a notice that entries up to "
        f"{step.after.commit_index} are committed",
        "§5.3", "replication.send_notices",
    ),
    Rule(
        lambda step: any(isinstance(one, messages.ReadIndex) for one in step.sent),
        lambda step: "my leader has not answered in time, so I ask it again for its read index",
        "thesis §6.4", "reads.send_question",
    ),
    Rule(
        lambda step: step.after.election_at_ms != step.before.election_at_ms
        and not step.after.leads,
        lambda step: "my election timer has run out, but I have no vote to stand with",
        "§5.2", "election.on_silence",
    ),
    Rule(always, lambda step: "time has passed", "§5.2", "node._pass_time"),
)  # fmt: skip


def _say_proposed(step: Step) -> str:
    new = step.effects.append
    return f"I append {span(new[0].index, new[-1].index)}" if new else "nothing is appended"


def _only(what: str | Callable[[Step], str], section: str, place: str) -> tuple[Rule, ...]:
    """Return the rules of an input that is always explained by this text."""
    say = what if callable(what) else lambda step: what
    return (Rule(always, say, section, place),)


def _say_build(step: Step) -> str:
    assert isinstance(step.event, inputs.PeerBuild)
    peer = step.event.peer
    if step.event.applies is None:
        return f"the connection to {peer} is gone, so its build is unknown"
    return f"{peer} announces {'no' if step.event.is_at_floor else 'its'} build"


_ON_TIMEOUT_NOW = (
    Rule(
        lambda step: step.after.term > step.before.term and step.after.role != "follower",
        lambda step: f"obeyed: the leader gives way, so I stand in term {step.after.term}",
        "thesis §3.10", "transfer.on_timeout_now",
    ),
    Rule(
        always, lambda step: "ignored: it is not the leader's word, or I have no vote",
        "thesis §3.10", "transfer.on_timeout_now",
    ),
)  # fmt: skip
_ON_READ_INDEX = (
    Rule(
        lambda step: not step.before.leads
        or (step.message is not None and step.message.term != step.after.term),
        lambda step: "ignored: I do not lead that term", "thesis §6.4", "reads.on_read_index",
    ),
    Rule(
        always, lambda step: "accepted: I answer once a majority confirms that I lead",
        "thesis §6.4", "reads.on_read_index",
    ),
)  # fmt: skip
_ON_READ_INDEX_REPLY = _only(
    "counted: the waiting reads now wait only for my state machine",
    "thesis §6.4",
    "reads.on_read_index_reply",
)
_DISCONNECTED = (
    Rule(
        lambda step: step.before.leader is not None and step.after.leader is None,
        lambda step: "it led, so I ask for votes soon, and do not wait out my election timeout",
        BEYOND,
        "election.on_disconnected",
    ),
    Rule(always, lambda step: "it did not lead: nothing to do", BEYOND, "election.on_disconnected"),
)

# By type of input: the first matching rule explains the decision.
DECISIONS: Mapping[type[object], Sequence[Rule]] = {
    messages.RequestVote: election_rules.ASKED,
    messages.RequestVoteReply: election_rules.ANSWERED,
    messages.AppendEntries: replication_rules.FROM_LEADER,
    messages.AppendAccepted: replication_rules.ACCEPTED,
    messages.AppendRejected: replication_rules.REJECTED,
    messages.InstallSnapshot: replication_rules.INSTALL,
    messages.InstallSnapshotReply: replication_rules.HELD,
    messages.TimeoutNow: _ON_TIMEOUT_NOW,
    messages.ReadIndex: _ON_READ_INDEX,
    messages.ReadIndexReply: _ON_READ_INDEX_REPLY,
    inputs.Tick: _TIME,
    inputs.Propose: _only(_say_proposed, "§5.3", "replication.propose"),
    inputs.Synced: _only(
        lambda step: f"entries up to {step.after.durable_index} are on my disk",
        "thesis §10.2.1", "node._synced",
    ),
    inputs.Applied: _only(
        lambda step: f"my state machine has applied entries up to {step.after.applied}",
        "§5.3", "node._applied",
    ),
    inputs.StateSummed: _only(
        "my state has a new checksum, to be compared with that of the others",
        "docs/repair.md", "agreement.note_state_sum",
    ),
    inputs.Read: (
        Rule(
            lambda step: step.effects.reads and step.after.now_ms < step.after.lease_until_ms,
            lambda step: "served under my lease, which holds for "
            f"{step.after.lease_until_ms - step.after.now_ms} ms",
            "thesis §6.4.1", "reads.read", Topic.READ,
        ),
        Rule(
            lambda step: step.effects.reads and step.after.leads,
            lambda step: "I alone am a majority, which confirms that I lead",
            "thesis §6.4", "reads.open_round", Topic.READ,
        ),
        Rule(
            always, lambda step: "a round of heartbeats confirms first that I lead",
            "thesis §6.4", "reads.open_round", Topic.READ,
        ),
    ),
    inputs.AskLeader: _only(
        "I ask my leader for its read index", "thesis §6.4", "reads.ask_leader"
    ),
    inputs.NeedParts: _only(
        "entries need an extension", "docs/operate/upgrades.md", "upgrade.add_parts"
    ),
    inputs.PeerDisconnected: _DISCONNECTED,
    inputs.PeerBuild: _only(_say_build, "docs/operate/upgrades.md", "upgrade.note_build"),
    inputs.ChangeMembers: _only(
        "a change of members is requested", "§6", "reconfiguration.begin_change"
    ),
    inputs.Transfer: _only(
        "a transfer of the leadership begins", "thesis §3.10", "transfer.begin_transfer"
    ),
    inputs.Begin: _only(
        "an operator says that silent members never ran", "docs/repair.md", "newborn.begin"
    ),
    inputs.SnapshotTaken: _only("my snapshot is on the disk", "§7", "snapshot.snapshot_taken"),
    inputs.SnapshotChecked: _only("the received snapshot is sound", "§7", "snapshot.install"),
    inputs.SnapshotRejected: _only("the received snapshot is damaged", "§7", "snapshot.refuse"),
    inputs.SnapshotGone: _only(
        "a later snapshot has taken its place", "§7", "snapshot.snapshot_gone"
    ),
    inputs.Compact: _only(
        "entries are dropped from memory, since a snapshot has them", "§7", "snapshot.compact"
    ),
    inputs.Stop: _only("this server stops", "course/docs/controller.md", "state.stop"),
}  # fmt: skip


def rules_of(step: Step) -> list[Rule]:
    """Return the rule of the decision about the input, then the rules of the consequences."""
    event: Any = step.message if step.message is not None else step.event
    # An order from outside of the core (raftline_testing/orders.py) brings its explanation.
    for decision in DECISIONS.get(type(event)) or _only(*event.why):  # the last one always matches
        if decision.when(step):
            break
    return [decision, *(rule for rule in CONSEQUENCES if rule.when(step))]


def explain(step: Step) -> list[Reason]:
    """Return the reasons of a step."""
    if step.refusal:
        return [Reason(f"refused: {step.refusal}", "docs/use/protocol.md", "node.receive")]
    return [rule.explain(step) for rule in rules_of(step)]
