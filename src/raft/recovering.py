"""A server that lost its memory, and how it comes back without harm.

Raft's safety rests on what a server has promised staying promised: entries that it acknowledged
are in its log, and in each term it votes once. A server whose log was deleted or cut, or whose
term and vote are gone, or both, must not help to elect a leader that lacks what it forgot, nor
vote again in a term in which it has voted, nor be counted for entries that it no longer holds
(after Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018). So:

1. A recovering server grants no vote and does not stand. Its answers end in `without vote LIFE`;
   LIFE is a number that no other start of it has. Whatever vote of a term it does not know to
   have given, it spends on the leader that it hears in that term.
2. The leader, in term T, forgets what it knew of it, leaves it out of every quorum, and
   appends an entry: the fence. It names the members if nothing else in the log does.
3. Once the fence is committed, by a quorum of the others, and the recovering server holds all up
   to it, the leader's AppendEntries end in `vote again LIFE`. The server writes that down, and
   from then on answers as everyone does.

Why that is safe. Let A be the recovering server, Q the quorum that committed the fence in T. A is
not in Q, and the fence was appended after A's memory was gone.

* No leader of a term U > T was elected before the loss. It would have had a quorum of votes
  cast by then; one of the voters is in Q and not A, and could not have taken an entry of T after
  it had voted in U. So all that A ever helped to commit is of terms up to T, and the leader of T
  holds it (Leader Completeness, §5.4.3), ahead of the fence: A has it again.
* A vote that A forgot makes no second leader. In terms up to T it has none to give: T's was
  spent in step 1. Suppose it had voted for X in some U > T. X stood in U before the loss, so X's
  log of then, which a candidate does not change, ends before the fence: by the first point it
  holds no entry of a term beyond T, and of T only what came earlier. To win with that vote X
  needs another one from Q, and whoever holds the fence denies it to that log (§5.4.1); who gave
  it before could not have taken the fence. So only the vote counts that A gives afresh.
* If it was A itself that stood in U, it had not won (the first point), and the votes that are
  still on their way to it were given to a log that ends before the one that it has now.

A learner has no vote: if it lost its memory as one, what is committed in T is fence enough.

A server that begins with nothing at all can't know whether it is new (raft/newborn.py). Once it
finds that the cluster has a history, it is recovering and `may_be_new`. So is one that was started
to join, as its name may be that of a voter whose files are gone. It knows no members, never stands,
and listens to no candidate with an empty log, so it is recovering before it votes. If it is new
indeed, it is a learner then, and no fence is appended for it.

A server with a vote must know the members, as it may have to stand. One whose log is gone knows
them by its configuration file, which may have been edited since, and a joiner not at all. So if
this log has no entry that names them, the fence does (`append_fence`, raft/reconfiguration.py), or
the entry that the joiner gets as it asks to be added. It does not take up its vote before.

Older files look whole to their own server: the mark of what was synced is as old as the log. Only
the leader that heard the acknowledgements can know, as the server refuses to follow on them
(`Progress.lacks_acknowledged`). It stops counting the server at once, and its AppendEntries end in
`you lost N`. From that word on the server is recovering, as in step 1. If no such leader is left,
nobody can know: docs/repair.md.
"""

from __future__ import annotations

from .levels import LOSSES
from .messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshotReply,
)
from .progress import Progress
from .state import State

# --- the leader ----------------------------------------------------------------------------


def leader_heard_recovering(
    state: State,
    progress: Progress,
    message: AppendAccepted | AppendRejected | InstallSnapshotReply,
) -> bool:
    """Note what an answer reports of a follower's memory; return False for one that is old news."""
    if not message.without_vote:
        if message.round < progress.readmit_round:
            return False  # sent before it lost its memory
        # A server without the mark in its answer to a send from after its loss was noted is whole.
        # It got that, or the report of its loss was from before it got that.
        progress.is_counted, progress.lost_index = True, 0
        _note_whole(state, message.sender)
        return True
    if message.without_vote == progress.incarnation:
        return not progress.is_counted  # this incarnation was made whole, and reports it no more
    if message.round < progress.readmit_round:
        return False  # of an incarnation before the known one; or it reports it once more
    is_unsure = message.may_be_new and not progress.match_index  # else it had held entries
    progress.may_be_new = is_unsure or message.sender not in state.membership.electors
    progress.is_counted = False
    state.as_leader.has_uncounted = True
    progress.incarnation, progress.lost_index = message.without_vote, 0
    progress.readmit_round = state.as_leader.round + 1
    progress.readmit_index = None
    progress.vote_again_round = 0
    progress.forgot()
    state.note(f"[*] {message.sender} {progress.loss}: it catches up without a vote")
    return True


