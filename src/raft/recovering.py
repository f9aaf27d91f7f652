"""A server that lost its memory, and its safe return.

Raft's safety depends on servers keeping their promises: entries that a server acknowledged stay in
its log, and it votes once in each term. A server may lose its log, a part of it, or its term and
vote. Such a server must not help to elect a leader that lacks the lost entries, vote again in a
term in which it has voted, or be counted for entries that it no longer holds (after Alagappan et
al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018). So:

1. A recovering server grants no vote and does not stand for election. Its answers end in
   `without vote INCARNATION`; INCARNATION is a number that no other start of the server has. If it
   does not know its vote of a term, it spends the vote on the leader from which it hears in that
   term.
2. The leader, in term T, discards its progress for that server, leaves the server out of every
   quorum, and appends an entry, the fence. The fence names the members if no other entry in the log
   does.
3. Once a quorum of the others has committed the fence, and the recovering server holds the log up
   to it, the leader's AppendEntries end in `vote again INCARNATION`. The server saves that, and
   from then on answers like any other server.

Why that is safe: let A be the recovering server, and Q the quorum that committed the fence in T. A
is not in Q, and the fence was appended after A had lost its memory.

* No leader of a term U > T was elected before the loss. Such a leader would have had a quorum of
  votes by then; one of the voters is in Q and is not A, and could not have taken an entry of T
  after it had voted in U. So all entries that A ever helped to commit are of terms up to T, and the
  leader of T holds them before the fence (Leader Completeness, §5.4.3): A has them again.
* A vote that A forgot can't elect a second leader. In terms up to T, A has no vote to give: it
  spent the vote of T in step 1. Suppose A had voted for X in some U > T. X stood in U before the
  loss, and a candidate does not change its log, so the log of X ends before the fence: by the first
  point it holds no entry of a term beyond T, and of T only earlier entries. To win with that vote X
  needs another vote from Q. A server that holds the fence denies its vote to that log (§5.4.1), and
  a server that voted for X earlier could not have accepted the fence. So only A's new vote counts.
* If A itself stood in U, it had not won (the first point), and the votes that are still in flight
  to it were given to a log that ends before its current one.

A learner has no vote: if it lost its memory as a learner, the last committed entry of T is a
sufficient fence.

A server that starts with an empty disk can't know whether it is new (raft/newborn.py). Once it
learns that the cluster has a history, it is recovering and `may_be_new`. The same holds for a
server that was started to join, since its name may belong to a voter whose files are gone. It knows
no members, never stands for election, and ignores candidates with an empty log, so it is recovering
before it votes. If it really is new, it is a learner by then, and needs no fence.

A server with a vote must know the members, since it may have to stand for election. A server whose
log is gone knows them from its configuration file, which may have been edited since, and a joiner
does not know them. So if no entry of the log names them, the fence does (`append_fence`,
raft/reconfiguration.py), or the entry that answers the joiner's request to be added. The server
does not regain its vote before.

Files restored from an older copy look complete to their own server: the record of synced entries is
as old as the log. Only the leader that received the acknowledgements can detect the loss, when the
server refuses to continue from them (`Progress.lacks_acknowledged`). The leader stops counting the
server at once, and its AppendEntries end in `you lost N`. From that message on, the server is
recovering, as in step 1. If no such leader is left, the loss can't be detected: docs/repair.md.
"""

from __future__ import annotations

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
    """Record what an answer reports about a follower's memory; return False if it is outdated."""
    if not message.without_vote:
        if message.round < progress.readmit_round:
            return False  # sent before it lost its memory
        # The server has recovered if its answer to a send made after its loss was noted has no
        # mark. It was told to vote again, or the report of its loss was older than that.
        progress.is_counted, progress.lost_index = True, 0
        _note_whole(state, message.sender)
        return True
    if message.without_vote == progress.incarnation:
        return not progress.is_counted  # else it has recovered since
    if message.round < progress.readmit_round:
        return False  # from an incarnation before the known one, or a repeated report
    is_unsure = message.may_be_new and not progress.match_index  # otherwise it had held entries
    # It says so itself, and must not count even if no quorum is left: it may have forgotten.
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


def leader_finds_loss(state: State, progress: Progress, complaint: AppendRejected) -> None:
    """Discard a follower's acknowledgements, since it lacks some of those entries, and tell it
    about the loss, unless the cluster is at the floor, where it may not understand that. Its fence
    follows its answer, which names its incarnation. It does not count even if no quorum is left:
    its own refusal proves that it lacks what it acknowledged."""
    name, lost_index = complaint.sender, progress.match_index
    state.note(
        f"[!] {name} lost entries: it acknowledged entry {lost_index} to {state.name}, and lacks "
        "it now. Its files were put back to an older copy, or its disk lost writes. It catches up"
    )
    if state.identity.is_at_floor:
        progress.forgot()
        return
    stop_counting(state, name, progress)
    progress.lost_index = lost_index


def stop_counting(state: State, name: str, progress: Progress) -> None:
    """Discard a follower's acknowledgements, and leave it out of every quorum until it has
    recovered. The caller says why no quorum needs it, or why it must not count in any case."""
    progress.forgot()
    progress.is_counted, progress.may_be_new = False, name not in state.membership.electors
    progress.lost_index = progress.incarnation = 0
    progress.readmit_round, progress.readmit_index = state.as_leader.round + 1, None
    progress.vote_again_round = 0
    state.as_leader.has_uncounted = True


def assign_fences(state: State) -> bool:
    """Assign the next entry as the fence to all servers that need one; return whether any does.

    Assign none during a leadership transfer, in which the leader appends nothing (thesis §3.10).
    """
    leading = state.as_leader
    if leading.transfer is not None:
        return False
    is_needed = False
    for name, progress in leading.progress.items():
        if progress.is_counted or progress.readmit_index is not None or progress.lost_index:
            continue
        if name in state.membership.electors:
            progress.readmit_index = state.log.last_index + 1
            is_needed = True
        elif _is_current(state) and state.configurations.index <= state.commit_index:
            progress.readmit_index = state.commit_index
    return is_needed


def mark_readmitted(state: State) -> bool:
    """Readmit the followers that hold the log up to their committed fence.

    Return whether any follower was readmitted, and must be told.
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
    """Whether the commit index is known to cover the commits of earlier terms (§5.4.2)."""
    return state.log.term_at(state.commit_index) == state.term


# --- the server that lost its memory ---------------------------------------------------------


def hear_of_loss(state: State, message: AppendEntries) -> None:
    """Give up the vote if the leader says that this server acknowledged an entry that it lacks.

    The loss is on disk before any answer shows it. A late message about a repaired loss is
    recognized by the commit index, which by then is at or after that entry.
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
    """Take part in elections again; the mark is removed from disk before any answer shows that. Do
    nothing until a committed entry names the members; the leader repeats its message."""
    if not state.configurations.at(state.commit_index).names:
        return
    state.recovering = state.may_be_new = False
    state.out.recovered = True
    _note_whole(state, state.name)


def _note_whole(state: State, name: str) -> None:
    votes = "votes again" if name in state.membership.electors else "may be given a vote"
    state.note(f"[*] {name} has caught up and {votes}")
