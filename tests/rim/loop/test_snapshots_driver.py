"""The driver and the threads of snapshots, over a folder in memory and without a socket."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest

import raftline.node.snapshots.snapshots
from raftline.common.process import wakeup
from raftline.common.process.wakeup import Wakeup, no_pause
from raftline.logmanager import LogManager
from raftline.node.snapshots.file_check import RETRY_CHECKS
from raftline.node.snapshots.snapshots import Turn, When
from raftline.raft.inputs import SnapshotChecked, SnapshotTaken
from raftline.raft.log import Entry, Snapshot
from raftline.raft.membership import all_vote
from raftline.raft.messages import AppendEntries, InstallSnapshot
from raftline.state.commands.machines import Machines
from raftline.storage.disk import FilesRefused, disk_failed
from raftline.storage.snapshot_file import SnapshotFile
from raftline.storage.snapshot_lines import MachineState
from raftline.storage.sums import chained, format_sum
from raftline.wire.commands.watch_lines import WatchAsked
from raftline.wire.refusal import DIVERGED
from raftline.wire.strict_json import Json
from raftline_testing.doubles.snapshot_rig import (
    DEADLINE_S,
    Rig,
    leaders_snapshot,
    pieces,
)
from raftline_testing.doubles.watched_store import FakeSink
from raftline_testing.files.faulty_folder import Beside, Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import BASE, MEMBERS, boot, entries, log_file, storage_file
from raftline_testing.files.snapshot_writing import write_snapshot
from raftline_testing.nodes.processes import eventually


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(
        folder: MemoryFolder | None = None,
        compact_bytes: int = 1 << 40,
        members: dict[str, str] = MEMBERS,
    ) -> Rig:
        rigs.append(Rig(folder or MemoryFolder(), compact_bytes, members))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.threads.stop()
        rig.driver.stop(patience_s=5.0)
        rig.manager.close()


def test_a_snapshot_that_arrives_is_the_state_machine_at_once(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.threads.start()
    rig.append(1, 2, 2, "set a 1", "set old 2", prev_term=0)
    data, snapshot = leaders_snapshot({"a": "9", "é": "é" * 40})
    rig.receive(*pieces(data, snapshot, 7))
    rig.wait_for_line("[*] s2 installs the snapshot of s1 up to entry 20")
    assert rig.manager.store == {"a": "9", "é": "é" * 40}
    rig.append(21, 3, 21, "set b 1", prev_term=3)
    rig.wait_for(lambda: "I am up to date term 3 index 21 round 1" in rig.answers)
    assert rig.manager.store["b"] == "1"
    assert rig.folder.content("s2.log").startswith(b"20 3 base ")
    manager, recovered = boot(rig.folder.kill(), "s2")
    assert manager.store == {"a": "9", "é": "é" * 40}
    assert recovered.log.entries(21, 21) == [Entry(21, 3, "set b 1")]


class HeldMachine:
    """A program's state machine: a command takes until the test lets it continue."""

    def __init__(self) -> None:
        self.begun, self.goes_on = threading.Event(), threading.Event()

    def apply(self, command: Json) -> Json:
        self.begun.set()
        assert self.goes_on.wait(DEADLINE_S)
        return command

    def snapshot(self) -> Json:
        return 7

    def restore(self, state: Json) -> None:
        """Nothing is kept."""


def amid_a_long_entry(rig: Rig) -> HeldMachine:
    """Make a node apply two entries, the second of which does not end before the test wants it."""
    machine = HeldMachine()
    rig.manager.state.machines = Machines({"m": machine})
    new = entries(1, 2, "set a 1", "machine m 1")
    rig.receive(AppendEntries("s1", "s2", 2, 0, 0, new, 2, 1))
    assert machine.begun.wait(DEADLINE_S)
    return machine


