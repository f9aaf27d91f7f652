"""A server that starts with an empty disk: which messages it believes, and what ends its wait.

A first start looks like the start of a server whose disk was replaced. Such a server is `newborn`.
Two wiped servers of three must never elect the third, which may lack entries that they had
acknowledged. So a newborn checks each message for proof that the cluster has a history:

* A leader sends a message, a server with entries asks for a vote, or a member's denial reports
  entries, a leader, a promise to a leader or a lost memory: the cluster has a history, and this
  server may have been part of it. From then on, the newborn has no vote, like a server that lost
  its memory (raft/recovering.py, FAST 2018). It is marked `may_be_new`, since it can't know more.
  The sender need not be a member, since the configuration file of the first day is not the
  membership; nothing else is taken from it.
* Every other member has shown that it has no entries: the cluster is new. Until then a newborn
  neither votes nor stands, and denies with the word `looks`. It asks for PreVotes meanwhile, and
  at once if a candidate stands: a quorum of PreVotes is not enough while other members may still
  answer with entries. A member that is alone in its configuration waits, too, since others may
  have joined later.
* No time proves anything about a silent member, so the wait has no end by default. An operator may
  claim that the silent members never ran (`Begin`); requests for votes pass the claim on. A program
  may set `Options.patience`, as a node does where all members are on one machine: then the wait
  ends after that many election timeouts.
* This server may have voted in a term before it lost its disk. The candidate stood in that term,
  and it, or a member that it reached, is in no earlier term now. So a newborn adopts the last term
  in which a member may have stood, and there votes only for a member that no other one can have
  competed with. It takes answers for those of members that live now, so a connection must not
  deliver the messages of a process that has ended.
* The newborn votes, or stands for election: from then on, it is like any other server. If the
  claim was false, or the patience too short, there are two clusters, and each has an identity of
  its own. No server of one takes anything from the other (raft/identity.py), so the older one keeps
  its entries. At the floor there are no identities.
* A log that a person wrote by hand, and that no leader ever touched, is not a history. Its owner is
  newborn too, and shows that: its vote requests end in `newborn`. Newborns vote for it by §5.4.1,
  and it stays newborn until it leads, or hears again from the leader that it voted for. A server
  that holds entries of a cluster denies it the vote. If it learns that there is a history, it drops
  its entries, and keeps a copy as NAME.log.seed.
* Any other message from a non-member has no effect. A server that was started to join knows no
  members, so it listens to every leader.

If too few voters are left, no server is elected, which is safe. Each server then prints the reason,
`no_leader_because`. The wait ends when the absent servers return, when an operator declares that a
server never ran before (`raftline begin`, or `--new`: storage/recovery.py), or with
`raftline recover`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeGuard

from .messages import (
    AppendEntries,
    Denial,
    InstallSnapshot,
    Message,
    RequestVote,
    RequestVoteReply,
)
from .roles import Role
from .state import State
from .upgrade import may_begin_log

PATIENCE: Final = 6  # `Options.patience` of a cluster on one machine
FOR_EVER: Final = 1 << 62  # milliseconds


class BeginRefused(Exception):
    """A refused claim about silent members; nothing was changed. The message gives the reason."""


# Each word of a denial: whether it proves that the cluster has a history (True), shows that its
# sender has no entries of a cluster (False), or proves neither (None). A server in a later term may
# hold entries, and one that may be new has heard of a history.
PROVES_HISTORY: Final[Mapping[Denial, bool | None]] = {
    Denial.OLD_TERM: None,
    Denial.LOST_MEMORY: True,
    Denial.MAY_BE_NEW: None,
    Denial.HOLDS_ENTRIES: True,
    Denial.HEARS: True,
    Denial.PROMISED: True,
    Denial.BY_HAND: True,
    Denial.BEHIND: True,
    Denial.BEHIND_BY_HAND: False,
    Denial.VOTED: False,  # §5.4.1 comes first: the sender's log ends no later
    Denial.MAY_HAVE_VOTED: False,
    Denial.LOOKS: False,
    Denial.OTHER: None,
}


def look_for_history(state: State, message: Message) -> None:
    """Give up the vote if a message proves that the cluster has a history. The loss is on disk
    before any answer shows it."""
    if not _tells_of_history(message):
        if _shows_no_history(message):
            _note_no_history(state, message)
        return
    state.newborn = False
    if _comes_of_its_vote(state, message):
        state.out.recovered = True
        return
    state.recovering = state.may_be_new = True
    state.out.forgot = True
    if state.role is not Role.FOLLOWER:
        state.follow(state.term, None)  # pending votes no longer count
    holds = "no files"
    if state.log.last_index:
        # A person chose its terms. So an entry of the cluster may differ from one here with the
        # same index and term, and a comparison would not show it (Log Matching, §5.3).
        state.cut_after(0)
        holds = "a log written by hand, which is set aside,"
    state.note(
        f"[*] {state.name} has {holds} and {message.sender} has entries: as "
        f"{state.name} can't tell whether it is new, it catches up without a vote"
    )


def _note_no_history(state: State, message: RequestVote | RequestVoteReply) -> None:
    """Record a member without entries, and the last term in which it may have stood: this newborn
    may have voted for it in that term, and must not stand there itself."""
    term = message.term
    if isinstance(message, RequestVote):
        if message.pre_vote:  # it asks for the next term; other messages raise ours anyway
            term -= 1
            if term > state.term:
                state.follow(term, None)
        state.never_ran |= {*message.never_ran} - {state.name, message.sender}
        if message.newborn:
            _note_handwritten_log(state)
    elif message.granted:
        term -= 1  # it granted the vote of that term, so it did not stand there
    name = message.sender
    state.without_history[name] = max(term, state.without_history.get(name, 0))


def _comes_of_its_vote(state: State, message: Message) -> bool:
    """Whether this server helped to elect the sender, which leads the term of that vote or has a
    last entry of that term, or whether a denial names the leader that this server helped to elect.
    """
    if isinstance(message, RequestVoteReply):  # it may overtake that leader's first message
        if message.word is not Denial.HEARS or message.term != state.term:
            return False
        return message.leader == state.vote
    if message.sender != state.vote:
        return False
    if isinstance(message, RequestVote):
        return message.last_term == state.term
    return isinstance(message, AppendEntries | InstallSnapshot) and message.term == state.term


def is_news(state: State, message: Message) -> bool:
    """Whether a message shows this newborn that the cluster has a history."""
    return state.newborn and message.sender != state.name and _tells_of_history(message)


def _tells_of_history(message: Message) -> bool:
    if isinstance(message, RequestVote):
        return message.last_index > 0 and not message.newborn
    if isinstance(message, RequestVoteReply):
        return message.word is not None and PROVES_HISTORY[message.word] is True
    return isinstance(message, AppendEntries | InstallSnapshot)


def _shows_no_history(message: Message) -> TypeGuard[RequestVote | RequestVoteReply]:
    """Whether the sender has no entries of a cluster."""
    if not isinstance(message, RequestVoteReply):
        return isinstance(message, RequestVote)
    return message.word is None or PROVES_HISTORY[message.word] is False


def why_newborn_gets_no_vote(state: State, message: RequestVote) -> tuple[Denial, str] | None:
    """Return why a candidate whose log was written by hand gets no vote here; None if it may."""
    if not state.newborn and state.log.last_index:
        why = f"the log of {message.sender} was written by hand, mine holds a cluster's entries"
        return Denial.BY_HAND, why
    return None


def may_have_voted(state: State, message: RequestVote) -> bool:
    """Whether this newborn may have voted for another member in the requested term, before it lost
    its disk."""
    stood = [term for name, term in state.without_history.items() if name != message.sender]
    return not message.pre_vote and max(stood, default=0) >= message.term


def why_newborn_denies(state: State, message: RequestVote) -> tuple[Denial, str] | None:
    """Return why a newborn denies a vote that any other server would grant; None if it grants it,
    too."""
    if may_have_voted(state, message):
        return Denial.MAY_HAVE_VOTED, "I have no files, and may have voted in this term"
    if is_new(state) and (message.last_index or not _knows_better_log(state)):
        return None
    return Denial.LOOKS, "I first look for members that have entries"


def begin_to_look(state: State) -> None:
    """Begin the time in which a newborn looks for a history."""
    if state.newborn:
        patience, timeout_ms = state.options.patience, state.options.election_timeout_ms
        state.looks_until_ms = FOR_EVER
        if patience is not None:
            state.looks_until_ms = state.now_ms + patience * timeout_ms


def is_new(state: State) -> bool:
    """Whether this server may stand and vote, as far as a history is concerned: it has begun, no
    other member of a newborn's configuration may have entries, or its patience is over."""
    if not state.newborn or state.now_ms >= state.looks_until_ms:
        return True
    return len(state.membership.electors) > 1 and not awaited(state)


