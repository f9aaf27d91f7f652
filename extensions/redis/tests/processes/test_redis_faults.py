"""Redis clients along with others while nodes fail: all operations have one order, each increment
counts once, each transfer by MULTI happens whole or not at all, a listener to notifications learns
each final state, and lists, messages and elements keep their promises."""

from __future__ import annotations

import random
import re
import threading
import time
from pathlib import Path

import pytest

from raftline.redis.harness.redis_clients import redis_clients, redis_programs, redis_transactors
from raftline.redis.harness.redis_listeners import RedisListeners
from raftline.wire.protocol import escape
from raftline_testing.histories.history import counter_findings
from raftline_testing.nemesis import changes, verdict
from raftline_testing.nemesis.campaign import shown
from raftline_testing.nemesis.nemesis import PROCESSES, TURN_S, Nemesis
from raftline_testing.nemesis.workload import Workload
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.workloads.mix import Mix

SECONDS = 6.0
CLIENTS = 4  # of each kind
OF_PROGRAMS = (
    "elements added",
    "elements taken",
    "elements ended",
    "messages of PUBLISH",
    "messages of PUBLISH heard",
    "subscriptions confirmed",
    "commands on elements",
    "increments of elements",
    "elements popped by LMPOP",
    "ZUNION of elements",
    "increments by scripts",
    "scripts on elements",
)


def test_redis_clients_and_others_see_one_order_under_faults(tmp_path: Path) -> None:
    pytest.importorskip("redis", reason="half of the clients ask as redis-py does")
    mix = Mix(prefix="w.", counters=2, conditions=0.4, appends=0.02)
    with Cluster(tmp_path, 3, "--compact-at", "20000") as cluster:
        cluster.start().wait_until_begun()
        workload = Workload(cluster.nodes, CLIENTS, mix, "seed", transactors=1)
        clients = redis_clients(CLIENTS, workload)
        redis_transactors(2, workload)
        judges = redis_programs(workload)
        kinds = {**PROCESSES, changes.transfer: 3}
        nemesis = Nemesis(cluster, kinds, random.Random(7), lambda what: None, at_once=1)
        nemesis.scene.haste = 0.5
        end_s = time.monotonic() + SECONDS
        with RedisListeners(2, cluster.nodes, mix.prefix, "seed") as listeners:
            with workload:
                while time.monotonic() < end_s or not nemesis.has_struck_each_kind:
                    nemesis.turn()
                    assert not workload.problems, workload.problems
                    threading.Event().wait(TURN_S)
                nemesis.heal()
                cluster.leader()
            cluster.wait_until_equal()
            pairs = shown(cluster, "w.")
            missed = listeners.findings(pairs, workload.changes)
            cluster.ask("stranger@set w.odd 1")  # as if two messages were invented
            pairs["w.odd"] = "1"
            invented = listeners.findings(pairs, workload.changes)
        finals = {key: int(value) for key, value in pairs.items() if key.startswith("w.n")}
        assert counter_findings(workload.history.increments, finals) == []
        workload.history.journal.judge(escape(pairs.get(mix.journal, ""), key=False))
        findings = verdict.history_findings(workload.history.operations)
        findings += [*workload.ledger.findings(pairs), *missed]
        assert not findings, "\n".join(findings)
        for judge in judges:
            judge.judge(shown(cluster, judge.prefix))
        told = [re.sub(r", at=[0-9.]+", "", problem) for problem in invented]
        assert told == [
            f"listener {place}: nobody asked for Message(key='w.odd', event='set')"
            for place in range(2)
        ]
    for client in clients:
        assert client.outcomes["get answered"] > 3, client.outcomes
    for what in ("set answered", "incr answered"):
        assert sum(client.outcomes[what] for client in clients) > 3, what
    for what in ("looked", "transferred", "transferred after a watch"):
        assert workload.counts[f"Redis dealers: {what}"] > 1, workload.counts
    assert listeners.outcomes["messages of Redis"] > 30, listeners.outcomes
    for what in OF_PROGRAMS:
        assert workload.counts[what] > 1, workload.counts
