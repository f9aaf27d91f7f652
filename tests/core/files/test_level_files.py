"""The level of a cluster in a node's files: who may read them, from which moment on."""

from __future__ import annotations

import contextlib
from pathlib import Path
from zlib import crc32

import pytest

from raftline.common.address import Address
from raftline.common.build_level import LEVEL
from raftline.common.config import FILE_NAME, Configuration
from raftline.common.process.wakeup import no_pause
from raftline.logmanager import LogManager
from raftline.node.program.startup import Startup
from raftline.raft.effects import Chunk, Effects, HardState
from raftline.raft.log import Snapshot
from raftline.raft.membership import all_vote
from raftline.storage.disk import OF_AN_EARLIER_BUILD, FilesRefused, LevelRefused
from raftline.storage.folder import Folder
from raftline.storage.log_lines import base_line, level_in_base, read_base
from raftline.storage.snapshot_lines import LoadedSnapshot
from raftline.storage.sums import chained
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

IDENTITY = "9f86d081884c7d65"
IDENTIFIES = f"cluster {IDENTITY} level 1"
ADDRESSES = {name: Address("localhost", 10000 + at) for at, name in enumerate(MEMBERS)}
SUM = b"sum %08x " % chained(0, 0, entries(1, 1, "noop", IDENTIFIES, "set a 1"))
PLACES = b"s1=localhost:10000 s2=localhost:10001 s3=localhost:10002\n"
BEGINS = b"cluster 9f86d081884c7d65 level 1 " + SUM + PLACES


def first_line(folder: MemoryFolder, name: str) -> bytes:
    return folder.content(name).splitlines(keepends=True)[0]


def raised(folder: MemoryFolder) -> LogManager:
    """Return the files of a node whose entry 2 has raised the level, written and applied."""
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(1, "s1"))])
    written = entries(1, 1, "noop", IDENTIFIES, "set a 1")
    manager.persist([Effects(level=1, append=written)])
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


def test_files_of_the_floor_name_no_level() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    write(manager, 1, 1, "noop", "set a 1")
    manager.apply(entries(1, 1, "noop", "set a 1"))
    manager.snapshots.publish(write_snapshot(manager.snapshots, manager.freeze()))
    assert not any(b"level" in data or b"cluster" in data for data in folder.contents().values())


def test_storage_names_the_level_before_the_log_does() -> None:
    """If the node dies in between, an older build finds either no such entry, or a refusal to
    start."""
    for step in range(1, 40):
        folder = MemoryFolder()
        manager, _ = boot(folder)
        manager.persist([Effects(save=HardState(1, "s1"))])
        folder.fault = Fault(folder.steps + step, Kind.DIE_AFTER)
        with contextlib.suppress(Died):
            manager.persist([Effects(level=1, append=entries(1, 1, IDENTIFIES))])
        is_over = not folder.is_dead
        left = folder.kill()
        if b" level 1" in left.content("s1.log"):
            assert b" state newborn cluster - level 1 crc32 " in first_line(left, "s1.storage")
        if is_over:
            return
    raise AssertionError("it never ended")


def test_start_keeps_the_level_of_its_log() -> None:
    folder = MemoryFolder()
    raised(folder).close()
    manager, recovered = boot(folder.kill())
    assert (recovered.level, manager.level) == (0, 0)  # where the log begins: nothing is applied
    assert b" cluster - level 1 crc32 " in first_line(folder, "s1.storage")
    manager.apply(entries(1, 1, "noop", IDENTIFIES))
    assert manager.level == 1


def test_start_without_its_log_keeps_the_level_of_its_storage() -> None:
    """Otherwise, an older build could take part below the cluster's level until it has
    caught up."""
    folder = MemoryFolder()
    raised(folder).close()
    left = folder.kill().contents()
    del left["s1.log"]
    folder = MemoryFolder(left)
    for _ in range(2):
        manager, _ = boot(folder)
        manager.close()
        assert b" cluster - level 1 crc32 " in first_line(folder, "s1.storage")


def test_next_start_drops_a_level_that_was_cut_off() -> None:
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
    assert first_line(folder, "s1.log") == b"3 1 base " + BEGINS
    assert first_line(folder, "s1.state_machine") == b"3 1 snapshot " + BEGINS
    manager, recovered = boot(folder.kill())
    assert (recovered.level, manager.level) == (1, 1)
    assert recovered.members == all_vote(MEMBERS)


def test_new_log_begins_at_the_level_of_the_snapshot() -> None:
    folder = MemoryFolder()
    compacted(folder).close()
    left = folder.kill()
    left.remove("s1.log")
    boot(left)[0].close()
    assert first_line(left, "s1.log") == b"3 1 base " + BEGINS
    assert b" cluster - level 1 crc32 " in first_line(left, "s1.storage")


