"""The actions of the lab on a cluster, and their messages: the client's menu and the scenarios use
these."""

from __future__ import annotations

import threading
import time

from labs.repair.asking import DEADLINE_S, KEY, NORMAL_S, AskedCluster, LabError, written
from raftline.client import Client, ClientError, NoLeader, OutcomeUnknown, Refused
from raftline.wire.replies.refusals import for_people, refusal_in, sentence_of
from raftline.wire.replies.replies import RequestOutcome, outcome_of

SKIPS = "SKIP-REPLICATION on"


class RepairLab(AskedCluster):
    """A cluster, and the actions of its controller and its clients."""

    def submit(self, value: str, at: str) -> str:
        """Submit a value to any node, and return the node that accepted it: the leader if that node
        doesn't lead, the next node if it isn't running. Return only once a majority has the value
        on disk.

        Raises:
            Refused, NoLeader, OutcomeUnknown: not done; no leader to do it; unknown. It is never
                sent again if it may have been done.
        """
        name = self._first_that_runs(at)
        end_s = time.monotonic() + DEADLINE_S
        while outcome_of(text := self.ask(name, written(value))) is not RequestOutcome.DONE:
            if outcome_of(text) is RequestOutcome.UNKNOWN:
                raise OutcomeUnknown(sentence_of(text))
            if outcome_of(text) is not RequestOutcome.NO_LEADER:
                raise Refused(sentence_of(text))
            if time.monotonic() > end_s:
                raise NoLeader(sentence_of(text))
            name = self.leader()  # that reply means that nothing was done
        self.say(f"Success: {value} was submitted to {at}; {name} leads, a majority has it on disk")
        return name

    def submitted(self, value: str, at: str) -> str:
        """Submit a value to any node; return `Success: …` once a majority has it on disk, else
        `Error: …`, the two words that the course's client looks for."""
        try:
            leader = self.submit(value, at)
        except (ClientError, LabError) as problem:
            return f"Error: {problem}"
        return f"Success: {leader} leads, a majority has {value} on disk"

    def _first_that_runs(self, at: str) -> str:
        names = list(self.members)
        place = names.index(at)
        for name in names[place:] + names[:place]:
            if self.status(name):
                if name != at:
                    self.say(f"{at} does not answer, so {name} is asked")
                return name
        return at

    def replicate_again(self) -> None:
        """End the state that an interrupted choice 3 of a killed client left."""
        for name in self.members:
            if SKIPS in self.status(name).get("faults", []):
                self.order(name, "SKIP-REPLICATION off")
                self.say(f"Replication failure simulation disabled on {name}.")

    def last_value(self) -> str:
        """Return the value that a client reads now, at any leader."""
        first, *others = self.members.values()
        with Client(*first, "lab", 20.0, follow=True, also=others) as client:
            return client.request(f"get {KEY}")

    def restart_election(self, seconds: float = 20.0) -> str:
        """Slow the leader's heartbeats down until another leads; return the new leader. If no
        client is left to end that, it ends by itself."""
        old = self.leader()
        longest = min(3600.0, seconds + DEADLINE_S)
        self.order(old, f"HEARTBEAT {seconds:g}s for {longest:g}s")
        self.say(
            f"Heartbeat interval temporarily set to {seconds:.1f} seconds on {self.where(old)}"
        )
        try:
            new = self.leader(but=old)
        finally:
            self._beat_again(old)
        self.say(f"Leader changed: New leader found at {self.where(new)} ({new})")
        return new

    def _beat_again(self, old: str) -> None:
        try:
            self.order(old, "HEARTBEAT normal")
        except ClientError as problem:  # then its heartbeats are normal at its next start
            self.say(str(problem))
        else:
            self.say(
                f"Heartbeat interval reset to original value of {NORMAL_S} seconds on "
                f"{self.where(old)}"
            )

    def write_to_leader_only(self, value: str) -> Pending:
        """Make the leader append a value without sending it; the value waits until it is settled or
        ended.

        Raises:
            LabError, ClientError: the value is not in the leader's log; the leader replicates as
                usual.
        """
        leader = self.leader()
        self.order(leader, SKIPS)
        self.say(f"Replication failure simulation enabled on {leader}.")
        before = self.status(leader).get("last_index", 0)
        pending = Pending(self, leader, value)
        try:
            self.wait(
                lambda: pending.heard or self.status(leader).get("last_index", 0) > before,
                "the leader's entry",
            )
            if pending.heard and refusal_in(pending.heard) is not None:
                raise LabError(sentence_of(pending.heard))
            for name in self.members:
                if name != leader:
                    self.say(f"Replication to {name} skipped due to simulation.")
            self.show()
        except BaseException:
            pending.end()
            raise
        return pending

    def delete_log(self, name: str) -> None:
        """Delete a follower's log, and wait until it has all of it again."""
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
        """Print the progress of each node."""
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
    """A value that only one node has: its client waits, in another thread."""

    def __init__(self, lab: RepairLab, leader: str, value: str) -> None:
        self.lab = lab
        self.leader = leader
        self.value = value
        self.heard = ""  # the reply to the submitting client; "" while it waits
        self._skips = True
        self._thread = threading.Thread(target=self._submit, daemon=True)
        self._thread.start()

    def _submit(self) -> None:
        try:
            self.heard = self.lab.ask(self.leader, written(self.value), timeout_s=DEADLINE_S)
        except ClientError as failure:
            self.heard = f"Sorry, {failure}"

    def answer(self) -> str:
        """Wait for the client's reply, and return it."""
        self._thread.join(DEADLINE_S)
        return self.heard or "nothing yet"

    def commit(self) -> str:
        """Resume replication: the leader retries until all nodes have the value."""
        self.end()
        return self._settled()

    def overwrite(self, seconds: float = 20.0) -> str:
        """Make another node lead first: its entries replace the value.

        Raises:
            LabError: no other node can be elected.
        """
        others = [name for name in self.lab.answering() if name != self.leader]
        if 2 * len(others) <= len(self.lab.members):
            raise LabError(
                f"nobody else can be elected: {' and '.join(others) or 'another'} needs the vote "
                f"of {self.leader} for that, whose log goes further by {self.value}, and so gets "
                "none. Start all three nodes"
            )
        self.lab.restart_election(seconds)
        self.end()
        return self._settled()

    def end(self) -> None:
        """Resume replication, unless the leader does it already or is gone."""
        if not self._skips:
            return
        try:
            self.lab.order(self.leader, "SKIP-REPLICATION off")
        except ClientError as problem:
            self.lab.say(str(problem))
        else:
            self.lab.say(f"Replication failure simulation disabled on {self.leader}.")
        self._skips = False

    def _settled(self) -> str:
        answer = self.answer()
        self.lab.wait_until_equal()
        self.lab.say(f"The client that submitted {self.value} hears: {for_people(answer)}")
        self.lab.say(f"Everybody's last value now: {self.lab.last_value()}")
        self.lab.show()
        return answer
