"""Watches where two events meet: a snapshot, an end, new rights, a listing, and each other.

The rules: nothing of before a snapshot is sent after it; what was applied before an end is sent
before it, and nothing after it; and the one that ends names a place only if all before it was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.node.watches.prefix_watch import PrefixWatch
from raftline.node.watches.watch_listing import KeyListing
from raftline.wire.commands import watch_lines as words
from raftline.wire.refusal import DIVERGED, REMOVED, STOPPING
from raftline_testing.doubles.watched_store import FakeSink, WatchScene, settle
from raftline_testing.nodes.refused_threads import refuse


@pytest.fixture
def scene() -> WatchScene:
    return WatchScene()


def only(scene: WatchScene, sink: FakeSink | None = None) -> PrefixWatch:
    """Return the one watch of a connection."""
    (watch,) = scene.watchers._watches[sink or scene.sink].values()
    return watch


def amid_a_listing(scene: WatchScene, act: Callable[[], object]) -> None:
    """Cause something once, while the keys are looked at for the next watch."""
    lister: Any = scene.lister
    take = lister.take

    def meanwhile(prefixes: Sequence[str]) -> list[KeyListing]:
        lister.take = take
        listings: list[KeyListing] = take(prefixes)
        act()
        return listings

    lister.take = meanwhile


# --- a snapshot -----------------------------------------------------------------------------------


def test_snapshot_over_events_of_prefixes_leaves_none(scene: WatchScene) -> None:
    """If a snapshot replaces the state, no events of earlier entries are sent for any prefix."""
    others = FakeSink()
    scene.watch("a")
    scene.watch("b", sink=others)
    scene.is_held = True
    scene.apply("set a 1", "set b 1", "set a 2")
    scene.is_held = False
    scene.install(90, a="7\x0080", b="8\x0080")
    settle(scene, scene.sink, others)
    for sink, has in ((scene.sink, "a 7"), (others, "b 8")):
        assert [line.split("@")[1] for line in sink.read()][1:] == [
            "WATCH response: 1 key as of 90",
            f"EVENT 90 has {has}",
        ]


def test_the_last_line_of_a_watch_outlives_a_snapshot(scene: WatchScene) -> None:
    scene.watch("a")
    feed = scene.watchers.feed
    with feed.handing, feed.lock:
        feed.say_last(only(scene), feed.end(only(scene), words.RIGHTS))
    scene.install(90)
    settle(scene)
    (last,) = scene.sink.read()
    assert last.startswith("s1@Sorry, ")


def test_a_snapshot_amid_a_listing_lets_the_watch_begin_again(scene: WatchScene) -> None:
    """The listing shows the state before the snapshot, which is not the reader's fault."""
    scene.apply("set a 1")
    amid_a_listing(scene, lambda: scene.install(90, a="7\x0080"))
    first = scene.watch("a")
    assert first[:2] == ["WATCH response: 1 key as of 2", "s1@EVENT 2 has a 1"]
    settle(scene)
    received = [*first[2:], *scene.sink.read()]
    assert received == [
        "s1@Sorry, events up to 90 are gone; watch a begins anew with what there is.",
        "s1@WATCH response: 1 key as of 90",
        "s1@EVENT 90 has a 7",
    ]
    scene.apply("set a 8")
    assert scene.sink.read() == ["s1@EVENT 91 set a 8"]


