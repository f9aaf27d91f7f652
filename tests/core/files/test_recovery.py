"""Recovery from the files of a node: it trusts them, cuts a torn tail, or refuses clearly."""

from __future__ import annotations

import contextlib
from random import Random
from zlib import crc32

import pytest

from raftline.logmanager import LogManager
from raftline.raft.effects import Effects, HardState
from raftline.raft.log import Entry
from raftline.storage.disk import DamagedFiles, FilesRefused
from raftline_testing.files.faulty_folder import Died, Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import (
    BASE,
    FIRST,
    GOOD,
    SECOND,
    THIRD,
    boot,
    commands,
    found,
    known,
    log_file,
    storage_file,
    vote,
    write,
)

# --- a good log ---------------------------------------------------------------------------


def test_recovery_prints_its_steps_and_the_term_found() -> None:
    _, recovered = boot(found(GOOD, storage_file(5, "s2", (5, 2))))
    assert recovered.notes == ["[*] Recovering logs...", "[*] Current term: 5"]
    assert recovered.hard_state == HardState(5, "s2")
    assert not recovered.recovering


def test_every_entry_of_every_batch_comes_back() -> None:
    _, recovered = boot(found(GOOD, storage_file(2, mark=(5, 2))))
    assert known(recovered) == [
        Entry(1, 1, "noop"),
        Entry(2, 1, "set a 4"),
        Entry(3, 1, "set b 30"),
        Entry(4, 2, "delete b"),
        Entry(5, 2, "set c 1"),
    ]


def test_members_come_from_the_base_line_not_the_configuration() -> None:
    """If the base line and the configuration disagree, the base line's members count."""
    base = b"0 0 base s1=10.0.0.1:7000 s9=[::1]:7001\n"
    _, recovered = boot(found(base, storage_file(0)))
    assert recovered.members.addresses == {"s1": "10.0.0.1:7000", "s9": "[::1]:7001"}


def test_a_recovered_log_continues_after_its_last_checksum() -> None:
    folder = found(GOOD, storage_file(2, mark=(5, 2)))
    manager, _ = boot(folder)
    write(manager, 6, 2, "set d 8")
    assert folder.content("s1.log") == log_file(FIRST, SECOND, THIRD, b"6 2 set d 8\n")


