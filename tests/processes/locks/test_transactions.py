"""Transactions on real nodes under faults: whole, in one order, and money is never lost."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from raftline_testing.nemesis import changes
from raftline_testing.nemesis.campaign import shown
from raftline_testing.nemesis.nemesis import PROCESSES, TURN_S, Nemesis
from raftline_testing.nemesis.workload import Workload
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.workloads.mix import Mix

SECONDS = 6.0


def test_transactions_are_whole_and_in_one_order_under_faults(tmp_path: Path) -> None:
    mix = Mix(prefix="w1.")
    with Cluster(tmp_path, 3, "--compact-at", "20000", "--follower-reads") as cluster:
        cluster.start().leader()
        kinds = {**PROCESSES, changes.transfer: 3}
        nemesis = Nemesis(cluster, kinds, random.Random(5), lambda what: None, at_once=1)
        nemesis.scene.haste = 0.5
        end_s = time.monotonic() + SECONDS
        with Workload(cluster.nodes, 0, mix, "seed", transactors=4) as workload:
            while time.monotonic() < end_s or not nemesis.has_struck_each_kind:
                nemesis.turn()
                assert not workload.problems, workload.problems
                threading.Event().wait(TURN_S)
            nemesis.heal()
            cluster.leader()
        cluster.wait_until_equal()
        assert workload.ledger.findings(shown(cluster, "w1.")) == []
    for branch in ("then", "else"):
        assert workload.counts[f"transactions answered, {branch}"] > 20
    assert workload.ledger.looks > 20
