"""The rules of consequences: the changes that a step makes besides the decision about its input.
Pure."""

from __future__ import annotations

from raftline.raft.identity import read
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
    RequestVote,
    TimeoutNow,
)
from raftline.raft.upgrade import NOOP

from .facts import Rule, Step, Topic, among, commits_as_leader, held_index, holders, span


def _is_newer(step: Step) -> bool:
    message = step.message
    newer = step.after.role == "follower" and step.after.term > step.before.term
    return newer and message is not None and message.term >= step.after.term


def _has_won(step: Step) -> bool:
    is_new = not step.before.leads or step.after.term > step.before.term
    return step.after.leads and is_new


def _commits(step: Step) -> bool:
    return step.after.commit_index > step.before.commit_index


def _say_committed(step: Step) -> str:
    index, before = step.after.commit_index, step.before
    names = holders(step, index)
    leader = before if before.leads else step.after
    return (
        f"entry {index} of my term {step.after.term_at(index) or leader.term} is held by "
        f"{among(names)}, {leader.share(names)}: a majority, so it is committed"
    )


def _say_reported(step: Step) -> str:
    index = step.after.commit_index
    if step.effects.install is not None or isinstance(step.message, InstallSnapshot):
        return f"the snapshot stands for entries up to {index}, which are committed"
    return f"the leader says that entries up to {index} are committed"


def _holds_old(step: Step) -> bool:
    """Whether a majority now holds an entry that is not committed because of its term."""
    before, after = step.before, step.after
    if not (before.leads and after.leads and isinstance(step.message, AppendAccepted)):
        return False
    follower = before.followers.get(step.message.sender)
    index = held_index(step)
    is_news = follower is not None and follower.match_index < index <= step.message.index
    return is_news and index > after.commit_index and (after.term_at(index) or 0) < after.term


def _say_old(step: Step) -> str:
    index, after = held_index(step), step.after
    names = holders(step, index)
    return (
        f"{among(names)}, {step.before.share(names)}, hold entry {index}, but it is of term "
        f"{after.term_at(index)}: an entry of term {after.term} must commit it"
    )


def _say_won(step: Step) -> str:
    term = step.after.term
    first = next(iter(step.effects.append), None)
    if first is not None and read(first.command).cluster:
        return f"as leader of term {term} I append the entry {first.index}, the cluster's identity"
    if first is None or first.command != NOOP:
        return f"I lead term {term}, and append no empty entry of it"
    return f"as leader of term {term} I append the empty entry {first.index}"


def _has_other_members(step: Step) -> bool:
    before, after = step.before, step.after
    return (before.halves, before.addresses) != (after.halves, after.addresses)


def _say_members(step: Step) -> str:
    before, after = step.before, step.after
    new, *old = map(" ".join, after.halves)
    if old:
        return (
            f"the configuration is joint from now on: a majority of the old voters, {old[0]}, and "
            f"a majority of the new ones, {new}, must agree"
        )
    if len(before.halves) > 1:
        return f"the joint configuration ends: a majority of {new} is enough from now on"
    learners = [name for name in after.learners if name not in before.learners]
    if not learners:
        return f"the voters are {new} from now on"
    are = "is a learner" if len(learners) == 1 else "are learners"
    return (
        f"{' '.join(learners)} {are} from now on, with the entries and without a vote; the voters "
        f"are {new}"
    )


def _tells_to_stand(step: Step) -> bool:
    return any(isinstance(one, TimeoutNow) for one in step.sent)


def _say_handed_out(step: Step) -> str:
    entries = step.effects.apply
    return f"{span(entries[0].index, entries[-1].index)} handed to my state machine"


def _uncounted(step: Step) -> list[str]:
    return [name for name, each in step.after.followers.items() if not each.is_counted]


def _appends_fence(step: Step) -> bool:
    """Whether a leader appends a fence for followers that lost their memory."""
    is_answer = isinstance(step.message, AppendAccepted | AppendRejected | InstallSnapshotReply)
    leads_on = step.before.leads and step.after.leads and is_answer
    return leads_on and bool(step.effects.append and _uncounted(step))


