"""The files of a node whose state differs are kept aside at its next start."""

from __future__ import annotations

from zlib import crc32

import pytest

from raftline.common.extensions import is_there, parts_in
from raftline.common.process.wakeup import no_pause
from raftline.raft.effects import Chunk, Effects
from raftline.raft.identity import identity_command
from raftline.raft.log import Entry, Snapshot
from raftline.storage.disk import StateRefused
from raftline.storage.hard_state import LogState
from raftline.storage.snapshot_lines import format_snapshot, lines_of
from raftline.storage.start_plan import read_plan
from raftline.storage.sums import chained, state_sum
from raftline.wire.refusal import DIVERGED
from raftline_testing.files.faulty_folder import Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import boot, entries, vote, write
from raftline_testing.files.snapshot_writing import write_snapshot

LOG, SNAPSHOT = "s1.log", "s1.state_machine"


def diverged(*, is_replaceable: bool = True) -> MemoryFolder:
    """Return the files of a stopped node that found that it differs, and then heard that the others
    hold all its entries."""
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, "s2")
    write(manager, 1, 1, "noop", "set a 1")
    manager.apply(entries(1, 1, "noop", "set a 1"))
    manager.snapshots.publish(write_snapshot(manager.snapshots, manager.freeze()))
    manager.persist([Effects(differs=2)])
    if is_replaceable:
        manager.persist([Effects(begins_again=True)])
    return folder.kill()


def test_a_start_keeps_what_may_be_the_only_copy() -> None:
    """Nothing has shown yet that a quorum of the others holds the entries. Neither a restart nor a
    loss of some of them ends the quarantine."""
    folder = diverged(is_replaceable=False)
    for _ in range(2):
        manager, recovered = boot(folder)
        assert (recovered.recovering, recovered.differs, recovered.log.last_index) == (True, 2, 2)
        assert recovered.snapshot is not None
        assert manager.read(["get a"]) == [DIVERGED]
        assert recovered.notes[-2].startswith("[!] the state of s1 differs from that of the others")
        manager.close()
        folder = folder.kill()
    left = folder.contents()
    del left[LOG]
    folder = MemoryFolder(left)
    _, recovered = boot(folder)
    assert b" state quarantined differs 2 " in folder.content("s1.storage")
    assert (recovered.recovering, recovered.differs) == (True, 2)
    assert any("rejoins without a vote" in note for note in recovered.notes)


def test_a_received_snapshot_is_noted_until_it_is_confirmed() -> None:
    """A restart does not forget by which snapshot the state came."""
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, "s2")
    manager.apply(entries(1, 1, "noop", "set a 1"))
    data = b"".join(format_snapshot(manager.freeze()))
    snapshot = Snapshot(2, 1, len(data), crc32(data))
    manager.persist([Effects(chunks=[Chunk(0, data)])])
    manager.arrived(manager.snapshots.check(snapshot, no_pause))
    manager.persist([Effects(install=snapshot, received=2)])
    folder = folder.kill()
    manager, recovered = boot(folder)
    assert recovered.received == 2
    manager.persist([Effects(received=0)])
    assert boot(folder.kill())[1].received == 0


def test_a_start_keeps_the_files_that_differ_aside() -> None:
    folder = diverged()
    log, snapshot = folder.content(LOG), folder.content(SNAPSHOT)
    manager, recovered = boot(folder)
    assert (recovered.recovering, recovered.log.last_index, recovered.snapshot) == (True, 0, None)
    assert recovered.hard_state[:2] == (1, "s2")
    assert folder.content(f"{LOG}.differs-1") == log
    assert folder.content(f"{SNAPSHOT}.differs-1") == snapshot
    assert f"[*] {LOG} differs from the others' and is kept as {LOG}.differs-1" in recovered.notes
    manager.close()
    assert boot(folder.kill())[1].recovering


