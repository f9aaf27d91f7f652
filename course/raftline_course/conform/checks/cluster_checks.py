"""Levels 2 to 5 again, with clusters of real nodes: all of one kind, or mixed (`--with`)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable

from raftline.wire.protocol import is_number
from raftline.wire.replies.replies import RequestOutcome, outcome_of
from raftline_course.conform.checks.checks import cluster_check
from raftline_course.conform.cluster import Background, TestedCluster
from raftline_course.conform.verdicts import Failed
from raftline_testing.histories.history import ClientOperation
from raftline_testing.histories.linearizable import HistoryVerdict
from raftline_testing.histories.linearizable import check as judge_history


def others_than(cluster: TestedCluster, name: str) -> tuple[str, ...]:
    """Return the names of the other nodes."""
    return tuple(other for other in cluster.nodes if other != name)


@cluster_check(
    2, "three-elect", "Three nodes elect one; after its death the others elect again.", "Raft §5.2"
)
def three_elect(cluster: TestedCluster) -> None:
    cluster.begin()
    for _ in range(2):
        leader = cluster.leader()
        cluster.kill(leader)
        cluster.leader(among=others_than(cluster, leader))
        cluster.start(leader)
        cluster.settle()


@cluster_check(3, "three-catch-up", "A node that was cut off gets all that it missed.", "Raft §5.3")
def three_catch_up(cluster: TestedCluster) -> None:
    cluster.begin()
    leader = cluster.leader()
    late, other = others_than(cluster, leader)
    cluster.cut_off(late)
    for number in range(30):
        cluster.ask(f"set k{number} {number}", among=(leader, other))
    cluster.heal()
    # It is one of the two remaining nodes, so nothing is committed before it has all entries.
    cluster.kill(other)
    cluster.expect(cluster.ask("set last 1", among=(leader, late)), "no quorum with the late node")
    cluster.kill(leader)
    cluster.start(other)
    for number in (0, 29):
        does = cluster.ask(f"get k{number}", among=(late, other))
        cluster.expect(does == f"GET response: {number}", f"k{number} is answered {does!r}")


@cluster_check(
    3,
    "three-count",
    "A leader that is cut off acknowledges nothing that is lost.",
    "Raft §5.3, §5.4",
)
def three_count(cluster: TestedCluster) -> None:
    cluster.begin()
    counted = Counting(cluster)
    for _ in range(2):
        leader = counted.cluster.leader()
        counted.some(10, cluster.nodes)
        cluster.cut_off(leader)
        counted.some(3, (leader,))  # none of this can be committed
        counted.some(10, others_than(cluster, leader))
        cluster.heal()
    counted.judge()


@cluster_check(
    4,
    "three-killed",
    "What was acknowledged survives kill -9 of all nodes at once.",
    "Raft §5, Figure 2, persistent state",
)
def three_killed(cluster: TestedCluster) -> None:
    cluster.begin()
    counted = Counting(cluster)
    cluster.leader()
    for _ in range(2):
        work = Background()
        work.run(counted.one, tuple(cluster.nodes))
        counted.wait_for(20)
        cluster.kill()
        work.join()
        cluster.start()
    counted.judge()


@cluster_check(
    4,
    "leaders-killed",
    "What was acknowledged survives the death of leader after leader.",
    "Raft §5.4, Figure 2",
)
def leaders_killed(cluster: TestedCluster) -> None:
    cluster.begin()
    counted = Counting(cluster)
    for _ in range(3):
        leader = cluster.leader()
        counted.some(10, cluster.nodes)
        cluster.kill(leader)
        counted.some(10, others_than(cluster, leader))
        cluster.start(leader)
        cluster.settle()
    counted.judge()


def number_of(reply: str) -> int | None:
    """Return the number at the end of a reply; or None."""
    word = reply.rpartition(" ")[2]
    return int(word) if is_number(word) else None


class Counting:
    """Increments of one counter: the acknowledged ones, and the ones of unknown outcome."""

    def __init__(self, cluster: TestedCluster) -> None:
        self.cluster = cluster
        self.acknowledged: list[int] = []
        self.unknown = 0
        self.unreadable = ""  # an answer without a number

    def one(self, among: tuple[str, ...]) -> None:
        """Request one increment, from each of these nodes until one serves."""
        for name in among:
            reply = self.cluster.ask_at(name, "counter@incr n", "counter")
            if reply.startswith("INCR response: "):
                number = number_of(reply)
                if number is None:
                    self.unreadable = f"'incr n' is answered {reply!r}"
                    raise Failed(self.unreadable)
                self.acknowledged.append(number)
                return
            if outcome_of(reply) not in (RequestOutcome.NO_LEADER, RequestOutcome.REFUSED):
                self.unknown += 1
        time.sleep(0.02)

    def some(self, count: int, among: Iterable[str]) -> None:
        """Request some increments."""
        for _ in range(count):
            self.one(tuple(among))

    def wait_for(self, more: int) -> None:
        """Wait until `more` further writes are acknowledged."""
        end = len(self.acknowledged) + more
        end_s = time.monotonic() + self.cluster.patience_s
        while len(self.acknowledged) < end:
            self.cluster.expect(not self.unreadable, self.unreadable)
            self.cluster.expect(time.monotonic() < end_s, "writes are not served any more")
            time.sleep(0.02)

    def judge(self) -> None:
        """Fail unless the counter holds each acknowledged increment, and no unexplained ones."""
        reply = self.cluster.ask("get n")
        final = number_of(reply) if reply.startswith("GET response: ") else 0
        if final is None:
            raise Failed(f"'get n' is answered {reply!r}")
        known = len(self.acknowledged)
        self.cluster.expect(
            known <= final <= known + self.unknown,
            f"the counter is {final} after {known} acknowledged increments and {self.unknown} of "
            "unknown outcome",
        )
        self.cluster.expect(
            len(set(self.acknowledged)) == known, "two increments were given the same answer"
        )


@cluster_check(
    5,
    "linearizable",
    "What clients see is linearizable while leaders are cut off.",
    "Raft §8; Herlihy and Wing 1990",
)
def linearizable(cluster: TestedCluster) -> None:
    cluster.begin()
    cluster.leader()
    history: list[ClientOperation] = []
    numbers = itertools.count(1)
    work = Background()

    def one(client: str, among: tuple[str, ...]) -> None:
        number = next(numbers)
        called_at = time.monotonic()
        if number % 2:
            asked = ClientOperation(client, "set", "k", f"v{number}", called_at, None)
            found = cluster.operate(asked, f"set k v{number}", among)
        else:
            asked = ClientOperation(client, "get", "k", None, called_at, None)
            found = cluster.operate(asked, "get k", among)
        if found is not None and not (found.verb == "get" and found.returned_at is None):
            history.append(found)
        time.sleep(0.01)

    names = list(cluster.nodes)
    for place, name in enumerate(names):  # each begins at another node, so an old leader is asked
        work.run(one, f"reader{place}", (name, *others_than(cluster, name)))
    for _ in range(2):
        leader = cluster.leader(who="watcher")
        cluster.cut_off(leader)
        cluster.leader(among=others_than(cluster, leader), who="watcher")
        cluster.heal()
    work.join()
    report = judge_history(history)
    cluster.expect(
        report.verdict is not HistoryVerdict.VIOLATED,
        "the history is not linearizable:\n" + "\n".join(report.excerpt),
    )