def awaited(state: State) -> list[str]:
    """Return the other members that may have entries, as far as a newborn knows."""
    heard = {state.name, *state.without_history, *state.never_ran}
    return [name for name in state.membership.electors if name not in heard]


def arm_after_look(state: State, delay_ms: int) -> None:
    """Ask again soon after this newborn's patience is over."""
    if state.now_ms < state.looks_until_ms:
        state.election_at_ms = min(state.election_at_ms, state.looks_until_ms + delay_ms)


def begin(state: State, without: Sequence[str]) -> None:
    """Record an operator's claim that these silent members never ran. Requests for votes pass it
    on, and no disk keeps it: who restarts hears it again.

    Raises:
        BeginRefused: this server is not a newborn, a named member has answered or is unknown, or
            too few members are left to begin.
    """
    if reason := _why_it_can_not_begin(state, without):
        raise BeginRefused(reason)
    if without:
        state.never_ran |= {*without}
        state.note(f"[*] {state.name} takes {_listed(without)} for new, as an operator claims")
    else:
        state.looks_until_ms = state.now_ms  # it is alone
        state.note(f"[*] {state.name} begins a cluster of one, as an operator asks")
    state.election_at_ms = state.now_ms


def _why_it_can_not_begin(state: State, without: Sequence[str]) -> str:
    name, voters = state.name, state.membership.electors
    if not state.newborn:
        if state.may_be_new:
            return f"a cluster with entries exists, and {name} may have been part of it"
        return f"{name} is part of a cluster that has begun"
    if name not in voters:
        return f"{name} waits to be added to a cluster"
    if unknown := [each for each in without if each not in voters]:
        return f"the configuration of {name} does not name {_listed(unknown)}"
    if heard := [each for each in without if each == name or each in state.without_history]:
        return f"{_listed(heard)} answers, and is new"
    if without and state.never_ran.issuperset(without):
        return f"{name} already begins without {_listed(without)}"
    if not without and len(voters) > 1:
        return f"name the members that never ran: {name} waits for {_listed(awaited(state))}"
    left = {*voters} - {*without} - state.never_ran
    if not state.membership.is_quorum(left):
        return f"{_listed(sorted(left))} would be no majority of {_listed(voters)}"
    return ""


