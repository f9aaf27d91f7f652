"""Watches without a network: who is sent what, by whom, and what becomes of the slow."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from raftline.logmanager import LogManager
from raftline.net.protocol.host import Backlog
from raftline.node.watches import watch_feed
from raftline.node.watches.watch_listing import STEP_BYTES, Lines
from raftline.raft.log import Entry
from raftline.wire.commands.watch_lines import WatchAsked
from raftline_testing.doubles.watched_store import FakeSink, WatchScene
from raftline_testing.nodes.processes import eventually


@pytest.fixture
def scene() -> WatchScene:
    return WatchScene()


def test_a_watch_tells_the_keys_in_order_and_then_each_change(scene: WatchScene) -> None:
    scene.apply("set b 2", "set a 1", "set other 3")
    assert scene.watch("", None) == [
        "WATCH response: 3 keys as of 4",
        "s1@EVENT 4 has a 1",
        "s1@EVENT 4 has b 2",
        "s1@EVENT 4 has other 3",
    ]
    scene.apply("set a 5")
    scene.apply("delete b")
    assert scene.sink.read() == ["s1@EVENT 5 set a 5", "s1@EVENT 6 delete b"]


def test_what_changed_nothing_and_other_prefixes_are_not_sent(scene: WatchScene) -> None:
    scene.watch("app/")
    scene.apply("cas app/x 1 2", "delete app/x", "get app/x", "set ap 1", "set app 1")
    assert scene.sink.read() == []
    scene.apply("c#1@set app/x 1", "c#1@set app/x 1")  # a retry
    assert scene.sink.read() == ["s1@EVENT 7 set app/x 1"]


def test_one_step_is_one_send_to_each_connection(scene: WatchScene) -> None:
    for number in range(10):
        scene.watch("k", number=str(number))
    before = scene.sink.pushes
    scene.apply("set k1 1", "set k2 2")
    assert scene.sink.pushes == before + 1
    assert scene.sink.read()[:3] == [
        "s1#0@EVENT 2 set k1 1",
        "s1#0@EVENT 3 set k2 2",
        "s1#1@EVENT 2 set k1 1",
    ]


def test_a_write_touches_no_watch_of_another_prefix(scene: WatchScene) -> None:
    others = [FakeSink() for _ in range(300)]
    for number, sink in enumerate(others):
        scene.watch(f"p{number}/", sink=sink)
    scene.watch("mine/")
    scene.apply("set mine/a 1")
    assert scene.sink.read() == ["s1@EVENT 2 set mine/a 1"]
    assert not any(sink.pushes for sink in others)
    assert scene.woken == 0


def test_many_connections_are_served_in_slices_by_the_owner(scene: WatchScene) -> None:
    """Events for many connections are sent in slices, and the owner sends the rest."""
    sinks = [FakeSink() for _ in range(500)]
    for sink in sinks:
        scene.watch("k", sink=sink)
    scene.apply("set k 1")
    assert (sum(sink.pushes for sink in sinks), scene.woken) == (200, 1)
    scene.apply("set k 2")  # in order also for those who have not been sent the first
    while scene.watchers.feed.has_work:
        scene.watchers.hand_out()
    for sink in sinks:
        assert sink.read() == ["s1@EVENT 2 set k 1", "s1@EVENT 3 set k 2"]


def test_a_watch_continues_after_an_entry(scene: WatchScene) -> None:
    scene.apply("set k 1", "set k 2", "set k 3")
    assert scene.watch("k", after=2) == [
        "WATCH response: goes on after 2",
        "s1@EVENT 3 set k 2",
        "s1@EVENT 4 set k 3",
    ]
    scene.apply("set k 4")
    assert scene.sink.read() == ["s1@EVENT 5 set k 4"]


def test_a_watch_that_lacks_one_entry_is_sent_it(scene: WatchScene) -> None:
    scene.apply("set k 1", "set k 2")
    assert scene.watch("k", after=2)[1:] == ["s1@EVENT 3 set k 2"]


def test_what_the_keys_hold_is_not_sent_once_more(scene: WatchScene) -> None:
    first, second, third = (Entry(index, 1, f"set k {index}") for index in (2, 3, 4))
    scene.manager.apply([first])  # and no watch has heard of it
    assert scene.watch("k") == ["WATCH response: 1 key as of 2", "s1@EVENT 2 has k 2"]
    scene.watchers.feed.applied([first])
    scene.watchers.hand_out()
    assert scene.sink.read() == []
    scene.manager.apply([second])
    assert scene.watch("k", number="7")[1:] == ["s1#7@EVENT 3 has k 3"]
    scene.manager.apply([third])
    scene.watchers.feed.applied([second, third])
    scene.watchers.hand_out()
    assert scene.sink.read() == [
        "s1@EVENT 3 set k 3",
        "s1@EVENT 4 set k 4",
        "s1#7@EVENT 4 set k 4",
    ]


def test_the_newest_entry_is_known_but_not_the_next_one(scene: WatchScene) -> None:
    scene.apply("set k 1")
    assert scene.watch("k", after=2) == ["WATCH response: goes on after 2"]
    refusal = scene.watch("k", after=3, number="1")
    assert refusal[0].startswith("Sorry, there is no entry 3 yet; the last one is 2. Nothing was")
    assert scene.watchers.count == 1


def test_only_a_watch_after_a_kept_entry_needs_no_confirmed_read() -> None:
    scene = WatchScene(events_max=2)
    scene.apply("set k 1", "set k 2", "set k 3", "set k 4")
    needs = scene.watchers.needs_confirming
    assert [needs(WatchAsked("", after)) for after in (None, 2, 3, 5, 6)] == [
        True,
        True,
        False,
        False,
        True,
    ]


def test_a_watch_after_what_is_gone_begins_again() -> None:
    scene = WatchScene(events_max=2)
    scene.apply("set k 1", "set k 2", "set k 3", "set k 4")
    assert scene.watch("k", after=2) == [
        "Sorry, events up to 3 are gone; watch k begins anew with what there is.",
        "WATCH response: 1 key as of 5",
        "s1@EVENT 5 has k 4",
    ]


def test_watch_after_an_entry_that_a_recovery_lost_begins_again(scene: WatchScene) -> None:
    scene.apply("set k 1")
    scene.apply("set k 2", term=2_000_000)
    assert scene.watch("k", after=4) == [
        "Sorry, entry 4 is not in the log any more; watch k begins anew with what there is.",
        "WATCH response: 1 key as of 2000000000003",
        "s1@EVENT 2000000000003 has k 2",
    ]
    assert scene.watch("k", after=2, number="1")[1:] == ["s1#1@EVENT 2000000000003 set k 2"]


def test_slow_reader_reads_what_it_missed_from_the_history(scene: WatchScene) -> None:
    """A slow reader gets what it missed from the history, in order."""
    scene.watch("k")
    scene.apply("set k 1")
    scene.sink.is_slow = True
    scene.apply("set k 2")
    scene.apply("set other 1", "set k 3")
    scene.sink.is_slow = False
    scene.apply("set k 4")  # it is a backlog still, so nothing overtakes
    scene.sink.pump()
    scene.apply("set k 5")
    assert [line.partition(" set ")[2] for line in scene.sink.read()] == [
        "k 1",
        "k 2",
        "k 3",
        "k 4",
        "k 5",
    ]


def test_the_last_line_of_a_watch_has_a_code_if_asked_for() -> None:
    scene = WatchScene()
    scene.sink.puts_codes = True
    scene.watch("k", number="7")
    scene.sink.read()
    scene.watchers.close()
    assert scene.sink.read() == [
        "s1#7@Sorry [watch-ended] this server is stopping, so this watch has ended. "
        "Go on with: watch k after 1",
    ]


def test_reader_behind_the_history_is_ended_with_its_place() -> None:
    """If the history no longer has what a reader needs, its watch ends with the index that it
    reached."""
    scene = WatchScene(events_max=3)
    scene.watch("k", number="7")
    scene.apply("set k 0")
    scene.sink.is_slow = True
    for value in range(1, 9):
        scene.apply(f"set k {value}")
    scene.sink.is_slow = False
    scene.sink.pump()
    assert scene.sink.read() == [
        "s1#7@EVENT 2 set k 0",
        "s1#7@Sorry, this watch was read too slowly and has ended. Go on with: watch k after 2",
    ]
    assert scene.watchers.count == 0
    scene.apply("set k 9")
    assert scene.sink.read() == []


def test_a_snapshot_lets_every_watch_begin_again(scene: WatchScene) -> None:
    scene.apply("set app/old 1", "set other 1")
    slow = FakeSink()
    scene.watch("app/")
    scene.watch("app/", sink=slow)
    slow.is_slow = True
    scene.apply("set app/old 2")
    scene.sink.read()
    scene.install(90, **{"app/new": "7\x0080", "x": "1\x0080"})
    scene.apply("set app/new 8")
    anew = [
        "s1@Sorry, events up to 90 are gone; watch app/ begins anew with what there is.",
        "s1@WATCH response: N key as of N", "s1@EVENT N has app/new V",
    ]  # fmt: skip
    eventually(lambda: "app/new" in scene.sink.text and scene.are_listed)
    slow.is_slow = False
    slow.pump()
    eventually(lambda: scene.are_listed)
    slow.pump()
    scene.apply("set app/new 9")
    for sink in (scene.sink, slow):
        said = sink.read()
        listed = [re.sub(r" [0-9]+ key as of [0-9]+", " N key as of N", one) for one in said[:3]]
        listed[2] = re.sub(r"EVENT [0-9]+ has app/new .", "EVENT N has app/new V", listed[2])
        assert listed == anew
        if "as of 90" in said[1]:  # else the keys hold it already
            assert said.pop(3) == "s1@EVENT 91 set app/new 8"
        assert said[3:] == ["s1@EVENT 92 set app/new 9"]


def test_nothing_of_before_a_snapshot_is_sent_after_it(scene: WatchScene) -> None:
    sinks = [FakeSink() for _ in range(300)]
    for sink in sinks:
        scene.watch("k", sink=sink)
    scene.apply("set k 1")  # the last hundred have not been sent yet
    scene.install(90, k="5\x0080")
    eventually(lambda: scene.are_listed)
    while scene.watchers.feed.has_work:
        scene.watchers.hand_out()
    for sink in sinks:
        said = sink.read()
        begun = said.index("s1@EVENT 90 has k 5")
        assert said[begun + 1 :] == []
        assert said[:begun][-1] == "s1@WATCH response: 1 key as of 90"


def test_unwatch_names_the_last_entry_that_was_sent(scene: WatchScene) -> None:
    scene.watch("k", number="7")
    scene.apply("set k 1", "set other 2")
    assert scene.watchers.unwatch(scene.sink, "7") == "UNWATCH response: ended after 3"
    scene.apply("set k 2")
    assert scene.sink.read() == ["s1#7@EVENT 2 set k 1"]
    assert scene.watchers.unwatch(scene.sink, "7").startswith("Sorry, no watch with the id 7 ")
    assert scene.watch("k", number="7")[0].startswith("WATCH response: ")


def test_unwatch_names_no_entry_that_is_applied_and_not_sent_yet(scene: WatchScene) -> None:
    scene.watch("k")
    push = scene.sink.push

    def push_then_apply(data: bytes, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        push(data, to_backlogs)
        scene.sink.push = push  # type: ignore[method-assign]
        entries = [Entry(3, 1, "set k 2")]  # by the thread that steps the core meanwhile
        scene.manager.apply(entries)
        scene.watchers.feed.applied(entries)

    entries = [Entry(2, 1, "set k 1")]
    scene.manager.apply(entries)
    scene.watchers.feed.applied(entries)
    scene.sink.push = push_then_apply  # type: ignore[method-assign]
    assert scene.watchers.unwatch(scene.sink, "") == "UNWATCH response: ended after 2"
    assert scene.sink.read() == ["s1@EVENT 2 set k 1"]


def test_unwatch_of_a_slow_reader_names_what_it_has_taken(scene: WatchScene) -> None:
    scene.watch("k")
    scene.apply("set k 1")
    scene.sink.is_slow = True
    scene.apply("set k 2")
    assert scene.watchers.unwatch(scene.sink, "") == "UNWATCH response: ended after 2"


def test_watch_with_unsent_keys_cannot_be_resumed(scene: WatchScene) -> None:
    """A watch that ends before all of its keys are sent cannot be resumed."""
    scene.apply(*(f"set k{number} {'v' * 1000}" for number in range(100)))
    scene.sink.is_slow = True
    scene.watch("k")
    assert scene.watchers.unwatch(scene.sink, "") == (
        "UNWATCH response: ended before all keys were sent"
    )


def test_one_id_has_one_watch_at_a_time_on_a_connection(scene: WatchScene) -> None:
    scene.watch("k")
    scene.watch("k", number="7")
    assert scene.watch("x")[0].startswith("Sorry, a watch without an id runs on this connection.")
    assert scene.watch("x", number="7")[0].startswith("Sorry, a watch with the id 7 runs on this ")
    assert scene.watch("x", sink=FakeSink())[0].startswith("WATCH response: ")


@pytest.mark.parametrize(
    ("prefix", "weight"), [("k" * 500, 1), ("k" * 512, 2), (r"\xff" * 1024, 9), ("€" * 341, 2)]
)
def test_a_watch_with_a_long_prefix_counts_as_several(
    scene: WatchScene, prefix: str, weight: int
) -> None:
    """Otherwise, its memory would be nine times what is reserved for a watch."""
    scene.watchers.watches_max = weight + 1
    assert scene.watch(prefix)[0].startswith("WATCH response: ")
    assert scene.watch("k", number="1")[0].startswith("WATCH response: ")
    full = f"Sorry, this server serves at most {weight + 1} watches."
    assert scene.watch("k", number="2")[0].startswith(full)
    assert scene.watchers.count == 2
    scene.watchers.unwatch(scene.sink, "")
    begun = [scene.watch("k", number=str(number))[0] for number in range(2, 3 + weight)]
    assert [line.partition(" ")[0] for line in begun] == ["WATCH"] * weight + ["Sorry,"]


def test_one_user_leaves_a_quarter_of_the_watches_to_the_others(scene: WatchScene) -> None:
    scene.watchers.watches_max = 8
    sinks = [FakeSink("bob"), FakeSink("bob")]
    begun = [scene.watch("b", number=str(n), sink=sinks[n % 2])[0] for n in range(7)]
    assert [line.partition(" ")[0] for line in begun] == ["WATCH"] * 6 + ["Sorry,"]
    assert begun[6].startswith("Sorry, this server serves at most 6 watches of one user.")
    anns = FakeSink("ann")
    assert scene.watch("a", number="1", sink=anns)[0].startswith("WATCH ")
    assert scene.watch("a", number="2", sink=anns)[0].startswith("WATCH ")
    scene.watchers.drop(sinks[0])
    assert scene.watch("b", number="9", sink=sinks[1])[0].startswith("WATCH ")


def test_a_connection_that_ends_leaves_nothing_behind(scene: WatchScene) -> None:
    for number in range(3):
        scene.watch("k", number=str(number))
    scene.watchers.drop(scene.sink)
    assert scene.watchers.count == len(scene.watchers.feed._index) == 0
    scene.apply("set k 1")
    assert scene.sink.read() == []


def test_a_node_that_stops_tells_each_watch_where_to_continue(scene: WatchScene) -> None:
    slow = FakeSink()
    scene.watch("k", number="7")
    scene.watch("k", sink=slow)
    scene.apply("set k 1")
    slow.is_slow = True
    scene.apply("set k 2")
    scene.watchers.close()
    slow.is_slow = False
    slow.pump()
    why = "Sorry, this server is stopping, so this watch has ended. Go on with: watch k after"
    assert scene.sink.read()[-1] == f"s1#7@{why} 3"
    assert slow.read() == ["s1@EVENT 2 set k 1", f"s1@{why} 2"]
    assert scene.watch("k")[0].startswith("Sorry, this server is stopping. ")


def test_silence_is_broken_for_those_alone_that_hear_nothing(scene: WatchScene) -> None:
    scene.clock.s = 1000.0
    quiet = FakeSink()
    scene.watch("quiet", sink=quiet)
    scene.watch("k")
    silences, last_s = [], scene.clock.now_s()
    for second in range(60):
        scene.clock.s += 1
        if second % 4 == 0:
            scene.apply(f"set k {second}")
        scene.watchers.feed.mark_keepalives_due()
        scene.watchers.hand_out()
        if said := quiet.read():
            assert said == [f"s1@EVENT {scene.index}"]
            silences.append(scene.clock.s - last_s)
            last_s = scene.clock.s
    assert silences
    assert max(silences) < 10
    assert all(" set k " in line for line in scene.sink.read())


def test_listing_of_many_keys_has_pieces_of_whole_lines(
    scene: WatchScene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A listing of many keys is cut into pieces between lines."""
    monkeypatch.setattr(LogManager, "folder_path", str(tmp_path))
    commands = [f"set k{number:05} {'é' * 200}" for number in range(5000)]
    scene.apply(*commands)
    said = scene.watch("k")
    assert said[0] == "WATCH response: 5000 keys as of 5001"
    assert said[1:] == [f"s1@EVENT 5001 has k{number:05} {'é' * 200}" for number in range(5000)]


