"""The rules of elections: why a vote is granted, denied or counted. Pure."""

from __future__ import annotations

from collections.abc import Callable

from raftline.raft.messages import Denial, RequestVote, RequestVoteReply

from .facts import Rule, Step, Topic, always, among


def _asked(step: Step) -> RequestVote:
    assert isinstance(step.message, RequestVote)
    return step.message


def _reply(step: Step) -> RequestVoteReply:
    assert isinstance(step.message, RequestVoteReply)
    return step.message


def _denial(step: Step) -> tuple[Denial, str] | None:
    """Return why this server denied its vote, as a word and a sentence."""
    answer = step.answer
    if not isinstance(answer, RequestVoteReply) or answer.word is None:
        return None
    if answer.word is Denial.OTHER and not answer.reason:
        return _denial_by_the_rules(step)
    return answer.word, answer.reason


def _denial_by_the_rules(step: Step) -> tuple[Denial, str]:
    """Return why a vote is denied if the answer names no reason, as in lab 7."""
    request, before = _asked(step), step.before
    if request.term < before.term:
        return Denial.OLD_TERM, f"term {request.term} is over, I am in term {before.term}"
    if not before.has_memory:
        return Denial.LOST_MEMORY, "I lost files, so I have no vote"
    if (request.last_term, request.last_index) < (before.last_term, before.last_index):
        return Denial.BEHIND, ""
    if request.term == before.term and before.vote not in (None, request.sender):
        return Denial.VOTED, f"already voted for {before.vote} in term {before.term}"
    return Denial.OTHER, "no reason was given"


def _denied(*words: Denial) -> Callable[[Step], bool]:
    def is_denied(step: Step) -> bool:
        denial = _denial(step)
        return denial is not None and denial[0] in words

    return is_denied


def _deny(step: Step) -> str:
    word, reason = _denial(step) or (Denial.OTHER, "")
    if word in BEHIND:
        before = step.before
        reason = f"log not up to date, mine ends at {before.last_index} of term {before.last_term}"
    return f"denied: {reason}"


def _grant(step: Step) -> str:
    request, before = _asked(step), step.before
    kind = (
        f"I would vote for it in term {request.term}"
        if request.pre_vote
        else "I gave no other vote"
    )
    return (
        f"granted: {kind}, and its log ends at {request.last_index} of term {request.last_term}, "
        f"mine at {before.last_index} of term {before.last_term}"
    )


def _count(step: Step) -> str:
    voters = step.after.given
    return f"counted: {step.after.share(voters)} votes, of {among(voters)}"


def _why(step: Step) -> str:
    reason = _reply(step).reason
    return f": {reason}" if reason else ""


def _won(step: Step) -> str:
    voters = list(dict.fromkeys([*step.before.given, _reply(step).sender]))
    return f"{step.before.share(voters)} votes are a majority, of {among(voters)}"


WHY_NOT = "election.why_not"
ON_REPLY = "election.on_request_vote_reply"
PRE_VOTE = "thesis §9.6"
BEHIND = (Denial.BEHIND, Denial.BEHIND_BY_HAND)

# A received RequestVote or PreVote.
ASKED = (
    Rule(_denied(Denial.OLD_TERM), _deny, "§5.1", WHY_NOT, Topic.VOTE),
    Rule(_denied(*BEHIND), _deny, "§5.4.1", WHY_NOT, Topic.VOTE),
    Rule(_denied(Denial.VOTED), _deny, "§5.2", WHY_NOT, Topic.VOTE),
    Rule(_denied(Denial.HEARS), _deny, "thesis §4.2.3", WHY_NOT),
    Rule(_denied(Denial.PROMISED), _deny, "thesis §6.4.1", WHY_NOT),
    Rule(_denied(*Denial), _deny, "docs/repair.md", WHY_NOT),
    Rule(lambda step: step.answer is None, lambda step: "not answered", "§5.2", "node.receive"),
    Rule(
        lambda step: _asked(step).pre_vote, _grant, f"{PRE_VOTE}, §5.4.1",
        "election.on_request_vote", Topic.VOTE,
    ),
    Rule(
        lambda step: step.before.vote == _asked(step).sender
        and step.before.term == _asked(step).term,
        lambda step: f"granted again: my vote of term {_asked(step).term} is its own already",
        "§5.2", "election.on_request_vote", Topic.VOTE,
    ),
    Rule(
        lambda step: _asked(step).transfer,
        lambda step: _grant(step) + "; the leader gave way to it",
        "thesis §3.10", "election.on_request_vote", Topic.VOTE,
    ),
    Rule(always, _grant, "§5.2, §5.4.1", "election.on_request_vote", Topic.VOTE),
)  # fmt: skip

# An answer to a request of this server.
ANSWERED = (
    Rule(
        lambda step: step.after.term > step.before.term and not _reply(step).granted,
        lambda step: f"denied{_why(step)}", "§5.1", "node._adopt_term",
    ),
    Rule(
        lambda step: step.before.role not in ("candidate", "pre-candidate")
        or _reply(step).pre_vote is not (step.before.role == "pre-candidate"),
        lambda step: "ignored: I no longer ask for this vote", "§5.2", ON_REPLY,
    ),
    Rule(
        lambda step: step.after.leads, lambda step: f"counted: {_won(step)}, so I lead",
        "§5.2", ON_REPLY, Topic.LEAD,
    ),
    Rule(
        lambda step: step.after.term > step.before.term,
        lambda step: f"counted: {_won(step)}, so I stand in term {step.after.term}",
        PRE_VOTE, ON_REPLY, Topic.LEAD,
    ),
    Rule(
        lambda step: not _reply(step).granted,
        lambda step: f"counted: {_reply(step).sender} denies{_why(step)}",
        "§5.2", ON_REPLY,
    ),
    Rule(lambda step: _reply(step).pre_vote, _count, PRE_VOTE, ON_REPLY, Topic.LEAD),
    Rule(always, _count, "§5.2", ON_REPLY, Topic.LEAD),
)  # fmt: skip
