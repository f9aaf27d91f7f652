"""The lab's questions to a running cluster, all asked over the nodes' own ports."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from raftline.client import Client, ClientError, Unreachable
from raftline.common.address import Address
from raftline.raft.log import Entry
from raftline.raft.messages import AppendEntries, RequestVote
from raftline.wire.peer_lines import format_message
from raftline.wire.protocol import escape
from raftline.wire.replies.refusals import code_of, refusal_in, sentence_of
from raftline_testing.nodes.cluster import leader_of_most

Found = TypeVar("Found")
KEY = "value"  # each submitted value is a line `INDEX TERM set value 44` in the log
DEADLINE_S = 40.0
SPEAKER_ENDS_S = 5.0  # an ending connection keeps its name no longer than this
NORMAL_S = 0.1  # between heartbeats, at the nodes' default pace
# if most nodes are down or without a vote for this long, no caller waits for a leader
ALONE_S = 5.0


class LabError(Exception):
    """The lab can't continue; one line says what was expected."""


def written(value: str) -> str:
    """Return the line that submits a value of any characters."""
    return f"set {KEY} {escape(value, key=False)}"


def entry_of(text: str, index: int) -> Entry:
    """Return the entry that the course's program wrote as `TERM,VALUE`."""
    match = re.fullmatch(r"(\d+),(.*)", text, re.DOTALL)
    if match is None:
        raise LabError(f"an entry is TERM,VALUE, as in 2,44, not {text!r}")
    return Entry(index, int(match[1]), written(match[2]))


def _unless_refused(reply: str, refused: str) -> str:
    if refusal_in(reply) is not None:
        raise LabError(f"{refused}: {sentence_of(reply)}")
    return reply


