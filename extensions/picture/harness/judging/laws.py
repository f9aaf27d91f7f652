"""The table of actions that no step may take, each with its section. The evidence is the step
itself. If a step breaks a law, the other tables' sentences on the same topic are left out. Pure."""

from __future__ import annotations

from raftline.picture.observe.facts import (
    Step,
    Topic,
    among,
    commits_as_leader,
    electors_of,
    heard,
    held_index,
    holders,
    span,
)
from raftline.raft.effects import HardState
from raftline.raft.inputs import Read, Synced, Tick
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Denial,
    InstallSnapshot,
    RequestVote,
    RequestVoteReply,
)

from .answers import MODE
from .findings import Law

# --- votes ----------------------------------------------------------------------------------------


def _given(step: Step) -> RequestVote | None:
    """Return the request to which this step grants a vote or a PreVote."""
    request, answer = step.message, step.answer
    is_granted = isinstance(answer, RequestVoteReply) and answer.granted
    return request if is_granted and isinstance(request, RequestVote) else None


def _denial(step: Step) -> Denial | None:
    return step.answer.word if isinstance(step.answer, RequestVoteReply) else None


def _votes_in_an_earlier_term(step: Step) -> str:
    request = _given(step)
    if request is None or request.term >= step.before.term:
        return ""
    return f"votes in term {request.term}, which is over: it is in term {step.before.term}"


def _votes_twice(step: Step) -> str:
    request, before = _given(step), step.before
    if request is None or request.pre_vote or before.term != request.term:
        return ""
    if before.vote in (None, request.sender):
        return ""
    return f"votes for {request.sender} in term {request.term}, in which it voted for {before.vote}"


def _votes_for_a_lesser_log(step: Step) -> str:
    request, before = _given(step), step.before
    if request is None:
        return ""
    if (request.last_term, request.last_index) >= (before.last_term, before.last_index):
        return ""
    return (
        f"votes for {request.sender}, whose log ends at {request.last_index} of term "
        f"{request.last_term}: its own ends at {before.last_index} of term {before.last_term}, "
        "which is more up to date"
    )


def _votes_without_memory(step: Step) -> str:
    request = _given(step)
    if request is None or step.before.has_memory:
        return ""
    return (
        f"votes for {request.sender}, though it lost its log, and with it the entries that it "
        "acknowledged"
    )


def _keeps_no_vote(step: Step) -> str:
    request, before, after = _given(step), step.before, step.after
    if request is None or request.pre_vote or request.term < before.term:
        return ""
    cast = (request.term, request.sender)
    saved = step.effects.save or HardState(before.term, before.vote)
    if (after.term, after.vote) == cast == (saved.term, saved.vote):
        return ""
    return (
        f"votes for {request.sender} in term {request.term} and keeps no such vote, so it may vote "
        f"again: vote {after.vote or 'none'}, on the disk {saved.vote or 'none'}"
    )


def _denies_for_no_vote(step: Step) -> str:
    request, before = step.message, step.before
    if not (isinstance(request, RequestVote) and _denial(step) is Denial.VOTED):
        return ""
    if before.term == request.term and before.vote not in (None, request.sender):
        return ""
    return f"denies for a vote of term {request.term}, in which it has given none to anybody else"


def _denies_an_up_to_date_log(step: Step) -> str:
    request, before = step.message, step.before
    if not isinstance(request, RequestVote):
        return ""
    if _denial(step) not in (Denial.BEHIND, Denial.BEHIND_BY_HAND):
        return ""
    if (request.last_term, request.last_index) < (before.last_term, before.last_index):
        return ""
    return (
        f"denies as not up to date a log that ends at {request.last_index} of term "
        f"{request.last_term}: its own ends at {before.last_index} of term {before.last_term}"
    )


