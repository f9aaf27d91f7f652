"""Death and failure at every step of taking, receiving and installing a snapshot."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from raftline.common.process.wakeup import no_pause
from raftline.logmanager import LogManager
from raftline.raft.effects import Chunk, Effects, HardState
from raftline.raft.log import Entry, Snapshot
from raftline.raft.membership import all_vote
from raftline.storage.disk import StorageError
from raftline.storage.folder import Folder
from raftline.storage.recovery import Recovered
from raftline.storage.snapshot_file import SnapshotFile
from raftline.storage.snapshot_lines import MachineState
from raftline.wire.key_stat import value_of, with_facts
from raftline_testing.files.faulty_folder import Died, Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import MEMBERS, boot, entries
from raftline_testing.files.snapshot_writing import write_snapshot

POWER_CUTS = 6
LONG = "v" * 700  # spans blocks, so that holes fall inside a line
BEFORE = entries(1, 1, "noop", "set a 1", f"set long {LONG}", "set b 2")
BEHIND = entries(5, 2, "noop", f"set c {LONG}")
STATE = {"a": "9", "d": LONG, "z": "26"}  # what the leader's snapshot of entry 20 holds

Run = Callable[[MemoryFolder], None]


def take_a_snapshot(folder: MemoryFolder) -> None:
    """Write six entries, take a snapshot of the first four, compact, continue."""
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(2, "s1"), append=BEFORE)])
    manager.apply(BEFORE)
    manager.persist([Effects(append=BEHIND)])
    snapshot = write_snapshot(manager.snapshots, manager.freeze())
    manager.snapshots.publish(snapshot)
    rewrite = manager.begin_rewrite(snapshot)
    rewrite.copy(BEHIND[:1])
    rewrite.sync()
    manager.finish_rewrite(rewrite, BEHIND[1:])
    manager.persist([Effects(append=entries(7, 2, "set e 5"))])


def facts_in(pairs: dict[str, str]) -> dict[str, str]:
    """Return pairs with the facts of entry 9."""
    return {key: with_facts(value, 9) for key, value in pairs.items()}


def leaders_snapshot() -> tuple[bytes, Snapshot]:
    folder = MemoryFolder()
    file = SnapshotFile(folder, "s1")
    state = MachineState(20, 3, all_vote(MEMBERS), [], facts_in(STATE))
    snapshot = write_snapshot(file, state)
    file.publish(snapshot)
    return folder.content(file.name), snapshot


def install_a_snapshot(folder: MemoryFolder) -> None:
    """Hold entries up to 25 that differ from the leader's, then get its snapshot of entry 20."""
    manager, _ = boot(folder)
    tail = entries(5, 2, *[f"set t {number}" for number in range(5, 26)])
    manager.persist([Effects(save=HardState(2, "s1"), append=BEFORE + tail)])
    receive_and_install(manager)
    manager.persist([Effects(append=entries(21, 3, "set e 5"))])


def receive_and_install(manager: LogManager, *meanwhile: Effects) -> None:
    data, snapshot = leaders_snapshot()
    half = len(data) // 2
    manager.persist([Effects(save=HardState(3, None), chunks=[Chunk(0, data[:half])])])
    manager.persist([*meanwhile, Effects(chunks=[Chunk(half, data[half:])], check=snapshot)])
    manager.arrived(manager.snapshots.check(snapshot, no_pause))
    manager.take_over(snapshot)
    assert manager.persist([Effects(install=snapshot)]) == (20, 3)


def ends_after(folder: MemoryFolder, seed: int) -> Iterator[MemoryFolder]:
    """Yield what kill -9 leaves, several outcomes of a power cut, and of both in a row."""
    folder.is_dead, folder.fault = False, None
    yield folder.kill()
    for cut in range(POWER_CUTS):
        random = Random(f"{seed} {cut}")
        yield folder.crash(random)
        killed = folder.kill()
        boot(killed)
        yield killed.crash(random)


def steps_of(run: Run) -> int:
    folder = MemoryFolder()
    run(folder)
    return folder.steps


def fails(run: Run, step: int, kind: Kind) -> MemoryFolder:
    folder = MemoryFolder(fault=Fault(step, kind))
    with pytest.raises((Died, StorageError)):
        run(folder)
    return folder


def state_of(manager: LogManager, recovered: Recovered) -> tuple[dict[str, str], int]:
    """Return the state machine once all that the log holds is applied, and its last index."""
    log = recovered.log
    assert log.base_index == manager.applied.index
    manager.apply(log.entries(log.base_index + 1, log.last_index))
    return dict(manager.store), log.last_index