def test_snapshot_amid_a_long_entry_is_installed_after_it(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    machine = amid_a_long_entry(rig)
    rig.threads.start()
    data, snapshot = leaders_snapshot({"a": "9"})
    rig.receive(*pieces(data, snapshot, 1 << 20))
    eventually(lambda: rig.manager.arrived_snapshot is not None)  # it was checked
    assert rig.driver.node.view.snapshot is None
    assert rig.driver.status()["last_applied"] == 1
    machine.goes_on.set()
    rig.wait_for_line("[*] s2 installs the snapshot of s1 up to entry 20")
    assert rig.manager.store == {"a": "9"}
    rig.append(21, 3, 21, "set b 1", prev_term=3)
    assert rig.manager.store == {"a": "9", "b": "1"}


class Asked:
    """A lock that notes that a thread of snapshots asks for it."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.is_asked = threading.Event()

    def __enter__(self) -> None:
        if threading.current_thread().name.endswith("snapshots"):
            self.is_asked.set()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.mark.pure  # a method of a compiled object can't be replaced
def test_a_snapshot_holds_what_the_core_knows_to_be_applied(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.driver.offload = offload = Asked(rig.driver.offload)  # type: ignore[assignment]
    apply_offloaded = rig.applying.apply_offloaded

    def apply(new: Sequence[Entry]) -> list[str]:
        replies = apply_offloaded(new)
        eventually(lambda: offload.is_asked.is_set() or rig.failures)
        return replies

    rig.applying.apply_offloaded = apply
    machine = amid_a_long_entry(rig)
    machine.goes_on.set()
    eventually(lambda: rig.manager.applied.index == 2)  # and the core knows of one
    rig.threads.start()
    rig.snapshots.ask()
    rig.wait_for_line("[*] s2 took a snapshot: the state after entry 2, 2 keys")


def test_a_watch_hears_that_a_snapshot_replaced_the_state(make_rig: Callable[..., Rig]) -> None:
    rig, sink = make_rig(), FakeSink()
    rig.threads.start()
    rig.driver.watchers.open(sink, [("", WatchAsked("", None))])
    data, snapshot = leaders_snapshot({"a": "9"})
    rig.receive(*pieces(data, snapshot, 50))
    eventually(lambda: sink.pump() or "EVENT 20 " in sink.text, "the state of the snapshot")
    assert sink.text.endswith("s2@EVENT 20 has a 9\n")


def test_sessions_travel_in_a_snapshot(make_rig: Callable[..., Rig]) -> None:
    leader = LogManager("s1", MemoryFolder(), MEMBERS)
    leader.apply(entries(1, 1, "client4@session", "client4-1#7@incr visits"))
    leader.recover()
    snapshot = write_snapshot(leader.snapshots, leader.freeze())
    leader.snapshots.publish(snapshot)
    file = leader.snapshots.open(snapshot)
    assert file is not None
    file.seek(0)
    rig = make_rig()
    rig.threads.start()
    rig.receive(*pieces(file.read(), snapshot, 100))
    rig.wait_for_line("[*] s2 installs the snapshot of s1 up to entry 2")
    retried = rig.manager.apply([Entry(3, 3, "client4-1#7@incr visits")])
    assert retried == ["INCR response: 1"]
    assert rig.manager.store == {"visits": "1"}


def test_a_snapshot_of_sessions_in_an_unknown_form_is_refused(make_rig: Callable[..., Rig]) -> None:
    folder = MemoryFolder()
    file = SnapshotFile(folder, "s1")
    snapshot = write_snapshot(file, MachineState(20, 3, all_vote(MEMBERS), ["no JSON"], {}))
    file.publish(snapshot)
    rig = make_rig()
    rig.threads.start()
    rig.receive(*pieces(folder.content(file.name), snapshot, 100))
    rig.wait_for_line("[!] s2 refuses the snapshot up to entry 20 that it received: ")
    folder.put("s1.storage", storage_file(3))
    folder.put("s1.log", log_file(base=BASE.replace(b"0 0 base", b"20 3 base")))
    with pytest.raises(FilesRefused, match=r"s1\.state_machine: .*newer version"):
        boot(folder)


def test_a_snapshot_damaged_on_its_way_changes_nothing(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.threads.start()
    rig.append(1, 2, 1, "set a 1", prev_term=0)
    data, snapshot = leaders_snapshot({"a": "9"})
    rig.receive(*pieces(data.replace(b"a 9", b"a 8"), snapshot, 50))
    rig.wait_for_line("[!] s2 refuses the snapshot up to entry 20 that it received: line ")
    assert rig.manager.store == {"a": "1"}
    rig.receive(*pieces(data, snapshot, 50))
    rig.wait_for_line("[*] s2 installs the snapshot")
    assert rig.manager.store == {"a": "9"}


def test_snapshot_overtaken_by_the_log_leaves_memory(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    data, snapshot = leaders_snapshot({"a": "9"})
    rig.receive(*pieces(data, snapshot, 50))
    rig.append(1, 3, 20, *(f"set b {number}" for number in range(20)), prev_term=0)
    rig.wait_for(lambda: "I am up to date term 3 index 20 round 1" in rig.answers)
    rig.threads.start()
    rig.wait_for_line("[*] s2 no longer needs the snapshot up to entry 20")
    eventually(lambda: rig.manager.arrived_snapshot is None)
    assert rig.manager.store == {"b": "19"}


def test_a_log_that_has_grown_is_compacted(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(compact_bytes=500)
    rig.threads.start()
    rig.grow()
    rig.wait_for_line("[*] s2.log begins after entry 40 now")
    assert rig.driver.status()["snapshot_index"] == 40
    assert rig.driver.status()["base_index"] == 40
    manager, recovered = boot(rig.folder.kill(), "s2")
    assert len(manager.store) == 40
    assert recovered.log.last_index == 40


def test_a_log_that_grows_all_the_time_is_compacted(make_rig: Callable[..., Rig]) -> None:
    """Entries that come while the job pauses do not keep it from its end."""
    rig = make_rig(compact_bytes=500)
    rig.grow()
    rig.wait_for(lambda: rig.answers)
    last = 40
    job = rig.snapshots.take_and_check()
    turn = next(job)
    for _ in range(50):
        if turn is None:
            last += 1
            rig.append(last, 1, last, f"set k{last} 1", prev_term=1)
            eventually(lambda end=last: rig.driver.status()["synced_index"] == end)
        turn = job.send(turn is None or rig.threads._has_come(turn, Wakeup()))
        if rig.driver.status()["base_index"] == 40:
            break
    assert rig.driver.status()["base_index"] == 40
    job.close()


@pytest.mark.pure  # functions of a compiled module can't be replaced
def test_thread_that_waits_leaves_pauses_of_others_alone(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    used_s, slept_s = {threading.get_ident(): 1000.0}, list[float]()
    monkeypatch.setattr(wakeup, "_thread_time", lambda: used_s.get(threading.get_ident(), 0.0))
    monkeypatch.setattr(wakeup, "time", SimpleNamespace(sleep=slept_s.append))
    threads = make_rig().threads
    threads.pause()
    turn, is_woken = Turn(When.WOKEN), Wakeup()
    is_woken.set()
    other = threading.Thread(target=threads._has_come, args=(turn, is_woken))
    other.start()
    other.join()
    used_s[threading.get_ident()] += 0.5
    threads.pause()
    assert slept_s[-1] == 0.5 * wakeup.PAUSE_FACTOR


def test_snapshot_without_room_is_reported_and_skipped(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(compact_bytes=500)
    rig.grow()
    rig.wait_for(lambda: rig.answers)
    rig.folder.fault = Fault(rig.folder.steps + 2, Kind.ENOSPC)
    rig.threads.start()
    rig.wait_for_line("[!] s2 could take no snapshot: ")
    rig.append(41, 1, 41, "set more 1", prev_term=1)
    rig.wait_for(lambda: "I am up to date term 1 index 41 round 1" in rig.answers)
    assert "s2.state_machine.tmp" not in rig.folder.contents()


def is_survived(line: str) -> bool:
    return ": No space left on device. The node continues with its present files; free" in line


def test_no_room_for_the_end_of_a_new_log_keeps_the_old(make_rig: Callable[..., Rig]) -> None:
    """The writer copies the last entries, and its other errors stop the node."""
    rig = make_rig(compact_bytes=500)
    rig.grow()
    rig.wait_for(lambda: rig.answers)
    turns = rig.snapshots.take_and_check()
    turn: Turn | None = next(turns)
    while "s2.log.new" not in rig.folder.contents() or turn is None:
        turn = turns.send(turn is None or rig.threads._has_come(turn, Wakeup()))
    rig.folder.beside = Beside(Kind.ENOSPC)
    turns.send(rig.threads._has_come(turn, Wakeup()))
    assert rig.said[-1].startswith("[!] s2 could take no snapshot: s2.log.new: cannot ")
    assert is_survived(rig.said[-1])
    assert "s2.log.new" not in rig.folder.contents()
    rig.append(41, 1, 41, "set more 1", prev_term=1)
    rig.wait_for(lambda: "I am up to date term 1 index 41 round 1" in rig.answers)
    rig.folder.beside = None
    rig.snapshots.ask(compacts=True)
    rig.threads.start()
    rig.wait_for_line("[*] s2.log begins after entry 41 now")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EPERM])
def test_a_snapshot_that_gets_no_name_leaves_the_old_in_force(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The log still begins after the old one, and a later try succeeds."""

    def rename(old: str, new: str) -> None:
        error = OSError(number, os.strerror(number))
        raise disk_failed(new, "replace", error, changed_nothing=True)

    rig = make_rig(compact_bytes=500)
    old = with_a_snapshot_of_its_own(rig)
    files = rig.folder.contents()
    rig.append(5, 1, 5, "set more 1", prev_term=1)
    with monkeypatch.context() as patched:
        patched.setattr(rig.folder, "rename", rename)
        rig.snapshots.ask(compacts=True)
        rig.threads.start()
        rig.wait_for_line("[!] s2 could take no snapshot: s2.state_machine: cannot replace: ")
    assert ". The node continues with its present files; " in rig.said[-1]
    assert rig.manager.snapshots.current == old
    assert rig.folder.contents()["s2.state_machine"] == files["s2.state_machine"]
    assert "s2.state_machine.tmp" not in rig.folder.contents()
    rig.append(6, 1, 6, "set more 2", prev_term=1)
    rig.snapshots.ask(compacts=True)
    rig.wait_for_line("[*] s2.log begins after entry 6 now")
    assert rig.failures == []


def test_an_arriving_snapshot_without_room_is_refused(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.threads.start()
    rig.append(1, 2, 1, "set a 1", prev_term=0)
    rig.wait_for(lambda: rig.answers)
    rig.folder.beside = Beside(Kind.ENOSPC)
    data, snapshot = leaders_snapshot({"a": "9"})
    rig.receive(*pieces(data, snapshot, 50))
    rig.wait_for_line("[!] s2 refuses the snapshot up to entry 20 that it received: ")
    assert is_survived(rig.said[-1])
    assert "s2.state_machine.part" not in rig.folder.contents()
    assert rig.manager.store == {"a": "1"}
    rig.folder.beside = None
    rig.receive(*pieces(data, snapshot, 50))
    rig.wait_for_line("[*] s2 installs the snapshot")
    assert rig.manager.store == {"a": "9"}


@pytest.mark.parametrize("lost", [".s2.born", "s2.storage", "s2.log"])
def test_lost_files_without_room_do_not_stop_a_node(
    make_rig: Callable[..., Rig], lost: str
) -> None:
    """Its memory has what the files lack, but is lost when it stops."""
    rig = make_rig()
    rig.append(1, 1, 2, "set a 1", "set b 2", prev_term=0)
    rig.wait_for(lambda: rig.answers)
    rig.folder.lose(lost)
    rig.folder.is_full = True
    check = rig.check
    assert check.look()
    assert rig.said[-1].startswith("[!] s2: could not write its lost files again: ")
    assert is_survived(rig.said[-1])
    assert check.lost == [lost]
    rig.folder.is_full = False
    for _ in range(RETRY_CHECKS):
        assert check.look()
    rig.threads.start()
    eventually(lambda: not (check.look() and check.lost))
    assert rig.said[-1].endswith("are whole again")
    assert rig.failures == []


def test_snapshot_waits_until_the_log_has_its_part_of_the_disk(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raftline.node.snapshots.snapshots, "RETRY_S", 0.01)
    rig = make_rig(compact_bytes=500)
    disk = [(1 << 20) - 1, 16 << 20]
    rig.snapshots.disk = lambda: (disk[0], disk[1])
    rig.threads.start()
    rig.grow()
    rig.wait_for_line("[!] s2 takes no snapshot: the disk has 1,048,575 bytes left, ")
    disk[0] += 1 << 16
    rig.wait_for_line("[*] s2.log begins after entry 40 now")
    assert len([line for line in rig.said if "takes no snapshot" in line]) == 1
    assert rig.failures == []


@pytest.mark.parametrize("left", [1500, 900])
def test_a_short_disk_gets_the_bytes_of_deleted_keys_back(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """A leader leaves 2,000 bytes of this disk free, a follower 1,000."""
    monkeypatch.setattr(raftline.node.snapshots.snapshots, "RETRY_S", 0.01)
    rig = make_rig(compact_bytes=1 << 20)
    rig.snapshots.disk, rig.snapshots.is_disk_short = (lambda: (left, 16_000)), (lambda: True)
    rig.threads.start()
    rig.grow()
    assert rig.driver.status()["snapshot_index"] == 0
    rig.append(41, 1, 80, *[f"delete k{number}" for number in range(40)], prev_term=1)
    rig.wait_for_line("[*] s2.log begins after entry 80 now")
    assert len([line for line in rig.said if "took a snapshot" in line]) == 1


def test_a_disk_too_short_for_the_snapshot_is_tried_once(make_rig: Callable[..., Rig]) -> None:
    """Ten keys of 44 bytes stay, and their snapshot would leave too little to the log."""
    rig = make_rig(compact_bytes=1 << 20)
    rig.snapshots.disk, rig.snapshots.is_disk_short = (lambda: (1100, 16_000)), (lambda: True)
    rig.grow()
    rig.append(41, 1, 70, *[f"delete k{number}" for number in range(10, 40)], prev_term=1)
    rig.wait_for(lambda: any(" index 70 " in answer for answer in rig.answers))
    assert rig.snapshots.frees_disk()
    turn = next(rig.snapshots.take_and_check())
    assert turn is not None
    assert (turn.when, turn.limit_s) == (When.WOKEN, raftline.node.snapshots.snapshots.RETRY_S)
    assert len([line for line in rig.said if "takes no snapshot" in line]) == 1


def test_a_disk_with_room_keeps_the_log_as_it_is(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(compact_bytes=1 << 20)
    left = [2000]
    rig.snapshots.disk = lambda: (left[0], 16_000)
    rig.grow()
    rig.append(41, 1, 80, *[f"delete k{number}" for number in range(40)], prev_term=1)
    rig.wait_for(lambda: any(" index 80 " in answer for answer in rig.answers))
    assert not rig.snapshots.frees_disk()
    left[0] -= 1
    assert rig.snapshots.frees_disk()


def test_node_stops_amid_a_log_rewrite_though_its_disk_fails(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(compact_bytes=500)
    rig.grow()
    rig.wait_for(lambda: rig.answers)
    job = rig.snapshots.take_and_check()
    turn = next(job)
    while "s2.log.new" not in rig.folder.contents():
        turn = job.send(turn is None or rig.threads._has_come(turn, Wakeup()))
    rig.folder.fault = Fault(rig.folder.steps + 1, Kind.EIO)
    job.close()
    assert "s2.log.new" in rig.folder.contents()  # it could not be removed
    folder = rig.folder.kill()
    manager, _ = boot(folder, "s2")
    assert len(manager.store) == 40
    assert "s2.log.new" not in folder.contents()


def test_the_log_is_not_written_again_while_a_cut_of_it_waits(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.append(1, 1, 4, *["set a 1"] * 4, "lost 5", "lost 6", prev_term=0)
    rig.wait_for(lambda: rig.answers)
    snapshot = write_snapshot(rig.manager.snapshots, rig.manager.freeze())
    assert rig.publish(snapshot)
    rig.driver.step(SnapshotTaken(snapshot))
    rewrite = rig.manager.begin_rewrite(snapshot)
    # Only what no cut can touch is copied early.
    assert rig.snapshots._committed_entries(5) == []
    with rig.manager.held:  # one write is under way, and behind it waits another, with the cut
        rig.append(7, 1, 4, "lost 7", prev_term=1)
        eventually(lambda: rig.manager.is_writing)
        rig.append(5, 2, 4, "set b 5", prev_term=1)
        finishing = threading.Thread(target=lambda: rig.say(f"finished: {rig.finish(rewrite)}"))
        finishing.start()
        eventually(lambda: rig.jobs)
    rig.wait_for_line("finished: True")
    finishing.join(DEADLINE_S)
    manager, recovered = boot(rig.folder.kill(), "s2")
    assert [entry.command for entry in recovered.log.entries(5, 5)] == ["set b 5"]
    assert recovered.log.last_index == 5
    assert manager.store == {"a": "1"}


def test_an_own_snapshot_is_put_in_force_after_one_that_waits(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    data, arriving = leaders_snapshot({"a": "9"})
    rig.receive(*pieces(data, arriving, 50))
    rig.wait_for(lambda: f"GiveSnapshotAfterByte {len(data)} of 20-3" in " ".join(rig.answers))
    loaded = rig.manager.snapshots.check(arriving, no_pause)
    rig.manager.arrived(loaded)
    with rig.manager.held:  # a write that takes long is under way; behind it waits all the rest
        rig.append(1, 3, 0, "set void 1", prev_term=0)
        eventually(lambda: rig.manager.is_writing)
        rig.driver.step(SnapshotChecked(arriving, loaded.members))
        rig.append(21, 3, 21, "set b 1", prev_term=3)
        own = write_snapshot(rig.manager.snapshots, rig.manager.freeze())
        assert own.index == 21
        publishing = threading.Thread(target=lambda: rig.say(f"published: {rig.publish(own)}"))
        publishing.start()
        eventually(lambda: rig.jobs)
    rig.wait_for_line("published: True")
    publishing.join(DEADLINE_S)
    rig.driver.step(SnapshotTaken(own))
    rewrite = rig.manager.begin_rewrite(own)
    assert rig.finish(rewrite)
    manager, recovered = boot(rig.folder.kill(), "s2")
    assert (recovered.snapshot, recovered.log.base_index) == (own, 21)
    assert manager.store == {"a": "9", "b": "1"}


def test_snapshot_is_not_in_force_before_its_term_is_synced(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    rig.append(1, 1, 1, "set a 1", prev_term=0)
    rig.wait_for(lambda: rig.answers)
    disks: list[MemoryFolder] = []
    publish = SnapshotFile.publish

    def killed_right_after(files: SnapshotFile, snapshot: Snapshot) -> bool:
        published = publish(files, snapshot)
        disks.append(rig.folder.kill())
        return published

    monkeypatch.setattr(SnapshotFile, "publish", killed_right_after)
    with rig.manager.held:  # a write is under way; what a quorum has committed waits behind it
        rig.append(2, 1, 1, "set a 2", prev_term=1)
        eventually(lambda: rig.manager.is_writing)
        rig.append(3, 2, 3, "set a 3", prev_term=1)
        own = write_snapshot(rig.manager.snapshots, rig.manager.freeze())
        assert own[:2] == (3, 2)
        publishing = threading.Thread(target=rig.publish, args=(own,))
        publishing.start()
        eventually(lambda: rig.jobs)
    publishing.join(DEADLINE_S)
    _, recovered = boot(disks[0], "s2")
    assert recovered.log.last_term <= recovered.hard_state.term  # else it could not start


def test_pieces_are_read_from_the_file_they_began_with(
    make_rig: Callable[..., Rig],
) -> None:
    """A later snapshot has taken its name."""
    rig = make_rig()
    rig.append(1, 1, 4, *[f"set k{number} v" for number in range(4)], prev_term=0)
    first = write_snapshot(rig.manager.snapshots, rig.manager.freeze())
    rig.publish(first)
    data = rig.folder.content("s2.state_machine")
    rig.threads.start()
    rig.snapshots.send(InstallSnapshot("s2", "s3", 1, first, 0, 10, 1))
    rig.wait_for(lambda: rig.posted)
    rig.append(5, 1, 5, "set z 26", prev_term=1)
    rig.publish(write_snapshot(rig.manager.snapshots, rig.manager.freeze()))
    rig.snapshots.send(InstallSnapshot("s2", "s3", 1, first, 10, 10, 1))
    rig.wait_for(lambda: len(rig.posted) == 2)
    assert [piece.raw for piece in rig.posted] == [data[:10], data[10:20]]


def with_a_snapshot_of_its_own(rig: Rig) -> Snapshot:
    """Make s2 have a snapshot of four entries in force, and know it."""
    rig.append(1, 1, 4, *[f"set k{number} v" for number in range(4)], prev_term=0)
    rig.wait_for(lambda: rig.manager.applied.index == 4 and rig.answers)
    snapshot = write_snapshot(rig.manager.snapshots, rig.manager.freeze())
    assert rig.publish(snapshot)
    rig.driver.step(SnapshotTaken(snapshot))
    return snapshot


def test_of_too_many_snapshots_being_sent_the_oldest_is_closed(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raftline.node.snapshots.snapshots, "OPEN_MAX", 1)
    rig = make_rig()
    first = with_a_snapshot_of_its_own(rig)
    rig.threads.start()
    rig.snapshots.send(InstallSnapshot("s2", "s3", 1, first, 0, 10, 1))
    rig.wait_for(lambda: rig.posted)
    rig.append(5, 1, 5, "set z 26", prev_term=1)
    rig.wait_for(lambda: rig.manager.applied.index == 5)
    later = write_snapshot(rig.manager.snapshots, rig.manager.freeze())
    assert rig.publish(later)
    for offset in (0, 10):
        rig.snapshots.send(InstallSnapshot("s2", "s3", 1, later, offset, 10, 1))
    rig.wait_for(lambda: len(rig.posted) == 3)
    assert list(rig.open_snapshot) == [later]


def test_a_snapshot_that_is_asked_for_is_taken_once(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.append(1, 1, 4, *[f"set k{number} v" for number in range(4)], prev_term=0)
    rig.wait_for(lambda: rig.manager.applied.index == 4 and rig.answers)
    rig.threads.start()
    rig.snapshots.ask()
    rig.wait_for_line("[*] s2 took a snapshot: the state after entry 4")
    assert not rig.snapshots._is_asked


@pytest.mark.parametrize("way", ["flip", "cut", "delete", "other head"])
def test_a_damaged_snapshot_is_taken_again_instead_of_sent(
    make_rig: Callable[..., Rig], way: str
) -> None:
    rig = make_rig()
    first = with_a_snapshot_of_its_own(rig)
    good = rig.folder.content("s2.state_machine")
    if way == "delete":
        rig.folder.remove("s2.state_machine")
    else:
        bad = {"flip": good[:-9] + b"?" + good[-8:], "cut": good[:-1], "other head": b"9" + good}
        rig.folder.rot("s2.state_machine", bad[way])
    rig.threads.start()
    rig.snapshots.send(InstallSnapshot("s2", "s3", 1, first, 0, 10, 1))
    rig.wait_for_line("[!] s2.state_machine has rotted on the disk")
    rig.wait_for_line("[*] s2 took a snapshot: the state after entry 4, 4 keys")
    assert rig.posted == []
    rig.wait_for(lambda: rig.manager.snapshots.current == rig.driver.node.view.snapshot)
    second = rig.manager.snapshots.current
    assert second is not None
    rig.snapshots.send(InstallSnapshot("s2", "s3", 1, second, 0, 10, 1))
    rig.wait_for(lambda: rig.posted)
    assert rig.posted[0].raw == rig.folder.content("s2.state_machine")[:10]
    assert len(boot(rig.folder.kill(), "s2")[0].store) == 4


class BadSectors(MemoryFolder):
    """A disk that does not give back one snapshot: all of it, or what follows on its first line."""

    def __init__(self, reads_a_line: bool) -> None:
        super().__init__()
        self.reads_a_line = reads_a_line
        self.bad = b""  # the content of that snapshot

    def read(self, name: str) -> BinaryIO:
        file: Any = super().read(name)
        return BadFile(self.bad, self.reads_a_line) if file.getvalue() == self.bad else file


class BadFile(io.BytesIO):
    def __init__(self, data: bytes, reads_a_line: bool) -> None:
        super().__init__(data)
        self._reads_a_line = reads_a_line

    def readline(self, size: int | None = -1) -> bytes:
        return super().readline(size) if self._reads_a_line else self.read()

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("reads_a_line", [False, True])
def test_snapshot_that_cannot_be_read_back_is_taken_again(
    make_rig: Callable[..., Rig], reads_a_line: bool
) -> None:
    folder = BadSectors(reads_a_line)
    rig = make_rig(folder)
    first = with_a_snapshot_of_its_own(rig)
    folder.bad = folder.content("s2.state_machine")
    rig.append(5, 1, 5, "set z 26", prev_term=1)  # so that the next one has other bytes
    rig.wait_for(lambda: rig.manager.applied.index == 5)
    rig.threads.start()
    rig.snapshots.send(InstallSnapshot("s2", "s3", 1, first, 0, 10, 1))
    rig.wait_for_line("[!] s2.state_machine can't be read: Input/output error. It is not sent to ")
    rig.wait_for_line("[*] s2 took a snapshot: the state after entry 5, 5 keys")
    assert (rig.posted, rig.failures) == ([], [])
    assert rig.open_snapshot == {}
    second = rig.manager.snapshots.current
    assert second is not None
    rig.snapshots.send(InstallSnapshot("s2", "s3", 1, second, 0, 10, 1))
    rig.wait_for(lambda: rig.posted)
    assert rig.posted[0].raw == folder.content("s2.state_machine")[:10]


def test_damage_amid_a_transfer_is_found_when_it_restarts(
    make_rig: Callable[..., Rig],
) -> None:
    """The follower refuses what has arrived, and the transfer restarts from a file that is still
    open."""
    rig = make_rig()
    first = with_a_snapshot_of_its_own(rig)
    rig.threads.start()
    rig.snapshots.send(InstallSnapshot("s2", "s3", 1, first, 0, 10, 1))
    rig.wait_for(lambda: rig.posted)
    opened = rig.open_snapshot[first]  # over a disk the open file rots as the named one does
    opened.seek(-5, 2)
    assert isinstance(opened, io.BytesIO)
    opened.write(b"?")
    rig.snapshots.send(InstallSnapshot("s2", "s3", 1, first, 10, 10, 1))
    rig.wait_for(lambda: len(rig.posted) == 2)
    rig.snapshots.send(InstallSnapshot("s2", "s3", 1, first, 0, 10, 1))
    rig.wait_for_line("[!] s2.state_machine has rotted on the disk")
    rig.wait_for_line("[*] s2 took a snapshot: the state after entry 4, 4 keys")
    assert len(rig.posted) == 2


def test_joining_node_takes_no_snapshot_before_it_has_members(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(compact_bytes=500, members={})
    commands = [f"set k{number} {'v' * 40}" for number in range(40)]
    rig.append(1, 1, 40, *commands, prev_term=0)
    rig.wait_for(lambda: "I am up to date term 1 index 40 round 1" in rig.answers)
    rig.threads.start()
    rig.wait_for(lambda: rig.snapshots._due_bytes > rig.manager.log_bytes)  # it had a look
    members = "members s1=a:1,voter s2=b:2,learner"
    rig.append(41, 1, 81, members, *commands, prev_term=1)
    rig.wait_for_line("[*] s2.log begins after entry 81 now")
    assert not any("after entry 40," in line for line in rig.said)
    chain = format_sum(rig.manager.snapshots.chain)
    head = f"81 1 snapshot {chain}s1=a:1,voter s2=b:2,learner\n".encode()
    assert rig.folder.content("s2.state_machine").startswith(head)
    assert boot(rig.folder.kill(), "s2")[1].members.learners == ("s2",)


def test_a_state_is_summed_right_after_an_asking_entry(make_rig: Callable[..., Rig]) -> None:
    """This holds in the middle of a slice, and at a node whose state differs; without such an
    entry, no sum is due here."""
    rig = make_rig(compact_bytes=1 << 20)
    rig.threads.start()
    rig.manager.store.is_at_floor = False
    rig.append(1, 1, 4, "noop", "set a 1", "sum", "set a 2", prev_term=0)
    eventually(lambda: [*rig.driver.node.view.state_sums] == [3], "a sum")
    summed = rig.driver.node.view.state_sums[3]
    assert summed.chain == chained(0, 0, rig.driver.node.committed(1, 3))
    rig.manager.refuse_reads(DIVERGED)
    rig.append(5, 1, 7, "sum", "c1@sum", "set a 3", prev_term=1)
    eventually(lambda: [*rig.driver.node.view.state_sums] == [3, 5, 6], "two more")
    sums = rig.driver.node.view.state_sums
    assert sums[3].sum != sums[5].sum == sums[6].sum
    assert rig.driver.status()["last_applied"] == 7