def _stands_without_its_own_vote(step: Step) -> str:
    after, save = step.after, step.effects.save
    if after.role not in ("candidate", "leader") or after.term <= step.before.term:
        return ""
    if after.vote == step.name and save is not None and save.vote == step.name:
        return ""
    return f"stands in term {after.term} without its own vote on the disk, so it may vote again"


def _takes_a_vote_along(step: Step) -> str:
    before, after, message = step.before, step.after, step.message
    if after.term <= before.term or after.vote in (None, step.name):
        return ""
    if isinstance(message, RequestVote | AppendEntries) and message.sender == after.vote:
        return ""
    return f"takes its vote for {after.vote} of term {before.term} into term {after.term}"


def _changes_its_vote(step: Step) -> str:
    before, after = step.before, step.after
    if before.term != after.term or before.vote in (None, after.vote) or step.effects.forgot:
        return ""
    if _given(step) is not None:
        return ""
    return f"takes back its vote for {before.vote} in term {after.term}"


def _goes_back(step: Step) -> str:
    before, after = step.before, step.after
    return f"goes back from term {before.term} to {after.term}" if after.term < before.term else ""


def _promises_before_the_disk(step: Step) -> str:
    effects = step.effects
    for one in (*effects.send, *effects.send_past_entries):
        is_vote = isinstance(one, RequestVoteReply) and one.granted and not one.pre_vote
        is_vote = is_vote or (isinstance(one, RequestVote) and not one.pre_vote)
        if is_vote and effects.save is not None:
            return "sends its vote before that is on its disk"
        if isinstance(one, AppendAccepted) and effects.append:
            return f"acknowledges entry {one.index} before that is on its disk"
    return ""


# --- an election ----------------------------------------------------------------------------------


def _counts_another_vote(step: Step) -> str:
    reply, before, after = step.message, step.before, step.after
    if not isinstance(reply, RequestVoteReply) or not reply.granted:
        return ""
    if before.role not in ("candidate", "pre-candidate"):
        return ""
    right = before.term + 1 if before.role == "pre-candidate" else before.term
    if reply.term == right and reply.pre_vote == (before.role == "pre-candidate"):
        return ""
    is_counted = reply.sender in after.given and reply.sender not in before.given
    if not is_counted and after.role in (before.role, "follower"):
        return ""
    kind = "PreVote" if reply.pre_vote else "vote"
    return f"counts {reply.sender}'s {kind} of term {reply.term} in its election of term {right}"


def _votes_for(step: Step) -> list[str]:
    """Return the servers that voted for the leader of this step, in its term."""
    before, term, reply = step.before, step.after.term, step.message
    names = [step.name]
    if before.role == "candidate" and before.term == term:
        names += before.given
    if isinstance(reply, RequestVoteReply) and reply.granted and not reply.pre_vote:
        names += [reply.sender] if reply.term == term else []
    return list(dict.fromkeys(names))


def _leads_without_a_majority(step: Step) -> str:
    before, after = step.before, step.after
    if not after.leads or (before.leads and before.term == after.term):
        return ""
    names = _votes_for(step)
    if before.is_majority(names):
        return ""
    share = before.share(names)
    return f"leads term {after.term} by the votes of {among(names)}, {share}: no majority"


# --- entries --------------------------------------------------------------------------------------


def _append(step: Step) -> AppendEntries | None:
    """Return the received AppendEntries, unless it was refused as a whole."""
    return None if step.refusal or not isinstance(step.message, AppendEntries) else step.message


def _is_taken(step: Step) -> bool:
    effects = step.effects
    is_cut = effects.cut_after is not None and effects.cut_after < step.before.last_index
    return isinstance(step.answer, AppendAccepted) or bool(effects.append) or is_cut


def _obeys_an_earlier_leader(step: Step) -> str:
    message, before, after = step.message, step.before, step.after
    if not isinstance(message, AppendEntries | InstallSnapshot) or message.term >= before.term:
        return ""
    is_moved = after.commit_index > before.commit_index or after.leader != before.leader
    if not (_is_taken(step) or is_moved):
        return ""
    return f"obeys {message.sender}, the leader of term {message.term}, in term {before.term}"


