"""A message from a peer: whether it is taken, what its term means, and which rule has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from raftline.raft.election import on_request_vote, on_request_vote_reply
from raftline.raft.following import (
    FromLeader,
    check_append,
    check_leader,
    on_append_entries,
    refuse_old_leader,
)
from raftline.raft.lease import extend_lease
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    PeerError,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from raftline.raft.newborn import look_for_history
from raftline.raft.reads import on_read_index, on_read_index_reply
from raftline.raft.recovering import leader_heard_recovering
from raftline.raft.replication import on_append_accepted, on_append_rejected
from raftline.raft.snapshot import check_snapshot, on_held, on_install_snapshot
from raftline.raft.state import State
from raftline.raft.transfer import on_timeout_now

# The largest lead of a term over the last entry's. Each election adds one, so no sound cluster
# comes near. One forged line with the highest possible term would end all elections for good.
TERM_LEAP_MAX: Final = 2**48
# Beyond that, the largest lead over this server's term while no leader is heard, so that elections
# can follow a leap.
TERM_STEP_MAX: Final = 2**16
TERM_MAX: Final = 2**62  # that a server without entries takes from a leader

FromFollower = AppendAccepted | AppendRejected | InstallSnapshotReply

_RULES: Final[dict[type[Message], Callable[[State, Any], None]]] = {
    AppendEntries: on_append_entries,
    AppendAccepted: on_append_accepted,
    AppendRejected: on_append_rejected,
    RequestVote: on_request_vote,
    RequestVoteReply: on_request_vote_reply,
    InstallSnapshot: on_install_snapshot,
    InstallSnapshotReply: on_held,
    TimeoutNow: on_timeout_now,
    ReadIndex: on_read_index,
    ReadIndexReply: on_read_index_reply,
}


def receive(state: State, message: Message) -> None:
    """Take a message from a peer.

    Raises:
        PeerError: no server of a sound cluster sends this; nothing was changed.
    """
    if not listens_to(state, message):
        raise PeerError(f"{message.sender} is not a peer of {state.name}")
    if _is_too_far(state, message):
        raise PeerError(f"term {message.term} is too far ahead of mine, {state.term}")
    if message.term >= state.term and isinstance(message, FromLeader):
        check_leader(state, message)
        if isinstance(message, AppendEntries):
            check_append(state, message)
        else:
            check_snapshot(state, message)
    if state.newborn:
        look_for_history(state, message)
    _adopt_term(state, message)
    if message.term < state.term and isinstance(message, FromLeader):
        refuse_old_leader(state, message)
    elif not isinstance(message, FromFollower) or _hear_follower(state, message):
        _RULES[type(message)](state, message)


def listens_to(state: State, message: Message) -> bool:
    """Whether a message may be taken from its sender.

    Servers don't ask their configuration who may lead (thesis §4.1): one that was away while
    members changed must hear a leader, and vote for a candidate, that it has never heard of.
    But then it hears from no leader that it knows, and who asks for its vote has a log that
    holds more; any other stranger is refused. A newborn that knows the members has been away from
    none of their changes that it could remember: it takes the word of members alone.
    """
    sender = message.sender
    if sender == state.name:
        return False
    if state.membership.has(sender) or sender in state.progress or sender == state.leader:
        return True
    if state.newborn and state.membership.names:
        return False
    if state.hears_from_leader or message.term < state.term:
        return False  # a stranger's past; also the old members' of a cluster that was recovered
    if isinstance(message, RequestVote):
        log = state.log
        return (message.last_term, message.last_index) > (log.last_term, log.last_index)
    return isinstance(message, AppendEntries)


def _is_too_far(state: State, message: Message) -> bool:
    """Whether no sound cluster can have come to the term of a message.

    It is counted from the last entry, which a forged term does not move, so that forged terms do
    not add up. Else two of them would take a server so far that the others refuse its terms, and it
    theirs. A server without entries knows no term: it takes that of a leader.
    """
    log, term = state.log, message.term
    if term <= state.term or term - log.last_term <= TERM_LEAP_MAX:
        return False
    if not log.last_index and isinstance(message, FromLeader) and term <= TERM_MAX:
        return False
    return term - state.term > TERM_STEP_MAX or state.hears_from_leader


def _adopt_term(state: State, message: Message) -> None:
    """A higher term in any message makes this server a follower in it (Figure 2, all servers).

    Questions and grants of PreVote name a term that no server is in yet. A RequestVote while the
    leader is heard is not obeyed (thesis §4.2.3), unless that leader gave way: then it names the
    term right after this one (thesis §3.10).
    """
    if message.term <= state.term:
        return
    if isinstance(message, RequestVote):
        given_way = message.transfer and message.term == state.term + 1
        if message.pre_vote or (state.hears_from_leader and not given_way):
            return
    if isinstance(message, RequestVoteReply) and message.pre_vote and message.granted:
        return
    state.follow(message.term, None)


def _hear_follower(state: State, message: FromFollower) -> bool:
    """Record what an answer shows beside what its rule counts: that the follower is there, what it
    promises, whether it lost its memory. Return False for an answer that is not to this leadership.

    A term compares with the term the question was sent in: answers of an earlier term never
    count (Students' Guide to Raft).
    """
    if state.leading is None or message.term != state.term:
        return False
    if message.round > state.leading.round:
        raise PeerError(f"round {message.round} was never sent")
    if isinstance(message, AppendAccepted) and message.index > state.log.last_index:
        raise PeerError(f"{message.sender} can't hold entry {message.index}, I never sent it")
    progress = state.progress.get(message.sender)
    if progress is None:  # it was taken out, and has heard so
        return False
    is_of_memory = message.without_vote or not progress.is_counted
    if is_of_memory and not leader_heard_recovering(state, progress, message):
        return False
    progress.heard_at_ms = state.now_ms
    progress.away = False
    if not isinstance(message, InstallSnapshotReply) and message.lease_ms:
        extend_lease(state, progress, message)
    progress.acked_round = max(progress.acked_round, message.round)
    return True