class AskedCluster:
    """A cluster as the lab's client sees it: names, addresses, and an output for messages."""

    def __init__(self, members: Mapping[str, Address], say: Callable[[str], None] = print) -> None:
        self.members = dict(members)
        self.say = say
        self._lock = threading.Lock()
        self._asked = {name: Client(*where, "lab", 2.0) for name, where in members.items()}

    def ask(self, name: str, command: str, sender: str = "lab", timeout_s: float = 20.0) -> str:
        """Return one node's reply.

        Raises:
            ClientError: none came.
        """
        with Client(*self.members[name], sender, timeout_s) as client:
            try:
                return client.ask(command).text
            except Unreachable as problem:
                raise Unreachable(self._absent(name, str(problem))) from None

    def _absent(self, name: str, problem: str) -> str:
        if "nothing listens" not in problem:
            return f"{name} can't be reached: {problem}"
        return f"{name} does not run. To start it: python3 course/labs/repair/node.py {name}"

    def vote(self, name: str, candidate: str, term: int, last_index: int, last_term: int) -> bool:
        """Ask for a node's vote in a peer's name, and return whether it is given."""
        question = RequestVote(candidate, name, term, last_index, last_term)
        return self._ask_as_peer(question).startswith("Count on me")

    def give_entries(
        self,
        name: str,
        leader: str,
        term: int,
        prev_index: int = 0,
        prev_term: int = 0,
        entries: Sequence[str] = (),
        commit_index: int = 0,
    ) -> bool:
        """Give a node entries, each `TERM,VALUE`, in a leader's name, and return whether it accepts
        them. The course's program did not name the leader: "" means one of the node's peers."""
        leader = leader or next(peer for peer in self.members if peer != name)
        new = [entry_of(text, index) for index, text in enumerate(entries, prev_index + 1)]
        sent = AppendEntries(leader, name, term, prev_index, prev_term, new, commit_index)
        return self._ask_as_peer(sent).startswith(f"I am up to date term {term} ")

    def _ask_as_peer(self, question: RequestVote | AppendEntries) -> str:
        """Return the answer to a message in its sender's name. A previous connection in its name
        may be about to end, which frees the name.

        Raises:
            LabError: it was refused; that peer speaks for itself, for instance.
        """
        if question.sender not in self.members:
            raise LabError(f"{question.sender!r} is not one of {', '.join(self.members)}")
        end_s = time.monotonic() + SPEAKER_ENDS_S
        while True:
            reply = self.ask(question.to, format_message(question), question.sender)
            if code_of(reply) != "speaks-elsewhere" or time.monotonic() > end_s:
                return _unless_refused(reply, f"{question.to} refused that")
            threading.Event().wait(0.05)

    def order(self, name: str, verb: str) -> str:
        """Give a node an order as its controller, and return its reply.

        Raises:
            LabError: it was refused.
        """
        return _unless_refused(self.ask(name, verb, "Controller"), f"{name} refused {verb}")

    def status(self, name: str) -> dict[str, Any]:
        """Return a node's status; {} if it doesn't answer."""
        with self._lock:  # on one connection: each new one is a line on the node's console
            for _ in range(2):  # the connection's node may be gone, and another one there
                try:
                    reply = self._asked[name].ask("status").text
                    facts: dict[str, Any] = json.loads(reply.partition(": ")[2])
                except (ClientError, ValueError):
                    self._asked[name].close()
                else:
                    return facts
        return {}

    def heartbeat_s(self, name: str) -> float:
        """Return the seconds between two heartbeats of a node, if it led."""
        for fault in self.status(name).get("faults", []):
            if fault.startswith("HEARTBEAT "):
                return int(fault.removeprefix("HEARTBEAT ").removesuffix("ms")) / 1000
        return NORMAL_S

    def set_heartbeat_s(self, name: str, seconds: float) -> str:
        """Set the time between a node's heartbeats while it leads; 0.1 is the default."""
        interval = "normal" if seconds == NORMAL_S else f"{seconds:.3f}s"
        return self.order(name, f"HEARTBEAT {interval}")

    def answering(self) -> list[str]:
        """Return the names of the nodes that answer."""
        return [name for name in self.members if self.status(name)]

    def leader(self, but: str = "") -> str:
        """Wait until a node other than `but` leads, followed by a majority; return its name.

        Raises:
            LabError: there was none in time, or most nodes are down or without a vote.
        """
        alone_s = time.monotonic() + ALONE_S

        def found() -> str:
            nonlocal alone_s
            views = [view for name in self.members if (view := self.status(name))]
            name = leader_of_most(views, len(self.members))
            if name and name != but:
                return name
            if self._is_majority(sum(not view.get("recovering") for view in views)):
                alone_s = time.monotonic() + ALONE_S
            elif time.monotonic() > alone_s:
                raise LabError(f"no node can lead without a majority{self._described()}")
            return ""

        return self.wait(found, "a leader" + (f" other than {but}" if but else ""))

    def _is_majority(self, count: int) -> bool:
        return 2 * count > len(self.members)

    def _described(self) -> str:
        """Return the state of each node, after a colon, with advice."""
        views = {name: self.status(name) for name in self.members}
        parts = [f"{name} {_condition(view)}" for name, view in views.items()]
        down = [name for name, view in views.items() if not view]
        advice = ""
        if down:
            advice = f". To start one: python3 course/labs/repair/node.py {down[0]}"
        elif all(view.get("recovering") for view in views.values()):
            advice = (
                ". The files of all of them were deleted, so nobody knows what was promised. To "
                "begin anew: stop all nodes, then git clean -fqX course/labs/repair/run"
            )
        return ": " + ", ".join(parts) + advice

    def wait(self, found: Callable[[], Found], what: str) -> Found:
        """Return the first true answer.

        Raises:
            LabError: there was none within DEADLINE_S.
        """
        pause = threading.Event()
        end_s = time.monotonic() + DEADLINE_S
        while not (answer := found()):
            if time.monotonic() > end_s:
                raise LabError(f"{what}: not within {DEADLINE_S:g} s{self._described()}")
            pause.wait(0.1)
        return answer

    def followers(self) -> list[str]:
        """Return the names of the followers that answer."""
        leader = self.leader()
        return [name for name in self.answering() if name != leader]

    def where(self, name: str) -> str:
        return str(self.members[name])


def _condition(view: Mapping[str, Any]) -> str:
    if not view:
        return "does not answer"
    return f"is {view.get('role')}" + (", without a vote" if view.get("recovering") else "")
