"""Membership changes in a running cluster: paper §6, thesis §4; docs/operate/membership.md.

The leader makes one change at a time through the log. `membership` defines the quorums; this module
decides when the next entry may be appended, and who is told of it.
"""

from __future__ import annotations

from typing import Any

from ..common.text import NUMBER_MAX
from .change import Change, ChangePlan, ChangeRefused, PendingChange, advice, plan
from .effects import Settled
from .election import heard_lately
from .log import Entry, SafetyError
from .membership import Membership, read
from .progress import Progress
from .replication import propose, send_entries_to_all, send_heartbeats
from .roles import Role
from .state import State
from .transfer import leave_to_another
from .upgrade import NOOP, check_newcomer

ROUNDS_MAX = 10  # catch-up rounds (thesis §4.2.1)
PATIENCE = 10  # election timeouts without an answer from a joining or removed server
INSTALLED_BYTES = 4 << 20  # of a snapshot, in an election timeout, on a slow machine


def begin_change(state: State, change: Change, token: Any) -> None:
    """Begin a membership change now or as soon as it is allowed, or refuse it; `token` is returned
    in `settled`. The change waits only while this server leads."""
    if state.role is not Role.LEADER:
        raise SafetyError(f"{state.name} is asked to change members, but is {state.role.value}")
    if state.transfer is None and _is_early(state, change):
        state.as_leader.waiting.append((change, token))
    else:
        _begin(state, change, token)


def _is_early(state: State, change: Change) -> bool:
    """Whether this leader can't begin a change yet. It can once these conditions hold, which needs
    no request:

    1. The configuration in its log is committed and not joint (paper §6; thesis §4.1). An
       unfinished change is completed first (`advance_change`).
    2. An entry of its own term is committed (Ongaro's correction of 2015 on raft-dev). Otherwise
       two leaders could each commit a change with a majority that doesn't know the other change.
    3. Enough voters have answered (`_why_too_few_answer`), or the election was an election timeout
       ago, or all have answered: before that, a silent voter may be about to answer.
    """
    return state.as_leader.pending_change is None and (
        state.configurations.index > state.commit_index
        or state.membership.is_joint
        or state.log.term_at(state.commit_index) != state.term
        or _awaits_answers(state, change)
    )


def _awaits_answers(state: State, change: Change) -> bool:
    """Whether a new leader would refuse the change, and a voter's first answer may still come."""
    leading = state.as_leader
    silent = [name for name, progress in leading.progress.items() if not progress.acked_round]
    until_ms = leading.since_ms + state.options.election_timeout_ms
    if change.force or state.now_ms >= until_ms or not {*silent} & {*state.membership.voters}:
        return False
    try:
        return bool(_why_too_few_answer(state, change, plan(change, state.membership)))
    except ChangeRefused:
        return False


def _begin(state: State, change: Change, token: Any) -> None:
    """Begin a change that is no longer early, one at a time. A leader that is handing over begins
    none, since it appends nothing (thesis §3.10)."""
    leading = state.as_leader
    try:
        _give_up_for(state, change)
        if leading.pending_change is not None:
            under_way = leading.pending_change.change
            raise ChangeRefused(f"{under_way} is under way, and only one change is made at a time")
        if leading.transfer is not None:
            raise ChangeRefused(f"the leadership is being handed over to {leading.transfer.to}")
        check_newcomer(state, change)
        steps = _plan_for_recovering_voter(state, change) or plan(change, state.membership)
        if read(steps.target.format()) != steps.target:
            raise ChangeRefused("a member's address can't be stored in an entry")
        if lost := _needed_and_lost(state, steps.target, steps.candidate):
            raise ChangeRefused(
                f"{' and '.join(_losses(state, lost))} and has no vote until it has caught up; "
                "with so few other voters, it never would: ask again once it has"
            )
        if not change.force and (why := _why_too_few_answer(state, change, steps)):
            raise ChangeRefused(why)
    except ChangeRefused as refused:
        state.out.settled.append(Settled(token, "refused", f"{refused}. Nothing was changed"))
        return
    if steps.learner_first is not None:
        append_configuration(state, steps.learner_first)
    leading.pending_change = PendingChange(
        change,
        token,
        steps.target,
        steps.candidate,
        state.now_ms,
        state.now_ms,
        state.log.last_index,
    )
    if steps.candidate is None:
        _append_target(state, leading.pending_change)


