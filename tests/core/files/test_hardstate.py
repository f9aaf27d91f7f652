"""Term, vote, and the mark of what was synced: kept, never back, and refused when damaged."""

from __future__ import annotations

from random import Random

import pytest

from raftline.raft.effects import Effects, HardState
from raftline.raft.log import Entry
from raftline.storage import hard_state
from raftline.storage.disk import FilesRefused
from raftline.storage.hard_state import HardStateFile, LogState, Mark, Promise
from raftline_testing.files.faulty_folder import Died, Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import (
    BASE,
    boot,
    entries,
    log_file,
    storage_file,
    vote,
    write,
)


def test_the_file_is_two_readable_lines() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 5, "s2")
    manager.persist([Effects(append=entries(1, 5, "noop", "set a 1"), recovered=True)])
    assert folder.content("s1.storage") == storage_file(5, "s2", mark=(2, 5))
    lines = folder.content("s1.storage").decode().splitlines()
    assert lines[0].startswith("name s1 term 5 vote s2 state whole crc32 ")
    assert lines[1].startswith("synced entry 0000000000000000002 term 0000000000000000005 crc32 ")


@pytest.mark.pure
def test_the_modules_example_is_a_file_that_it_reads() -> None:
    lines = [line.strip() for line in (hard_state.__doc__ or "").splitlines()]
    data = "".join(f"{line}\n" for line in lines if line.startswith(("name s1 ", "synced entry ")))
    assert data.encode() == storage_file(5, "s2", mark=(17, 5))


def test_the_longest_file_fits_a_sector() -> None:
    folder = MemoryFolder()
    name = "s" * 64
    most = 2**63 - 1
    HardStateFile(folder, name).save(
        Promise(most, "t" * 64, LogState.QUARANTINED, Mark(most, most), most, "9" * 16, most, most)
    )
    assert len(folder.content(f"{name}.storage")) <= 512


def test_term_and_vote_survive_a_restart() -> None:
    folder = MemoryFolder()
    manager, recovered = boot(folder)
    assert recovered.hard_state == HardState(0, None)
    vote(manager, 7, "s3")
    manager.close()
    assert boot(folder)[1].hard_state == HardState(7, "s3")


def test_promised_lease_follows_the_state_and_survives_restart() -> None:
    """A promised lease is stored after the state, and survives a restart."""
    folder = MemoryFolder()
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(5, "s2", 500), recovered=True)])
    first = folder.content("s1.storage").decode().splitlines()[0]
    assert first.startswith("name s1 term 5 vote s2 state whole lease 500 crc32 ")
    manager.close()
    manager, recovered = boot(folder)
    assert recovered.hard_state == HardState(5, "s2", 500)
    manager.persist([Effects(forgot=True)])  # without a save of its own
    assert " state amnesiac lease 500 crc32 " in folder.content("s1.storage").decode()
    manager.persist([Effects(save=HardState(6, None))])
    assert " lease " not in folder.content("s1.storage").decode()


def test_the_term_is_not_that_of_the_last_entry() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, "s1")
    write(manager, 1, 1, "noop")
    vote(manager, 9, None)
    manager.close()
    _, recovered = boot(folder)
    assert recovered.hard_state == HardState(9, None)
    assert recovered.notes[-1] == "[*] Current term: 9"


def test_of_several_saves_the_last_one_stands() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    works = [Effects(save=HardState(2, None)), Effects(), Effects(save=HardState(3, "s2"))]
    manager.persist(works)
    manager.close()
    assert boot(folder)[1].hard_state == HardState(3, "s2")


def test_term_and_vote_are_durable_before_their_entries() -> None:
    """The term and vote are durable before the entries of the same batch are written."""
    folder = MemoryFolder()
    manager, _ = boot(folder)
    steps = folder.steps
    manager.persist([Effects(save=HardState(1, "s1"), append=[Entry(1, 1, "noop")])])
    whole = folder.steps - steps
    terms = []
    for step in range(1, whole + 1):
        folder = MemoryFolder()
        manager, _ = boot(folder)
        folder.fault = Fault(folder.steps + step, Kind.DIE_BEFORE)
        with pytest.raises(Died):
            manager.persist([Effects(save=HardState(1, "s1"), append=[Entry(1, 1, "noop")])])
        log_has_grown = folder.content("s1.log") != BASE
        terms.append((log_has_grown, boot(folder.crash(Random(step)))[1].hard_state.term))
    assert (True, 0) not in terms
    assert terms[-1] == (True, 1)


def test_the_file_of_another_node_is_refused() -> None:
    folder = MemoryFolder({"s1.storage": storage_file(1, name="s2"), "s1.log": BASE})
    with pytest.raises(FilesRefused, match=r"s1\.storage belongs to node 's2', not to s1"):
        boot(folder)