def test_snapshot_that_arrives_brings_its_level_to_all_files() -> None:
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
    assert manager.level == 1
    manager.persist([Effects(level=1, install=snapshot)])
    assert first_line(folder, "s1.log") == b"3 1 base " + BEGINS
    assert b" cluster - level 1 crc32 " in first_line(folder, "s1.storage")
    assert manager.begin_rewrite(snapshot).next_index == 4
    assert first_line(folder, "s1.log.new") == b"3 1 base " + BEGINS


def test_level_is_in_force_when_it_is_applied() -> None:
    manager, _ = boot(MemoryFolder())
    write(manager, 1, 1, "noop", IDENTIFIES)
    assert manager.level == 0
    manager.apply(entries(1, 1, "noop"))
    assert (manager.level, manager.freeze().level) == (0, 0)
    assert manager.apply(entries(2, 1, IDENTIFIES)) == [""]
    assert (manager.level, manager.freeze().level, manager.freeze().cluster) == (1, 1, IDENTITY)
    others = "cluster 0f86d081884c7d65 level 2", "level 2", f"cluster {IDENTITY} level x"
    manager.apply(entries(3, 1, *others))
    assert manager.level == 1


# --- files of another build ------------------------------------------------------------------


def refusal_at_start(folder: MemoryFolder) -> str:
    """Return the refusal of a start, which must leave the files as they are."""
    before = folder.contents()
    with pytest.raises(LevelRefused) as refused:
        boot(folder)
    assert folder.contents().items() >= before.items()
    return str(refused.value)


@pytest.mark.parametrize("identity", [IDENTITY, "-"])
def test_storage_of_a_level_above_the_build_is_refused(identity: str) -> None:
    storage = storage_file(1, state=f"whole cluster {identity} level {LEVEL + 1}")
    folder = MemoryFolder({"s1.log": log_file(b"1 1 noop\n"), "s1.storage": storage})
    assert refusal_at_start(folder) == (
        f"s1.storage: the files of s1 are of level {LEVEL + 1}, and this build of raftline knows "
        f"levels up to {LEVEL}. Start the node with a newer version"
    )


@pytest.mark.parametrize("state", ["whole", "newborn", f"whole cluster - level {LEVEL}"])
def test_log_of_a_level_above_the_build_is_refused(state: str) -> None:
    """It is refused whatever NAME.storage says, which may be from a backup."""
    higher = f"2 1 cluster {IDENTITY} level {LEVEL + 97}\n".encode()
    folder = MemoryFolder(
        {
            "s1.log": log_file(b"1 1 noop\n" + higher + b"3 1 unheard-of a\n"),
            "s1.storage": storage_file(1, state=state),
        }
    )
    assert refusal_at_start(folder) == (
        f"s1.log: entry 2 raises the cluster to level {LEVEL + 97}, and this build of raftline "
        f"knows levels up to {LEVEL}. Start the node with a newer version"
    )


def test_level_above_the_build_that_was_cut_off_does_not_matter() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(1, "s1"))])
    higher = f"cluster {IDENTITY} level {LEVEL + 1}"
    manager.persist([Effects(append=entries(1, 1, "noop", higher))])
    manager.persist([Effects(cut_after=1, append=entries(2, 1, "set b 1"))])
    manager.close()
    assert boot(folder.kill())[1].log.last_index == 2


@pytest.mark.parametrize("name", ["s1.log", "s1.state_machine"])
def test_file_above_the_build_is_not_taken_for_damage(name: str) -> None:
    folder = MemoryFolder()
    compacted(folder).close()
    left = folder.kill()
    left.put(name, left.content(name).replace(b" level 1 ", b" level %d " % (LEVEL + 1), 1))
    with pytest.raises(LevelRefused, match=f"^{name}: it is of level {LEVEL + 1}, and this "):
        boot(left)


# Builds before the first release: their word in place of `cluster IDENTITY level 1`.
EARLIER_WORDS = ["level 3", f"level 4 cluster {IDENTITY}", f"level 5 cluster {IDENTITY}"]


@pytest.mark.parametrize("words", EARLIER_WORDS)
@pytest.mark.parametrize("lease", ["", " lease 500"])
def test_storage_of_an_earlier_build_is_refused(words: str, lease: str) -> None:
    storage = storage_file(1, state=f"whole{lease} {words}")
    folder = MemoryFolder({"s1.log": log_file(b"1 1 noop\n"), "s1.storage": storage})
    refusal = refusal_at_start(folder)
    assert refusal == f"s1.storage: {OF_AN_EARLIER_BUILD}"
    assert "raftline export FILE" in refusal