def _plan_for_recovering_voter(state: State, change: Change) -> ChangePlan | None:
    """Return the current members, for an entry, if a voter that lost its memory asks to be added: a
    server started to join can learn the members only from entries. The requested address doesn't
    matter, since the server was reached at its known address."""
    members, progress = state.membership, state.as_leader.progress.get(change.name)
    is_lost = change.name in members.voters and progress is not None and not progress.is_counted
    return ChangePlan(members) if change.verb == "add" and is_lost else None


def _needed_and_lost(state: State, target: Membership, candidate: str | None) -> list[str]:
    """Return the voters of `target` that have no vote, if a quorum needs them: their fence could
    never be committed then, nor could anything else (raft/recovering.py)."""
    leading = state.as_leader
    without = {name for name, progress in leading.progress.items() if not progress.is_counted}
    lost = [name for name in target.voters if name in without - {candidate}]
    return [] if target.is_quorum(set(target.voters) - set(lost)) else lost


def _losses(state: State, names: list[str]) -> list[str]:
    return [f"{name} {state.as_leader.progress[name].loss}" for name in names]


def _why_too_few_answer(state: State, change: Change, steps: ChangePlan) -> str:
    """Return why a change of voters may not begin: without the voters that are silent now, a
    majority of the old voters or of the new ones is impossible (paper §6). "" if it may begin.

    Nothing would be committed then, so no later change could undo this one. A candidate counts as
    answering, since it becomes a voter only while it does (`_catch_up`).
    """
    if set(state.membership.voters) == set(steps.target.voters):
        return ""
    for half in (state.membership, steps.target):
        there = [name for name in half.voters if name == steps.candidate or _answers(state, name)]
        if half.is_quorum(there):
            continue
        silent = [name for name in half.voters if name not in there]
        them = "them" if silent[1:] else "it"
        absent, voters = " and ".join(_silences(state, silent)), " ".join(half.voters)
        if half is state.membership:
            return (
                f"{absent}: without {them}, the voters {voters} have no majority to commit a "
                f"change. Start {them} again; if that is impossible, see docs/repair.md"
            )
        return (
            f"{absent}: without {them}, the voters {voters} would have no majority, and no write "
            f"could be committed. Start or remove {them} first; to do this all the same: "
            f"{change.forced}"
        )
    return ""


def _silences(state: State, names: list[str]) -> list[str]:
    progress = state.as_leader.progress
    return [
        f"{name} does not answer" if progress[name].is_counted else f"{name} {progress[name].loss}"
        for name in names
    ]


def _answers(state: State, name: str) -> bool:
    """Whether a server counts and has answered this leader within an election timeout, on a
    connection that has not broken since."""
    progress = state.as_leader.progress.get(name)
    if progress is None:
        return name == state.name
    is_there = progress.acked_round > 0 and not progress.away
    return is_there and name in heard_lately(state)


def _give_up_for(state: State, change: Change) -> None:
    """Give up a pending change if its candidate is now to be removed."""
    pending = state.as_leader.pending_change
    if pending is None or pending.candidate != change.name or change.verb != "remove":
        return
    if state.configurations.index <= state.commit_index and not pending.joint_index:
        _settle(state, pending, "refused", f"{change.name} is removed before it has caught up")


def append_configuration(state: State, membership: Membership) -> None:
    """Append a configuration and use it from now on (paper §6); followers learn it as an entry."""
    leading = state.as_leader
    before = state.membership.addresses
    state.append([Entry(state.log.last_index + 1, state.term, membership.format())])
    for name in state.peers:
        # A removed member may return without its files: its old progress does not count, nor does
        # a late answer to this round or an earlier one, which would restore it.
        if name not in leading.progress or leading.leaving.pop(name, None) is not None:
            leading.round += 1
            leading.progress[name] = Progress(
                state.log.last_index, state.now_ms, since_round=leading.round
            )
    for name, progress in leading.progress.items():
        if name not in state.membership.names and name not in leading.leaving:
            leading.leaving[name] = before[name]
            progress.leave_index, progress.leave_round = state.configurations.index, 0
            progress.leave_by_ms = state.now_ms + PATIENCE * state.options.election_timeout_ms
    send_entries_to_all(state)