def _leaves_a_gap(step: Step) -> str:
    message, end = _append(step), step.before.last_index
    if message is None or message.prev_index <= end or not _is_taken(step):
        return ""
    return f"accepts entries after entry {message.prev_index}: its own log ends at {end}"


def _takes_after_another_entry(step: Step) -> str:
    message, there = _append(step), step.term_there
    if message is None or there in (None, message.prev_term) or not _is_taken(step):
        return ""
    return (
        f"accepts entries after entry {message.prev_index} of term {message.prev_term}: its own "
        f"entry {message.prev_index} is of term {there}, so the logs differ"
    )


def _refuses_what_fits(step: Step) -> str:
    message, before = _append(step), step.before
    if message is None or message.term < before.term or message.prev_index > before.last_index:
        return ""
    if step.term_there != message.prev_term or not isinstance(step.answer, AppendRejected):
        return ""
    return f"refuses, though its entry {message.prev_index} is of term {step.term_there}, too"


def _is_silent(step: Step) -> str:
    message = _append(step)
    if message is None or step.answer is not None or message.term < step.before.term:
        return ""
    return (
        f"does not answer, so its leader never learns that its log ends at {step.after.last_index}"
    )


def _drops_what_agrees(step: Step) -> str:
    message, before, keep = _append(step), step.before, step.effects.cut_after
    if message is None or keep is None or keep >= before.last_index:
        return ""
    theirs = next((one.term for one in message.entries if one.index == keep + 1), None)
    mine, lost = before.term_at(keep + 1), span(keep + 1, before.last_index)
    if theirs is None:
        return f"drops {lost}, which nothing in this message contradicts"
    if mine != theirs:
        return ""
    return f"drops {lost}: entry {keep + 1} is of term {mine}, as the leader's is"


def _drops_committed(step: Step) -> str:
    keep, before = step.effects.cut_after, step.before
    if keep is None or keep >= before.commit_index or step.effects.install is not None:
        return ""
    return f"drops {span(keep + 1, before.commit_index)}, which it knows to be committed"


def _drops_as_a_leader(step: Step) -> str:
    before, after, keep = step.before, step.after, step.effects.cut_after
    if not (before.leads and after.leads and before.term == after.term) or keep is None:
        return ""
    return f"drops entries after {keep} of its own log, though it leads"


def _acknowledges_more(step: Step) -> str:
    message, answer = _append(step), step.answer
    if message is None or not isinstance(answer, AppendAccepted):
        return ""
    matched = message.prev_index + len(message.entries)
    if answer.index <= matched:
        return ""
    return f"acknowledges entry {answer.index}: this message shows equal logs only up to {matched}"


# --- counting by a leader -------------------------------------------------------------------------


def _counts_more(step: Step) -> str:
    answer, before, after = step.message, step.before, step.after
    if not isinstance(answer, AppendAccepted) or not (before.leads and after.leads):
        return ""
    was, now = before.followers.get(answer.sender), after.followers.get(answer.sender)
    if was is None or now is None or now.match_index <= was.match_index:
        return ""
    if answer.term != before.term:
        return f"counts an answer of {answer.sender} in term {answer.term}: it leads {before.term}"
    if now.match_index <= answer.index:
        return ""
    return (
        f"counts {answer.sender} for entries up to {now.match_index}: its answer names entry "
        f"{answer.index}"
    )


def _commits_without_a_majority(step: Step) -> str:
    index = step.after.commit_index
    if not commits_as_leader(step):
        return ""
    names, leader = holders(step, index), step.before if step.before.leads else step.after
    if leader.is_majority(names):
        return ""
    count = len(electors_of(step))
    return f"commits entry {index}, held by {among(names)} of {count}: no majority"