def machine_after(*applied: Entry) -> dict[str, str]:
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    manager.apply(applied)
    return dict(manager.store)


@pytest.mark.parametrize("kind", Kind)
def test_a_fault_at_any_step_of_taking_a_snapshot_loses_nothing(kind: Kind) -> None:
    more = entries(7, 2, "set e 5")
    whole = [[], BEFORE, BEFORE + BEHIND, BEFORE + BEHIND + more]
    outcomes = [(machine_after(*log), len(log)) for log in whole]
    reached = 0
    seen = set()
    for step in range(1, steps_of(take_a_snapshot) + 1):
        folder = fails(take_a_snapshot, step, kind)
        for end in ends_after(folder, step):
            manager, recovered = boot(end)
            found = state_of(manager, recovered)
            assert found in outcomes, step
            assert not recovered.recovering, step
            seen.add((outcomes.index(found), recovered.log.base_index))
            reached += 1
    assert reached > 500
    assert {(2, 0), (2, 4)} <= seen  # before the snapshot is in force, and after


# Entries acknowledged before the snapshot are there at every step after it.
def test_no_step_of_a_compaction_loses_entries() -> None:
    durable = machine_after(*BEFORE, *BEHIND)
    folder = MemoryFolder()
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(2, "s1"), append=BEFORE + BEHIND)])
    first = folder.steps
    for step in range(first + 1, steps_of(take_a_snapshot) + 1):
        for kind in (Kind.DIE_BEFORE, Kind.DIE_AFTER, Kind.TEAR_WITH_HOLE):
            folder = MemoryFolder()
            manager, _ = boot(folder)
            manager.persist([Effects(save=HardState(2, "s1"), append=BEFORE + BEHIND)])
            manager.apply(BEFORE)
            folder.fault = Fault(step, kind)
            try:
                snapshot = write_snapshot(manager.snapshots, manager.freeze())
                manager.snapshots.publish(snapshot)
                manager.finish_rewrite(manager.begin_rewrite(snapshot), BEHIND)
            except Died:
                pass
            for end in ends_after(folder, step):
                assert state_of(*boot(end)) == (durable, 6), (step, kind)


@pytest.mark.parametrize("kind", Kind)
def test_fault_while_installing_leaves_old_or_new(kind: Kind) -> None:
    """A fault at any step of an install leaves the old snapshot or the new one."""
    tail = entries(5, 2, *[f"set t {number}" for number in range(5, 26)])
    outcomes = [
        ({}, 0),
        (machine_after(*BEFORE, *tail), 25),
        (STATE, 20),
        (STATE | {"e": "5"}, 21),
    ]
    seen = set()
    for step in range(1, steps_of(install_a_snapshot) + 1):
        folder = fails(install_a_snapshot, step, kind)
        for end in ends_after(folder, step):
            manager, recovered = boot(end)
            assert not recovered.recovering, step
            found = state_of(manager, recovered)
            assert found in outcomes, step
            seen.add(outcomes.index(found))
    assert {1, 2} <= seen


def test_interrupted_snapshot_transfer_restarts_and_ends() -> None:
    """An interrupted transfer of a snapshot restarts and completes."""
    for step in range(1, steps_of(install_a_snapshot) + 1):
        folder = fails(install_a_snapshot, step, Kind.TEAR)
        for end in ends_after(folder, step):
            manager, recovered = boot(end)
            if recovered.log.base_index == 0:
                receive_and_install(manager)
            manager.close()
            again, recovered = boot(end)
            pairs, last = state_of(again, recovered)
            assert pairs | {"e": "5"} == STATE | {"e": "5"}
            assert last in (20, 21)


def test_writes_that_wait_before_an_installed_snapshot_are_void() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(2, "s1"), append=BEFORE)])
    data, snapshot = leaders_snapshot()
    manager.persist([Effects(save=HardState(3, None), chunks=[Chunk(0, data)], check=snapshot)])
    manager.arrived(manager.snapshots.check(snapshot, no_pause))
    manager.take_over(snapshot)
    works = [
        Effects(append=entries(5, 2, "set t 5")),
        Effects(install=snapshot),
        Effects(append=entries(21, 3, "set e 5")),
    ]
    assert manager.persist(works) == (21, 3)
    assert state_of(*boot(folder.kill())) == (STATE | {"e": "5"}, 21)