def append_fence(state: State) -> None:
    """Append the entry after which a voter that lost its memory votes again (raft/recovering.py).
    It names the members, unless an entry in this log already does.

    A server whose log is gone starts a new one with the members of its configuration file, and uses
    them until the log names others. An edit of that file since the birth of the cluster changed no
    member. With such a file the server would count different quorums than the others, and two
    quorums without a common server could each elect a leader.

    The members stay the same, so this is not a change that has to wait (paper §6, thesis §4.1): the
    quorums are the same before and after this entry, and with or without it. At the floor the
    fence is a no-op, since a member may be another implementation without membership changes.
    """
    is_said = state.configurations.index > state.log.base_index
    if is_said or state.identity.is_at_floor:
        propose(state, [NOOP])
    else:
        append_configuration(state, state.membership)


def _append_target(state: State, pending: PendingChange) -> None:
    """Take the next step towards the target: the joint configuration, unless the voters stay."""
    members = state.membership
    if set(members.voters) == set(pending.target.voters):
        append_configuration(state, pending.target)
        return
    append_configuration(state, members.joint_to(pending.target))
    pending.joint_index = state.configurations.index


def advance_change(state: State) -> None:
    """Take the next step that the current commit index allows.

    A new leader finishes a change that it finds in its log: once C_old,new is committed, it appends
    C_new (paper §6), even if another leader began the change.
    """
    leading = state.as_leader
    _let_leavers_go(state)
    pending = leading.pending_change
    if state.configurations.index > state.commit_index:
        return
    is_done = pending is not None and pending.candidate not in state.membership.learners
    if pending is not None and is_done and not state.membership.is_joint:
        _settle(state, pending, "done", _outcome(state, pending))
    if leading.transfer is not None:
        return  # a transfer appends nothing (thesis §3.10); the change resumes after it
    if state.membership.is_joint:
        append_configuration(state, state.membership.settled())
    elif leading.pending_change is not None:
        _catch_up(state, leading.pending_change)
    if state.configurations.index <= state.commit_index:
        _step_down_if_out(state)
    while leading.waiting and not _is_early(state, leading.waiting[0][0]):
        _begin(state, *leading.waiting.pop(0))


def _catch_up(state: State, pending: PendingChange) -> None:
    """Make a learner that answers a voter once a catch-up round took less than an election timeout:
    then no commit waits long for it (thesis §4.2.1). After 10 rounds, a long silence, or a long
    time without progress, it stays a learner, and the reply gives the reason."""
    name, timeout_ms = str(pending.candidate), state.options.election_timeout_ms
    progress, now_ms = state.as_leader.progress[name], state.now_ms
    if progress.match_index < pending.round_index or not _answers(state, name):
        silent_ms = now_ms - max(progress.heard_at_ms, pending.began_ms)
        if silent_ms > PATIENCE * timeout_ms:
            _leave_as_learner(state, pending, "does not answer")
        elif _makes_no_progress(state, pending, progress):
            _leave_as_learner(state, pending, "takes no entries")
    elif now_ms - pending.round_began_ms < timeout_ms:
        pending.candidate = None
        _append_target(state, pending)
    elif pending.rounds >= ROUNDS_MAX:
        _leave_as_learner(state, pending, f"lags behind after {ROUNDS_MAX} rounds")
    else:
        pending.rounds += 1
        pending.round_began_ms, pending.round_index = now_ms, state.log.last_index


