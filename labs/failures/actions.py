"""What the lab does to a running cluster, and says about it: the client's menu and the scenarios
are made of these. Everything goes over the nodes' own ports."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from raftline.client import Client, ClientError, NoLeader, OutcomeUnknown, Refused
from raftline.config import Address
from raftline.replies import Outcome, outcome_of

Found = TypeVar("Found")
KEY = "value"  # each submitted value is a line `INDEX TERM set value 44` in the log
DEADLINE_S = 40.0
NORMAL_S = 0.1  # between heartbeats, in the lab's words


class LabError(Exception):
    """The lab can't go on; one line says what was expected."""


class Lab:
    """A cluster as the lab's client sees it: names, addresses, and a place to say things."""

    def __init__(self, members: Mapping[str, Address], say: Callable[[str], None] = print) -> None:
        self.members = dict(members)
        self.say = say

    # --- asking ---------------------------------------------------------------------------

    def ask(self, name: str, command: str, sender: str = "lab", timeout_s: float = 20.0) -> str:
        """Return one node's reply.

        Raises:
            ClientError: none came.
        """
        with Client(*self.members[name], sender, timeout_s) as client:
            return client.ask(command).text

    def ask_as_peer(self, name: str, peer: str, line: str) -> str:
        """Return the reply to a line in a peer's name. A connection that spoke for it before may
        be about to end: the name is free then."""
        end_s = time.monotonic() + 2
        while True:
            reply = self.ask(name, line, peer)
            if "speaks on another connection" not in reply or time.monotonic() > end_s:
                return reply
            threading.Event().wait(0.05)

    def order(self, name: str, verb: str) -> str:
        """Give a node an order as its controller, and return its reply.

        Raises:
            LabError: it was refused.
        """
        reply = self.ask(name, verb, "Controller")
        if reply.startswith("Sorry, "):
            raise LabError(f"{name} refused {verb}: {reply}")
        return reply

    def status(self, name: str) -> dict[str, Any]:
        """Return what a node says of itself; {} where it doesn't answer."""
        try:
            facts: dict[str, Any] = json.loads(
                self.ask(name, "status", timeout_s=2).partition(": ")[2]
            )
        except (ClientError, ValueError):
            return {}
        return facts

    def leader(self, but: str = "") -> str:
        """Wait until a node other than `but` leads, followed by a majority; return its name."""

        def found() -> str:
            views = [self.status(name) for name in self.members]
            for view in views:
                key = (view.get("term"), view.get("name"))
                agree = sum((other.get("term"), other.get("leader")) == key for other in views)
                if view.get("role") == "leader" and 2 * agree > len(views) and key[1] != but:
                    return str(key[1])
            return ""

        return self.wait(found, "a leader" + (f" other than {but}" if but else ""))

    def wait(self, found: Callable[[], Found], what: str) -> Found:
        """Return the first true answer.

        Raises:
            LabError: there was none within DEADLINE_S.
        """
        pause = threading.Event()
        end_s = time.monotonic() + DEADLINE_S
        while not (answer := found()):
            if time.monotonic() > end_s:
                raise LabError(f"{what}: not within {DEADLINE_S:g} s")
            pause.wait(0.1)
        return answer

    def followers(self) -> list[str]:
        leader = self.leader()
        return [name for name in self.members if name != leader]

    def where(self, name: str) -> str:
        return str(self.members[name])

    # --- the menu -------------------------------------------------------------------------

    def submit(self, value: str, at: str) -> str:
        """Submit a value to any node, and return who took it; where that one doesn't lead, the
        leader is asked. Returns only once a majority has the value on disk.

        Raises:
            Refused, NoLeader, OutcomeUnknown: not done; nobody to do it; and nobody knows. In no
                case is it sent again where it may have been done.
        """
        name = at
        end_s = time.monotonic() + DEADLINE_S
        while outcome_of(text := self.ask(name, f"set {KEY} {value}")) is not Outcome.DONE:
            if outcome_of(text) is Outcome.UNKNOWN:
                raise OutcomeUnknown(text.removeprefix("Sorry, "))
            if outcome_of(text) is not Outcome.NO_LEADER:
                raise Refused(text.removeprefix("Sorry, "))
            if time.monotonic() > end_s:
                raise NoLeader(text.removeprefix("Sorry, "))
            name = self.leader()  # that reply says that nothing was done
        self.say(f"Success: {value} was submitted to {at}; {name} leads, a majority has it on disk")
        return name

    def last_value(self) -> str:
        """Return what a client reads now, whoever leads."""
        first, *others = self.members.values()
        with Client(*first, "lab", 20.0, follow=True, also=others) as client:
            return client.request(f"get {KEY}")

    def restart_election(self, seconds: float = 20.0) -> str:
        """Slow the leader's heartbeats down until another leads; return the new leader."""
        old = self.leader()
        self.order(old, f"HEARTBEAT {seconds:g}s")
        self.say(
            f"Heartbeat interval temporarily set to {seconds:.1f} seconds on {self.where(old)}"
        )
        try:
            new = self.leader(but=old)
        finally:
            self.order(old, "HEARTBEAT normal")
            self.say(
                f"Heartbeat interval reset to original value of {NORMAL_S} seconds on "
                f"{self.where(old)}"
            )
        self.say(f"Leader changed: New leader found at {self.where(new)} ({new})")
        return new

    def write_to_leader_only(self, value: str) -> Pending:
        """Let the leader append a value and send it to nobody; it waits to be settled."""
        leader = self.leader()
        self.order(leader, "SKIP-REPLICATION on")
        self.say(f"Replication failure simulation enabled on {leader}.")
        before = self.status(leader)["last_index"]
        pending = Pending(self, leader, value)
        self.wait(lambda: self.status(leader).get("last_index", 0) > before, "the leader's entry")
        for name in self.members:
            if name != leader:
                self.say(f"Replication to {name} skipped due to simulation.")
        self.show()
        return pending

    def delete_log(self, name: str) -> None:
        """Take a follower's log away, and wait until it has all of it again."""
        self.say(self.order(name, "DELETE-LOG").partition(": ")[2])
        self.wait(lambda: self.status(name).get("recovering") is False, f"{name} with a vote again")
        self.wait_until_equal()
        self.say(f"{name} has asked backwards for what it lacks, and votes again.")
        self.show()

    def wait_until_equal(self) -> None:
        """Wait until all nodes that answer have applied the same last entry, and have a vote."""

        def equal() -> bool:
            views = [view for name in self.members if (view := self.status(name))]
            ends = {(v["last_index"], v["commit_index"], v["last_applied"]) for v in views}
            whole = not any(view.get("recovering") for view in views)
            return whole and len(views) > 1 and len(ends) == 1 and len(set(*ends)) == 1

        self.wait(equal, "equal logs")

    def show(self) -> None:
        """Say how far each node is."""
        for name in self.members:
            view = self.status(name)
            if not view:
                self.say(f"  {name:6} does not answer")
                continue
            faults = f", {', '.join(view['faults'])}" if view.get("faults") else ""
            vote = ", without a vote" if view.get("recovering") else ""
            self.say(
                f"  {name:6} {view['role']:9} term {view['term']}, last entry "
                f"{view['last_index']}, committed {view['commit_index']}{vote}{faults}"
            )