def test_a_batch_of_many_terms_comes_back() -> None:
    lines = [b"%d %d set k%d v\n" % (index, index // 3 + 1, index) for index in range(1, 200)]
    folder = found(log_file(b"".join(lines)), storage_file(99, mark=(199, 67)))
    _, recovered = boot(folder)
    assert recovered.log.last_index == 199
    assert [recovered.log.term_at(index) for index in (1, 2, 3, 199)] == [1, 1, 2, 67]


# --- amnesia ------------------------------------------------------------------------------


def test_log_shorter_than_what_was_synced_costs_the_vote() -> None:
    """A node whose log ends before the last synced entry loses its vote."""
    folder = found(log_file(FIRST, SECOND), storage_file(2, "s1", mark=(17, 2)))
    manager, recovered = boot(folder)
    assert recovered.recovering
    assert recovered.log.last_index == 3
    assert recovered.hard_state == HardState(2, "s1")
    assert recovered.notes[1] == (
        "[!] s1.log ends at entry 3, but entry 17 was synced before: this node rejoins without a "
        "vote until it has caught up"
    )
    manager.close()
    assert folder.content("s1.storage") == storage_file(2, "s1", (3, 1), "amnesiac")


@pytest.mark.parametrize("log", [None, b""])
def test_a_missing_or_empty_log_leaves_the_node_without_a_vote(log: bytes | None) -> None:
    folder = MemoryFolder({"s1.storage": storage_file(3, "s2", mark=(9, 3))})
    if log is not None:
        folder.put("s1.log", log)
    _, recovered = boot(folder)
    assert recovered.recovering
    assert recovered.log.last_index == 0
    assert recovered.hard_state == HardState(3, "s2")
    assert "ends at entry 0, but entry 9 was synced" in recovered.notes[1]


def test_a_missing_log_counts_as_lost_even_under_an_empty_mark() -> None:
    # The mark is not synced, so a power cut may have taken it back; the term is.
    folder = MemoryFolder({"s1.storage": storage_file(3)})
    _, recovered = boot(folder)
    assert recovered.recovering
    assert recovered.notes[1].startswith("[!] s1.log is gone, and its entries are unknown: ")


def test_a_node_that_never_had_a_term_has_lost_nothing() -> None:
    _, recovered = boot(MemoryFolder({"s1.storage": storage_file(0)}))
    assert not recovered.recovering


def test_a_vote_of_a_term_before_the_last_entrys_does_not_count() -> None:
    storage = storage_file(1, "s2", mark=(3, 1), state="amnesiac")  # of before the last entries
    _, recovered = boot(found(GOOD, storage))
    assert recovered.recovering
    assert recovered.hard_state == HardState(2, None)


def test_another_entry_at_the_marks_index_is_a_loss_too() -> None:
    _, recovered = boot(found(GOOD, storage_file(7, mark=(4, 3))))
    assert recovered.recovering
    assert "s1.log lacks entry 4 of term 3" in recovered.notes[1]


def test_void_entries_still_satisfy_the_mark() -> None:
    log = log_file(b"1 1 a\n2 1 b\n3 1 c\n", b"# cut after 1\n2 2 d\n")
    _, recovered = boot(found(log, storage_file(2, mark=(3, 1))))
    assert not recovered.recovering
    assert [entry.command for entry in known(recovered)] == ["a", "d"]


# --- void lines ---------------------------------------------------------------------------


def test_a_rewrite_at_boot_drops_void_lines() -> None:
    log = log_file(b"1 1 a\n2 1 b\n3 1 c\n", b"# cut after 1\n2 2 d\n")
    folder = found(log, storage_file(2, mark=(2, 2)))
    manager, _ = boot(folder)
    assert folder.content("s1.log") == log_file(b"1 1 a\n2 2 d\n")
    write(manager, 3, 2, "e")
    manager.close()
    assert folder.content("s1.log") == log_file(b"1 1 a\n2 2 d\n", b"3 2 e\n")
    assert commands(folder) == ["a", "d", "e"]


def test_a_log_cut_to_nothing_continues_from_its_base_line() -> None:
    folder = found(log_file(b"1 1 a\n", b"# cut after 0\n"), storage_file(2, mark=(0, 0)))
    manager, recovered = boot(folder)
    assert known(recovered) == []
    assert folder.content("s1.log") == BASE
    write(manager, 1, 2, "b")
    manager.close()
    assert commands(folder) == ["b"]


def test_a_long_log_is_rewritten_in_pieces() -> None:
    lines = b"".join(b"%d 1 set k%d v\n" % (index, index) for index in range(1, 1001))
    folder = found(log_file(lines, b"# cut after 999\n"), storage_file(1, mark=(999, 1)))
    _, recovered = boot(folder)
    written = folder.content("s1.log")
    assert recovered.log.last_index == 999
    assert written.count(b"\n") == 1 + 999 + written.count(b"#")
    assert written.count(b"#") > 10


# --- birth, strays, missing files ---------------------------------------------------------


def test_log_without_term_and_vote_costs_the_vote() -> None:
    """A node that has a log but no term and vote loses its vote."""
    for log, term in ((GOOD, 2), (GOOD[:-4], 1), (log_file(FIRST)[:-8], 0)):
        folder = MemoryFolder({"s1.log": log})
        for _ in range(2):  # which outlives a restart
            manager, recovered = boot(folder)
            manager.close()
            assert recovered.recovering
            assert recovered.hard_state == HardState(term, None)
        folder = MemoryFolder({"s1.log": log})
        assert (
            "[!] s1.storage is gone: this node rejoins without a vote until it has caught up"
        ) in boot(folder)[1].notes


def test_trace_tells_a_loss_from_a_birth() -> None:
    """If the log and the storage are gone, the trace shows that the node ran before."""
    folder = MemoryFolder()
    manager, recovered = boot(folder)
    manager.close()
    assert recovered.newborn
    assert b"s1 was born here" in folder.content(".s1.born")
    folder = MemoryFolder({".s1.born": folder.content(".s1.born")})
    manager, recovered = boot(folder)
    manager.close()
    assert recovered.recovering
    assert not recovered.newborn
    assert recovered.notes[1].startswith("[!] s1.storage and s1.log are gone: this node rejoins")
    assert boot(folder)[1].recovering
    assert boot(MemoryFolder())[1].newborn


def test_a_death_at_any_step_of_noting_the_loss_does_not_hide_it() -> None:
    lost: list[dict[str, bytes]] = [
        {"s1.log": GOOD}, {"s1.log": GOOD, "s1.storage": b"rot"}, {".s1.born": b"x"},
        {"s1.storage": b"rot"}, {"s1.storage": b"rot", "s1.log": BASE},
    ]  # fmt: skip
    for files in lost:
        for step in range(1, 30):
            folder = MemoryFolder(files)
            folder.fault = Fault(step, Kind.DIE_BEFORE)
            with contextlib.suppress(Died):
                boot(folder)
            assert boot(folder.crash(Random(step)))[1].recovering, (files, step)


def test_a_snapshot_alone_tells_a_loss_from_a_birth() -> None:
    data = b"2 1 snapshot s1=h:1\nsessions 0\nleases 0\nkeys 1\n9 a 4\n"
    data += b"# end: 0 sessions, 0 leases, 1 key, crc32 %08x\n" % crc32(data)
    _, recovered = boot(MemoryFolder({"s1.state_machine": data}))
    assert (recovered.recovering, recovered.newborn) == (True, False)


def test_node_stays_newborn_until_it_votes_or_forgets() -> None:
    """Restarts do not change that."""
    folder = MemoryFolder()
    for _ in range(2):
        manager, recovered = boot(folder)
        assert recovered.newborn
        manager.persist([Effects(save=HardState(3, None))])
        manager.close()
    manager, recovered = boot(folder)
    assert recovered.newborn
    manager.persist([Effects(save=HardState(3, "s2"), recovered=True)])
    manager.close()
    manager, recovered = boot(folder)
    assert not recovered.newborn
    assert not recovered.recovering
    manager.persist([Effects(forgot=True)])
    manager.close()
    assert boot(folder)[1].recovering


def test_each_node_without_files_is_newborn() -> None:
    """The only member of its configuration, a joiner, a server that no file names."""
    alone = {"s1": "localhost:10000"}
    for members in (alone, {}, {"s2": "localhost:10001", "s3": "h:1"}):
        recovered = LogManager("s1", MemoryFolder(), members).recover()
        assert recovered.newborn
        assert not recovered.recovering


def test_a_birth_that_was_interrupted_is_finished() -> None:
    folder = MemoryFolder({"s1.log": BASE})
    _, recovered = boot(folder)
    assert not recovered.recovering
    assert folder.content("s1.storage") == storage_file(0, state="newborn")


def test_a_stray_tmp_file_is_ignored_and_removed() -> None:
    folder = found(GOOD, storage_file(2, mark=(5, 2)))
    folder.put("s1.log.tmp", b"half of")
    folder.put("s1.storage.tmp", b"name s9")
    assert len(commands(folder)) == 5
    assert set(folder.contents()) == {"s1.log", "s1.storage", ".s1.born"}


def test_cut_entries_never_return_at_a_later_boot() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, None)
    write(manager, 1, 1, "a", "b", "c")
    vote(manager, 2, None)
    manager.persist([Effects(cut_after=1, append=[Entry(2, 2, "d")])])
    manager.close()
    for _ in range(3):
        assert commands(folder) == ["a", "d"]


def test_log_without_a_base_line_is_damaged() -> None:
    """Once the node has started, a log without a base line counts as damaged."""
    with pytest.raises(DamagedFiles):
        boot(found(b"0 0 bass\n", storage_file(0)))


@pytest.mark.parametrize(
    "first", [b"/srv/server-configuration.txt", b"[*] s1 listens on port 10000"]
)
def test_console_in_place_of_the_log_is_named(first: bytes) -> None:
    """The console was redirected to `s1.log` in the node's folder before the node began."""
    with pytest.raises(FilesRefused, match="redirect it to another file"):
        boot(MemoryFolder({"s1.log": first + b"\n[*] s1 is a follower\n"}))
