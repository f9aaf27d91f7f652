"""Elections, PreVote and CheckQuorum."""

from __future__ import annotations

from .far_terms import follow_far_term
from .log import Entry, SafetyError
from .messages import Denial, RequestVote, RequestVoteReply
from .newborn import (
    arm_after_look,
    may_begin,
    note_denial,
    why_newborn_denies,
    why_newborn_gets_no_vote,
    why_without_vote,
    yields_to_better_log,
)
from .progress import Progress
from .replication import propose, send_entries_to_all
from .roles import Candidacy, Leading, Role
from .state import State
from .upgrade import NOOP, first_command, first_to_send

QUICK_RETRIES = 6  # three elections; each waits for PreVotes, then for votes


def on_silence(state: State) -> None:
    """Ask for PreVotes after an election timeout without a leader.

    With PreVote (thesis §9.6) the term rises only after a quorum would vote for this server, so a
    server that was partitioned away returns without disturbing the others.
    """
    arm_again(state)
    state.refuse_forwarded_reads()
    if state.far_term and follow_far_term(state):
        return
    if state.recovering or not state.may_stand:
        return  # a learner, a removed server, or a server that waits to be added
    if state.name not in state.membership.electors:
        state.election_at_ms += 4 * state.options.election_timeout_ms  # rarely needed
    if state.has_adopted_log:
        soon_ms = state.now_ms + state.options.election_timeout_ms // 4
        state.election_at_ms = min(state.election_at_ms, soon_ms)
    if state.newborn:
        if state.role is Role.PRE_CANDIDATE and _has_quorum_of_votes(state) and may_begin(state):
            start_election(state)
            return
        arm_after_look(state, short_delay_ms(state))
    if state.role is not Role.PRE_CANDIDATE:
        state.note(f"[*] Heard from no leader: asking for PreVotes for term {state.term + 1}")
    state.leader = None
    state.candidacy = Candidacy(pre_vote=True, votes={state.name: True})
    if not state.membership.is_quorum([state.name]):
        _ask(state, state.term + 1, pre_vote=True)
    elif may_begin(state):
        start_election(state)


def arm_first_election(state: State) -> None:
    """Make a lone voter stand as soon as its promises allow: there is no leader to hear from.

    The same holds for a newborn whose log was written by hand: only this newborn has entries. It
    asks for PreVotes four times in the shortest election timeout. Otherwise servers with empty logs
    could elect one of themselves first, and the entries of this newborn would be lost.
    """
    if state.membership.is_quorum([state.name]) or state.has_adopted_log:
        state.election_at_ms = max(state.now_ms, state.promised_until_ms)


def arm_again(state: State) -> None:
    """Wait for the outcome of an election: a full timeout (§5.2), or a short one if the leader's
    process ended and all servers stand at the same time.

    So a split vote is retried within hundredths of a second. That is safe: PreVote still asks
    first, and after QUICK_RETRIES retries the timeouts are full ones, so elections also succeed on
    a network slower than the short timeouts.
    """
    state.arm_election()
    if state.quick_retries_left:
        state.quick_retries_left -= 1
        state.election_at_ms = min(state.election_at_ms, state.now_ms + 50 + short_delay_ms(state))


def short_delay_ms(state: State) -> int:
    """Return a random delay of up to a fifth of the spread of election timeouts."""
    return (state.pick_timeout_ms() - state.options.election_timeout_ms) // 5


def on_disconnected(state: State, peer: str) -> None:
    """Handle the lost connection of a peer. If the peer led, ask for PreVotes soon instead of after
    the full timeout, but not while this server's vote is promised (raft/leader_lease.py)."""
    if (progress := state.progress.get(peer)) is not None:
        progress.away = True
        progress.applied_index = 0  # after a restart it applies its log again
    if state.role is not Role.FOLLOWER or state.leader != peer:
        return
    state.note(f"[*] Lost the connection to leader {state.leader}")
    state.refuse_forwarded_reads()
    state.leader = None
    state.leader_heard_at_ms = None
    if state.applies_late:
        return  # see `arm_election`
    state.quick_retries_left = QUICK_RETRIES
    soon = max(state.now_ms, state.promised_until_ms) + 10 + short_delay_ms(state)
    state.election_at_ms = min(state.election_at_ms, soon)