def _commits_an_earlier_term(step: Step) -> str:
    index, after = step.after.commit_index, step.after
    term = after.term_at(index)
    leads = step.before.term if step.before.leads else after.term
    if not commits_as_leader(step) or term in (None, leads):
        return ""
    return (
        f"commits entry {index} of term {term} by counting, leading term {leads}: an entry of "
        f"term {leads} must commit it"
    )


def _does_not_commit(step: Step) -> str:
    before, after = step.before, step.after
    is_news = isinstance(step.event, Synced) or isinstance(step.message, AppendAccepted)
    if not (is_news and before.leads and after.leads):
        return ""
    index = held_index(step)
    if index <= after.commit_index or after.term_at(index) != after.term:
        return ""
    if any(each.mode == MODE for each in after.followers.values()):
        return ""  # this core may commit slightly later
    names = holders(step, index)
    return (
        f"does not commit entry {index} of its term {after.term}, though {among(names)} hold it, "
        f"{before.share(names)}: a majority"
    )


def _leads_on(step: Step) -> str:
    before, after = step.before, step.after
    if not (isinstance(step.event, Tick) and before.leads and after.leads and before.followers):
        return ""
    if not before.quorum_check_at_ms or after.now_ms < before.quorum_check_at_ms:
        return ""
    names = heard(step)
    if before.is_majority(names):
        return ""
    return (
        f"still leads, though of {len(before.electors)} only {' '.join(names)} answered within an "
        f"election timeout of {after.timeout_ms} ms: no majority"
    )


# --- commits at a follower, applied entries and reads ---------------------------------------------


def _commits_unmatched(step: Step) -> str:
    message, index = _append(step), step.after.commit_index
    if message is None or index <= step.before.commit_index:
        return ""
    matched = message.prev_index + len(message.entries)
    if index > matched:
        return f"treats entry {index} as committed: this message shows equal logs up to {matched}"
    if index > message.commit_index:
        return f"treats entry {index} as committed: the leader has committed {message.commit_index}"
    return ""


def _commits_by_itself(step: Step) -> str:
    before, after = step.before, step.after
    if after.commit_index <= before.commit_index or before.leads or after.leads:
        return ""
    message = step.message
    if isinstance(message, AppendEntries) or step.effects.install is not None:
        return ""
    if isinstance(message, InstallSnapshot) and after.commit_index <= message.snapshot.index:
        return ""
    return f"treats entry {after.commit_index} as committed without a leader's message"


def _uncommits(step: Step) -> str:
    before, after = step.before, step.after
    if after.commit_index < before.commit_index:
        return f"commit index falls from {before.commit_index} to {after.commit_index}"
    return ""


def _applies_out_of_order(step: Step) -> str:
    before, after, applied = step.before, step.after, step.effects.apply
    if after.applied < before.applied:
        return f"goes back: applied was {before.applied}, and is {after.applied}"
    if not applied or step.effects.install is not None:
        return ""
    first, last = applied[0].index, applied[-1].index
    if first != before.applying + 1:
        return (
            f"applies {span(first, last)}: entries up to {before.applying} were handed out before"
        )
    if last > after.commit_index:
        return f"applies entry {last}: entries up to {after.commit_index} are committed"
    return ""


def _reads_unconfirmed(step: Step) -> str:
    before, after = step.before, step.after
    if not (before.leads and after.leads and before.term == after.term):
        return ""
    if isinstance(step.event, Read):
        is_sure = after.now_ms < after.lease_until_ms or after.is_majority([step.name])
        if not step.effects.reads or is_sure:
            return ""
        return "serves a read at once: no lease holds, and no majority confirmed that it leads"
    waited, waits = before.read_round, after.read_round
    if not waited or waits == waited:
        return ""
    followers = after.followers.items()
    names = [name for name, each in followers if each.is_counted and each.acked_round >= waited]
    names = [name for name in after.electors if name == step.name or name in names]
    if after.is_majority(names):
        return ""
    share = after.share(names)
    return f"serves reads by round {waited}, which {among(names)} confirmed, {share}: no majority"


