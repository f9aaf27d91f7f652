"""The identity of a cluster in a node's files, and the files of other builds."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest

from raftline.common.address import Address
from raftline.common.config import FILE_NAME, Configuration
from raftline.common.process.wakeup import no_pause
from raftline.logmanager import LogManager
from raftline.node.program.startup import Startup
from raftline.raft.effects import Chunk, Effects, HardState
from raftline.raft.log import Snapshot
from raftline.raft.membership import all_vote
from raftline.storage.disk import OF_AN_EARLIER_BUILD, BuildRefused, FilesRefused
from raftline.storage.folder import Folder
from raftline.storage.log_lines import base_line, cluster_in_base, read_base
from raftline.storage.sums import chained
from raftline_testing.files.faulty_folder import MemoryFolder
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
KNOWN = f" cluster {IDENTITY} level 1 crc32 ".encode()  # in NAME.storage
ADDRESSES = {name: Address("localhost", 10000 + at) for at, name in enumerate(MEMBERS)}
SUM = b"sum %08x " % chained(0, 0, entries(1, 1, "noop", IDENTIFIES, "set a 1"))
PLACES = b"s1=localhost:10000 s2=localhost:10001 s3=localhost:10002\n"
BEGINS = IDENTIFIES.encode() + b" " + SUM + PLACES


def first_line(folder: MemoryFolder, name: str) -> bytes:
    return folder.content(name).splitlines(keepends=True)[0]


def begun(folder: MemoryFolder) -> LogManager:
    """Return the files of a node whose entry 2 gives its log an identity, written and applied."""
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(1, "s1"))])
    written = entries(1, 1, "noop", IDENTIFIES, "set a 1")
    manager.persist([Effects(append=written)])
    manager.apply(written)
    return manager


def compacted(folder: MemoryFolder) -> LogManager:
    """Return the files of that node after a snapshot."""
    manager = begun(folder)
    assert manager.snapshots.publish(write_snapshot(manager.snapshots, manager.freeze()))
    current = manager.snapshots.current
    assert current is not None
    manager.finish_rewrite(manager.begin_rewrite(current), [])
    return manager


def test_files_of_the_floor_name_no_identity() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    write(manager, 1, 1, "noop", "set a 1")
    manager.apply(entries(1, 1, "noop", "set a 1"))
    manager.snapshots.publish(write_snapshot(manager.snapshots, manager.freeze()))
    assert not any(b"level" in data or b"cluster" in data for data in folder.contents().values())


def test_storage_names_the_identity_once_it_is_committed() -> None:
    folder = MemoryFolder()
    manager = begun(folder)
    assert b" cluster " not in first_line(folder, "s1.storage")
    for _ in range(2):
        manager.persist([Effects(cluster=IDENTITY)])
        assert KNOWN in first_line(folder, "s1.storage")
        manager.persist([Effects(save=HardState(2, None))])


def test_start_finds_the_identity_in_its_log() -> None:
    folder = MemoryFolder()
    begun(folder).close()
    manager, recovered = boot(folder.kill())
    assert (recovered.base_cluster, recovered.last_cluster) == ("", IDENTITY)
    assert manager.store.is_at_floor  # nothing is applied
    manager.apply(entries(1, 1, "noop", IDENTIFIES))
    assert not manager.store.is_at_floor


def test_start_without_its_log_keeps_the_identity_of_its_storage() -> None:
    """Otherwise, it could catch up from a leader of another cluster."""
    folder = MemoryFolder()
    manager = begun(folder)
    manager.persist([Effects(cluster=IDENTITY)])
    manager.close()
    left = folder.kill().contents()
    del left["s1.log"]
    folder = MemoryFolder(left)
    for _ in range(2):
        manager, recovered = boot(folder)
        manager.close()
        assert (recovered.cluster, recovered.last_cluster) == (IDENTITY, "")
        assert KNOWN in first_line(folder, "s1.storage")


def test_identity_that_was_cut_off_is_gone_at_the_next_start() -> None:
    folder = MemoryFolder()
    manager = begun(folder)
    manager.persist([Effects(cut_after=1, append=entries(2, 1, "set b 1"))])
    manager.close()
    left = folder.kill()
    manager, recovered = boot(left)
    manager.close()
    assert (recovered.cluster, recovered.last_cluster) == ("", "")
    assert b" cluster " not in first_line(left, "s1.storage")


def test_base_line_and_snapshot_carry_the_identity() -> None:
    folder = MemoryFolder()
    compacted(folder).close()
    assert first_line(folder, "s1.log") == b"3 1 base " + BEGINS
    assert first_line(folder, "s1.state_machine") == b"3 1 snapshot " + BEGINS
    manager, recovered = boot(folder.kill())
    assert recovered.base_cluster == recovered.last_cluster == recovered.cluster == IDENTITY
    assert not manager.store.is_at_floor
    assert recovered.members == all_vote(MEMBERS)


def test_new_log_begins_with_the_identity_of_the_snapshot() -> None:
    folder = MemoryFolder()
    compacted(folder).close()
    left = folder.kill()
    left.remove("s1.log")
    manager, recovered = boot(left)
    manager.close()
    assert first_line(left, "s1.log") == b"3 1 base " + BEGINS
    assert recovered.cluster == IDENTITY


def test_snapshot_that_arrives_brings_its_identity_to_all_files() -> None:
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
    assert not manager.store.is_at_floor
    manager.persist([Effects(cluster=IDENTITY, install=snapshot)])
    assert first_line(folder, "s1.log") == b"3 1 base " + BEGINS
    assert KNOWN in first_line(folder, "s1.storage")
    assert manager.begin_rewrite(snapshot).next_index == 4
    assert first_line(folder, "s1.log.new") == b"3 1 base " + BEGINS


def test_identity_is_in_force_when_it_is_applied() -> None:
    manager, _ = boot(MemoryFolder())
    write(manager, 1, 1, "noop", IDENTIFIES)
    assert manager.store.is_at_floor
    assert manager.apply(entries(1, 1, "noop")) == [""]
    assert (manager.store.is_at_floor, manager.freeze().cluster) == (True, "")
    assert manager.apply(entries(2, 1, IDENTIFIES)) == [""]
    assert (manager.store.is_at_floor, manager.freeze().cluster) == (False, IDENTITY)


def test_entry_of_another_form_or_cluster_changes_nothing() -> None:
    part = "redis=0123456789ab"
    others = (
        f"level 1 with {part}",
        f"cluster {IDENTITY} level 2 with {part}",
        f"cluster {IDENTITY}",
    )
    manager, _ = boot(MemoryFolder())
    manager.apply(entries(1, 1, *others))
    assert (manager.store.is_at_floor, manager.freeze().cluster) == (True, "")
    manager.apply(
        entries(4, 1, IDENTIFIES, *others, f"cluster 0f86d081884c7d65 level 1 with {part}")
    )
    assert (manager.freeze().cluster, manager.freeze().needs) == (IDENTITY, "")


# --- files of another build ------------------------------------------------------------------


def refusal_at_start(folder: MemoryFolder, kind: type[FilesRefused] = BuildRefused) -> str:
    """Return the refusal of a start, which must leave the files as they are."""
    before = folder.contents()
    with pytest.raises(kind) as refused:
        boot(folder)
    assert folder.contents().items() >= before.items()
    return str(refused.value)


@pytest.mark.parametrize("words", [f"cluster {IDENTITY} level 2", "cluster - level 1"])
def test_storage_of_another_format_is_refused(words: str) -> None:
    storage = storage_file(1, state=f"whole {words}")
    folder = MemoryFolder({"s1.log": log_file(b"1 1 noop\n"), "s1.storage": storage})
    assert refusal_at_start(folder, FilesRefused) == (
        "s1.storage is not understood: line 1; was it written by a newer version? Start the node "
        "with that version"
    )


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
    """NAME.storage is from this build, or from a backup of the floor."""
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


def test_value_like_a_word_of_an_earlier_build_is_taken() -> None:
    lines = b"1 1 set a level 3\n2 1 set b level 4 cluster " + IDENTITY.encode() + b"\n"
    storage = storage_file(1, mark=(2, 1))
    folder = MemoryFolder({"s1.log": log_file(lines), "s1.storage": storage})
    assert boot(folder)[1].log.last_index == 2


# --- form --------------------------------------------------------------------------------


@pytest.mark.parametrize("cluster", ["", IDENTITY])
def test_base_line_round_trips(cluster: str) -> None:
    for members in (all_vote(MEMBERS), all_vote({})):
        raw = base_line(members, 17, 4, cluster)
        assert read_base(raw) == (17, 4, members)
        assert cluster_in_base(raw) == cluster
    assert base_line(all_vote(MEMBERS)) == BASE
    assert base_line(all_vote({}), 17, 4, IDENTITY) == f"17 4 base {IDENTIFIES}\n".encode()


def test_node_without_files_is_at_the_floor() -> None:
    manager, recovered = boot(MemoryFolder())
    assert (recovered.cluster, recovered.last_cluster) == ("", "")
    assert manager.store.is_at_floor


# --- a start with --floor --------------------------------------------------------------------


def test_start_with_floor_refuses_files_with_an_identity(tmp_path: Path) -> None:
    """The log shows the identity even if NAME.storage does not."""
    manager, _ = boot(Folder(tmp_path))
    manager.persist([Effects(save=HardState(1, "s1"))])
    manager.persist([Effects(append=entries(1, 1, IDENTIFIES))])
    manager.close()
    startup = Startup("s1", Configuration(tmp_path / FILE_NAME, ADDRESSES), print, floor=True)
    with pytest.raises(FilesRefused) as refused:
        startup.recover()
    assert str(refused.value) == (
        f"s1: its log has an identity, {IDENTITY}: start it without --floor, which is for a "
        "cluster that has begun with it"
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
        assert (recovered.last_cluster, recovered.log.last_index) == ("", 2)
        started.close()
