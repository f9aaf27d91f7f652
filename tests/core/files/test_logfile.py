"""The bytes of NAME.log after a node has written."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.common.text import VERY_LONG
from raftline.logmanager import LogManager
from raftline.raft.effects import Effects, HardState
from raftline.raft.log import Entry, SafetyError
from raftline.storage.disk import DiskFailed
from raftline.storage.folder import Folder
from raftline_testing.files.faulty_folder import Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import (
    BASE,
    MEMBERS,
    boot,
    entries,
    found,
    known,
    storage_file,
    vote,
    write,
)
from raftline_testing.runner.at_night import at_night

STORABLE = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=200)


def test_a_log_reads_as_the_documented_example() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, "s1")
    assert write(manager, 1, 1, "noop", "set a 4", "client7#12@set b 30") == (3, 1)
    assert write(manager, 4, 1, "delete b") == (4, 1)
    assert folder.content("s1.log").decode() == (
        "0 0 base s1=localhost:10000 s2=localhost:10001 s3=localhost:10002\n"
        "1 1 noop\n"
        "2 1 set a 4\n"
        "3 1 client7#12@set b 30\n"
        "# 3 entries synced, crc32 1ff08c67\n"
        "4 1 delete b\n"
        "# 1 entry synced, crc32 746eac25\n"
    )


def test_a_new_log_is_its_base_line_alone() -> None:
    folder = MemoryFolder()
    manager, recovered = boot(folder)
    assert folder.content("s1.log") == BASE
    assert recovered.members.addresses == MEMBERS
    manager.close()
    assert known(boot(folder)[1]) == []


def test_many_effects_are_one_write_and_one_sync() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, "s1")
    before = folder.steps
    manager.persist([Effects(append=entries(i, 1, f"set a {i}")) for i in range(1, 51)])
    assert folder.steps - before == 3  # the batch, its sync, the mark
    assert folder.content("s1.log").count(b"# 50 entries synced") == 1


def test_conflicting_tail_is_voided_by_its_replacing_batch() -> None:
    """The batch that replaces a conflicting tail also voids it."""
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, None)
    write(manager, 1, 1, "set a 1", "set a 2", "set a 3")
    vote(manager, 2, None)
    size = len(folder.content("s1.log"))
    assert manager.persist([Effects(cut_after=1, append=entries(2, 2, "set b 2"))]) == (2, 2)
    added = folder.content("s1.log")[size:].decode().splitlines()
    assert added[:2] == ["# cut after 1", "2 2 set b 2"]
    assert added[2].startswith("# 1 entry synced, crc32 ")
    manager.close()
    assert known(boot(folder)[1]) == [Entry(1, 1, "set a 1"), Entry(2, 2, "set b 2")]


@pytest.mark.parametrize(("first", "count"), [(0, 25), *at_night((25, 2000))])
def test_log_is_that_of_a_list_after_any_batches(first: int, count: int) -> None:
    """A batch cuts and appends in any order, also its own entries; one that is torn is dropped."""
    for seed in range(first, first + count):
        chance, folder, model = random.Random(seed), MemoryFolder(), list[Entry]()
        manager, _ = boot(folder)
        vote(manager, 9, None)
        for _ in range(chance.randint(1, 8)):
            before, model = model, [*model]
            works = [drawn(chance, model) for _ in range(chance.randint(1, 3))]
            size = len(folder.content("s1.log"))
            last = (model[-1].index, model[-1].term) if model else (0, 0)
            done = manager.persist(works)
            assert done == (last if len(folder.content("s1.log")) > size else None), seed
            assert done or model == before
            content = folder.content("s1.log")
            for end in {chance.randrange(size, len(content)) for _ in range(3 * bool(done))}:
                torn = found(content[:end], storage_file(9))
                assert known(boot(torn)[1]) == before, (seed, content[:end])
            whole = boot(found(content, storage_file(9, mark=last)))[1]
            assert known(whole) == model, seed


def drawn(chance: random.Random, log: list[Entry]) -> Effects:
    """Cut and append by chance, also in this list; return the effects that do it."""
    last, cut = len(log), None
    if last and chance.random() < 0.4:
        cut = chance.randint(0, last - 1)
        del log[cut:]
    term = chance.randint(log[-1].term if log else 1, 9)
    added = entries(
        len(log) + 1, term, *chance.choices(["a", "b c", "# 1"], k=chance.randint(0, 3))
    )
    log += added
    return Effects(cut_after=cut, append=added)


def test_disk_tasks_without_entries_leave_the_log_alone() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    assert manager.persist([Effects(save=HardState(4, "s2")), Effects()]) is None
    assert folder.content("s1.log") == BASE


@pytest.mark.parametrize(
    ("index", "term", "command", "complaint"),
    [
        (3, 1, "set a 1", "entry 3"),
        (1, 1, "set a 1", "entry 1"),
        (2, 1, "set a 1\n3 1 set b 2", "control character"),
        (2, 1, "set a \ud800", "control character"),
        (2, 1, "set a \x85", "control character"),
        (2, 1, f"set a {'1' * VERY_LONG}\n3 1 set b 2", "control character"),
    ],
)
def test_a_line_that_would_break_the_log_is_never_written(
    index: int, term: int, command: str, complaint: str
) -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, None)
    write(manager, 1, 1, "noop")
    before = folder.content("s1.log")
    with pytest.raises(SafetyError, match=complaint):
        write(manager, index, term, command)
    assert folder.content("s1.log") == before


def test_a_term_never_falls_along_the_log() -> None:
    manager, _ = boot(MemoryFolder())
    vote(manager, 5, None)
    write(manager, 1, 5, "noop")
    with pytest.raises(SafetyError, match="term 4"):
        write(manager, 2, 4, "set a 1")


@given(st.lists(STORABLE, min_size=1, max_size=8))
def test_any_text_of_one_line_is_read_back_unchanged(commands: list[str]) -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, None)
    for index, command in enumerate(commands, start=1):
        write(manager, index, 1, command)
    manager.close()
    assert [entry.command for entry in known(boot(folder)[1])] == commands


@pytest.mark.parametrize(
    "command",
    [
        "set a b@c-d set 5 1 x", "set k  two  spaces ", "set k ", "c#1@set a # 1 entry synced",
        "set grüße 日本語 🎈", r"set a\sb \n\x00\xff", "noop", "",
    ],
)  # fmt: skip
def test_values_that_look_like_headers_are_read_back(command: str) -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, None)
    write(manager, 1, 1, command, "noop")
    manager.close()
    assert known(boot(folder)[1]) == [Entry(1, 1, command), Entry(2, 1, "noop")]


@pytest.mark.parametrize("kind", [Kind.EIO, Kind.ENOSPC])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_after_one_failed_write_or_sync_nothing_is_written_again(kind: Kind, step: int) -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, None)
    write(manager, 1, 1, "noop")
    folder.fault = Fault(folder.steps + step, kind)
    with pytest.raises(DiskFailed, match=r"the node stops"):
        write(manager, 2, 1, "set a 1")
    steps, content = folder.steps, folder.contents()
    for _ in range(2):
        with pytest.raises(DiskFailed):
            write(manager, 2, 1, "set a 1")
    assert (folder.steps, folder.contents()) == (steps, content)


def test_an_append_file_never_syncs_again_after_a_failed_sync(
    tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    folder.replace("s1.log", [BASE])
    file = folder.open_append("s1.log")
    syncs = []

    def fail(descriptor: int) -> None:
        syncs.append(descriptor)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    file.append(b"1 1 noop\n")
    with pytest.raises(DiskFailed, match="Input/output error"):
        file.sync()
    with pytest.raises(DiskFailed, match="an earlier write or sync failed"):
        file.sync()
    with pytest.raises(DiskFailed):
        file.append(b"2 1 noop\n")
    with pytest.raises(DiskFailed):
        file.truncate(0)
    assert len(syncs) == 1
    file.close()


def test_unrecovered_node_persists_nothing() -> None:
    """A node that has not recovered its files writes nothing."""
    with pytest.raises(DiskFailed, match="s1"):
        write(LogManager("s1", MemoryFolder(), MEMBERS), 1, 1, "noop")
