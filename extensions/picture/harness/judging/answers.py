"""The votes and match indexes of a core that does not report them, derived from the messages that
it received. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from raftline.picture.observe.facts import Facts, Follower
from raftline.raft.inputs import Receive
from raftline.raft.messages import AppendAccepted, AppendRejected, Message, RequestVoteReply

MODE = "by its answers"  # the mode of a follower without reported progress


def with_answers(name: str, before: Facts, event: object, after: Facts) -> Facts:
    """Return the facts after a step. The votes and progress of a core that reports them are
    kept."""
    message = event.message if isinstance(event, Receive) else None
    if after.leads:
        if after.followers or set(after.electors) <= {name}:
            return after
        return _of_leader(name, before, after, message)
    if after.role == "follower" or after.votes:
        return after
    is_same_role = (before.role, before.term) == (after.role, after.term)
    return after._replace(
        votes=_counted(before.votes, message, before) if is_same_role else {name: True}
    )


def _counted(
    votes: Mapping[str, bool], message: Message | None, before: Facts
) -> Mapping[str, bool]:
    """Return the votes, with the vote that a candidate just received."""
    is_pre_vote = before.role == "pre-candidate"
    if not isinstance(message, RequestVoteReply) or message.pre_vote is not is_pre_vote:
        return votes
    if message.term != before.term + (is_pre_vote and message.granted):
        return votes
    return {**votes, message.sender: message.granted or votes.get(message.sender, False)}


def _of_leader(name: str, before: Facts, after: Facts, message: Message | None) -> Facts:
    is_same_term = before.leads and before.term == after.term
    if is_same_term:
        votes = before.votes
    elif before.role == "candidate" and before.term == after.term:
        votes = _counted(before.votes, message, before)
    else:
        votes = {name: True}
    new = Follower(0, before.last_index + 1, MODE)
    followers_before = before.followers if is_same_term else {}
    peers = [peer for peer in (*after.electors, *after.addresses) if peer != name]
    followers = {peer: followers_before.get(peer, new) for peer in dict.fromkeys(peers)}
    if isinstance(message, AppendAccepted | AppendRejected):
        follower = followers.get(message.sender)
        if follower is not None and message.term == after.term:
            followers[message.sender] = _answered(follower, message)
    return after._replace(votes=votes, followers=followers)


def _answered(follower: Follower, answer: AppendAccepted | AppendRejected) -> Follower:
    """Return a follower after its answer (paper §5.3)."""
    if isinstance(answer, AppendRejected):
        return follower._replace(next_index=max(follower.match_index, answer.index) + 1)
    match_index = max(follower.match_index, answer.index)
    return follower._replace(
        match_index=match_index, next_index=max(follower.next_index, match_index + 1)
    )
