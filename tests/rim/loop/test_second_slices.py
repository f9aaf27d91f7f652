"""Work that is done a slice at a time continues with the next one, in order, until all is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.logmanager import LogManager
from raftline.net.protocol.host import Backlog, Batch
from raftline.net.protocol.outgoing_protocol import READS_AT_ONCE
from raftline.node.loop.granted_leases import EXPIRED_MAX, STARTED_MAX, GrantedLeases
from raftline.node.watches import watch_listing, watch_registry
from raftline.node.watches.watch_feed import FORMATTED_MAX, PIECE_EVENTS, SLICE, SLICE_S
from raftline.raft.inputs import Propose, SnapshotTaken, Tick
from raftline.raft.log import Snapshot
from raftline.raft.snapshot import COMPACT_MAX
from raftline.state import store as store_module
from raftline.state.event_history import EventHistory
from raftline.state.key_events import EventRun
from raftline.state.key_index import RUN_KEYS
from raftline.state.key_pages import PAGE_KEYS
from raftline.state.pairs import FREED_MAX, LayeredPairs, free
from raftline.wire.limits import LEASES_LISTED
from raftline_testing.doubles.cores import acknowledge, applied, compact, established, sync
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.long_replies import Line
from raftline_testing.doubles.watched_store import FakeSink, WatchScene
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS, entries
from raftline_testing.orders import StepDown, obey
from tests.rim.loop.leasing_leader import Leader

# --- connections and watches ---------------------------------------------------------------------


def test_events_for_many_connections_leave_in_slices() -> None:
    """They reach all connections."""
    scene = WatchScene()
    scene.clock.s = 0.0
    sinks = [FakeSink() for _ in range(2 * SLICE + 50)]
    for sink in sinks:
        scene.watch("k", sink=sink)
        sink.read()
    scene.is_held = True
    scene.apply("set k 1")
    reached, woken = [], scene.woken
    while scene.watchers.feed.has_work:
        scene.watchers.hand_out()
        reached.append(sum(bool(sink.text) for sink in sinks))
    assert reached == [SLICE, 2 * SLICE, 2 * SLICE + 50]
    assert scene.woken == woken + 2  # the owner does the rest
    assert {tuple(sink.read()) for sink in sinks} == {("s1@EVENT 2 set k 1",)}


def test_slices_of_events_are_bounded_in_time() -> None:
    """The thread that hands out events may also read from a member, so it leaves the rest to the
    owner."""
    scene = WatchScene()
    scene.clock.s = 0.0

    class SlowSink(FakeSink):
        def push(self, data: bytes, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
            scene.clock.s = scene.clock.now_s() + SLICE_S / 4
            super().push(data, to_backlogs)

    sinks = [SlowSink() for _ in range(10)]
    for sink in sinks:
        scene.watch("k", sink=sink)
        sink.read()
    scene.is_held, woken, reached = True, scene.woken, []
    scene.apply("set k 1")
    while scene.watchers.feed.has_work:
        scene.watchers.hand_out()
        reached.append(sum(bool(sink.text) for sink in sinks))
    assert reached == [4, 8, 10]
    assert scene.woken == woken + 2


def test_a_slice_counts_connections_over_several_groups() -> None:
    scene = WatchScene()
    scene.clock.s = 0.0
    sinks = [FakeSink() for _ in range(SLICE + 10)]
    for number, sink in enumerate(sinks):
        scene.watch(f"k{number % 3}", sink=sink)
        sink.read()
    scene.is_held = True
    scene.apply("set k0 1", "set k1 1", "set k2 1")
    scene.watchers.hand_out()
    assert sum(bool(sink.text) for sink in sinks) == SLICE
    scene.watchers.hand_out()
    assert all(len(sink.read()) == 1 for sink in sinks)


@pytest.mark.parametrize("matching", ["k", "other"])
def test_a_watch_that_is_far_behind_continues_piece_by_piece(matching: str) -> None:
    """This holds even if no event of a piece has its prefix."""
    count = 3 * PIECE_EVENTS + 7
    scene = WatchScene(events_max=2 * count)
    scene.watchers.feed.history.bound(2 * count, 1 << 30)
    scene.apply(*[f"set k {number}" for number in range(count)], "set other last")
    lines = scene.watch(matching, after=1)
    said = [line.rpartition(" ")[2] for line in lines if "EVENT" in line]
    assert said == ([str(number) for number in range(count)] if matching == "k" else ["last"])
    scene.apply("set k live", "set other live")
    assert scene.sink.read()[-1].endswith(" live")


def test_a_node_has_a_bounded_number_of_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_registry, "WATCHES_MAX", 3)
    scene, other = WatchScene(), FakeSink()
    for number in range(3):
        assert "response" in scene.watch("k", number=str(number))[0]
    assert scene.watch("k", sink=other)[0].startswith("Sorry, ")
    scene.watchers.unwatch(scene.sink, "1")
    assert "response" in scene.watch("k", sink=other)[0]
    assert scene.watch("k", number="9", sink=other)[0].startswith("Sorry, ")
    scene.watchers.drop(scene.sink)
    assert scene.watchers.count == 1
    for number in range(2):
        assert "response" in scene.watch("k", number=str(number))[0]


def test_a_listing_of_many_keys_has_all_of_them_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The keys are scanned, sorted and encoded in slices, and end up in a file."""
    for name, value in (("STEP_KEYS", 7), ("SORTED_KEYS", 10), ("LISTING_BYTES", 100)):
        monkeypatch.setattr(watch_listing, name, value)
    monkeypatch.setattr(watch_listing, "PIECE_BYTES", 64)
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    # As their bytes are: U+E000 is EE 80 80, and comes before a byte FF that is no UTF-8.
    names = [*[f"k{number * 37 % 101:03}" for number in range(99)], "k\\xff", "k\ue000"]
    manager.apply(
        entries(
            1,
            1,
            "cluster 9f86d081884c7d65 level 1",
            *[f"set {name} v{name}" for name in names],
            "set z 1",
        )
    )
    monkeypatch.setattr(LogManager, "folder_path", str(tmp_path))
    pauses: list[int] = []
    [found] = watch_listing.Lister(manager, lambda: pauses.append(1)).take(["k"])
    pieces, place = list[bytes](), 0
    while piece := found.piece(place):
        pieces.append(piece)
        place += len(piece)
    lines = b"".join(pieces).decode().splitlines()
    in_order = [*sorted(names[:99]), "k\ue000", "k\\xff"]
    assert [line.split(" ", 3)[3] for line in lines] == [f"{key} v{key}" for key in in_order]
    assert found.count == 101
    assert len(pieces) > 10
    # Of 102 keys looked at, of 11 runs that were sorted and merged, of 101 lines encoded.
    assert len(pauses) >= 102 // 7 + 101 // 10 + 101 // 7 + 101 // 7


