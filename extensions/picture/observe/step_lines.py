"""The lines of an observer, for people and for programs (docs/operate/observe.md). Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from raftline.raft.inputs import PeerDisconnected, Propose, Read
from raftline.raft.log import Entry
from raftline.raft.membership import read
from raftline.raft.messages import Message
from raftline.raft.node_view import LogView
from raftline.wire.commands.observe_lines import ObserveAsked
from raftline.wire.commands.summaries import abridged, short

from .explain import explain
from .facts import Facts, Reason, Step

ENTRIES_MAX = 100  # entries of a log or a step that a program gets with commands
EVERY_S = 1.0  # between two heartbeats shown for an idle cluster


class ExplainedStep(NamedTuple):
    """A step with its explanation, which is made once for all observers."""

    step: Step
    reasons: list[Reason]


def explained(step: Step) -> ExplainedStep:
    """Return a step with its explanation."""
    return ExplainedStep(step, explain(step))


def head(step: Step) -> str:
    """Return the input as text: a message and its sender, or another input in plain words."""
    if (message := step.message) is not None:
        return f"{abridged(message)} of {message.sender}"
    event = step.event
    if isinstance(event, Propose):
        text = short(event.commands[0]) if event.commands else ""
        more = f" and {len(event.commands) - 1} more" if len(event.commands) > 1 else ""
        return f"Propose {text}{more}"
    if isinstance(event, Read):
        return f"Read of {len(event.tokens)}"
    if isinstance(event, PeerDisconnected):
        return f"{type(event).__name__} {event.peer}"
    return type(event).__name__


def text_of(one: ExplainedStep, left_out: int = 0) -> str:
    """Return the line of a step for a person; `left_out` similar heartbeats were not sent."""
    step = one.step
    why = "; ".join(f"{reason.text} ({reason.section})" for reason in one.reasons)
    is_decided = step.message is not None and why.startswith(("granted", "denied"))
    line = f"OBSERVED {step.at_s:.6f} {head(step)}{' ' if is_decided else ': '}{why}"
    if changed := changes(step.before, step.after):
        line += " | changed: " + ", ".join(changed)
    if sent := "; ".join(f"to {' '.join(to)}: {text}" for text, to in _by_line(step.sent)):
        line += " | sent " + sent
    if left_out:
        line += f" | {left_out} earlier steady heartbeats were left out"
    return line


def _by_line(messages: Sequence[Message]) -> list[tuple[str, list[str]]]:
    lines: dict[str, list[str]] = {}
    for message in messages:
        lines.setdefault(abridged(message), []).append(message.to)
    return list(lines.items())


def changes(before: Facts, after: Facts) -> list[str]:
    """Return the changes of a step as text."""
    pairs = (
        ("role", before.role, after.role), ("term", before.term, after.term),
        ("vote", before.vote, after.vote), ("leader", before.leader, after.leader),
        ("log end", before.last_index, after.last_index),
        ("on disk", before.durable_index, after.durable_index),
        ("commit", before.commit_index, after.commit_index),
        ("applied", before.applied, after.applied),
    )  # fmt: skip
    words = [
        f"{name} {was or 0} → {now or 0}"
        if isinstance(was or now, int)
        else f"{name} {was or 'none'} → {now or 'none'}"
        for name, was, now in pairs
        if was != now
    ]
    for name, now in after.followers.items():
        was = before.followers.get(name)
        if was is not None and was.match_index != now.match_index:
            words.append(f"match of {name} {was.match_index} → {now.match_index}")
    return words


def state_of(facts: Facts) -> dict[str, object]:
    """Return the state of a server for a program."""
    return {
        "role": facts.role, "term": facts.term, "vote": facts.vote, "leader": facts.leader,
        "last": [facts.last_index, facts.last_term], "commit": facts.commit_index,
        "applied": facts.applied, "durable": facts.durable_index, "base": facts.base_index,
        "timeout_ms": max(0, facts.election_at_ms - facts.now_ms) if not facts.leads else None,
        "electors": facts.electors, "votes": facts.votes,
        "followers": {name: list(each[:3]) for name, each in facts.followers.items()},
        **({} if facts.has_memory else {"without_vote": True}),
    }  # fmt: skip


def json_of(one: ExplainedStep, left_out: int = 0) -> str:
    """Return the line of a step for a program."""
    step, effects = one.step, one.step.effects
    fields: dict[str, object] = {
        "at": round(step.at_s, 6),
        "in": head(step),
        "from": step.message.sender if step.message is not None else None,
        "line": abridged(step.message) if step.message is not None else None,
        "kind": type(step.message if step.message is not None else step.event).__name__,
        "why": [list(reason) for reason in one.reasons],
        "changed": changes(step.before, step.after),
        "sent": [[message.to, abridged(message)] for message in step.sent],
        "refused": bool(step.refusal),
        "pulse": step.is_pulse,
        "ignored": step.is_ignored,
        "cut": effects.cut_after,
        "append": _entries(effects.append[-ENTRIES_MAX:]),
        **state_of(step.after),
    }
    if step.before.addresses != step.after.addresses:
        fields["members"] = step.after.addresses
    if left_out:
        fields["left_out"] = left_out
    return "OBSERVED " + _json(fields)


def _entries(entries: Sequence[Entry]) -> list[list[object]]:
    return [[entry.index, entry.term, _words_of(entry.command)] for entry in entries]


def _words_of(command: str) -> str:
    """Return a command in a short form. A configuration begins with what it is about."""
    members = read(command)
    if members is None:
        return short(command)
    if members.is_joint:
        begins = "joint " + " ".join(
            f"{'+' if name in members.voters else '-'}{name}"
            for name in members.electors
            if (name in members.voters) != (name in members.outgoing)
        )
    else:
        begins = f"learner {' '.join(members.learners)}" if members.learners else "new"
    return short(f"{begins}: {members.describe()}")


def start_of(at_s: float, facts: Facts, broken: Sequence[Reason]) -> dict[str, object]:
    """Return the start of a node as a step for a program."""
    text = (
        f"term {facts.term}, vote {facts.vote or 'none'}, log up to {facts.last_index}, read "
        "from my disk"
    )
    start = Reason(text, "Figure 2", "node.node_from_disk")
    if not facts.has_memory:
        lost = "I may be new" if facts.may_be_new else "files are lost"
        text += f"; {lost}, so I have no vote until I have caught up"
        start = Reason(text, "docs/repair.md", "node.node_from_disk")
    return {
        "at": round(at_s, 6), "in": "starts", "from": None, "line": None, "kind": "Start",
        "why": [list(reason) for reason in broken or [start]],
        "changed": [], "sent": [], "refused": False, "pulse": False, "ignored": False, "cut": None,
        "append": [], **state_of(facts),
    }  # fmt: skip


def hello(name: str, at_s: float, facts: Facts, log: LogView, options: ObserveAsked) -> str:
    """Return the first line: the current clock of this node, and its state."""
    if options.as_json:
        first = max(log.base_index + 1, log.last_index - ENTRIES_MAX + 1)
        entries = _entries(log.entries(first, log.last_index)) if first <= log.last_index else []
        state = {"name": name, "clock": round(at_s, 6), "log": entries,
                 "members": facts.addresses, **state_of(facts)}  # fmt: skip
        return "OBSERVE response: " + _json(state)
    leader = f" of {facts.leader}" if facts.role == "follower" and facts.leader else ""
    thinned = "" if options.is_all else "; one steady heartbeat a second is shown"
    return (
        f"OBSERVE response: clock {at_s:.6f}, {facts.role}{leader} in term {facts.term}, log ends "
        f"at {facts.last_index} of term {facts.last_term}, commit {facts.commit_index}, applied "
        f"{facts.applied}{thinned}"
    )


def lost(count: int) -> str:
    """Return the line that replaces lines dropped for a slow reader."""
    return f"OBSERVED lost {count} lines: this reader is too slow"


_json = json.JSONEncoder(ensure_ascii=False).encode


class Thinning:
    """A filter that passes one heartbeat per second of an idle cluster, and counts the others."""

    def __init__(self, *, is_all: bool) -> None:
        self._is_all = is_all
        self._next_s = 0.0
        self._left_out = 0

    def takes(self, step: Step) -> bool:
        """Whether to send a step."""
        if step.is_idle:
            return False
        if self._is_all or not step.is_pulse:
            return True
        if step.at_s < self._next_s:
            self._left_out += 1
            return False
        self._next_s = step.at_s + EVERY_S
        return True

    def count(self) -> int:
        """Return the number of steps left out since the last call."""
        count, self._left_out = self._left_out, 0
        return count
