"""The first start of a node in its files, and an operator's word that it is one."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from random import Random

import pytest

from raftline.common.address import Address
from raftline.common.config import FILE_NAME, Configuration
from raftline.logmanager import LogManager
from raftline.node.program.startup import Startup
from raftline.raft.effects import Effects, HardState
from raftline.raft.log import Entry
from raftline.storage.disk import FilesRefused
from raftline.storage.recovery import Recovered
from raftline_testing.files.faulty_folder import Died, Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import FIRST, MEMBERS, boot, log_file, storage_file

BY_HAND = b"0 1 set a 4\n1 2 set c 5\n"
UNKNOWN_NOTE = (
    "[!] s1 may be new or may have lost everything: it has no vote until it has caught up"
)
NEW_NOTE = "[*] s1 votes at once: it never ran before (--new)"


def boot_new(folder: MemoryFolder) -> tuple[LogManager, Recovered]:
    """Start s1 with --new."""
    manager = LogManager("s1", folder, MEMBERS)
    return manager, manager.recover(never_ran=True)


def met_a_history() -> MemoryFolder:
    """Return the files of a newborn that heard of a cluster with a history, and two entries."""
    folder = MemoryFolder()
    manager, _ = boot(folder)
    manager.persist([Effects(forgot=True, save=HardState(1, "s2"))])
    manager.close()
    return folder


def boot_to_join(folder: MemoryFolder) -> Recovered:
    """Start s1 with --join."""
    manager = LogManager("s1", folder, {})
    recovered = manager.recover(joins=True)
    manager.close()
    return recovered


def test_a_newborn_that_joins_forgets_whom_it_began_with() -> None:
    """Those members may all have left, and it listens to no other leader (raft/newborn.py)."""
    folder = MemoryFolder()
    boot(folder)[0].close()
    recovered = boot_to_join(folder)
    assert (recovered.newborn, recovered.members.names) == (True, ())
    assert "[*] s1 joins: it forgets the members that its log began with, s1 s2 s3" in (
        recovered.notes
    )
    assert folder.content("s1.log") == b"0 0 base\n"
    again = boot_to_join(folder)
    assert (again.newborn, again.members.names) == (True, ())
    assert not any("forgets" in note for note in again.notes)


def test_a_joiner_that_is_not_a_newborn_keeps_its_members() -> None:
    voter, member = MemoryFolder(), MemoryFolder()
    for folder, work in (
        (voter, Effects(recovered=True, save=HardState(1, "s2"))),
        (member, Effects(forgot=True, append=[Entry(1, 1, "noop")], save=HardState(1, None))),
    ):
        manager, _ = boot(folder)
        manager.persist([work])
        manager.close()
    for folder in (voter, member, met_a_history()):
        assert boot_to_join(folder).members.names == ("s1", "s2", "s3")


def test_a_newborn_joins_without_the_entries_that_a_person_wrote() -> None:
    folder = MemoryFolder({"s1.log": BY_HAND})
    boot(folder)[0].close()
    refusal = (
        "s1.log was written by hand, and a node that joins takes its entries from the cluster; "
        "move s1.log, s1.storage and .s1.born away"
    )
    with pytest.raises(FilesRefused, match=re.escape(refusal)):
        boot_to_join(folder)
    assert boot(folder)[1].log.last_index == 2


def test_a_death_at_any_step_of_a_start_to_join_leaves_a_newborn() -> None:
    begun = MemoryFolder()
    boot(begun)[0].close()
    for step in range(1, 20):
        folder = MemoryFolder(begun.contents())
        folder.fault = Fault(step, Kind.DIE_BEFORE)
        with contextlib.suppress(Died):
            boot_to_join(folder)
        recovered = boot_to_join(folder.crash(Random(step)))
        assert (recovered.newborn, recovered.members.names) == (True, ()), step


def test_a_hand_written_log_makes_a_newborn_until_it_takes_part() -> None:
    folder = MemoryFolder({"s1.log": BY_HAND})
    for _ in range(2):
        manager, recovered = boot(folder)
        manager.close()
        assert (recovered.newborn, recovered.recovering) == (True, False)
        assert recovered.log.last_index == 2
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(3, "s1"), recovered=True)])
    manager.close()
    assert not boot(folder)[1].newborn


def test_a_hand_written_log_that_is_set_aside_is_not_a_loss() -> None:
    folder = MemoryFolder({"s1.log": BY_HAND})
    manager, _ = boot(folder)
    manager.persist([Effects(forgot=True, save=HardState(4, "s2"), cut_after=0)])
    manager.close()
    recovered = boot(folder)[1]
    assert (recovered.may_be_new, recovered.log.last_index) == (True, 0)
    assert folder.content("s1.log.seed") == BY_HAND


@pytest.mark.parametrize("never_ran", [False, True])
def test_lone_node_with_handwritten_log_is_whole_by_a_word(never_ran: bool) -> None:
    """Others may have joined since its configuration was written."""
    alone = LogManager("s1", MemoryFolder({"s1.log": BY_HAND}), {"s1": "localhost:10000"})
    recovered = alone.recover(never_ran=never_ran)
    assert (recovered.newborn, recovered.recovering) == (not never_ran, False)


def test_newborn_that_met_a_history_may_be_new_at_each_start() -> None:
    """A newborn that met nodes with entries is a newborn again at each start."""
    folder = met_a_history()
    assert b" state unknown crc32 " in folder.content("s1.storage")
    for _ in range(2):
        manager, recovered = boot(folder)
        manager.close()
        assert (recovered.recovering, recovered.may_be_new, recovered.newborn) == (
            True,
            True,
            False,
        )
        assert UNKNOWN_NOTE in recovered.notes


def test_a_death_at_any_step_leaves_a_node_newborn_or_maybe_new() -> None:
    for step in range(1, 20):
        folder = MemoryFolder()
        manager, _ = boot(folder)
        manager.close()
        folder = MemoryFolder(folder.contents())
        folder.fault = Fault(step, Kind.DIE_BEFORE)
        with contextlib.suppress(Died):
            manager, _ = boot(folder)
            manager.persist([Effects(forgot=True, save=HardState(1, "s2"))])
        recovered = boot(folder.crash(Random(step)))[1]
        assert recovered.newborn or (recovered.recovering and recovered.may_be_new), step


def test_death_at_any_step_keeps_a_hand_written_log_foreign() -> None:
    """Wherever the process dies, a hand-written log is never taken for a cluster's."""
    works = [Effects(forgot=True, save=HardState(4, "s2"), cut_after=0)]
    for step in range(1, 30):
        folder = MemoryFolder({"s1.log": BY_HAND})
        boot(folder)[0].close()
        folder = MemoryFolder(folder.contents())
        manager, _ = boot(folder)
        folder.fault = Fault(folder.steps + step, Kind.DIE_BEFORE)
        with contextlib.suppress(Died):
            manager.persist(works)
        for left in (folder.kill(), folder.crash(Random(step))):
            recovered = boot(left)[1]
            assert recovered.newborn or recovered.recovering, step
            assert recovered.newborn or not recovered.log.last_index, step


