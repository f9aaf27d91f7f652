"""A follower that lost its log, and how it comes back without harm.

Raft's safety rests on what a server acknowledged staying there. A server whose log was deleted,
or is shorter than it once promised, knows that from its high-water mark, and must not help to
elect a leader that lacks what it forgot, nor be counted for entries it no longer holds
(Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018). Its term
and vote were not lost. So:

1. The amnesiac grants no vote and does not stand; its answers end in `without vote`.
2. The leader forgets what it knew of it and leaves it out of every quorum: commit, leadership
   confirmation, CheckQuorum.
3. The leader confirms its leadership with a round opened after the first such answer, by a
   quorum of the others. What is committed then includes everything that the amnesiac ever
   helped to commit (Leader Completeness, §5.4.3).
4. Once the amnesiac holds all of that, the leader's AppendEntries end in `vote again`. It
   writes that down, and from then on answers as everyone does.
"""

from __future__ import annotations

from raftline.raft.chunks import SnapshotHeld
from raftline.raft.messages import Appended, Missing
from raftline.raft.progress import Progress
from raftline.raft.state import State


def leader_heard_amnesiac(
    state: State, progress: Progress, message: Appended | Missing | SnapshotHeld
) -> bool:
    """Bring a follower's amnesia up to date; return False for an answer that is old news."""
    if message.without_vote:
        if message.round < max(progress.readmit_round, progress.vote_again_round):
            return False  # said before this loss was noted, or before it was made whole
        forgot_again = (
            isinstance(message, Missing)
            and message.index < progress.match_index
            and message.round > progress.acked_round  # else it may have been overtaken
        )
        if progress.counts or forgot_again:
            progress.counts = False
            progress.readmit_round = state.round + 1
            progress.readmit_index = None
            progress.vote_again_round = 0
            progress.forgot()
            state.note(f"[*] {message.sender} lost its log: it catches up without a vote")
        return True
    if progress.counts:
        return True
    # Whoever answers without the mark to a send from after its loss was noted is whole: it
    # was told so, or else the loss was old news, an answer from before it was told.
    if message.round < progress.readmit_round:
        return False  # said before it lost its log
    progress.counts = True
    state.note(f"[*] {message.sender} has caught up and votes again")
    return True


def readmit(state: State, confirmed_round: int) -> bool:
    """Let those vote again that hold all that was committed when their return was confirmed.

    Return whether anybody is newly to be told.
    """
    told = False
    if state.log.term_at(state.commit_index) != state.term:
        return False  # the commit index may lag behind what earlier terms committed (§5.4.2)
    for progress in state.progress.values():
        if progress.counts or progress.vote_again_round:
            continue
        if progress.readmit_index is None and confirmed_round >= progress.readmit_round:
            progress.readmit_index = state.commit_index
        index = progress.readmit_index
        if index is not None and progress.match_index >= index:
            progress.vote_again_round = state.round + 1
            told = True
    return told


def whole_again(state: State) -> None:
    """Take part in elections again; the mark goes from the disk before any answer says so."""
    state.amnesiac = False
    state.out.recovered = True
    state.note(f"[*] {state.name} has caught up and votes again")