@pytest.mark.pure
def test_the_heads_of_many_watches_are_each_their_own() -> None:
    scene = WatchScene()
    sinks = [FakeSink() for _ in range(2 * FORMATTED_MAX + 1)]
    for number, sink in enumerate(sinks):
        scene.watch("k", number=str(number), sink=sink)
        sink.read()
    scene.is_held = True
    scene.apply("set k 1")
    while scene.watchers.feed.has_work:
        scene.watchers.hand_out()
    said = [sink.read() for sink in sinks]
    assert said == [[f"s1#{number}@EVENT 2 set k 1"] for number in range(len(sinks))]


@pytest.mark.parametrize("count", [READS_AT_ONCE, 2 * READS_AT_ONCE, 3 * READS_AT_ONCE + 5])
def test_reads_of_one_packet_are_answered_in_order(count: int) -> None:
    """The order holds across several reads of the state."""
    line = Line(FakeHost())
    sizes: list[int] = []

    class Named:
        def read(self, commands: Sequence[str], room: int = 0, *, waits: bool = True) -> list[str]:
            sizes.append(len(commands))
            return [f"GET response: {command[4:]}" for command in commands]

    batch = Batch(
        [f"get k{number}" for number in range(count)],
        is_read=True,
        ids=[str(number) for number in range(count)],
        reply_sink=line.outgoing,
    )
    batch.reader = Named()
    line.outgoing.add(batch)
    batch.wake()
    line.host.flush()
    said = b"".join(b"s1#%d@GET response: k%d\n" % (number, number) for number in range(count))
    assert line.receive(len(said)) == said
    assert max(sizes) == READS_AT_ONCE
    assert line.outgoing.is_empty()
    line.close()