def _makes_no_progress(state: State, pending: PendingChange, progress: Progress) -> bool:
    """Whether a candidate that answers has taken nothing new for long. Its disk may hang: it
    answers heartbeats past its disk. Or it refuses each snapshot that it has received, and gets it
    again. A snapshot that has arrived is checked and installed first, at `INSTALLED_BYTES` in an
    election timeout at least."""
    held, patience = (progress.match_index, 0, 0), 2 * PATIENCE
    if (sending := progress.sending) is not None:
        snapshot = sending.snapshot
        if sending.held:  # a newer snapshot of this leader alone is nothing that it has taken
            held = progress.match_index, snapshot.index, sending.held
        if sending.held >= snapshot.size:
            held = progress.match_index, NUMBER_MAX, 0  # nothing but its last entry is new
            patience += snapshot.size // INSTALLED_BYTES
    is_new = held > pending.held or held[0] < pending.held[0]  # or it lost its memory
    if is_new or not pending.held_since_ms:
        pending.held, pending.held_since_ms = held, state.now_ms
    waits_ms = state.now_ms - pending.held_since_ms
    return waits_ms > patience * state.options.election_timeout_ms


def _leave_as_learner(state: State, pending: PendingChange, why: str) -> None:
    """End a change halfway, and tell which request resumes it and which one reverts it."""
    change, name = pending.change, str(pending.candidate)
    then = f". Once it has caught up: promote {name}"
    if change.verb == "replace":
        again = f"replace {change.old} {change.place}"
        then = f", and {change.old} votes as before. Once {name} is up: {again}"
    text = f"{name} is a learner without a vote, since it {why}{then}; to give it up: remove {name}"
    _settle(state, pending, "done", text)


def _settle(state: State, pending: PendingChange, outcome: str, text: str) -> None:
    state.as_leader.pending_change = None
    state.out.settled.append(Settled(pending.token, outcome, text))
    state.note(f"[*] {pending.change}: {text}")


def _outcome(state: State, pending: PendingChange) -> str:
    change, members, index = pending.change, state.membership, state.configurations.index
    verb, name = change.verb, change.name
    if verb == "add" and not pending.joint_index:
        text = f"{name} is a voter as before, entry {index} tells it who the others are"
    elif verb == "add":
        text = f"{name} added as a learner, votes from entry {pending.joint_index}"
    elif verb == "replace" and not pending.joint_index:
        text = (
            f"{name} votes and {change.old} is not a member, as before; entry {index} repeats "
            f"who the members are: {members.describe()}"
        )
    elif verb == "replace":
        text = f"{name} votes instead of {change.old} from entry {index}"
    elif verb == "promote":
        text = f"{name} votes from entry {pending.joint_index}"
    elif verb == "demote":
        text = f"{name} is a learner from entry {index}"
    elif verb == "update":
        text = f"{name} is at {members.addresses[name]} from entry {index}"
    else:
        text = f"{name} removed with entry {index}"
    warning = advice(len(members.voters)) if pending.joint_index else ""
    return f"{text}. Note: {warning}" if warning else text


def _let_leavers_go(state: State) -> None:
    """Forget removed members once they know that their removal is committed, or if they take too
    long: the message is a courtesy, and nothing depends on it."""
    leading = state.as_leader
    for name in list(leading.leaving):
        progress = leading.progress[name]
        holds_it = progress.match_index >= progress.leave_index <= state.commit_index
        if holds_it and not progress.leave_round:
            progress.leave_round = leading.round + 1  # later sends report that it is committed
        has_heard = 0 < progress.leave_round <= progress.acked_round
        if has_heard or state.now_ms > progress.leave_by_ms:
            del leading.leaving[name], leading.progress[name]
            state.out.members_changed = True


def _step_down_if_out(state: State) -> None:
    """Step down once C_new without this leader is committed; until then it leads without counting
    itself in any majority (paper §6). It hands over to another server (thesis §4.2.2), if one is
    ready."""
    if state.name in state.membership.voters:
        return
    state.note(f"[!] {state.name} no longer has a vote, so it no longer leads")
    send_heartbeats(state)  # tells the others that it is committed
    leave_to_another(state)
    state.follow(state.term, None)
    state.out.members_changed = True


def say_if_removed(state: State) -> None:
    """Print on the console that this server was removed, once that is certain."""
    if state.is_member or state.configurations.index > state.commit_index:
        return
    index = state.configurations.removed_by(state.name)
    if index and state.removed_by != index:
        state.note_removed(index, f"by entry {index}")
