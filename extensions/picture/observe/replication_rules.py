"""The rules of replication: why a follower accepts or refuses entries, and how its leader handles
the answer. Pure."""

from __future__ import annotations

from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
)

from .facts import Rule, Step, Topic, always, span

ON_APPEND = "append_entries.on_append_entries"


def _append(step: Step) -> AppendEntries:
    assert isinstance(step.message, AppendEntries)
    return step.message


def _is_old(step: Step) -> bool:
    message = step.message
    return message is not None and message.term < step.before.term


def _say_old(step: Step) -> str:
    message = step.message
    assert message is not None
    return f"refused: term {message.term} is over, I am in term {step.before.term}"


def _lacks(step: Step) -> bool:
    return _is_rejected(step) and _append(step).prev_index > step.before.last_index


def _is_rejected(step: Step) -> bool:
    return isinstance(step.answer, AppendRejected)


def _say_lacks(step: Step) -> str:
    message = _append(step)
    return f"refused: my log ends at {step.before.last_index}, it has no entry {message.prev_index}"


def _say_differs(step: Step) -> str:
    message = _append(step)
    return (
        f"refused: my entry {message.prev_index} is of term {step.term_there}, "
        f"not of term {message.prev_term}"
    )


def _say_cut(step: Step) -> str:
    first = (step.effects.cut_after or 0) + 1
    lost = span(first, step.before.last_index)
    theirs = next((one.term for one in _append(step).entries if one.index == first), None)
    mine = step.before.term_at(first)
    terms = f"is of term {mine}, the leader's" if mine is not None else "differs from the leader's"
    return f"accepted: my entry {first} {terms} of term {theirs}, so I drop {lost} and take its own"


def _say_appended(step: Step) -> str:
    new = step.effects.append
    before, message = new[0].index - 1, _append(step)
    fits = f"after my entry {before}"
    if message.prev_index == before and before:
        fits += f", which is of term {step.term_there}, too"
    return f"accepted: it fits {fits}, so I append {span(new[0].index, new[-1].index)}"


FROM_LEADER = (
    Rule(_is_old, _say_old, "§5.1", "append_entries.refuse_old_leader", Topic.APPEND),
    Rule(_lacks, _say_lacks, "§5.3", "append_entries._send_missing", Topic.APPEND),
    Rule(_is_rejected, _say_differs, "§5.3", "append_entries._send_missing", Topic.APPEND),
    Rule(
        lambda step: step.effects.cut_after is not None, _say_cut, "§5.3, Figure 7", ON_APPEND,
        Topic.APPEND,
    ),
    Rule(lambda step: step.effects.append, _say_appended, "§5.3", ON_APPEND, Topic.APPEND),
    Rule(
        lambda step: _append(step).entries,
        lambda step: "accepted: I hold these entries already",
        "§5.3", "append_entries._without_known", Topic.APPEND,
    ),
    Rule(
        always,
        lambda step: f"accepted: {_append(step).sender} leads, so my election timer restarts",
        "§5.2", "append_entries.hear_leader", Topic.APPEND,
    ),
)  # fmt: skip


def _accepted(step: Step) -> AppendAccepted | AppendRejected | InstallSnapshotReply:
    message = step.message
    assert isinstance(message, AppendAccepted | AppendRejected | InstallSnapshotReply)
    return message


def _match(step: Step) -> tuple[int, int]:
    """Return a follower's match index before and after the step."""
    sender = _accepted(step).sender
    before, after = step.before.followers.get(sender), step.after.followers.get(sender)
    return (before.match_index if before else 0, after.match_index if after else 0)


def _next(step: Step) -> int:
    return step.after.followers[_accepted(step).sender].next_index


def _is_moved(step: Step) -> bool:
    sender = _accepted(step).sender
    before, after = step.before.followers.get(sender), step.after.followers[sender]
    return before is None or before[1:] != after[1:] or bool(step.sent)


def _is_forgotten(step: Step) -> bool:
    """Whether the leader has let a removed follower go in this step (`_let_leavers_go`)."""
    return _accepted(step).sender not in step.after.followers


def _is_without_vote(step: Step) -> bool:
    """Whether an answer is from a follower that lost its memory and counts for no majority."""
    message = _accepted(step)
    follower = step.after.followers.get(message.sender)
    return bool(message.without_vote) and follower is not None and not follower.is_counted