def test_a_long_log_is_compacted_a_part_at_a_time() -> None:
    last = 2 * COMPACT_MAX + 3
    node = established("s1", *[1] * last)
    sync(node)
    for peer in node.view.peers:
        acknowledge(node, peer)
    while node.view.applying < last:
        node.step(Tick(), node.view.now_ms)
    applied(node)
    node.step(SnapshotTaken(Snapshot(last, 1, 10, 7)), node.view.now_ms)
    bases = []
    while compact(node, last):
        bases.append(node.view.log.base_index)
    assert bases == [COMPACT_MAX, 2 * COMPACT_MAX]
    assert node.view.log.base_index == last


# --- leases -----------------------------------------------------------------------------------


def found_by(leader: Leader, count: int) -> None:
    """Make a new leader find so many leases."""
    for number in range(count):
        leader.store.leases.grant(100 + number, 10_000)
    leader.leasing = GrantedLeases(leader.node, leader.store)
    leader.look()


def leases_of(leader: Leader) -> int:
    """Return how many leases a leader keeps the time of."""
    return len(leader.leasing._clock)


def test_new_leader_counts_each_of_many_leases_once() -> None:
    """It also expires them all."""
    leader, count = Leader(), 2 * STARTED_MAX + 3
    found_by(leader, count)
    slices = []
    while leader.leasing.wake_at_ms == 0:
        before = leases_of(leader)
        assert leader.expire() == ""
        slices.append(leases_of(leader) - before)
    assert slices == [STARTED_MAX, STARTED_MAX, 3]
    leader.now_ms += 60_000
    ended: list[str] = []
    while expiry := leader.expire():
        ended += expiry.split()[2:]
        leader.commit()
    assert sorted(ended) == sorted(f"lease-{100 + number}" for number in range(count))
    assert empty(leader)


def test_fallen_leader_leaves_no_leases_for_the_next() -> None:
    leader = Leader()
    found_by(leader, STARTED_MAX + 3)
    leader.expire()
    obey(leader.node, StepDown(), leader.node.view.now_ms)
    leader.look()
    assert leader.leasing._inherited == []
    assert leases_of(leader) == 0


def test_list_of_leases_is_bounded_in_leases_and_keys() -> None:
    """It lists the first leases, and the first keys of each."""
    leader = Leader()
    lease = leader.lease(10)
    for number in range(LEASES_LISTED + 5):
        leader.store.leases.grant(10_000 + number, 10_000)
        leader.store.put_under(lease, f"k{number:05}", "v")
    reported = json.loads(leader.leasing.answer("leases", leader.now_ms).partition(": ")[2])
    assert reported["leases_in_all"] == LEASES_LISTED + 6
    assert len(reported["leases"]) == LEASES_LISTED
    assert reported["leases"][lease]["keys_in_all"] == LEASES_LISTED + 5
    assert reported["leases"][lease]["keys"] == [f"k{number:05}" for number in range(LEASES_LISTED)]


def empty(leader: Leader) -> bool:
    """Whether nothing is left of any lease."""
    leasing, store = leader.leasing, leader.store
    return not (
        store.leases.granted
        or store.leased
        or store.leases.started
        or leasing._expiring
        or leasing._inherited
        or leases_of(leader)
    )


LEASED = st.lists(
    st.sampled_from(
        [
            "lease 1",
            "setex a 1 v",
            "setex b 2 v",
            "expire a 3",
            "persist a",
            "set a w",
            "under LEASE set c 1",
            "release LEASE",
            "renew LEASE",
            "delete b",
            "clear c",
            "wait",
            "end",
        ]
    ),
    max_size=30,
)


@given(LEASED)
def test_nothing_of_a_lease_stays_once_it_has_ended(done: list[str]) -> None:
    leader, lease = Leader(), "lease-1"
    for command in done:
        command = command.replace("LEASE", lease)
        if command == "wait":
            leader.now_ms += 700
        elif command.startswith("renew "):
            leader.leasing.answers([command], leader.now_ms)
        elif command == "end":
            leader.expire()
            leader.commit()
        else:
            index = leader.apply(command)
            lease = f"lease-{index}" if command.startswith("lease ") else lease
    for _ in range(3):
        leader.now_ms += 60_000
        leader.expire()
        leader.commit()
    assert empty(leader)
    assert not any(leader.store.lease_of(key) for key in leader.store)


