"""Schedules of faults in virtual time: nothing that Raft promises breaks in any of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.common.arguments import build
from raftline.node.snapshots import snapshots
from raftline.raft import election
from raftline.raft.change import Change
from raftline.raft.inputs import ChangeMembers, SnapshotChecked
from raftline.raft.log import Snapshot
from raftline.raft.membership import Membership
from raftline.raft.messages import Denial, RequestVote
from raftline.raft.state import State
from raftline.state.commands import key_commands
from raftline_testing.doubles.cores import leader_of
from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.runner.parts import whole
from raftline_testing.virtual.drawing import run_or_draw
from raftline_testing.virtual.faults.churn import can_lose
from raftline_testing.virtual.schedule import SimulationFailed, run
from raftline_testing.virtual.seeds import counts_of, first_failure
from raftline_testing.virtual.world.plan import FAULTS, LATER_FAULTS

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "testing" / "raftline_testing" / "virtual" / "simulate.py"
CHUNK_SCHEDULES = 150
LONG_STEPS = 12_000  # what needs a history is for the night
QUICK_SCHEDULES = CHUNK_SCHEDULES if build() == "compiled" else 10

# What each chunk of schedules together must have met; a simulation in which nothing happens
# proves nothing.
COVERED = (
    "elections won",
    "entries applied",
    "cuts",
    "messages lost",
    "messages doubled",
    "messages late",
    "messages replayed",
    "operations answered",
    "operations refused",
    "operations of unknown outcome",
    "snapshots taken",
    "snapshots installed",
    "deaths at the disk",
    "writes torn or cut off",
    "completed: add",
    "completed: remove",
    "completed: replace",
    "completed: promote",
    "completed: demote",
    "completed: update",
    "changes refused",
    "changes unknown",
    "changes rolled back",
    "leaders removed",
    "transfers completed",
    "log lost",
    "storage lost",
    "all lost",
    "started to join without files",
    "newborns that found a history",
    "recovering servers made whole",
    "retries answered from the table",
    "retries behind a later request",
    "sessions expired",
    "conditions met",
    "conditions not met",
    "appends answered",
    "late starts",
    "logs written by hand",
    "hand-written logs that won",
    "messages to newborns refused",
    "said to be new",
    "leaderships regained",
    "reads given back",
    "machines that raised",
    "transactions answered, then",
    "transactions answered, else",
    "transactions that can't be done",
    "accounts shown",
    "prefixes cleared",
    "leases renewed",
    "leases ended",
    "expiries proposed",
    "fault: long pause",
    "events told",
    "watches that began",
    "watches that went on",
    "nodes upgraded",
)


@pytest.mark.timeout(600)  # eleven seconds of computing, on a machine that may have other work
@pytest.mark.parametrize(
    ("first", "schedules"),
    [
        (0, QUICK_SCHEDULES),
        in_the_rest(150, 30),  # the wheel of each day's CI goes through a chunk
        *at_night((10, 140), (150, 150), (300, 150), (450, 150)),  # `sim-long` has more
    ],
)
def test_every_schedule_of_faults_keeps_what_raft_promises(first: int, schedules: int) -> None:
    first += 10_000 if build() == "compiled" else 0
    counts = counts_of(first, schedules)
    missed = [name for name in COVERED if not counts[name]] if schedules >= CHUNK_SCHEDULES else []
    assert not missed, f"these schedules never met: {missed}"


@pytest.mark.timeout(600)
@pytest.mark.nightly
def test_long_schedules_keep_what_raft_promises() -> None:
    for seed in range(600, 650):
        run_or_draw(seed, steps=LONG_STEPS)


# What is rare in a mixture has a schedule of its own.
@pytest.mark.parametrize("kind", FAULTS + LATER_FAULTS)
def test_a_cluster_comes_through_each_kind_of_fault(kind: str) -> None:
    outcome = run_or_draw(2000, nodes=3, faults=[kind])
    assert outcome.counts[f"fault: {kind}"] > 0
    assert outcome.counts["operations answered"] > 0


@whole
def test_a_node_that_lost_its_log_catches_up_and_votes_again() -> None:
    outcome = run_or_draw(2000, nodes=5, faults=["lose log"])
    assert outcome.counts["log lost"] > 0
    assert outcome.counts["recovering servers made whole"] > 0


def test_no_files_are_lost_that_a_change_which_waits_would_need() -> None:
    names = ("s1", "s2", "s3")
    members = Membership(names, addresses={name: f"{name}:1" for name in names})
    leader = leader_of("s3", voters=members)
    disk = SimpleNamespace(has_vote=True)
    hosts: Any = [SimpleNamespace(name=name, disk=disk, view=leader.view) for name in names]
    assert can_lose(hosts, "s1")
    leader.step(
        ChangeMembers(Change("remove", "s2"), "t"), leader.view.now_ms
    )  # its no-op isn't committed
    assert leader._state.as_leader.waiting
    assert not can_lose(hosts, "s1")  # of s1 and s3 both are needed
    assert can_lose(hosts, "s2")


@pytest.mark.parametrize("nodes", [1, 2, 4, *map(in_the_rest, (3, 5))])
def test_a_cluster_of_each_size_comes_through(nodes: int) -> None:
    outcome = run_or_draw(1000 + nodes, nodes=nodes)
    assert outcome.nodes == nodes
    assert outcome.counts["operations answered"] > 0


def simulate(
    *arguments: str, hash_seed: str = "0", script: Sequence[str] = (str(SCRIPT),)
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *script, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": "src:testing"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.needs("processes")
def test_the_same_seed_gives_the_same_schedule_event_by_event() -> None:
    first = simulate("--seed", "7", "--steps", "1000", "--verbose", hash_seed="1")
    second = simulate("--seed", "7", "--steps", "1000", "--verbose", hash_seed="2")
    events = [line for line in first.stdout.splitlines() if " schedules, " not in line]
    assert first.returncode == 0
    assert len(events) > 300
    assert events == [line for line in second.stdout.splitlines() if " schedules, " not in line]


def test_no_schedule_waits_in_real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    run(1)  # backups are fetched in it
    assert pauses
    assert not any(pauses)


@pytest.mark.slow
@pytest.mark.needs("processes")
def test_the_script_sums_up_what_it_went_through() -> None:
    done = simulate("--count", "3", "--steps", "500", "--nodes", "3")
    assert done.returncode == 0
    assert re.search(
        "^3 schedules, ", done.stdout, re.MULTILINE
    )  # a slow run shows its progress first
    assert "fault: " in done.stdout


@pytest.mark.slow
@pytest.mark.needs("processes")
def test_several_processes_go_through_the_same_schedules() -> None:
    asked = "--count", "4", "--steps", "300", "--nodes", "3"
    alone, together = simulate(*asked), simulate(*asked, "--workers", "2")
    assert together.returncode == 0
    counts = [line for line in together.stdout.splitlines() if " schedules, " not in line]
    assert counts == [line for line in alone.stdout.splitlines() if " schedules, " not in line]


@pytest.mark.needs("processes")
@pytest.mark.parametrize("workers", ["1", in_the_rest("2")])
def test_the_script_ends_when_its_time_is_over(workers: str) -> None:
    done = simulate("--minutes", "0.001", "--steps", "100", "--nodes", "1", "--workers", workers)
    assert done.returncode == 0
    assert re.match(r"[1-9]\d* schedules, ", done.stdout)


UNKNOWN_FAULT = """
import sys
from raftline_testing.virtual import simulate
simulate.ALL_FAULTS += ("none of this name",)
sys.exit(simulate.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.needs("processes")
def test_a_failure_in_another_process_ends_the_script() -> None:
    asked = "--forever", "--nodes", "3", "--fault", "none of this name", "--workers", "2"
    done = simulate(*asked, script=("-c", UNKNOWN_FAULT))
    assert done.returncode == 1, done.stderr
    assert re.search("^seed [0-9]+: KeyError: 'none of this name'", done.stdout, re.MULTILINE)


@pytest.mark.pure
def test_failure_names_its_seed_its_replay_and_last_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure names its seed, how to see it again, and the last events."""

    def counts_itself_too_early(state: State) -> None:
        if state.log.last_term == state.term:
            state.advance_commit_index(state.log.last_index)

    monkeypatch.setattr("raftline.raft.node.advance_commit", counts_itself_too_early)
    with pytest.raises(SimulationFailed) as failed:
        run(7, nodes=3, steps=2000)
    text = str(failed.value)
    assert text.startswith("seed 7: InvariantError: ")
    assert "simulate.py --seed 7 --nodes 3 --steps 2000 --verbose" in text
    assert "[*] I am Leader" in text
    assert "@Count on me term" in text


@pytest.mark.pure  # it replaces methods of the compiled core
def test_a_retry_that_takes_effect_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftline.state.sessions.SessionTable.earlier_reply", lambda *_: None)
    monkeypatch.setattr("raftline.state.sessions.SessionTable.remember", lambda *_: None)
    assert re.search("client|dealer", first_failure(range(1, 20)))


def test_a_member_added_again_is_not_accused_of_a_loss() -> None:
    """Answers that it sent as a newcomer arrive after its removal and its return."""
    assert not first_failure([39], faults=["older files"])


@pytest.mark.pure
def test_entries_that_are_not_on_disk_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a conflict, a server counts entries as durable that a power cut would take."""
    cut_after = State.cut_after

    def keeps_the_durable_index(state: State, index: int) -> None:
        durable_index = state.durable_index
        cut_after(state, index)
        state.durable_index = durable_index

    monkeypatch.setattr(State, "cut_after", keeps_the_durable_index)
    assert re.search("takes entry .* to be on its disk", first_failure((8, 10)))


@pytest.mark.slow
@pytest.mark.pure
def test_a_change_that_only_the_new_voters_decide_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Membership, "_halves", lambda members: (members.voters,))
    assert "InvariantError" in first_failure(range(13, 200))


