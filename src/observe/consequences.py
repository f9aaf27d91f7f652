"""The rules of consequences: changes by a step beside the decision about its input. Pure."""

from __future__ import annotations

from raftline.observe.facts import Rule, Step, span
from raftline.raft.messages import TimeoutNow


def _is_newer(step: Step) -> bool:
    message = step.message
    newer = step.after.term > step.before.term
    return newer and message is not None and message.term >= step.after.term and _follows(step)


def _follows(step: Step) -> bool:
    return step.after.role == "follower"


def _has_won(step: Step) -> bool:
    is_new = not step.before.leads or step.after.term > step.before.term
    return step.after.leads and is_new


def _commits(step: Step) -> bool:
    return step.after.commit_index > step.before.commit_index


def _holds_old(step: Step) -> bool:
    """Whether a majority has come to hold an entry that is not committed, for its term."""
    after = step.after
    is_news = after.held_index > step.before.held_index and step.before.leads
    return is_news and after.held_index > after.commit_index and after.held_term < after.term


def _has_other_members(step: Step) -> bool:
    before, after = step.before, step.after
    return (before.electors, before.addresses) != (after.electors, after.addresses)


def _tells_to_stand(step: Step) -> bool:
    return any(isinstance(one, TimeoutNow) for one in step.sent)


def _say_handed_out(step: Step) -> str:
    applied = step.effects.apply
    return f"{span(applied[0].index, applied[-1].index)} handed to my state machine"


CONSEQUENCES = (
    Rule(
        _is_newer,
        lambda step: f"term {step.after.term} is newer than mine, {step.before.term}, so I follow "
        "in it",
        "§5.1", "node._adopt_term",
    ),
    Rule(
        lambda step: step.before.leads and not step.after.leads and not _is_newer(step),
        lambda step: "I lead no longer", "§5.1", "state.follow",
    ),
    Rule(
        _has_won,
        lambda step: f"as leader of term {step.after.term} I append the empty entry "
        f"{step.effects.append[-1].index if step.effects.append else step.after.last_index}",
        "§8", "election.become_leader",
    ),
    Rule(
        lambda step: _commits(step) and step.after.leads,
        lambda step: f"a majority holds entry {step.after.commit_index} of my term "
        f"{step.after.term}, so it is committed",
        "§5.3, §5.4.2", "replication.advance_commit",
    ),
    Rule(
        lambda step: _commits(step) and not step.after.leads,
        lambda step: f"the leader says that entries up to {step.after.commit_index} are committed",
        "§5.3", "state.advance_commit_index",
    ),
    Rule(
        _holds_old,
        lambda step: f"a majority holds entry {step.after.held_index}, but it is of term "
        f"{step.after.held_term}: an entry of term {step.after.term} must commit it",
        "§5.4.2, Figure 8", "replication.advance_commit",
    ),
    Rule(lambda step: step.effects.apply, _say_handed_out, "§5.3", "state.hand_out_committed"),
    Rule(
        lambda step: step.effects.reads and step.after.leads,
        lambda step: f"reads are served ({len(step.effects.reads)}): leadership is confirmed, and "
        "their read index applied",
        "thesis §6.4", "reads.serve_applied",
    ),
    Rule(
        lambda step: step.effects.reads and not step.after.leads,
        lambda step: f"reads are served ({len(step.effects.reads)}): I have applied what the "
        "leader's read index asks for",
        "thesis §6.4", "reads.serve_applied",
    ),
    Rule(
        lambda step: step.effects.members_changed and step.effects.install is not None,
        lambda step: f"by the snapshot the voters are {' '.join(step.after.electors)}",
        "§6, §7", "snapshot.install",
    ),
    Rule(
        lambda step: step.effects.install is None and _has_other_members(step),
        lambda step: f"the voters are {' '.join(step.after.electors)} from now on",
        "§6", "state._note_members",
    ),
    Rule(
        lambda step: _tells_to_stand(step) and step.after.leads,
        lambda step: "the follower that takes over may stand at once",
        "thesis §3.10", "transfer.advance_transfer",
    ),
    Rule(
        lambda step: _tells_to_stand(step) and not step.after.leads,
        lambda step: "I leave, and a follower that holds my whole log may stand at once",
        "thesis §4.2.2", "transfer.leave_to_another",
    ),
    Rule(
        lambda step: step.effects.forgot,
        lambda step: "there is a history that I may have lost, so I have no vote",
        "docs/repair.md", "newborn.look_for_history",
    ),
    Rule(
        lambda step: step.effects.install is not None,
        lambda step: "the snapshot takes the place of the log before it",
        "§7", "snapshot.install",
    ),
)  # fmt: skip