def test_snapshot_arriving_twice_is_synced_before_the_rename() -> None:
    """If a snapshot arrives twice, it is still synced before the rename."""
    data, snapshot = leaders_snapshot()
    whole = Effects(chunks=[Chunk(0, data)], check=snapshot)
    for seed in range(50):
        folder = MemoryFolder()
        manager, _ = boot(folder)
        manager.persist([Effects(save=HardState(3, None))])
        manager.persist([whole])
        checked = manager.snapshots.check(snapshot, no_pause)
        # Another leader begins a later one, a third sends this one again, whole: its check is to
        # come, and the report of the first one is taken for it.
        manager.persist([Effects(chunks=[Chunk(0, data[:9])]), whole])
        manager.arrived(checked)
        manager.persist([Effects(install=snapshot)])
        manager, recovered = boot(folder.crash(Random(seed)))
        assert state_of(manager, recovered)[0] == STATE
        manager.close()


def test_without_room_for_a_snapshot_the_node_continues() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(1, "s1"), append=BEFORE)])
    manager.apply(BEFORE)
    folder.fault = Fault(folder.steps + 2, Kind.ENOSPC)
    with pytest.raises(StorageError, match="free some space"):
        write_snapshot(manager.snapshots, manager.freeze())
    manager.snapshots.discard()
    assert manager.persist([Effects(append=entries(5, 1, "set e 5"))]) == (5, 1)
    assert set(folder.contents()) == {"s1.log", "s1.storage", ".s1.born"}
    snapshot = write_snapshot(manager.snapshots, manager.freeze())
    assert manager.snapshots.publish(snapshot)


@pytest.mark.needs("/dev/fd")
def test_a_log_without_room_to_begin_again_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("raftline.storage.disk.write_all", is_full)
    manager = LogManager("s1", Folder(str(tmp_path)), MEMBERS)
    was_open = os.listdir("/dev/fd")
    with pytest.raises(StorageError, match="free some space"):
        manager.begin_rewrite(Snapshot(4, 1, 100, 0))
    assert os.listdir("/dev/fd") == was_open
    assert os.listdir(tmp_path) == []


def test_a_snapshot_under_way_copies_only_changed_pairs() -> None:
    manager, _ = boot(MemoryFolder())
    manager.apply(entries(1, 1, *[f"set k{number} v" for number in range(3000)]))
    pairs = manager.store.held
    assert isinstance(pairs, dict)
    state = manager.freeze()
    manager.apply(entries(3001, 1, "set k7 w", "delete k8"))
    assert (value_of(pairs["k7"]), value_of(pairs["k8"])) == ("v", "v")
    write_snapshot(manager.snapshots, state)
    assert manager.store.held is pairs
    assert (len(pairs), value_of(pairs["k7"])) == (2999, "w")


def test_writes_after_the_freeze_are_not_in_the_snapshot() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    manager.apply(BEFORE)
    state = manager.freeze()
    manager.apply(BEHIND)
    manager.snapshots.publish(write_snapshot(manager.snapshots, state))
    loaded = SnapshotFile(folder.kill(), "s1").read()
    pairs = {key: value_of(text) for key, text in loaded.pairs.items()}
    assert pairs == machine_after(*BEFORE)
    assert loaded.snapshot.index == 4


# Found by the simulation, seed 386
def test_mark_of_a_void_entry_brought_back_is_not_a_loss() -> None:
    """Entry 6 of term 1 was synced and marked, then voided. The mark of its replacement is not
    synced yet, and the compaction drops the line that voids it."""
    for seed in range(40):
        folder = MemoryFolder()
        manager, _ = boot(folder)
        lost = entries(5, 1, "set lost 5", "set lost 6")
        manager.persist([Effects(save=HardState(1, "s1"), append=BEFORE)])
        manager.persist([Effects(append=lost)])
        manager.persist([Effects(save=HardState(2, None))])  # makes that mark durable
        manager.persist([Effects(cut_after=4, append=entries(5, 2, "noop"))])
        manager.apply(BEFORE)
        snapshot = write_snapshot(manager.snapshots, manager.freeze())
        manager.snapshots.publish(snapshot)
        manager.finish_rewrite(manager.begin_rewrite(snapshot), entries(5, 2, "noop"))
        _, recovered = boot(folder.crash(Random(seed)))
        assert not recovered.recovering
        assert recovered.log.last_index == 5


def test_a_mark_from_before_an_installed_snapshot_is_not_a_loss() -> None:
    for seed in range(40):
        folder = MemoryFolder()
        manager, _ = boot(folder)
        tail = entries(5, 1, *[f"set t {number}" for number in range(5, 26)])
        manager.persist([Effects(save=HardState(1, "s1"), append=BEFORE + tail)])
        receive_and_install(manager, Effects(cut_after=4, append=entries(5, 2, "noop")))
        _, recovered = boot(folder.crash(Random(seed)))
        assert not recovered.recovering
        assert recovered.log.last_index == 20
