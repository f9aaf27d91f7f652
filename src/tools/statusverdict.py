"""The verdict on a cluster, in one line; pure, from its nodes' status."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from raftline.common.console import safe_line
from raftline.raft.membership import majority
from raftline.tools.status import NodeStatus, leader_of, newest_members

Answers = Mapping[str, Mapping[str, Any]]

# A voter whose answer has one of these fields set counts in no quorum; said of one, and of several,
# by the first of its fields.
VOTELESS: Mapping[str, tuple[str, str]] = {
    "may_be_new": (
        "may be new or may have lost everything, and has no vote until it has caught up",
        "may be new or may have lost everything, and have no vote until they have caught up",
    ),
    "recovering": (
        "has no vote until it has caught up",
        "have no vote until they have caught up",
    ),
}


class Verdict(NamedTuple):
    serves: bool
    text: str


def verdict(nodes: Sequence[NodeStatus]) -> Verdict:
    """Return whether a leader serves with a quorum, and one line that says why or why not.

    The members are those that the leader knows; without one, those of the newest configuration
    that a node knows.
    """
    leader = leader_of(nodes)
    members = (leader and leader.answer) or newest_members(nodes)
    halves = [members.get("voters") or [node.name for node in nodes]]
    halves += [members["outgoing"]] if members.get("outgoing") else []
    answers = {node.name: node.answer for node in nodes if node.answer and not _is_down(node)}
    voters = list(dict.fromkeys(name for half in halves for name in half if name in answers))
    counted = [name for name in voters if not any(answers[name].get(one) for one in VOTELESS)]
    has_quorum = all(len(_in(half, counted)) >= majority(half) for half in halves)
    tally = _tally(halves, counted, is_short=not has_quorum, all_vote=counted == voters)
    if leader is None:
        text = f"no leader: {tally}" + (", enough to elect one" if has_quorum else "")
    elif has_quorum:
        text = f"{leader.name} leads term {members['term']}: {tally}"
    else:
        text = f"no quorum for {leader.name}, leader of term {members['term']}: {tally}"
    because = "" if leader else _no_leader_because(answers)
    parts = [text, *([because] if because else _voteless(voters, answers))]
    parts += _others(members, answers)
    return Verdict(leader is not None and has_quorum, safe_line("; ".join(parts)))


def _is_down(node: NodeStatus) -> bool:
    """Whether a node's controller shut it down, and alone is heard."""
    return node.answer is not None and node.answer["role"] == "down"


def _in(half: Sequence[str], names: Collection[str]) -> list[str]:
    return [name for name in half if name in names]


def _tally(
    halves: Sequence[Sequence[str]], counted: Collection[str], *, is_short: bool, all_vote: bool
) -> str:
    """Return how many voters answer, of each half while two configurations are joint, and how many
    are needed where these are too few."""
    counts = [len(_in(half, counted)) for half in halves]
    is_one = counts[0] == 1
    text = f"{counts[0]} of {len(halves[0])} voter{'s'[: len(halves[0]) != 1]} answer"
    text += "s" if is_one else ""
    if not all_vote:
        text += " and has a vote" if is_one else " and have a vote"
    if len(halves) > 1:
        text += f" of those that come, {counts[1]} of {len(halves[1])} of those that go"
    if is_short:
        needed = [str(majority(half)) for half in halves]
        text += f", {' and '.join(needed)} {'is' if needed == ['1'] else 'are'} needed"
    return text


def _voteless(voters: Sequence[str], answers: Answers) -> Iterator[str]:
    """Yield which voters answer and have no vote, and why."""
    told: set[str] = set()
    for field, (of_one, of_several) in VOTELESS.items():
        names = [name for name in voters if answers[name].get(field) and name not in told]
        told.update(names)
        if names:
            yield f"{', '.join(names)} {of_one if len(names) == 1 else of_several}"


def _no_leader_because(answers: Answers) -> str:
    """Return what a node says about voters that may be new (raft/newborn.py). One with a vote has
    asked all the others, and knows best."""
    said = sorted(answers.values(), key=lambda answer: bool(answer.get("recovering")))
    texts = (answer.get("no_leader_because") for answer in said)
    return next((text for text in texts if isinstance(text, str) and text), "")


def _others(members: Mapping[str, Any], answers: Answers) -> Iterator[str]:
    """Yield who is asked for no vote: the learners, and nodes that answer and are no members."""
    if learners := members.get("learners"):
        yield f"learners: {' '.join(learners)}"
    known = {*members.get("voters", ()), *members.get("outgoing", ()), *(learners or ())}
    strangers = [name for name in answers if known and name not in known]
    if strangers:
        is_no = "is no member" if len(strangers) == 1 else "are no members"
        yield f"{', '.join(strangers)} {is_no}"