def test_a_crash_at_any_step_of_that_start_is_harmless() -> None:
    for step in range(1, 60):
        folder = diverged()
        folder.fault = Fault(folder.steps + step, Kind.DIE_BEFORE)
        try:
            boot(folder)
        except BaseException:
            assert folder.is_dead
        is_over = not folder.is_dead
        left = folder.kill()
        _, recovered = boot(left)
        assert (recovered.recovering, recovered.log.last_index) == (True, 0)
        assert LOG + ".differs-1" in left.contents()
        if is_over:
            return
    raise AssertionError("it never ended")


def test_diverged_state_is_unread_until_a_snapshot_replaces_it() -> None:
    """A diverged state serves no reads until a snapshot replaces it."""
    manager, _ = boot(MemoryFolder())
    manager.apply(entries(1, 1, "noop", "set a 1"))
    data = b"".join(format_snapshot(manager.freeze()))
    manager.refuse_reads(DIVERGED)
    assert manager.read(["get a", "show"]) == [DIVERGED, DIVERGED]
    for act in (manager.freeze, manager.hold):
        with pytest.raises(StateRefused):
            act()
    manager.persist([Effects(chunks=[Chunk(0, data)])])
    snapshot = Snapshot(2, 1, len(data), crc32(data))
    manager.arrived(manager.snapshots.check(snapshot, no_pause))
    manager.take_over(snapshot)
    assert manager.read(["get a"]) == ["GET response: 1"]
    assert manager.chain == chained(0, 0, entries(1, 1, "noop", "set a 1"))


def test_a_crash_amid_an_install_trusts_no_state_that_differs() -> None:
    """At the next start, the snapshot is installed, or the diverged files are set aside, or the
    node is still in quarantine."""
    for step in range(1, 60):
        folder = MemoryFolder()
        manager, _ = boot(folder)
        vote(manager, 1, "s2")
        write(manager, 1, 1, "noop", "set a 2")
        manager.apply(entries(1, 1, "noop", "set a 1"))  # as the others have it
        data = b"".join(format_snapshot(manager.freeze()))
        manager.persist([Effects(differs=2, chunks=[Chunk(0, data)])])
        snapshot = Snapshot(2, 1, len(data), crc32(data))
        manager.arrived(manager.snapshots.check(snapshot, no_pause))
        folder.fault = Fault(folder.steps + step, Kind.DIE_BEFORE)
        try:
            manager.persist([Effects(install=snapshot, forgot=True)])
        except BaseException:
            assert folder.is_dead
        left = folder.kill()
        _, recovered = boot(left)
        assert recovered.recovering
        is_left_out = recovered.snapshot == snapshot or left.exists(f"{LOG}.differs-1")
        assert is_left_out or recovered.differs == 2  # the quarantine goes on
        if not folder.is_dead:
            assert (recovered.snapshot, left.exists(f"{LOG}.differs-1")) == (snapshot, False)
            return
    raise AssertionError("it never ended")


@pytest.mark.parametrize("state", [LogState.QUARANTINED, LogState.DIVERGED])
def test_fsck_names_the_state(state: LogState) -> None:
    plan = read_plan(diverged(is_replaceable=state is LogState.DIVERGED), "s1")
    assert plan.promise is not None
    assert (plan.promise.state, plan.has_vote, plan.problems) == (state, False, [])
    assert plan.notes[0].startswith("the state of s1 differs from that of the others. ")


def test_the_chain_of_a_file_is_recomputed_from_its_base() -> None:
    """The result is the same whether or not the log begins after a snapshot."""
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, "s2")
    written = entries(1, 1, "noop", "set a 1", "set b 2")
    manager.persist([Effects(append=written)])
    whole = read_plan(folder.kill(), "s1").chain
    manager.apply(written[:2])
    snapshot = write_snapshot(manager.snapshots, manager.freeze())
    manager.snapshots.publish(snapshot)
    manager.finish_rewrite(manager.begin_rewrite(snapshot), written[2:])
    left = folder.kill()
    assert left.content(LOG).startswith(b"2 1 base sum ")
    assert read_plan(left, "s1").chain == whole == chained(0, 0, written)