def test_a_listing_of_long_values_is_never_in_memory_as_a_whole(
    scene: WatchScene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(LogManager, "folder_path", str(tmp_path))
    written: list[int] = []
    write = Lines.write

    def counted(lines: Lines, data: bytes) -> None:
        written.append(len(data))
        write(lines, data)

    monkeypatch.setattr(Lines, "write", counted)
    length = STEP_BYTES // 4
    scene.apply(*(f"set k{number} {'v' * length}" for number in range(9)))
    assert len(scene.watch("k")) == 10
    assert len(written) == 3
    assert max(written) < STEP_BYTES + 2 * length


def test_listing_without_room_on_disk_is_refused(scene: WatchScene) -> None:
    """If the disk has no space for a listing, the watch is refused in one line."""
    scene.apply(*(f"set k{number:05} {'v' * 1000}" for number in range(2000)))
    refusal = scene.watch("k")  # a folder in memory has no place for files
    assert refusal == [
        "Sorry, the keys of this watch can't be written to memory: No such file or directory. "
        "Nothing was done; try another."
    ]
    assert scene.watchers.count == 0


def test_watches_that_come_together_share_one_look_at_the_pairs(scene: WatchScene) -> None:
    scene.apply("set a 1", "set b 2", "set ab 3")
    looks = []
    look = scene.lister._scan
    scene.lister._scan = lambda *asked: looks.append(1) or look(*asked)
    asked = [(str(n), WatchAsked(prefix)) for n, prefix in enumerate(("a", "", "a", "x"))]
    first_lines = scene.watchers.open(scene.sink, asked)
    assert [lines[0].split()[2] for lines in first_lines] == ["2", "3", "2", "0"]
    assert len(looks) == 1


def test_a_node_that_stops_tells_first_what_was_applied(scene: WatchScene) -> None:
    other = FakeSink()
    scene.watch()
    scene.watch("b", sink=other)
    scene.is_held = True
    scene.apply("set a 1", "set b 2")
    scene.watchers.close()
    assert scene.sink.read() == [
        "s1@EVENT 2 set a 1",
        "s1@EVENT 3 set b 2",
        "s1@Sorry, this server is stopping, so this watch has ended. Go on with: watch after 3",
    ]
    assert other.read()[0] == "s1@EVENT 3 set b 2"


class PieceTeller(FakeSink):
    """A connection that keeps the sizes of what it is pushed and of the pieces that it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def push(self, data: bytes, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        self.sizes.append(len(data))
        super().push(data, to_backlogs)

    def pump(self) -> None:
        while self.backlogs:
            backlog = self.backlogs.pop(0)
            if piece := backlog.next_piece():
                self.sizes.append(len(piece))
                self.text += piece.decode()
                self.backlogs.append(backlog)


LONG = 100_000  # characters of a value: three are more than is pushed at once
PIECE = watch_feed.PIECE_LINES_BYTES + LONG + 100  # the events that reach it stay whole


def events_of(sink: FakeSink) -> list[str]:
    return [line.partition("@")[2][:20] for line in sink.read()]


def test_long_events_of_many_watches_are_sent_in_pieces(scene: WatchScene) -> None:
    """Nothing is encoded for a prefix before a connection asks for its piece."""
    sinks = [PieceTeller() for _ in range(3)]
    for sink, prefix in zip(sinks, ("", "k", "k1"), strict=True):
        scene.watch(prefix, sink=sink)
        sink.read()
        sink.sizes.clear()
    scene.apply(*[f"set k{number} {'v' * LONG}" for number in range(9)])
    assert [len(sink.sizes) for sink in sinks] == [0, 0, 1]  # one event is not too long
    for sink in sinks:
        sink.pump()
    scene.apply("set k1 short")
    assert [len(events_of(sink)) for sink in sinks] == [10, 10, 2]
    for sink in sinks:
        assert max(sink.sizes) <= PIECE


@pytest.mark.pure
def test_long_events_are_encoded_only_when_asked_for(
    scene: WatchScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long events are not encoded for any prefix before a connection asks."""
    formatted: list[str] = []
    real = watch_feed.words.event

    def event(number: int, kind: str, key: str, value: str) -> str:
        formatted.append(key)
        return real(number, kind, key, value)

    monkeypatch.setattr(watch_feed.words, "event", event)
    sink = PieceTeller()
    for prefix in ("", "k", "k1"):
        scene.watch(prefix, number=str(len(prefix)), sink=sink)
    scene.apply(*[f"set k1{number} {'v' * LONG}" for number in range(5)])
    assert formatted == []
    sink.pump()
    assert sorted(formatted) == sorted(f"k1{number}" for number in range(5) for _ in range(3))


def test_lagging_watch_takes_a_bounded_part_of_the_history(scene: WatchScene) -> None:
    """A watch that lags reads a bounded part of the history at a time."""
    scene.watchers.feed.history.bound(1000, 1 << 24)
    scene.watch("k")
    scene.sink.is_slow = True
    for number in range(20):
        scene.apply(f"set k{number % 3} {'v' * LONG}")
    [watch] = set(scene.sink.backlogs)
    sizes = []
    while piece := watch.next_piece():
        sizes.append(len(piece))
    assert sum(sizes) > 20 * LONG
    assert max(sizes) <= PIECE


def test_many_watches_of_one_connection_share_a_push(scene: WatchScene) -> None:
    """The events for many watches of one connection are pushed together."""
    sink = PieceTeller()
    for number in range(10):
        scene.watch("k", number=str(number), sink=sink)
    sink.read()
    sink.sizes.clear()
    scene.apply(f"set k {'v' * LONG}")
    assert sink.sizes == []
    sink.pump()
    assert sorted(line[:5] for line in sink.read()) == [f"s1#{number}@" for number in range(10)]
    assert max(sink.sizes) <= PIECE