def yields_to_better_log(state: State, message: RequestVoteReply) -> bool:
    """Return whether this newborn yields to a newborn with a better hand-written log (§5.4.1).
    Otherwise two other servers could elect each other, and the better log would be lost."""
    if message.word is not Denial.BEHIND_BY_HAND:
        return False
    state.follow(state.term, None)
    state.arm_election()
    return True


def _note_handwritten_log(state: State) -> None:
    """Record that a newborn has shown a hand-written log: it asks several times in an election
    timeout, and no server with an empty log is elected meanwhile (§5.4.1)."""
    state.better_log_until_ms = state.now_ms + state.options.election_timeout_ms


def _knows_better_log(state: State) -> bool:
    """Whether another newborn has lately shown a log that is better than an empty one."""
    return state.now_ms < state.better_log_until_ms


def may_begin(state: State) -> bool:
    """Whether this server may stand, as far as a history, better logs and other kernels are
    concerned."""
    if not may_begin_log(state):
        return False
    has_log = state.log.last_index > 0
    return not state.newborn or (is_new(state) and (has_log or not _knows_better_log(state)))


def why_without_vote(state: State) -> tuple[Denial, str]:
    """Return why a server without a vote denies one."""
    if not state.may_be_new:
        return Denial.LOST_MEMORY, "I lost my memory and catch up without a vote"
    why = "I may be new or may have lost everything, so I catch up without a vote"
    if state.log.last_index > 0 and not state.newborn:
        return Denial.HOLDS_ENTRIES, f"{why}, and hold a cluster's entries"
    return Denial.MAY_BE_NEW, why