@pytest.mark.slow
@pytest.mark.pure
def test_a_snapshot_with_old_addresses_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_first_addresses(snapshot: Snapshot, members: Membership, *rest: Any) -> object:
        first = {name: f"localhost:{9_999 + int(name[1:])}" for name in members.addresses}
        return SnapshotChecked(snapshot, replace(members, addresses=first), *rest)

    monkeypatch.setattr(snapshots, "SnapshotChecked", with_first_addresses)
    assert "the members differ" in first_failure(range(41, 60))


@pytest.mark.slow
@pytest.mark.pure
def test_a_snapshot_without_its_sessions_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftline.state.sessions.SessionTable.dump", lambda _: [])
    assert first_failure(range(11, 60))


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["cas", "setnx"])
def test_a_condition_that_nobody_looks_at_is_noticed(
    monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    def blind(pairs: MutableMapping[str, str], operands: str) -> str:
        key, value = operands.split(" ", 1)
        pairs[key] = value.split(" ", 1)[1] if verb == "cas" else value
        return f"{verb.upper()} response: {key} set to {pairs[key]}"

    monkeypatch.setitem(key_commands.APPLIED, verb, blind)
    assert "not linearizable" in first_failure(range(1, 30))


@pytest.mark.slow
@pytest.mark.pure
def test_no_server_reads_the_sentence_of_a_denial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elections, wiped disks and hand-written logs take the same course with other sentences of the
    same length; the schedules together have each reason to deny a vote."""
    why_not, words = election.why_not, set[Denial]()

    def reworded(state: State, message: RequestVote) -> tuple[Denial, str] | None:
        denial = why_not(state, message)
        if denial is None:
            return None
        words.add(denial[0])
        return denial[0], denial[1][::-1]

    for seed in (219, 55, 31, 34, 20, *range(40, 70)):
        as_written = run(seed)
        with monkeypatch.context() as patched:
            patched.setattr(election, "why_not", reworded)
            assert run(seed) == as_written
        if words == {*Denial} - {Denial.OTHER}:
            return
    pytest.fail(f"never said: { ({*Denial} - words) }")