def _say_without_vote(step: Step) -> str:
    sender = _accepted(step).sender
    if sender in step.after.learners:
        why = "is a learner, which counts in no majority"
    else:
        loss = "may be new" if step.after.followers[sender].may_be_new else "lost its memory"
        why = f"{loss}, so it has no vote until it has caught up"
    return f"not counted: {sender} {why}; it holds my log up to {_match(step)[1]}"


_NOT_MINE = Rule(
    lambda step: not step.before.leads or _accepted(step).term < step.before.term,
    lambda step: "ignored: it does not answer a request of my term",
    "§5.1",
    "node._hear_follower",
)
_NEWER = Rule(
    lambda step: step.after.term > step.before.term,
    lambda step: "its term is newer, so I lead no longer",
    "§5.1",
    "node._adopt_term",
)
_FOLLOWED = Rule(
    always,
    lambda step: (
        f"counted: {_accepted(step).sender} still followed in round {_accepted(step).round}"
    ),
    "thesis §6.2",
    "node._hear_follower",
)

ACCEPTED = (
    _NEWER,
    _NOT_MINE,
    Rule(
        _is_without_vote, _say_without_vote, "docs/repair.md",
        "recovering.leader_heard_recovering", Topic.COUNT,
    ),
    Rule(
        lambda step: _match(step)[1] > _match(step)[0],
        lambda step: f"counted: {_accepted(step).sender} holds my log up to {_match(step)[1]}",
        "§5.3", "replication.on_append_accepted", Topic.COUNT,
    ),
    _FOLLOWED,
)  # fmt: skip

REJECTED = (
    _NEWER,
    _NOT_MINE,
    _FOLLOWED._replace(when=_is_forgotten),
    Rule(
        lambda step: _is_without_vote(step) and _is_moved(step),
        lambda step: f"{_say_without_vote(step)}, and I send it the rest from nextIndex "
        f"{_next(step)}",
        "docs/repair.md", "recovering.leader_heard_recovering",
    ),
    Rule(
        _is_moved,
        lambda step: f"counted: the log of {_accepted(step).sender} does not fit, so I go back to "
        f"nextIndex {_next(step)} and try there",
        "§5.3", "replication.on_append_rejected",
    ),
    Rule(
        always, lambda step: "ignored: I already went back for this reason", "§5.3",
        "replication.on_append_rejected",
    ),
)  # fmt: skip


def _piece(step: Step) -> InstallSnapshot:
    assert isinstance(step.message, InstallSnapshot)
    return step.message


INSTALL = (
    Rule(_is_old, _say_old, "§5.1", "append_entries.refuse_old_leader", Topic.APPEND),
    Rule(
        lambda step: step.effects.check is not None,
        lambda step: f"accepted: the snapshot up to entry {_piece(step).snapshot.index} is whole, "
        "so I check it",
        "§7", "snapshot.on_install_snapshot",
    ),
    Rule(
        lambda step: step.effects.chunks,
        lambda step: f"accepted: {_piece(step).length} bytes of the snapshot up to entry "
        f"{_piece(step).snapshot.index}",
        "§7, Figure 13", "snapshot.on_install_snapshot",
    ),
    Rule(
        lambda step: isinstance(step.answer, AppendAccepted),
        lambda step: f"answered: my log is committed up to {step.after.commit_index}, so I need no "
        f"snapshot up to entry {_piece(step).snapshot.index}",
        "§7, Figure 13", "snapshot.on_install_snapshot",
    ),
    Rule(
        lambda step: step.answer is None,
        lambda step: "ignored: this leader is sending me a later snapshot", "§7",
        "snapshot.on_install_snapshot",
    ),
    Rule(
        always, lambda step: "answered: I say how many bytes of it I hold", "§7",
        "snapshot._send_held",
    ),
)  # fmt: skip

HELD = (
    _NEWER,
    _NOT_MINE,
    Rule(
        lambda step: step.sent,
        lambda step: f"counted: I send {_accepted(step).sender} the next chunks of the snapshot",
        "§7", "snapshot.send_chunks",
    ),
    Rule(
        always, lambda step: "counted: further chunks are on their way", "§7", "snapshot.on_held"
    ),
)  # fmt: skip