def _reads_too_early(step: Step) -> str:
    late = [one.index for one in step.effects.reads if one.index > step.after.applied]
    if not late:
        return ""
    return f"serves a read of entry {late[0]}: applied is {step.after.applied}"


LAWS = (
    Law(Topic.VOTE, _goes_back, "§5.1, Figure 2", "node._adopt_term"),
    Law(Topic.VOTE, _votes_in_an_earlier_term, "§5.1", "election.why_not"),
    Law(Topic.VOTE, _votes_twice, "§5.2", "election.why_not"),
    Law(Topic.VOTE, _votes_for_a_lesser_log, "§5.4.1", "election.why_not"),
    Law(Topic.VOTE, _votes_without_memory, "docs/repair.md", "election.why_not"),
    Law(Topic.VOTE, _keeps_no_vote, "§5.2, Figure 2", "election.on_request_vote"),
    Law(Topic.VOTE, _denies_for_no_vote, "§5.2", "election.why_not"),
    Law(Topic.VOTE, _denies_an_up_to_date_log, "§5.4.1", "election.why_not"),
    Law(Topic.VOTE, _stands_without_its_own_vote, "§5.2, Figure 2", "election.start_election"),
    Law(Topic.VOTE, _takes_a_vote_along, "§5.2, Figure 2", "state.follow"),
    Law(Topic.VOTE, _changes_its_vote, "§5.2", "state.save"),
    Law(Topic.VOTE, _promises_before_the_disk, "Figure 2", "state.send"),
    Law(Topic.LEAD, _counts_another_vote, "§5.2", "election.on_request_vote_reply"),
    Law(Topic.LEAD, _leads_without_a_majority, "§5.2", "election.become_leader"),
    Law(Topic.LEAD, _leads_on, "thesis §6.2", "election.check_quorum"),
    Law(Topic.APPEND, _obeys_an_earlier_leader, "§5.1", "node.receive"),
    Law(Topic.APPEND, _leaves_a_gap, "§5.3", "append_entries.on_append_entries"),
    Law(Topic.APPEND, _takes_after_another_entry, "§5.3", "append_entries.on_append_entries"),
    Law(Topic.APPEND, _refuses_what_fits, "§5.3", "append_entries.on_append_entries"),
    Law(Topic.APPEND, _is_silent, "§5.3", "append_entries.on_append_entries"),
    Law(Topic.APPEND, _drops_what_agrees, "§5.3, Figure 2", "append_entries.on_append_entries"),
    Law(Topic.APPEND, _drops_committed, "§5.4.3", "state.cut_after"),
    Law(Topic.APPEND, _drops_as_a_leader, "§5.3, Figure 3", "state.cut_after"),
    Law(Topic.APPEND, _acknowledges_more, "§5.3", "append_entries.on_append_entries"),
    Law(Topic.COUNT, _counts_more, "§5.3, Figure 2", "replication.on_append_accepted"),
    Law(Topic.COMMIT, _commits_without_a_majority, "§5.3", "replication.advance_commit"),
    Law(Topic.COMMIT, _commits_an_earlier_term, "§5.4.2, Figure 8", "replication.advance_commit"),
    Law(Topic.COMMIT, _does_not_commit, "§5.3", "replication.advance_commit"),
    Law(Topic.COMMIT, _commits_unmatched, "§5.3, Figure 2", "append_entries.on_append_entries"),
    Law(Topic.COMMIT, _commits_by_itself, "§5.3", "state.advance_commit_index"),
    Law(Topic.COMMIT, _uncommits, "Figure 2", "state.advance_commit_index"),
    Law(Topic.APPLY, _applies_out_of_order, "Figure 2", "state.hand_out_committed"),
    Law(Topic.READ, _reads_unconfirmed, "thesis §6.4", "reads.confirm"),
    Law(Topic.READ, _reads_too_early, "thesis §6.4", "reads.serve_applied"),
)