@pytest.mark.parametrize("words", EARLIER_WORDS)
@pytest.mark.parametrize("name", ["s1.log", "s1.state_machine"])
def test_base_and_snapshot_of_an_earlier_build_are_refused(name: str, words: str) -> None:
    """NAME.storage is from this build, or from a backup that has no level."""
    folder = MemoryFolder()
    compacted(folder).close()
    left = folder.kill()
    earlier = left.content(name).replace(IDENTIFIES.encode(), words.encode(), 1)
    assert earlier != left.content(name)
    left.put(name, earlier)
    assert refusal_at_start(left) == f"{name}: {OF_AN_EARLIER_BUILD}"


@pytest.mark.parametrize("words", EARLIER_WORDS)
@pytest.mark.parametrize("is_lost", [False, True])
def test_log_of_an_earlier_build_is_refused(words: str, is_lost: bool) -> None:
    """Its NAME.storage is lost, or from a backup of the floor."""
    files = {"s1.log": log_file(b"1 1 noop\n2 1 " + words.encode() + b"\n3 1 set a 1\n")}
    if not is_lost:
        files["s1.storage"] = storage_file(1, mark=(3, 1))
    assert refusal_at_start(MemoryFolder(files)) == f"s1.log: {OF_AN_EARLIER_BUILD}"


def test_value_that_looks_like_an_earlier_level_is_not_a_level() -> None:
    lines = b"1 1 set a level 3\n2 1 set b level 4 cluster " + IDENTITY.encode() + b"\n"
    storage = storage_file(1, mark=(2, 1))
    folder = MemoryFolder({"s1.log": log_file(lines), "s1.storage": storage})
    assert boot(folder)[1].log.last_index == 2


# --- form --------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "cluster"), [(0, ""), (1, IDENTITY)])
def test_base_line_round_trips(level: int, cluster: str) -> None:
    for members in (all_vote(MEMBERS), all_vote({})):
        raw = base_line(members, 17, 4, level, cluster)
        assert read_base(raw) == (17, 4, members)
        assert level_in_base(raw) == (level, cluster)
    assert base_line(all_vote(MEMBERS)) == BASE
    assert base_line(all_vote({}), 17, 4, 1, IDENTITY) == f"17 4 base {IDENTIFIES}\n".encode()


def test_node_without_files_is_at_the_floor() -> None:
    manager, recovered = boot(MemoryFolder())
    assert (recovered.level, manager.level) == (0, 0)
    assert LoadedSnapshot(Snapshot(0, 0, 0, 0), all_vote({})).level == 0


def test_storage_names_the_identity_once_it_is_committed() -> None:
    folder = MemoryFolder()
    manager = raised(folder)
    assert b" cluster - level 1 crc32 " in first_line(folder, "s1.storage")
    manager.persist([Effects(cluster=IDENTITY)])
    assert f" cluster {IDENTITY} level 1 crc32 ".encode() in first_line(folder, "s1.storage")


# --- a start with --floor --------------------------------------------------------------------


def test_start_with_floor_refuses_files_of_a_level(tmp_path: Path) -> None:
    """The log shows the level even if NAME.storage does not."""
    manager, _ = boot(Folder(tmp_path))
    manager.persist([Effects(save=HardState(1, "s1"))])
    manager.persist([Effects(level=1, append=entries(1, 1, IDENTIFIES))])
    manager.close()
    startup = Startup("s1", Configuration(tmp_path / FILE_NAME, ADDRESSES), print, floor=True)
    with pytest.raises(FilesRefused) as refused:
        startup.recover()
    assert str(refused.value) == (
        "s1: its files are of level 1: start it without --floor, which is for a cluster that has "
        "begun with it"
    )
    Startup("s1", Configuration(tmp_path / FILE_NAME, ADDRESSES), print).recover()[0].close()


def test_start_without_floor_takes_files_of_the_floor(tmp_path: Path) -> None:
    """The next leader gives the log an identity."""
    manager, _ = boot(Folder(tmp_path))
    manager.persist([Effects(save=HardState(1, "s1"))])
    write(manager, 1, 1, "noop", "set a 1")
    manager.close()
    for floor in (True, False):
        configuration = Configuration(tmp_path / FILE_NAME, ADDRESSES)
        started, recovered = Startup("s1", configuration, print, floor=floor).recover()
        assert (recovered.last_level, recovered.log.last_index) == (0, 2)
        started.close()
