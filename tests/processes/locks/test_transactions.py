"""Transactions on real nodes under faults: whole, in one order, and money is never lost."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from raftline_testing.nemesis import changes
from raftline_testing.nemesis.campaign import shown
from raftline_testing.nemesis.mix import Mix
from raftline_testing.nemesis.nemesis import PROCESSES, TURN_S, Nemesis
from raftline_testing.nemesis.transactors import transaction_findings, transactors
from raftline_testing.nemesis.workload import Workload
from raftline_testing.nodes.cluster import Cluster

SECONDS = 6.0


def test_transactions_are_whole_and_in_one_order_under_faults(tmp_path: Path) -> None:
    mix = Mix(prefix="w1.")
    with Cluster(tmp_path, 3, "--compact-at", "20000", "--follower-reads") as cluster:
        cluster.start().leader()
        clients = transactors(4, cluster.nodes, mix, "seed")
        kinds = {**PROCESSES, changes.transfer: 3}
        nemesis = Nemesis(cluster, kinds, random.Random(5), lambda what: None, at_once=1)
        nemesis.scene.haste = 0.5
        end_s = time.monotonic() + SECONDS
        with Workload(cluster.nodes, 0, mix, "seed", None, clients) as workload:
            while time.monotonic() < end_s or not nemesis.has_struck_each_kind:
                nemesis.turn()
                assert not workload.problems, workload.problems
                threading.Event().wait(TURN_S)
            nemesis.heal()
            cluster.leader()
        cluster.wait_until_equal()
        assert transaction_findings(clients, shown(cluster, "w1."), "w1.") == []
    assert min(workload.outcomes["txn then"], workload.outcomes["txn else"]) > 20
    assert sum(len(client.sums) for client in clients) > 20