def test_death_at_any_step_keeps_leader_entries_the_clusters() -> None:
    """Wherever the process dies, a leader's entries are never taken for hand-written ones."""
    entry = Entry(1, 1, "noop")
    for step in range(1, 20):
        folder = MemoryFolder()
        manager, _ = boot(folder)
        folder.fault = Fault(folder.steps + step, Kind.DIE_BEFORE)
        with contextlib.suppress(Died):
            manager.persist([Effects(recovered=True, save=HardState(1, "s1"), append=[entry])])
        recovered = boot(folder.kill())[1]
        assert not (recovered.newborn and recovered.log.last_index), step


def test_a_joiner_whose_log_lost_its_first_line_is_repaired(tmp_path: Path) -> None:
    for name, data in WHOLE.items():
        (tmp_path / name).write_bytes(data.replace(b"0 0 base", b"0 0 bass"))
    members = {name: Address("localhost", 1) for name in MEMBERS}
    said: list[str] = []
    startup = Startup("s1", Configuration(tmp_path / FILE_NAME, members), said.append, joins=True)
    manager, recovered = startup.recover()
    manager.close()
    assert recovered.recovering
    assert (tmp_path / "s1.log.damaged-1").exists()


def test_new_node_that_loses_its_log_has_lost_it() -> None:
    """A newborn that then loses its log counts as a node that lost files."""
    folder = met_a_history()
    left = folder.contents()
    del left["s1.log"]
    recovered = boot(MemoryFolder(left))[1]
    assert (recovered.recovering, recovered.may_be_new) == (True, False)