KNOWN_LOG = [
    "set a 1", "client1#7@incr n 5", "client1#8@append a \u00e9", "lease 60000",
    "under lease-5 set b two words", "setex c 30 x", "enqueue q/ job", "enqueue q/ other",
    "hold lock/ alone lease-5 me", "role-add app", "role-grant app read app/",
    "redis 1700000000000 HSET h f v", "redis 1700000000000 SADD s x y", "delete n",
    "redis 1700000000000 XADD t 1-1 f v",
    "txn if a = 1 then set d 4 else set e 5", "object o dict.put \"k\" 1",
]  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "known"),
    [
        ({"objects", "recipes", "redis"}, "c880d092 ae84917e5c73607a"),
        (set(), "2e690166 ad21bc0e69665dbc"),
    ],
)
def test_the_sums_of_a_known_log_never_change(parts: set[str], known: str) -> None:
    """Members compare their sums, so a build that formats an entry or a line of the state
    otherwise could not take part with this one. These numbers may change only with the format."""
    if not all(map(is_there, parts)):
        pytest.skip("an extension is not there")
    manager, _ = boot(MemoryFolder())
    commands = [command for command in KNOWN_LOG if parts_in(command) <= parts]
    first = Entry(1, 1, identity_command("9f86d081884c7d65"))
    replies = manager.apply([first, *entries(2, 1, *commands[:4]), *entries(6, 3, *commands[4:])])
    lines = list(lines_of(manager.freeze()))
    sums = f"{manager.chain:08x} {total(lines):016x}"
    assert sums == known, "\n".join([*lines, *replies])


def test_the_chain_does_not_depend_on_the_slices() -> None:
    written = [*entries(1, 1, "noop", "set a 1"), *entries(3, 4, "noop", "set b 2")]
    for cut in range(5):
        chain = chained(0, 0, written[:cut])
        term = written[cut - 1].term if cut else 0
        assert chained(chain, term, written[cut:]) == chained(0, 0, written)
    moved = [*written[:2], written[2]._replace(term=5), written[3]._replace(term=5)]
    assert chained(0, 0, moved) != chained(0, 0, written)


def test_apply_stops_after_an_entry_that_asks_for_a_sum() -> None:
    """It stops only if the caller can apply the rest later."""
    manager, _ = boot(MemoryFolder())
    written = [
        Entry(1, 1, identity_command("9f86d081884c7d65")),
        *entries(2, 1, "sum", "set a 1", "c@sum", "noop"),
    ]
    assert manager.apply(written[:3], lambda: 0.0, 1.0)[-1] == "SUM response: 2"
    assert (manager.applied.index, manager.store.to_sum) == (2, True)
    manager.apply(written[2:], lambda: 0.0, 1.0)
    assert (manager.applied.index, manager.store.to_sum) == (4, True)
    manager.apply(written[4:], lambda: 0.0, 1.0)
    assert (manager.applied.index, manager.store.to_sum) == (5, False)


def test_a_sum_is_unknown_at_the_floor() -> None:
    manager, _ = boot(MemoryFolder())
    (reply,) = manager.apply(entries(1, 1, "sum"), lambda: 0.0, 1.0)
    assert reply.startswith("Sorry, ")
    assert not manager.store.to_sum


def test_a_member_that_differs_shows_its_lines() -> None:
    manager, _ = boot(MemoryFolder())
    manager.apply(entries(1, 1, "set a 1", "set b 2"))
    manager.refuse_reads(DIVERGED)
    assert manager.read(["show"]) == [DIVERGED]
    shown = '{"applied": 2, "lines": ["2 b 2"], "after": null}'
    assert manager.read(["lines after a"]) == [f"LINES response: {shown}"]
    with pytest.raises(StateRefused):
        manager.freeze()
    manager.freeze(even_differing=True).release(no_pause)


def test_the_sum_of_a_state_does_not_depend_on_the_order() -> None:
    assert total(["a", "b", "c"]) == total(["c", "a", "b"]) != total(["a", "b", "d"])
    assert total(["a", "a"]) != total([])


def total(lines: list[str]) -> int:
    summing = state_sum(lines)
    try:
        while True:
            next(summing)
    except StopIteration as end:
        return int(end.value)