def test_any_flipped_bit_is_reported_and_costs_the_vote() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 5, "s2")
    write(manager, 1, 5, "noop")
    manager.close()
    files = folder.contents()
    good = files["s1.storage"]
    for byte in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[byte] ^= 1 << bit
            folder = MemoryFolder(files | {"s1.storage": bytes(bad)})
            manager, recovered = boot(folder)
            manager.close()
            assert recovered.recovering
            assert recovered.hard_state == HardState(5, None)
            assert recovered.notes[1].startswith("[*] s1.storage is kept as ")
            assert recovered.notes[2].startswith("[!] s1.storage is damaged, since ")
            assert folder.content("s1.storage.damaged-1") == bytes(bad)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "two lines"),
        (b"\0" * 120, "two lines"),
        (storage_file(5)[:-1], "two lines"),
        (storage_file(5) + b"more\n", "two lines"),
        (storage_file(5).replace(b"\n", b"\r\n"), "CRC-32"),
        (storage_file(5).replace(b"term 5", b"term 4"), "CRC-32"),
        (storage_file(2**63), "beyond"),
    ],
)
def test_a_damaged_file_is_kept_aside_and_its_node_has_no_vote(data: bytes, complaint: str) -> None:
    folder = MemoryFolder({"s1.storage": data, "s1.log": BASE})
    _, recovered = boot(folder)
    assert recovered.recovering
    assert recovered.hard_state == HardState(0, None)
    assert recovered.notes[1] == "[*] s1.storage is kept as s1.storage.damaged-1"
    assert complaint in recovered.notes[2]
    assert "rejoins without a vote until it has caught up" in recovered.notes[2]
    assert folder.content("s1.storage.damaged-1") == data
    assert folder.content("s1.storage") == storage_file(0, state="amnesiac")


@pytest.mark.parametrize(
    "data",
    [storage_file(5, state="sleepy"), storage_file(5).splitlines(keepends=True)[1] * 2],
)
def test_a_file_of_a_newer_version_is_refused_and_left_alone(data: bytes) -> None:
    folder = MemoryFolder({"s1.storage": data, "s1.log": BASE})
    with pytest.raises(FilesRefused, match="newer version"):
        boot(folder)
    assert folder.contents() == {"s1.storage": data, "s1.log": BASE}


def test_a_term_below_the_last_entrys_is_refused() -> None:
    files = {"s1.log": log_file(b"1 6 noop\n"), "s1.storage": storage_file(5, mark=(1, 6))}
    with pytest.raises(FilesRefused) as refused:
        boot(MemoryFolder(files))
    assert str(refused.value) == (
        "s1.storage says term 5, but s1.log has an entry of term 6. One of the two is from another "
        "time or node: the node catches up from the others, without a vote until then. s1 does not "
        "start before its files are repaired: raftline fsck --repair s1"
    )


def test_the_mark_follows_every_sync_without_another_sync() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, None)
    for index in range(1, 12):
        write(manager, index, 1, "set a 1")
        assert folder.content("s1.storage") == storage_file(1, mark=(index, 1), state="newborn")


def test_a_save_keeps_the_latest_mark() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    write(manager, 1, 1, "noop", "set a 1")
    vote(manager, 2, "s2")
    assert folder.content("s1.storage") == storage_file(2, "s2", mark=(2, 1), state="newborn")


def test_a_node_stays_recovering_until_the_core_regains_its_vote() -> None:
    files = {"s1.storage": storage_file(4, "s2", mark=(17, 4))}
    folder = MemoryFolder(files)
    manager, recovered = boot(folder)
    assert recovered.recovering
    assert recovered.hard_state == HardState(4, "s2")
    write(manager, 1, 1, "set a 1")
    manager.close()
    manager, recovered = boot(folder)
    assert recovered.recovering
    assert any("without a vote" in note for note in recovered.notes)
    manager.persist([Effects(recovered=True)])
    manager.close()
    _, recovered = boot(folder)
    assert not recovered.recovering
    assert recovered.hard_state == HardState(4, "s2")


def test_recovery_is_recorded_only_after_its_entries() -> None:
    """The log is marked as complete only after its entries are written."""
    folder = MemoryFolder({"s1.storage": storage_file(4, mark=(2, 4))})
    manager, _ = boot(folder)
    states = []
    real = folder.replace

    def watch(name: str, chunks: object) -> None:
        states.append(folder.content("s1.log").count(b"\n1 4 "))
        real(name, chunks)  # type: ignore[arg-type]

    folder.replace = watch  # type: ignore[method-assign]
    manager.persist([Effects(append=[Entry(1, 4, "noop")], recovered=True)])
    assert states == [1]