def test_many_ended_leases_leave_nothing() -> None:
    """Some expire, and others are released."""
    leader = Leader()
    for _ in range(3):
        leader.node.step(Propose(["lease 1"] * (EXPIRED_MAX + 1)), leader.node.view.now_ms)
        leader.commit()
        leader.now_ms += 60_000
        while leader.expire():
            leader.commit()
        assert empty(leader)


# --- pairs and events -------------------------------------------------------------------------


def test_a_show_of_many_keys_continues_page_by_page() -> None:
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    count = 2 * PAGE_KEYS + 1
    manager.apply(entries(1, 1, *[f"set k{number:05} {number}" for number in range(count)]))
    command, shown, sizes = "show", dict[str, str](), []
    while command:
        [reply] = manager.read([command])
        page, _, command = reply.removeprefix("SHOW response: ").partition(" more: ")
        sizes.append(len(json.loads(page)))
        shown |= json.loads(page)
    assert sizes == [PAGE_KEYS, PAGE_KEYS, 1]
    assert shown == {f"k{number:05}": str(number) for number in range(count)}


def test_sorting_keys_for_a_page_yields_to_others() -> None:
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    count = 3 * RUN_KEYS + 1
    manager.store.update({f"k{number:06}": "v" for number in range(count)})
    free_locks: list[bool] = []

    def pause() -> None:
        free_locks.append(not manager.client_lock.locked())
        manager.store[f"k{count - 1:06}"] = "w"  # the page shows it

    command = f"show k after k{count - 3:06}"
    replies = manager.read([command, "get k000000"], pause=pause)
    assert replies == [
        f'SHOW response: {{"k{count - 2:06}": "v", "k{count - 1:06}": "w"}}',
        "GET response: v",
    ]
    assert free_locks == [True] * 3  # twice while keys are sorted, and after the page


def test_others_get_their_turn_while_many_pairs_are_freed() -> None:
    count = 3 * FREED_MAX + 1
    pairs = LayeredPairs({f"k{number}": "v" for number in range(count)})
    left = [len(pairs.base) for _ in free(pairs)]
    assert left == [*range(count - FREED_MAX, 0, -FREED_MAX), 0]


def test_long_history_evicts_its_oldest_entries() -> None:
    """It also frees their memory."""
    most, count = 12_000, 40
    history = EventHistory()
    history.bound(most, 1 << 40)
    for piece in range(count):
        numbers = list(range(1000 * piece + 1, 1000 * piece + 1001))
        events = [(number, "set", "k", str(number)) for number in numbers]
        history.add([EventRun(list(events))], numbers)
        assert len(history) <= most
        assert sum(map(len, history._runs)) == len(history)
        if piece % 10 and piece != count - 1:
            continue
        found, upto = history.after(history.floor, 1 << 40)
        assert [event.number for event in found] == list(range(history.floor + 1, numbers[-1] + 1))
        assert upto == numbers[-1]
    assert history.bytes == sum(len(event.value) + 1 + 150 for event in found)


@pytest.mark.pure  # a constant of a compiled module can't be replaced
def test_events_of_a_too_large_transaction_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each key that it changes may have an event with a value of a mebibyte. Watches restart after
    it."""
    monkeypatch.setattr(store_module, "APPLIED_CHARACTERS", 100_000)
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    manager.apply(
        entries(1, 1, "cluster 9f86d081884c7d65 level 1", f"set k {'v' * 1000}", "set n 1")
    )
    manager.store.notes_events = True
    manager.take_events()
    heavy = "txn then " + " ; ".join([f"append k{n} {'v' * 1000}" for n in range(128)])
    replies = manager.apply(entries(4, 1, "set a 1", heavy, "set b 1", heavy, "set c 1"))
    done = [reply.startswith("TXN response, then") for reply in replies]
    assert done == [False, True, False, True, False]
    taken = manager.take_events()
    assert taken.lost_up_to == 7
    assert [event[:3] for event in taken.events] == [(8, "set", "c")]
    light = "txn then " + " ; ".join(["append k x"] * 128)
    manager.apply(entries(9, 1, light))
    taken = manager.take_events()  # of each key one event, once there is room for all
    assert (taken.lost_up_to, [event[:3] for event in taken.events]) == (0, [(9, "set", "k")])
