"""A quiet cluster: no faults, losses, slow disks or clients. The first leader stays.

A follower that forgets to reset its timer, or a leader that forgets its heartbeats, doesn't prevent
an election: each serves its clients between two elections. Here a new term is a failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from raftline.raft.messages import Message
from raftline_course.grading import schedule
from raftline_testing.virtual.nodes.simulated_node import leaders
from raftline_testing.virtual.world.plan import Plan

SETTLE_TIMEOUTS = 3  # until no candidate of the first elections is left
QUIET_TIMEOUTS = 30  # in which only heartbeats happen
FREQUENT = 4  # messages a heartbeat, from one server to another, are too many


class NotQuiet(AssertionError):
    """A cluster that was not quiet; the text has the reason in one line."""


def plan_of(seed: int, nodes: int) -> Plan:
    """Return the plan of a quiet cluster; chance draws its constants."""
    calm = schedule.plan_of(seed, nodes, (), {"clients": 0, "delay_ms": 10})
    return replace(calm, late_ms=0)


class QuietCluster(schedule.Schedule):
    """A schedule that watches terms, and counts messages."""

    def events(self) -> Iterator[None]:
        """Wait for an election, and then let time pass; yield before each event.

        Raises:
            NotQuiet: a term ended, or there were too many or too few messages.
        """
        timeout_ms = self.plan.options.election_timeout_ms
        self._count_messages()
        yield from self._begin()
        yield from self._pass(SETTLE_TIMEOUTS * timeout_ms)
        found = leaders(self.hosts.values())
        if len(found) != 1:
            raise NotQuiet(f"{len(found)} servers lead a quiet cluster, not one")
        leader, term = found[0][0].name, found[0][1].term

        def look() -> None:
            for host in self.hosts.values():
                if host.view is not None and host.view.term != term:
                    raise NotQuiet(
                        f"in a quiet cluster {host.name} goes to term {host.view.term}, though "
                        f"{leader} leads term {term}, and nothing fails: a heartbeat of the "
                        "leader resets the timer of a follower"
                    )

        self.world.look = look
        self._sent.clear()
        yield from self._pass(QUIET_TIMEOUTS * timeout_ms)
        self._judge_heartbeats(leader)

    def _pass(self, for_ms: int) -> Iterator[None]:
        until_ms = self.world.now_ms + for_ms
        while self.world.now_ms < until_ms:
            yield
            self.world.step()

    def _count_messages(self) -> None:
        """Count the messages of each server to each other one; too many are a failure at once."""
        self._sent: Counter[tuple[str, str]] = Counter()
        deliver, options = self.network.deliver, self.plan.options
        timeouts = SETTLE_TIMEOUTS + QUIET_TIMEOUTS
        most = FREQUENT * timeouts * options.election_timeout_ms // options.heartbeat_ms

        def count(message: Message) -> None:
            link = message.sender, message.to
            self._sent[link] += 1
            if self._sent[link] > most:
                raise NotQuiet(
                    f"{link[0]} sends {most} messages to {link[1]} in {self.world.now_ms} ms of a "
                    f"quiet cluster, with a heartbeat each {options.heartbeat_ms} ms"
                )
            deliver(message)

        self.network.deliver = count

    def _judge_heartbeats(self, leader: str) -> None:
        for name in self.hosts:
            heard = self._sent[leader, name]
            if name != leader and heard < QUIET_TIMEOUTS:
                raise NotQuiet(
                    f"{leader} sends {heard} messages to {name} in {QUIET_TIMEOUTS} election "
                    "timeouts of quiet: a leader sends heartbeats, each "
                    f"{self.plan.options.heartbeat_ms} ms"
                )