@pytest.mark.pure
def test_watches_without_a_thread_restart_at_the_next_look(
    scene: WatchScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watches that got no thread restart at the next check."""
    scene.watch("a")

    with monkeypatch.context() as patch:
        refuse(patch)
        scene.install(90, a="7\x0080")
    assert scene.sink.read() == []
    scene.watchers.look(view())
    settle(scene)
    assert scene.sink.read()[-1] == "s1@EVENT 90 has a 7"


# --- an end ---------------------------------------------------------------------------------------


def begun_anew_for_a_slow_reader(scene: WatchScene) -> None:
    scene.watch("a", number="7")
    scene.sink.is_slow = True
    scene.install(90, a="7\x0080")
    settle(scene)


def test_nothing_is_sent_for_a_watch_after_its_unwatch(scene: WatchScene) -> None:
    begun_anew_for_a_slow_reader(scene)
    assert scene.watchers.unwatch(scene.sink, "7") == words.ENDED_AMID_KEYS
    scene.apply("set a 8")
    scene.sink.is_slow = False
    settle(scene)
    assert scene.sink.read() == []


def test_an_unwatch_amid_a_listing_again_ends_the_watch(scene: WatchScene) -> None:
    scene.watch("a", number="7")
    amid_a_listing(scene, lambda: scene.watchers.unwatch(scene.sink, "7"))
    scene.install(90, a="7\x0080")
    settle(scene)
    scene.apply("set a 8")
    settle(scene)
    assert scene.sink.read() == []
    assert scene.watchers.count == 0


def test_watch_restarting_amid_a_piece_sends_keys_first(scene: WatchScene) -> None:
    """A watch that restarts in the middle of a piece sends the keys before the events."""
    scene.watch("a")
    watch, runs = only(scene), list[Callable[[], None]]()
    scene.watchers.run_beside = lambda run: not runs.append(run)
    scene.install(90, a="7\x0080")
    scene.sink.is_slow = True
    runs.pop()()
    scene.apply("set a 8")
    pieces = [scene.watchers.feed._catch_up(watch)]  # begun before that
    while piece := watch.next_piece():
        pieces.append(piece)
    lines = b"".join(pieces).decode().splitlines()
    assert lines[0].startswith("s1@Sorry, events up to 90 are gone; ")
    assert lines[1:] == [
        "s1@WATCH response: 1 key as of 90",
        "s1@EVENT 90 has a 7",
        "s1@EVENT 91 set a 8",
    ]


def test_nothing_is_pushed_to_a_connection_that_has_ended(scene: WatchScene) -> None:
    scene.watch("a")
    scene.is_held = True
    scene.apply("set a 1")
    feed = scene.watchers.feed
    with feed.handing, feed.lock:
        feed.distribute()
    scene.watchers.drop(scene.sink)
    scene.watchers.hand_out()
    assert scene.sink.read() == []
    assert scene.watchers.count == 0


@pytest.mark.parametrize("why", [words.IS_STOPPING, words.RIGHTS])
def test_watch_begun_while_it_is_ended_gets_one_line(scene: WatchScene, why: str) -> None:
    """A watch that is ended while it begins gets one line."""
    watchers = scene.watchers
    if why == words.RIGHTS:
        amid_a_listing(scene, lambda: watchers.end_refused(scene.sink, lambda _: "you may not"))
    else:
        amid_a_listing(scene, watchers.close)
    assert scene.watch("a") == [f"s1@{words.amid_keys(why, 'a')}"]
    assert watchers.count == 0


def test_node_stopping_amid_the_keys_names_no_place(scene: WatchScene) -> None:
    """If a node stops while it sends the keys of a watch, it names no index to resume at."""
    scene.apply(*(f"set k{number} {'v' * 1000}" for number in range(100)))
    scene.sink.is_slow = True
    scene.watch("k")
    scene.watchers.close()
    scene.sink.is_slow = False
    scene.sink.pump()
    last = scene.sink.read()[-1]
    assert last == f"s1@{words.amid_keys(words.IS_STOPPING, 'k')}"
    assert " after " not in last


# --- rights ---------------------------------------------------------------------------------------


def test_rights_changed_amid_events_end_only_those_watches(scene: WatchScene) -> None:
    """If rights change among the events, only the watches concerned end, after the events before
    that."""
    scene.watch("app/", number="1")
    scene.watch("pub/", number="2")
    scene.is_held = True
    scene.apply("set app/a 1", "set pub/a 1")
    scene.watchers.end_refused(scene.sink, lambda line: "you may not" if "app/" in line else "")
    assert scene.sink.read() == [
        "s1#1@EVENT 2 set app/a 1",
        "s1#2@EVENT 3 set pub/a 1",
        f"s1#1@{words.continue_elsewhere(words.RIGHTS, 'app/', 3)}",
    ]
    scene.is_held = False
    scene.apply("set app/a 2", "set pub/a 2")
    assert scene.sink.read() == ["s1#2@EVENT 5 set pub/a 2"]
    assert scene.watchers.count == 1
    assert scene.watch("app/", number="1")[0].startswith("WATCH response: ")


# --- a node that is cut off for ever, and silence -------------------------------------------------


def view(
    *, removed_by: int = 0, is_member: bool = True, leader: str | None = None, differs: int = 0
) -> Any:
    return SimpleNamespace(
        removed_by=removed_by, is_member=is_member, leader=leader, differs=differs
    )


@pytest.mark.pure
@pytest.mark.parametrize(
    "alive",
    [view(), view(removed_by=9), view(removed_by=9, is_member=False, leader="s2"),
     view(is_member=False)],
    ids=["member", "member again", "hears its leader", "joiner"],
)  # fmt: skip
def test_watches_continue_at_a_node_that_may_hear_of_events(scene: WatchScene, alive: Any) -> None:
    scene.watch("a")
    scene.watchers.look(alive)
    scene.apply("set a 1")
    assert scene.sink.read() == ["s1@EVENT 2 set a 1"]


@pytest.mark.pure
def test_watches_end_at_a_node_that_was_removed_and_hears_nobody(scene: WatchScene) -> None:
    scene.watch("a")
    scene.apply("set a 1")
    scene.watchers.look(view(removed_by=9, is_member=False))
    assert scene.sink.read()[1:] == [f"s1@{words.continue_elsewhere(words.IS_REMOVED, 'a', 2)}"]
    assert scene.watch("a") == [REMOVED]


@pytest.mark.pure
def test_watches_end_at_a_node_whose_state_differs(scene: WatchScene) -> None:
    scene.watch("a")
    scene.watchers.look(view(differs=9, leader="s2"))
    assert scene.sink.read() == [f"s1@{words.continue_elsewhere(words.DIFFERS, 'a', 1)}"]
    assert scene.watch("a") == [DIVERGED]
    scene.watchers.look(view(leader="s2"))  # a snapshot replaced its state
    assert scene.watch("a")[0].startswith("WATCH response: ")


@pytest.mark.pure
@pytest.mark.parametrize(
    "back",
    [view(removed_by=9), view(removed_by=9, is_member=False, leader="s2")],
    ids=["member again", "hears its leader"],
)
def test_removed_node_serves_watches_once_added_again(scene: WatchScene, back: Any) -> None:
    """A node that was removed serves watches again once it is added."""
    scene.watchers.look(view(removed_by=9, is_member=False))
    scene.watchers.look(back)
    scene.watch("a")
    scene.apply("set a 1")
    assert scene.sink.read() == ["s1@EVENT 2 set a 1"]


@pytest.mark.pure
def test_stopping_node_serves_no_watch_though_added_again(scene: WatchScene) -> None:
    """A node that is stopping serves no watch, even if it is added again."""
    scene.watchers.look(view(removed_by=9, is_member=False))
    scene.watchers.close()
    scene.watchers.look(view(removed_by=9))
    assert scene.watch("a") == [STOPPING]


def test_lagging_watch_gets_no_line_that_nothing_happened(scene: WatchScene) -> None:
    """`EVENT N` vouches for all events up to N, so it comes after them."""
    scene.clock.s = 1000.0
    scene.watch("a")
    scene.sink.is_slow = True
    scene.apply("set a 1")
    scene.apply("set other 1")
    for _ in range(4):
        scene.clock.s += 4
        scene.watchers.feed.mark_keepalives_due()
        scene.watchers.hand_out()
    scene.sink.is_slow = False
    settle(scene)
    assert scene.sink.read() == ["s1@EVENT 2 set a 1"]


def test_a_watch_that_has_ended_is_not_looked_at_for_ever(scene: WatchScene) -> None:
    scene.clock.s = 1000.0
    for _ in range(20):
        scene.watch("a")
        scene.watchers.drop(scene.sink)
    scene.clock.s += 100
    scene.watchers.feed.mark_keepalives_due()
    scene.watchers.hand_out()
    assert len(scene.watchers.feed._quiet) == 0