def note_denial(state: State, message: RequestVoteReply) -> None:
    """Record a voter whose denial shows that it has no vote; a granted vote removes the record."""
    state.without_vote_now.pop(message.sender, None)
    if message.word in (Denial.LOST_MEMORY, Denial.MAY_BE_NEW, Denial.HOLDS_ENTRIES):
        state.without_vote_now[message.sender] = message.word is not Denial.LOST_MEMORY


def explain_silence(state: State) -> None:
    """Print once why there is no leader, if voters that may be new are the reason. Called after an
    election timeout without a leader; `status` and replies give the same reason."""
    if state.newborn and state.looks_until_ms == FOR_EVER:
        why, voters = _why_it_waits(state)
    else:
        why, voters = _why_without_a_vote(state) if state.recovering else _why_no_leader(state)
    if why and why != state.no_leader_because:
        state.note(f"[!] No leader is heard: {why}")
    state.no_leader_because, state.no_leader_for = why, voters


def _why_it_waits(state: State) -> tuple[str, Sequence[str]]:
    name, silent = state.name, awaited(state)
    at = f"--at {state.membership.addresses.get(name, name)}"
    if len(state.membership.electors) == 1:
        return (
            f"{name} has no files, and its configuration names no other member, but others may "
            f"have joined. If {name} never ran: raftline begin {at}. If it lost its disk, start it "
            "with --join HOST:PORT of a member"
        ), [name]
    if not silent:
        return _why_no_leader(state)
    has, it = ("has", "it") if len(silent) == 1 else ("have", "they")
    why = f"{name} has no files, and waits until it hears that {_listed(silent)} {has} none either"
    if state.membership.is_quorum({*state.membership.electors} - {*silent} - state.never_ran):
        why += f". If {it} never ran: raftline begin --without {' '.join(silent)} {at}"
    return why, silent


_WAYS = (
    "when one that never ran before is started once with --new (had it run, writes that no other "
    "disk holds would be lost), or by `raftline recover` (docs/repair.md)"
)


def _why_without_a_vote(state: State) -> tuple[str, Sequence[str]]:
    if not state.may_be_new or state.name not in state.membership.electors:
        return "", ()
    text = (
        f"{state.name} has no vote, since it may be new or may have lost everything. This ends "
        "when a leader is elected without it and reaches it at the address that `raftline member` "
        f"shows, or {_WAYS}"
    )
    return text, [state.name]


def _why_no_leader(state: State) -> tuple[str, Sequence[str]]:
    voters, without = state.membership.electors, state.without_vote_now
    unsure = [name for name in voters if without.get(name)]
    have_votes = [name for name in voters if name in state.votes and name not in without]
    if not unsure or state.membership.is_quorum(have_votes):
        return "", ()  # enough members answer: their votes were split, for example
    silent = [name for name in voters if not (name in state.votes or name in without)]
    answer = f"{silent[0]} answers" if len(silent) == 1 else f"enough of {_listed(silent)} answer"
    away = f"when {answer}, or " if silent else ""
    have, they = ("has", "it") if len(unsure) == 1 else ("have", "they")
    text = f"{_listed(unsure)} {have} no vote, since {they} may be new or may have lost everything"
    lost = [name for name in voters if without.get(name) is False]
    if lost:
        text += f". {_listed(lost)} lost {'its' if len(lost) == 1 else 'their'} memory"
    return f"{text}. This ends {away}{_WAYS}", unsure


def _listed(names: Sequence[str]) -> str:
    *first, last = names or [""]
    return f"{', '.join(first)} and {last}" if first else last
