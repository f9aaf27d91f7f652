"""The picture's data: steps of all nodes, and the messages between them. Pure.

Each time comes from the clock of the reporting node; `Clocks` has the offset. A message has no
number on the wire. So a message that one node sent and another received counts as the same message
if both ends and the text agree.

A message is lost at the sender if it had no connection, on the way if the connection broke, and at
the receiver if that ended. Otherwise nobody knows where.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Literal

from .clock_offsets import Clocks

LOST_AFTER_S = 2.0  # without an arrival; a later message is late
SENT_MAX = 5000  # sent or received messages that wait for the report of the other end
LATE_FACTOR = 5
LATE_S = 0.03
ROLES = ("pre-candidate", "candidate", "leader")
CONFLICTS = ("append_entries._send_missing", "replication.on_append_rejected")
COMMITS = "replication.advance_commit"

Event = dict[str, Any]
Where = Literal["sender", "way", "receiver"]
_Key = tuple[str, str, str]
_Loss = tuple[float, Where]  # by the sender's clock


class Picture:
    """Takes the reports of the nodes, and returns events for a page."""

    def __init__(self, *, one_clock: bool = False) -> None:
        self.clocks = Clocks()
        self._one_clock = one_clock  # all nodes share one clock
        self._number = 0
        self._sent: dict[_Key, deque[Event]] = {}  # messages in flight
        self._arrived: dict[
            _Key, deque[tuple[float, int]]
        ] = {}  # arrivals before the report of the sending
        self._under_way: list[Event] = []
        self._losses: dict[int, _Loss] = {}  # of messages under way, if they don't arrive
        self._away: dict[tuple[str, str], float] = {}  # broken connections: from, to
        self._roles: dict[str, tuple[str, int]] = {}
        self._commits: dict[str, int] = {}

    def begin(self, name: str, state: Event, asked_s: float, answered_s: float) -> list[Event]:
        """Take a node's first line. The times are by our clock."""
        self.clocks.begins(name, state["clock"], asked_s, answered_s)
        self._roles[name] = (state["role"], state["term"])
        self._commits[name] = state.get("commit", 0)
        begun = {"k": "begin", "id": self._next(), "node": name, "at": state["clock"]}
        return [{**begun, "state": state}]

    def end(self, name: str, at_s: float) -> list[Event]:
        """Take the end of a node's reports, at this time by our clock."""
        offsets = self.clocks.solve()
        for message in self._under_way:
            loss = self._losses.get(message["id"])
            if message["to"] == name and (loss is None or loss[1] != "sender"):
                at = at_s - offsets.get(message["from"], 0.0)
                self._losses[message["id"]] = (max(at, message["at"]), "receiver")
        at = at_s - offsets.get(name, 0.0)
        return [{"k": "end", "id": self._next(), "node": name, "at": at}]

    def step(self, name: str, seen: Event) -> list[Event]:
        """Take a step that a node reported."""
        number = self._next()
        events: list[Event] = []
        step = {"k": "step", "id": number, "node": name, "got": None, **seen}
        step["tags"] = self._tags(name, seen)
        if seen["kind"] == "PeerDisconnected":
            self._break((name, seen["in"].split()[-1]), seen["at"])
        if seen["from"] is not None and not seen["refused"]:
            events += self._take(name, seen, step)
        step["sent"] = []
        for to, line in seen["sent"]:
            sent = self._send(name, to, line, seen)
            step["sent"].append(sent[0]["id"])
            events += sent
        return [step, *events]

    def lost(self, now: dict[str, float]) -> Iterator[Event]:
        """Yield the messages that have not arrived in time. `now` holds each node's clock."""
        under_way, self._under_way = self._under_way, []
        for message in under_way:
            if message["lost"] or message["arrived"] is not None:
                self._losses.pop(message["id"], None)
                continue
            if now.get(message["from"], 0.0) - message["at"] < LOST_AFTER_S:
                self._under_way.append(message)
            else:
                yield _lost(message, self._losses.pop(message["id"], None))

    def lose(self, sender: str, to: str, line: str, loss: _Loss) -> list[Event]:
        """Take the loss of the last message with these ends and this text."""
        for message in reversed(self._sent.get((sender, to, line), ())):
            if not message["lost"]:
                return [_lost(message, loss)]
        return []

    def _break(self, link: tuple[str, str], at: float) -> None:
        """Take the end of a connection, by the clock of the sender."""
        self._away[link] = at
        for message in self._under_way:
            if (message["from"], message["to"]) == link:
                self._losses.setdefault(message["id"], (at, "way"))

    def _send(self, name: str, to: str, line: str, seen: Event) -> list[Event]:
        message: Event = {
            "k": "message", "id": self._next(), "from": name, "to": to, "line": line,
            "at": seen["at"], "arrived": None, "lost": False, "late": False,
            "pulse": seen["pulse"],
        }  # fmt: skip
        waiting = self._arrived.get((name, to, line))
        if waiting:
            at, step = waiting.popleft()
            return [message, *self._meet(message, at, step)]
        self._sent.setdefault((name, to, line), deque(maxlen=8)).append(message)
        if len(self._sent) > SENT_MAX:
            self._sent.pop(next(iter(self._sent)))
        self._under_way.append(message)
        if (name, to) in self._away:
            self._losses[message["id"]] = (seen["at"], "sender")
        return [message]

    def _take(self, name: str, seen: Event, step: Event) -> list[Event]:
        key = (seen["from"], name, seen["line"])
        sent = self._sent.get(key)
        if not sent:
            self._arrived.setdefault(key, deque(maxlen=8)).append((seen["at"], step["id"]))
            if len(self._arrived) > SENT_MAX:
                self._arrived.pop(next(iter(self._arrived)))
            return []
        message = sent.popleft()
        if not sent:
            del self._sent[key]
        step["got"] = message["id"]
        return self._meet(message, seen["at"], step["id"])

    def _meet(self, message: Event, at: float, step: int) -> list[Event]:
        """Record the arrival of a message, once both ends have reported it."""
        clocks, ends = self.clocks, (message["from"], message["to"])
        offsets = clocks.solve()
        way = at + offsets.get(ends[1], 0.0) - message["at"] - offsets.get(ends[0], 0.0)
        if not self._one_clock:
            clocks.travelled(*ends, at - message["at"])
        message["arrived"] = at
        if self._away.get(ends, message["at"]) < message["at"]:
            del self._away[ends]  # there is a new connection
        message["late"] = way > LATE_S * LATE_FACTOR
        return [
            {"k": "arrive", "id": message["id"], "at": at, "late": message["late"], "step": step}
        ]

    def _tags(self, name: str, seen: Event) -> list[str]:
        tags = []
        role, was = (seen["role"], seen["term"]), self._roles.get(name)
        self._roles[name] = role
        if role != was and (role[0] in ROLES or (was is not None and was[0] == "leader")):
            tags.append("election")
        if seen["kind"].startswith("RequestVote"):
            tags.append("vote")
        places = {reason[2] for reason in seen["why"]}
        if seen["cut"] is not None or seen["refused"] or places.intersection(CONFLICTS):
            tags.append("conflict")
        if COMMITS in places and seen.get("commit", 0) > self._commits.get(name, 0):
            tags.append("commit")
        if any(reason[3] for reason in seen["why"] if len(reason) > 3):
            tags.append("broken")
        self._commits[name] = seen.get("commit", 0)
        return tags

    def _next(self) -> int:
        self._number += 1
        return self._number


def _lost(message: Event, loss: _Loss | None) -> Event:
    """Record a loss; return its event."""
    message["lost"] = True
    at, where = loss or (None, None)
    return {"k": "lost", "id": message["id"], "at": at, "where": where}
