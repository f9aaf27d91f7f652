"""Terms that leap: how far a server follows a later term, and how it returns after a leap.

A server adopts any later term that it hears of (§5.1), and an election takes the next one. So one
forged line with the highest possible term would end all elections for good. Therefore a server
refuses a term too far ahead of the last entry that it knows to be committed. Neither a forged term
nor a forged entry moves that limit, so forged terms do not add up.

A refusal is always safe, and so is a later term: a server that raises its own term forgets no vote
and no entry. So both rules below are about liveness alone. After a leap within the limit, the
others commit entries in the new terms. A server that was away meanwhile refuses these terms, and a
server that was carried away on its own is refused by the others.

* A server that hears from no leader for an election timeout moves to a term that a member named in
  that time, by at most TERM_LEAP_MAX. It needs neither a vote nor a quorum for that: it may be a
  learner, may have lost its memory, or may be one of the two voters that are left of three.
* A leader gives way to a follower in a term too far ahead: it moves as far as all others follow.
  The first entry of the next leader moves the limit of everybody.

Forged lines gain little by these rules, since each commit in a new term moves the limit anyway. A
server on its own does not go beyond TERM_FAR_MAX, so that the others can reach it in a few
elections.
"""

from __future__ import annotations

from typing import Final

from .append_entries import FromLeader
from .messages import (
    AppendAccepted,
    AppendRejected,
    InstallSnapshotReply,
    Message,
    PeerError,
    RequestVote,
)
from .state import State

# The largest lead of a term over the term of the last entry known to be committed. An election adds
# one, so no correct cluster comes near this limit without a forged term.
TERM_LEAP_MAX: Final = 2**48
# Beyond that, the largest lead over this server's term while it hears from no leader, so that
# elections still work after such a leap.
TERM_STEP_MAX: Final = 2**16
TERM_FAR_MAX: Final = 2**52  # the largest lead to which a server moves that hears from no leader
TERM_MAX: Final = 2**62  # the highest that a server without entries takes from a leader

FromFollower = AppendAccepted | AppendRejected | InstallSnapshotReply


def is_too_far(state: State, message: Message) -> bool:
    """Whether no correct cluster reaches the term of this message. A server without entries
    knows no term, and takes a leader's term."""
    term = message.term
    if term - _committed_term(state) <= TERM_LEAP_MAX:
        return False
    if not state.log.last_index and isinstance(message, FromLeader) and term <= TERM_MAX:
        return False
    return term - state.term > TERM_STEP_MAX or state.hears_from_leader


def meet_far_term(state: State, message: Message) -> None:
    """Refuse a message of a term too far ahead, and note the term if no leader is heard. A leader
    gives way to a follower.

    Raises:
        PeerError: the message is refused; neither term nor vote nor log was changed.
    """
    term = message.term
    limit = _committed_term(state) + TERM_LEAP_MAX - TERM_STEP_MAX
    if state.leading is not None and isinstance(message, FromFollower):
        if state.term < limit and term <= TERM_MAX:
            state.note(
                f"[!] {message.sender} is in term {term}, far ahead of mine, {state.term}: I give "
                f"way, so that the next leaders can reach it"
            )
            state.follow(limit, None)
            return
    elif not state.hears_from_leader and term - _committed_term(state) <= TERM_FAR_MAX:
        if isinstance(message, RequestVote) and message.pre_vote:
            term -= 1  # the sender has not entered the term of its question
        state.far_term = max(state.far_term, term)
    raise PeerError(f"term {message.term} is too far ahead of mine, {state.term}")


def follow_far_term(state: State) -> bool:
    """Move to the term that was noted since the last leader or election timeout; return whether
    there was one. Called after an election timeout without a leader."""
    term, state.far_term = state.far_term, 0
    if term <= state.term:
        return False
    reached = min(term, state.term + TERM_LEAP_MAX)
    state.note(
        f"[!] No leader is heard, and a member is in term {term}, far ahead of mine, {state.term}: "
        f"following to term {reached}"
    )
    state.follow(reached, None)
    return True


def _committed_term(state: State) -> int:
    return state.log.term_at(state.commit_index) or 0
