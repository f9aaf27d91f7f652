"""Locks and jobs on real nodes under faults: one holder at a time, and no job is lost or done
twice."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from raftline.recipes.harness.campaign_workload import added
from raftline_testing.nemesis import changes
from raftline_testing.nemesis.campaign import shown
from raftline_testing.nemesis.nemesis import PROCESSES, TURN_S, Nemesis
from raftline_testing.nemesis.workload import Workload
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.workloads.mix import Mix

SECONDS = 8.0


def test_locks_have_one_holder_and_jobs_one_end_under_faults(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, "--compact-at", "20000") as cluster:
        cluster.start().wait_until_begun()
        kinds = {**PROCESSES, changes.transfer: 3}
        nemesis = Nemesis(cluster, kinds, random.Random(5), lambda what: None, at_once=1)
        nemesis.scene.haste = 0.5
        workload = Workload(cluster.nodes, 0, Mix(prefix="w1."), "seed")
        claims = added(workload)
        end_s = time.monotonic() + SECONDS
        with workload:
            while time.monotonic() < end_s or not nemesis.has_struck_each_kind:
                nemesis.turn()
                assert not workload.problems, workload.problems
                threading.Event().wait(TURN_S)
            nemesis.heal()
            cluster.leader()
        cluster.wait_until_equal()
        claims.judge(shown(cluster, claims.prefix))
    for what in ("seats had", "jobs delivered", "jobs ended", "leases renewed"):
        assert workload.counts[what] > 3, workload.counts
