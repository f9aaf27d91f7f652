"""The programs of docs/examples that take a lock or lead: each does what its page says."""

from __future__ import annotations

import subprocess

import raftline
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.processes.examples import BOTH, example
from tests.processes.typed import at, somebody_waits


@BOTH
def test_the_cron_lock_has_one_job_run_and_hands_it_a_token(
    kv: raftline.KV[str], nodes: Cluster, form: str
) -> None:
    job = example(f"cron_lock{form}", nodes, "sh", "-c", "echo token $TOKEN; read line; exit 3")
    job._popen["stdin"] = subprocess.PIPE
    job.launch()
    try:
        job.wait_for_line("token ")
        second = example(f"cron_lock{form}", nodes, "echo", "twice").launch()
        assert second.ended(DEADLINE_S) == 1
        assert second.said[0].startswith("not begun: it runs as program on ")
        assert job.running.stdin is not None
        job.running.stdin.close()
        assert job.ended(DEADLINE_S) == 3
        third = example(f"cron_lock{form}", nodes, "echo", "once more").launch()
        assert third.ended(DEADLINE_S) == 0
        assert third.said == ["once more"]
    finally:
        job.close()


@BOTH
def test_cron_lock_is_free_if_its_command_cannot_run(
    kv: raftline.KV[str], nodes: Cluster, form: str
) -> None:
    """The cron lock is free at once if its command cannot be run."""
    wrong = example(f"cron_lock{form}", nodes, "./no-such-command").launch()
    try:
        assert wrong.ended(DEADLINE_S) == 1
        assert len(wrong.said) == 1
        assert wrong.said[0].startswith("it can't be run: ")
        assert kv.lock("nightly").holder() is None
    finally:
        wrong.close()


@BOTH
def test_the_leader_is_followed_by_another(kv: raftline.KV[str], nodes: Cluster, form: str) -> None:
    first = example(f"leader{form}", nodes, "one").launch()
    second = example(f"leader{form}", nodes, "two")
    try:
        first.wait_for_line("one leads with token ")
        second.launch()
        eventually(lambda: somebody_waits(kv, "election/service/"), "a second one that waits")
        assert kv.election("service").leader() == "one"
        first.kill()
        second.wait_for_line("two leads with token ")
    finally:
        first.close()
        second.close()


@BOTH
def test_examples_continue_when_the_leader_is_killed(three: Cluster, form: str) -> None:
    """The programs continue when the leader of the cluster is killed."""
    with raftline.connect(at(three)) as kv:
        go_on_without_the_leader(kv, three, form)


def go_on_without_the_leader(kv: raftline.KV[str], nodes: Cluster, form: str) -> None:
    kv["app/lamp"] = "on"
    store = example(f"config_store{form}", nodes).launch()
    job = example(f"cron_lock{form}", nodes, "sh", "-c", "echo token $TOKEN; read line; exit 3")
    job._popen["stdin"] = subprocess.PIPE
    job.launch()
    chief = example(f"leader{form}", nodes, "one").launch()
    killed = nodes.leader()
    try:
        store.wait_for_line("{'app/lamp': 'on'}")
        job.wait_for_line("token ")
        chief.wait_for_line("one leads with token ")
        killed.kill()
        kv["app/lamp"] = "off"
        store.wait_for_line("{'app/lamp': 'off'}")
        assert store.said == ["{'app/lamp': 'on'}", "{'app/lamp': 'off'}"]
        assert job.running.stdin is not None
        job.running.stdin.close()
        assert job.ended(DEADLINE_S) == 3  # it still had the lock
        assert kv.election("service").leader() == "one"
        assert chief.running.poll() is None
    finally:
        for program in (store, job, chief):
            program.close()


def test_tasks_that_share_a_lock_have_it_one_after_the_other(nodes: Cluster) -> None:
    program = example("shared_lock", nodes).launch()
    try:
        assert program.ended(DEADLINE_S) == 0
        said = [line.split(" has it with token ") for line in program.said]
        assert sorted(number for number, _ in said) == list("01234")
        tokens = [int(token) for _, token in said]
        assert tokens == sorted(set(tokens))
    finally:
        program.close()