def start_election(state: State, *, transfer: bool = False) -> None:
    """Stand for election in a new term: vote for this server and ask all others (§5.2)."""
    state.note("[*] Starting election...")
    state.refuse_forwarded_reads()
    state.leader = None
    state.candidacy = Candidacy(pre_vote=False, votes={state.name: True})
    state.save(state.term + 1, state.name)
    arm_again(state)
    if state.membership.is_quorum([state.name]):
        become_leader(state)
    else:
        _ask(state, state.term, pre_vote=False, transfer=transfer)


def _ask(state: State, term: int, *, pre_vote: bool, transfer: bool = False) -> None:
    last_index, last_term = state.log.last_index, state.log.last_term
    for peer in state.membership.electors:
        if peer == state.name:
            continue
        state.send(
            RequestVote(
                state.name,
                peer,
                term,
                last_index,
                last_term,
                pre_vote,
                transfer,
                newborn=state.has_adopted_log,
                never_ran=tuple(sorted(state.never_ran)),
            )
        )


def on_request_vote(state: State, message: RequestVote) -> None:
    """Grant the vote of this term once, first come first served, to a log at least as up to date
    (§5.2, §5.4.1). For a PreVote, answer whether the vote would be granted."""
    word, reason = why_not(state, message) or (None, "")
    if word is None and not message.pre_vote:
        state.save(message.term, message.sender)
        if state.role is Role.PRE_CANDIDATE:
            state.follow(state.term, None)  # PreVotes that arrive later no longer count
        state.arm_election()  # Figure 2, followers: granting a vote resets the timer
    term = message.term if word is None else state.term
    leader = state.leader or "" if word is Denial.HEARS else ""
    state.send(
        RequestVoteReply(
            state.name, message.sender, term, word is None, message.pre_vote, word, reason, leader
        )
    )
    kind = "PreVote" if message.pre_vote else "vote"
    if word is None:
        state.note(f"[*] {state.name} gives its {kind} to {message.sender} for term {term}")
    else:
        state.note(
            f"[*] {state.name} denies its {kind} to {message.sender} "
            f"for term {message.term}: {reason}"
        )
    if word is Denial.LOOKS and not message.pre_vote:  # for the candidate's next try
        _ask(state, state.term + 1, pre_vote=True)


def why_not(state: State, message: RequestVote) -> tuple[Denial, str] | None:
    """Return why this server denies the vote, as a word and a sentence; None if it grants it."""
    if message.term < state.term:
        return Denial.OLD_TERM, f"term {message.term} is over, I am in term {state.term}"
    if state.recovering:
        return why_without_vote(state)
    if state.hears_from_leader and not _is_handed_over(state, message):
        # thesis §4.2.3: so that no candidate deposes a working leader
        if state.leader is None:
            return Denial.PROMISED, "I promised a leader to vote for nobody else yet"
        return Denial.HEARS, f"I hear from leader {state.leader} of term {state.term}"
    if message.newborn and (denial := why_newborn_gets_no_vote(state, message)):
        return denial
    if not state.log.accepts(message.last_index, message.last_term):
        ends = (
            f"log not up to date: it ends at {message.last_index} of term {message.last_term}, "
            f"mine at {state.log.last_index} of term {state.log.last_term}"
        )
        if state.has_adopted_log:
            return Denial.BEHIND_BY_HAND, f"{ends}, written by hand"
        return Denial.BEHIND, ends
    if message.term == state.term and state.vote not in (None, message.sender):
        return Denial.VOTED, f"already voted for {state.vote} in term {state.term}"
    return why_newborn_denies(state, message) if state.newborn else None