class Pending:
    """A value that only one node has: its client waits, in a thread of its own."""

    def __init__(self, lab: Lab, leader: str, value: str) -> None:
        self.lab = lab
        self.leader = leader
        self.value = value
        self._answer = ""
        self._thread = threading.Thread(target=self._submit, daemon=True)
        self._thread.start()

    def _submit(self) -> None:
        try:
            self._answer = self.lab.ask(
                self.leader, f"set {KEY} {self.value}", timeout_s=DEADLINE_S
            )
        except OutcomeUnknown as unknown:
            self._answer = f"Sorry, {unknown}"
        except ClientError as failure:
            self._answer = f"Sorry, {failure}"

    def answer(self) -> str:
        """Wait for what the client hears, and return it."""
        self._thread.join(DEADLINE_S)
        return self._answer or "nothing yet"

    def commit(self) -> str:
        """Let the leader replicate again: it tries until all have the value."""
        self._replicate_again()
        return self._settled()

    def overwrite(self, seconds: float = 20.0) -> str:
        """Let another node lead first: its entries take the place of the value."""
        self.lab.restart_election(seconds)
        self._replicate_again()
        return self._settled()

    def _replicate_again(self) -> None:
        self.lab.order(self.leader, "SKIP-REPLICATION off")
        self.lab.say(f"Replication failure simulation disabled on {self.leader}.")

    def _settled(self) -> str:
        answer = self.answer()
        self.lab.wait_until_equal()
        self.lab.say(f"The client that submitted {self.value} hears: {answer}")
        self.lab.say(f"Everybody's last value now: {self.lab.last_value()}")
        self.lab.show()
        return answer