def may_tell_of_loss(state: State, name: str) -> bool:
    """Whether it is known how a follower is to be told of its loss: by the level of its build."""
    return state.options.level < LOSSES or state.peer_levels.get(name, 0) > 0


def leader_finds_loss(state: State, progress: Progress, complaint: AppendRejected) -> None:
    """Forget what a follower acknowledged, since it lacks some of that; it is told so, if its build
    understands. Its fence comes once it has answered: only then is its incarnation known."""
    name, lost_index = complaint.sender, progress.match_index
    state.note(
        f"[!] {name} lost entries: it acknowledged entry {lost_index} to {state.name}, and lacks "
        "it now. Its files were put back to an older copy, or its disk lost writes. It catches up"
    )
    progress.forgot()
    if state.peer_levels.get(name, 0) < LOSSES:
        return
    progress.is_counted, progress.may_be_new = False, name not in state.membership.electors
    progress.lost_index, progress.incarnation = lost_index, 0
    progress.readmit_round, progress.readmit_index = state.as_leader.round + 1, None
    progress.vote_again_round = 0
    state.as_leader.has_uncounted = True


def assign_fences(state: State) -> bool:
    """Set the next entry as the fence for those who wait for one; return whether there are any.

    Not while the leadership is handed over: who gives way appends nothing (thesis §3.10).
    """
    leading = state.as_leader
    if leading.transfer is not None:
        return False
    wanted = False
    for name, progress in leading.progress.items():
        if progress.is_counted or progress.readmit_index is not None or progress.lost_index:
            continue
        if name in state.membership.electors:
            progress.readmit_index = state.log.last_index + 1
            wanted = True
        elif _is_current(state) and state.configurations.index <= state.commit_index:
            progress.readmit_index = state.commit_index
    return wanted


def mark_readmitted(state: State) -> bool:
    """Let those vote again that hold everything up to their fence, once that is committed.

    Return whether there is anybody new to send it to.
    """
    leading = state.as_leader
    is_new = False
    for progress in leading.progress.values():
        index = progress.readmit_index
        if progress.is_counted or progress.vote_again_round or index is None:
            continue
        if index <= min(state.commit_index, progress.match_index):
            progress.vote_again_round = leading.round + 1
            is_new = True
    return is_new


def _is_current(state: State) -> bool:
    """Whether the commit index is known to be no less than what earlier terms left (§5.4.2)."""
    return state.log.term_at(state.commit_index) == state.term


# --- the server that lost its memory ---------------------------------------------------------


def hear_of_loss(state: State, message: AppendEntries) -> None:
    """Give the vote up if the leader says that this server acknowledged an entry that it lacks.

    That is on the disk before any answer shows it. Late words about a loss that was made good are
    known by the commit index, which by then lies at or after that entry.
    """
    if state.recovering or state.commit_index >= message.lost_index:
        return
    state.recovering, state.may_be_new = True, False
    state.out.forgot = True
    state.note(
        f"[!] {state.name} lost entries: it acknowledged entry {message.lost_index} to "
        f"{message.sender}, and lacks it. Its files were put back to an older copy, or its disk "
        "lost writes. It catches up without a vote; see docs/repair.md"
    )


def regain_vote(state: State) -> None:
    """Take part in elections again; the mark goes from the disk before any answer shows it. Not
    before it knows the members for certain; it will get it again."""
    if not state.configurations.at(state.commit_index).names:
        return
    state.recovering = state.may_be_new = False
    state.out.recovered = True
    _note_whole(state, state.name)


def _note_whole(state: State, name: str) -> None:
    votes = "votes again" if name in state.membership.electors else "may be given a vote"
    state.note(f"[*] {name} has caught up and {votes}")