def _is_handed_over(state: State, message: RequestVote) -> bool:
    """Whether the leader of the previous term gave way to the sender: this message raised the term,
    or the term has no known leader yet (thesis §3.10)."""
    return message.transfer and message.term == state.term and state.leader is None


def on_request_vote_reply(state: State, message: RequestVoteReply) -> None:
    """Count a vote of the current election; a quorum of votes elects the leader (§5.2).

    A granted PreVote names the term of its request, a vote the term in which it was cast. So
    neither can be mistaken for the other, or for one of an earlier election.
    """
    candidacy = state.candidacy
    if candidacy is None or message.pre_vote is not candidacy.pre_vote:
        return
    if message.granted and message.term != state.term + message.pre_vote:
        return
    if state.without_vote_now or not message.granted:
        note_denial(state, message)
    if state.newborn and yields_to_better_log(state, message):
        return
    votes = candidacy.votes
    if message.granted or message.sender not in votes:  # a denial may belong to an earlier term
        votes[message.sender] = message.granted
    if not _has_quorum_of_votes(state):
        return
    if not message.pre_vote:
        become_leader(state)
    elif may_begin(state):
        start_election(state)


def _has_quorum_of_votes(state: State) -> bool:
    return state.membership.is_quorum([name for name, yes in state.votes.items() if yes])


def become_leader(state: State) -> None:
    """Lead the term: assume nothing about the followers' logs, and append an entry of it (§8).

    The commit of this entry of the current term also commits the entries of earlier terms.

    Raises:
        SafetyError: this server was not a candidate.
    """
    if state.role is not Role.CANDIDATE:
        raise SafetyError(f"{state.name} became leader from {state.role.value}")
    votes = dict(state.votes)
    table = {name: votes.get(name, False) for name in state.membership.electors}
    state.note("[*] I am Leader")
    state.note(str(table))
    state.leader = state.name
    state.has_found_leader()
    state.leader_heard_at_ms, state.far_term = None, 0
    sends_late = state.newborn or state.membership.is_quorum([state.name])
    if state.newborn:  # on disk before this leader sends anything: it has a history now
        state.newborn, state.out.recovered = False, True
        state.save(state.term, state.vote)
    first, sends = state.log.last_index + 1, first_to_send(state)
    state.candidacy, state.leading = (
        None,
        Leading(
            votes,
            {peer: Progress(next_index=sends, heard_at_ms=state.now_ms) for peer in state.peers},
            since_ms=state.now_ms,
            quorum_check_at_ms=state.now_ms + state.options.election_timeout_ms,
            heartbeat_at_ms=state.now_ms + state.options.heartbeat_ms,
            term_durable_index=first if sends_late else 0,
            keeps_starts=state.options.lease,
        ),
    )
    state.quick_retries_left = 0
    state.leading.begin_round(state.now_ms)
    if (command := first_command(state)) == NOOP:
        propose(state, [NOOP])  # the first heartbeat
        return
    state.append([Entry(first, state.term, command)])
    send_entries_to_all(state)


def check_quorum(state: State) -> None:
    """Step down if no quorum has answered this leader for an election timeout (thesis §6.2)."""
    leading = state.as_leader
    timeout = state.options.election_timeout_ms
    if state.now_ms < leading.quorum_check_at_ms:
        return
    leading.quorum_check_at_ms = state.now_ms + timeout
    if not state.membership.is_quorum([state.name, *heard_lately(state)]):
        state.note(f"[!] {state.name} hears from no quorum of followers: it leads no longer")
        state.follow(state.term, None)


def heard_lately(state: State) -> list[str]:
    """Return the counted followers that answered this leader within an election timeout."""
    since_ms = state.now_ms - state.options.election_timeout_ms
    return [
        name
        for name, progress in state.progress.items()
        if progress.is_counted and progress.heard_at_ms >= since_ms
    ]