def test_new_makes_a_first_start_one_with_a_vote() -> None:
    folder = MemoryFolder()
    manager, recovered = boot_new(folder)
    manager.close()
    assert (recovered.newborn, recovered.recovering) == (False, False)
    assert NEW_NOTE in recovered.notes
    assert folder.content("s1.storage") == storage_file(0)
    recovered = boot(folder)[1]
    assert (recovered.newborn, recovered.recovering) == (False, False)


@pytest.mark.parametrize("files", [MemoryFolder, met_a_history], ids=["nothing", "a history"])
def test_new_is_accepted_from_a_node_without_promises(files: object) -> None:
    """`--new` is accepted from a node that has made no promise since it first started."""
    folder = files()  # type: ignore[operator]
    boot(folder)[0].close()
    manager, recovered = boot_new(folder)
    manager.close()
    assert (recovered.newborn, recovered.recovering, recovered.may_be_new) == (False, False, False)
    assert NEW_NOTE in recovered.notes
    assert not boot(folder)[1].recovering


def test_new_next_to_a_hand_written_log_leaves_log_a_newborns() -> None:
    recovered = boot_new(MemoryFolder({"s1.log": BY_HAND}))[1]
    assert (recovered.newborn, recovered.log.last_index) == (True, 2)
    assert recovered.notes[-2] == (
        "[*] --new changes nothing: s1.log was written by hand, and the others decide whether its "
        "entries win (docs/repair.md)"
    )


WHOLE = {"s1.log": log_file(FIRST), "s1.storage": storage_file(1, mark=(2, 1)), ".s1.born": b"x"}
UNSURE = {**WHOLE, "s1.storage": storage_file(1, mark=(2, 1), state="unknown")}
DENIED = {
    "a node that began before": (WHOLE, "it has begun here before"),
    "a trace alone": ({".s1.born": b"x"}, "it left traces here"),
    "a log alone": ({"s1.log": WHOLE["s1.log"]}, "it left traces here"),
    "one that lost files": (
        {**WHOLE, "s1.storage": storage_file(1, mark=(2, 1), state="amnesiac")},
        "it has lost files",
    ),
    "one that may be new and lost its log": (
        {name: data for name, data in UNSURE.items() if name != "s1.log"},
        "it has lost files",
    ),
    "one that may be new and lost an entry": (
        {**UNSURE, "s1.storage": storage_file(1, mark=(3, 1), state="unknown")},
        "s1.log ends at entry 2, but entry 3 was synced before",
    ),
}


@pytest.mark.parametrize(("files", "why"), DENIED.values(), ids=DENIED)
def test_new_is_refused_if_the_files_contradict_it(files: dict[str, bytes], why: str) -> None:
    folder = MemoryFolder(files)
    with pytest.raises(FilesRefused) as refused:
        boot_new(folder)
    assert str(refused.value) == (
        f"--new says that s1 never ran before, but {why}. Start it without --new"
    )
    left = {name: data for name, data in folder.contents().items() if not name.endswith(".lock")}
    assert left == files


def test_death_amid_a_start_with_new_leaves_newborn_or_voter() -> None:
    """If a start with `--new` dies at any step, the node is a newborn or a voter afterwards."""
    for step in range(1, 30):
        folder = MemoryFolder()
        folder.fault = Fault(step, Kind.DIE_BEFORE)
        with contextlib.suppress(Died):
            boot_new(folder)[0].close()
        recovered = boot(folder.crash(Random(step)))[1]
        assert not recovered.recovering, step