def _readmitted(step: Step) -> list[str]:
    """Return the members that may vote again; a removed server is sent the same until it leaves."""
    sent = [one for one in step.sent if isinstance(one, AppendEntries) and one.vote_again]
    return [one.to for one in sent if one.to in step.after.addresses]


def _say_readmitted(step: Step) -> str:
    names = _readmitted(step)
    if all(name in step.after.learners for name in names):
        return f"{' '.join(names)} holds what is committed, so it may become a voter"
    followers = step.after.followers or step.before.followers  # a leader that steps down has none
    is_new = any(followers[name].may_be_new for name in names)
    votes = "it may vote" if is_new else "it votes again"
    return f"{' '.join(names)} holds all up to its fence, which is committed: {votes}"


def _say_regained(step: Step) -> str:
    if step.name in step.after.learners:
        return "I hold what is committed, so I may become a voter"
    vote = "a vote" if step.before.may_be_new else "a vote again"
    return f"I hold all up to my fence, so I have {vote}"


def _say_forgot(step: Step) -> str:
    if step.after.may_be_new:
        return "there is a history, and I may be new to it, so I have no vote until I hold it"
    return "there is a history that I lost a part of, so I have no vote"


CONSEQUENCES = (
    Rule(
        lambda step: _is_newer(step) and isinstance(step.message, RequestVote)
        and step.message.pre_vote,
        lambda step: f"a member may have stood in term {step.after.term}, and I may have voted "
        "there before I lost my files, so I follow in it",
        "docs/repair.md", "newborn.look_for_history",
    ),
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
        _has_won, _say_won, "§8", "election.become_leader", Topic.LEAD,
    ),
    Rule(
        commits_as_leader, _say_committed, "§5.3, §5.4.2", "replication.advance_commit",
        Topic.COMMIT,
    ),
    Rule(
        lambda step: _commits(step) and not commits_as_leader(step), _say_reported,
        "§5.3", "state.advance_commit_index", Topic.COMMIT,
    ),
    Rule(
        _holds_old, _say_old, "§5.4.2, Figure 8", "replication.advance_commit", Topic.COMMIT,
    ),
    Rule(
        lambda step: step.effects.apply, _say_handed_out, "§5.3", "state.hand_out_committed",
        Topic.APPLY,
    ),
    Rule(
        lambda step: step.effects.reads and step.after.leads,
        lambda step: f"reads are served ({len(step.effects.reads)}): leadership is confirmed, and "
        "their read index applied",
        "thesis §6.4", "reads.serve_applied", Topic.READ,
    ),
    Rule(
        lambda step: step.effects.reads and not step.after.leads,
        lambda step: f"reads are served ({len(step.effects.reads)}): I have applied the "
        "entries up to the leader's read index",
        "thesis §6.4", "reads.serve_applied", Topic.READ,
    ),
    Rule(
        lambda step: step.effects.members_changed and step.effects.install is not None,
        lambda step: f"by the snapshot the voters are {' '.join(step.after.electors)}",
        "§6, §7", "snapshot.install",
    ),
    Rule(
        lambda step: step.effects.install is None and _has_other_members(step),
        _say_members, "§6", "state._note_members",
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
        lambda step: _appends_fence(step) and not _has_other_members(step),
        lambda step: f"entry {step.effects.append[-1].index} is the fence of "
        f"{' '.join(_uncounted(step))}: every promise from before the loss is covered up to it",
        "docs/repair.md", "reconfiguration.append_fence",
    ),
    Rule(
        _readmitted, _say_readmitted, "docs/repair.md", "recovering.mark_readmitted",
    ),
    Rule(
        lambda step: step.after.has_memory and not step.before.has_memory,
        _say_regained, "docs/repair.md", "recovering.regain_vote",
    ),
    Rule(
        lambda step: step.effects.forgot, _say_forgot, "docs/repair.md",
        "newborn.look_for_history",
    ),
    Rule(
        lambda step: step.effects.differs > 0,
        lambda step: "my state differs from that of the others, so I have no vote and serve no "
        "reads",
        "docs/repair.md", "agreement.hear_of_sums",
    ),
    Rule(
        lambda step: step.effects.install is not None,
        lambda step: "the snapshot takes the place of the log before it",
        "§7", "snapshot.install",
    ),
)  # fmt: skip
