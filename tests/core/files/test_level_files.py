"""The level of a cluster in a node's files: who may read them, from which moment on."""

from __future__ import annotations

import contextlib
from zlib import crc32

import pytest

from raftline.common.build_level import LEVEL
from raftline.common.process.wakeup import no_pause
from raftline.logmanager import LogManager
from raftline.raft.effects import Chunk, Effects, HardState
from raftline.raft.log import Snapshot
from raftline.raft.membership import all_vote
from raftline.storage.disk import FilesRefused, LevelRefused
from raftline.storage.log_lines import base_line, level_in_base, read_base
from raftline.storage.snapshot_lines import LoadedSnapshot
from raftline_testing.files.faulty_folder import Died, Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import (
    BASE,
    MEMBERS,
    boot,
    entries,
    log_file,
    storage_file,
    write,
)
from raftline_testing.files.snapshot_writing import write_snapshot

PLACES = b"s1=localhost:10000 s2=localhost:10001 s3=localhost:10002\n"


def first_line(folder: MemoryFolder, name: str) -> bytes:
    return folder.content(name).splitlines(keepends=True)[0]


def raised(folder: MemoryFolder) -> LogManager:
    """Return the files of a node whose entry 2 has raised the level, written and applied."""
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(1, "s1"))])
    written = entries(1, 1, "noop", "level 3", "set a 1")
    manager.persist([Effects(level=3, append=written)])
    manager.apply(written)
    return manager


def compacted(folder: MemoryFolder) -> LogManager:
    """Return the files of that node after a snapshot."""
    manager = raised(folder)
    assert manager.snapshots.publish(write_snapshot(manager.snapshots, manager.freeze()))
    current = manager.snapshots.current
    assert current is not None
    manager.finish_rewrite(manager.begin_rewrite(current), [])
    return manager


def test_files_of_the_floor_say_nothing_of_it() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    write(manager, 1, 1, "noop", "set a 1")
    manager.apply(entries(1, 1, "noop", "set a 1"))
    manager.snapshots.publish(write_snapshot(manager.snapshots, manager.freeze()))
    assert not any(b"level" in data for data in folder.contents().values())


def test_storage_names_the_level_before_the_log_does() -> None:
    """An older build that starts here after a death finds either no such entry or no way in."""
    for step in range(1, 40):
        folder = MemoryFolder()
        manager, _ = boot(folder)
        manager.persist([Effects(save=HardState(1, "s1"))])
        folder.fault = Fault(folder.steps + step, Kind.DIE_AFTER)
        with contextlib.suppress(Died):
            manager.persist([Effects(level=3, append=entries(1, 1, "noop", "level 3"))])
        is_over = not folder.is_dead
        left = folder.kill()
        if b" level 3" in left.content("s1.log"):
            assert b" state newborn level 3 crc32 " in first_line(left, "s1.storage")
        if is_over:
            return
    raise AssertionError("it never ended")


def test_a_start_keeps_the_level_of_a_log_that_holds_it() -> None:
    folder = MemoryFolder()
    raised(folder).close()
    manager, recovered = boot(folder.kill())
    assert (recovered.level, manager.level) == (1, 1)  # where the log begins: nothing is applied
    assert b" level 3 crc32 " in first_line(folder, "s1.storage")
    manager.apply(entries(1, 1, "noop", "level 3"))
    assert manager.level == 3


def test_a_level_that_was_cut_off_leaves_the_files_at_the_next_start() -> None:
    folder = MemoryFolder()
    manager = raised(folder)
    manager.persist([Effects(cut_after=1, append=entries(2, 1, "set b 1"))])
    manager.close()
    left = folder.kill()
    boot(left)[0].close()
    assert b" level " not in first_line(left, "s1.storage")


def test_base_line_and_snapshot_carry_the_level() -> None:
    folder = MemoryFolder()
    compacted(folder).close()
    assert first_line(folder, "s1.log") == b"3 1 base level 3 " + PLACES
    assert first_line(folder, "s1.state_machine") == b"3 1 snapshot level 3 " + PLACES
    manager, recovered = boot(folder.kill())
    assert (recovered.level, manager.level) == (3, 3)
    assert recovered.members == all_vote(MEMBERS)


def test_a_lost_log_begins_anew_at_the_level_of_the_snapshot() -> None:
    folder = MemoryFolder()
    compacted(folder).close()
    left = folder.kill()
    left.remove("s1.log")
    boot(left)[0].close()
    assert first_line(left, "s1.log") == b"3 1 base level 3 " + PLACES
    assert b" level 3 crc32 " in first_line(left, "s1.storage")


