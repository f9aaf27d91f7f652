"""Kills, pauses and restarts nodes under load, and judges the whole history afterwards.

By hand, for as long as you like: python tests/e2e/nemesis.py --seconds 60 --seed 3
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from raftline import linearizable
from raftline.linearizable import Report
from tests.e2e.cluster import Cluster
from tests.e2e.node import STARTED, Node
from tests.e2e.workload import Workload

STEPS_MAX = 20_000_000


class Nemesis:
    """Hurts one node at a time, so that a majority is left, and lets it recover."""

    def __init__(self, cluster: Cluster, seed: int, say: Callable[[str], None]) -> None:
        self.faults: Counter[str] = Counter()
        self._cluster = cluster
        self._chance = random.Random(seed)
        self._say = say

    def strike(self, stop: threading.Event) -> None:
        """Do one thing to one node and wait until the cluster has a leader again."""
        kinds = [self._kill_leader, self._pause_leader, self._restart_follower,
                 self._pause_follower, self._stop_leader]  # fmt: skip
        fault = self._chance.choice(kinds)
        name = fault.__name__.removeprefix("_").replace("_", " ")
        self.faults[name] += 1
        self._say(name)
        fault(stop)
        self._cluster.leader()
        stop.wait(self._chance.uniform(0.3, 1.0))

    def strike_each(self, stop: threading.Event) -> None:
        """Do each thing once."""
        for fault in (self._kill_leader, self._pause_leader, self._restart_follower):
            self.faults[fault.__name__.removeprefix("_").replace("_", " ")] += 1
            fault(stop)
            self._cluster.leader()

    def _kill_leader(self, stop: threading.Event) -> None:
        self._kill(self._cluster.leader(), stop)

    def _restart_follower(self, stop: threading.Event) -> None:
        self._kill(self._chance.choice(self._cluster.followers()), stop)

    def _kill(self, node: Node, stop: threading.Event) -> None:
        node.kill()
        stop.wait(self._chance.uniform(0.0, 1.5))
        node.launch().wait_for_line(STARTED)

    def _stop_leader(self, _: threading.Event) -> None:
        leader = self._cluster.leader()
        leader.terminate()
        leader.start()

    def _pause_leader(self, stop: threading.Event) -> None:
        self._pause(self._cluster.leader(), stop)

    def _pause_follower(self, stop: threading.Event) -> None:
        self._pause(self._chance.choice(self._cluster.followers()), stop)

    def _pause(self, node: Node, stop: threading.Event) -> None:
        node.pause()
        stop.wait(self._chance.uniform(0.2, 2.5))
        node.resume()


def torment(
    cluster: Cluster, seconds: float, seed: int, clients: int, say: Callable[[str], None]
) -> tuple[Report, Counter[str], Counter[str]]:
    """Hurt `cluster` under load for about so long; return verdict, outcomes and faults."""
    nemesis = Nemesis(cluster, seed, say)
    never = threading.Event()
    end_s = time.monotonic() + seconds
    with Workload(cluster.nodes, clients, keys=max(3, clients // 4), seed=seed) as workload:
        cluster.leader()
        nemesis.strike_each(never)
        while time.monotonic() < end_s:
            nemesis.strike(never)
    cluster.wait_until_equal()
    say(f"checking {len(workload.history):,} operations")
    report = linearizable.check(workload.history, STEPS_MAX)
    return report, workload.outcomes, nemesis.faults


def main() -> int:
    """Torment a cluster and print what came of it; return 1 unless the history is good."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=3)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(Path(folder), options.nodes) as cluster,
    ):
        report, outcomes, faults = torment(
            cluster.start(), options.seconds, options.seed, options.clients, print
        )
    for counted in (outcomes, faults):
        print(", ".join(f"{number:,} x {what}" for what, number in sorted(counted.items())))
    print(f"{report.verdict.value}, {report.steps:,} steps")
    print(*report.excerpt, sep="\n")
    return int(report.verdict is not linearizable.Verdict.LINEARIZABLE)


if __name__ == "__main__":
    sys.exit(main())
