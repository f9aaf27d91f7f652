"""Disks that hang or are slow, files that vanish, go back or are another cluster's, crowds, and
disks that are lost before all members have run."""

from __future__ import annotations

import pytest

from raftline import logmanager
from raftline.net.peers import build_exchange
from raftline.raft import newborn
from raftline.storage.lost_files import FileState, Found, Identity, compare
from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.nodes import simulated_node
from raftline_testing.virtual.seeds import counts_of, first_failure
from raftline_testing.virtual.world.plan import NEWEST_FAULTS, RARE_FAULTS

KINDS = RARE_FAULTS + NEWEST_FAULTS
# The first seed of each fault finds the code without its mend: docs/develop/testing.md.
SEEDS = {
    "hung disk": (8, 2, 5, 7),
    "slow syncs": (104,),
    "gone log": (20,),
    "older files": (5,),
    "foreign files": (5, 7, 31),
    "crowd": (2, 9, 16),
    "wipe at birth": (5, 16),
    "leap": (8, 5),
    "full beside": (4, 16),
    "hung majority": (0, 15),
    "hung candidate": (12,),
    "refused snapshot": (12, 27),
    "lost majority": (97, 28, 41),
}
EFFECTS = {
    "hung disk": "disks that hang",
    "slow syncs": "leaders judged under slow disks",
    "gone log": "logs taken",
    "older files": "older files put back",
    "foreign files": "foreign files",
    "crowd": "lines sent at once",
    "wipe at birth": "clusters that began again",
    "leap": "terms forged",
    "full beside": "snapshots not taken",
    "hung majority": "reads judged under hung disks",
    "hung candidate": "candidates whose disk hangs",
    "refused snapshot": "candidates that refuse snapshots",
    "lost majority": "nodes that wait for a lost majority",
}


@pytest.mark.parametrize(
    ("kind", "seeds"),
    [
        *[(kind, SEEDS[kind][:1]) for kind in KINDS],
        *[in_the_rest(kind, SEEDS[kind][1:]) for kind in KINDS if SEEDS[kind][1:]],
    ],
)
def test_a_cluster_comes_through_rare_faults(kind: str, seeds: tuple[int, ...]) -> None:
    for seed in seeds:
        counts = counts_of(seed, 1, faults=[kind])
        assert counts[EFFECTS[kind]] > 0, f"seed {seed} has nothing of {kind}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("first", "count"), at_night((0, 100)))
def test_many_schedules_come_through_rare_faults(kind: str, first: int, count: int) -> None:
    assert counts_of(first, count, faults=[kind])[EFFECTS[kind]] > 0


def blind_to_appends(found: Found | None, ours: Identity, size: int) -> FileState:
    state = compare(found, ours, size)
    return FileState.WHOLE if state is FileState.LONGER else state


@pytest.mark.slow
@pytest.mark.pure  # a function of a compiled module can't be replaced
def test_a_log_that_another_program_extends_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logmanager, "compare", blind_to_appends)
    assert "has no log for" in first_failure(SEEDS["gone log"], faults=["gone log"])


@pytest.mark.slow
@pytest.mark.pure
def test_clusters_without_identities_are_found_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (simulated_node, build_exchange):
        monkeypatch.setattr(module, "is_foreign", lambda mine, theirs: False)
    assert first_failure(SEEDS["wipe at birth"], faults=["wipe at birth"])


@pytest.mark.slow
@pytest.mark.pure
def test_silence_that_counts_as_a_proof_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newborn, "awaited", lambda state: [])
    found = first_failure(SEEDS["lost majority"], faults=["lost majority"])
    assert "though no node has patience" in found


def test_schedule_ends_where_a_second_cluster_begins() -> None:
    counts = counts_of(5, 1, faults=["wipe at birth"])
    assert counts["clusters that began again"] == counts["wipes at birth"] == 1