def test_a_snapshot_that_arrives_brings_its_level_to_all_files() -> None:
    source = MemoryFolder()
    compacted(source).close()
    data = source.content("s1.state_machine")
    folder = MemoryFolder()
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(1, "s1"))])
    manager.persist([Effects(chunks=[Chunk(0, data)])])
    snapshot = Snapshot(3, 1, len(data), crc32(data))
    loaded = manager.snapshots.check(snapshot, no_pause)
    manager.arrived(loaded)
    manager.take_over(snapshot)
    assert manager.level == 3
    manager.persist([Effects(level=3, install=snapshot)])
    assert first_line(folder, "s1.log") == b"3 1 base level 3 " + PLACES
    assert b" level 3 crc32 " in first_line(folder, "s1.storage")
    assert manager.begin_rewrite(snapshot).next_index == 4
    assert first_line(folder, "s1.log.new") == b"3 1 base level 3 " + PLACES


def test_the_level_is_in_force_when_it_is_applied() -> None:
    manager, _ = boot(MemoryFolder())
    write(manager, 1, 1, "noop", "level 3")
    assert manager.level == 1
    manager.apply(entries(1, 1, "noop"))
    assert (manager.level, manager.freeze().level) == (1, 1)
    assert manager.apply(entries(2, 1, "level 3")) == [""]
    assert (manager.level, manager.freeze().level) == (3, 3)
    manager.apply(entries(3, 1, "level 1", "level 2", "level x"))
    assert manager.level == 3


def test_files_of_a_level_above_this_build_are_refused_and_left_as_they_are() -> None:
    storage = storage_file(1, state=f"whole level {LEVEL + 1}")
    folder = MemoryFolder({"s1.log": log_file(b"1 1 noop\n"), "s1.storage": storage})
    before = folder.contents()
    with pytest.raises(FilesRefused) as refused:
        boot(folder)
    assert str(refused.value) == (
        f"s1.storage: the files of s1 are of level {LEVEL + 1}, and this build of raftline knows "
        f"levels up to {LEVEL}. Start the node with a newer version"
    )
    assert folder.contents().items() >= before.items()


@pytest.mark.parametrize("state", ["whole", "newborn", f"whole level {LEVEL}"])
def test_a_log_of_a_later_level_is_refused_whatever_storage_says(
    state: str,
) -> None:
    higher = b"2 1 level %d\n" % (LEVEL + 97)
    folder = MemoryFolder(
        {
            "s1.log": log_file(b"1 1 noop\n" + higher + b"3 1 unheard-of a\n"),
            "s1.storage": storage_file(1, state=state),
        }
    )
    before = folder.contents()
    with pytest.raises(LevelRefused) as refused:
        boot(folder)
    assert str(refused.value) == (
        f"s1.log: entry 2 raises the cluster to level {LEVEL + 97}, and this build of raftline "
        f"knows levels up to {LEVEL}. Start the node with a newer version"
    )
    assert folder.contents().items() >= before.items()


def test_a_level_above_this_build_that_was_cut_off_is_of_no_matter() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(1, "s1"))])
    manager.persist([Effects(append=entries(1, 1, "noop", f"level {LEVEL + 1}"))])
    manager.persist([Effects(cut_after=1, append=entries(2, 1, "set b 1"))])
    manager.close()
    assert boot(folder.kill())[1].log.last_index == 2


@pytest.mark.parametrize("name", ["s1.log", "s1.state_machine"])
def test_a_log_or_a_snapshot_above_this_build_is_not_taken_for_damage(name: str) -> None:
    folder = MemoryFolder()
    compacted(folder).close()
    left = folder.kill()
    left.put(name, left.content(name).replace(b" level 3 ", b" level %d " % (LEVEL + 1), 1))
    with pytest.raises(LevelRefused, match=f"^{name}: it is of level {LEVEL + 1}, and this "):
        boot(left)


@pytest.mark.parametrize("level", [1, 3])
def test_a_base_line_is_read_as_it_was_spelled(level: int) -> None:
    for members in (all_vote(MEMBERS), all_vote({})):
        raw = base_line(members, 17, 4, level)
        assert read_base(raw) == (17, 4, members)
        assert level_in_base(raw) == (level, "")
    assert base_line(all_vote(MEMBERS)) == BASE
    assert base_line(all_vote({}), 17, 4, 3) == b"17 4 base level 3\n"


def test_a_node_without_files_has_the_floor() -> None:
    manager, recovered = boot(MemoryFolder())
    assert (recovered.level, manager.level) == (1, 1)
    assert LoadedSnapshot(Snapshot(0, 0, 0, 0), all_vote({})).level == 1
