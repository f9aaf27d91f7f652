"""The keys with which watches begin, while their readers take none of them: what they hold."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raftline.logmanager import LogManager
from raftline.node.watches import watch_listing
from raftline.wire.commands import watch_lines as words
from raftline.wire.commands.watch_lines import WatchAsked
from raftline.wire.limits import LISTINGS_BYTES
from raftline.wire.refusal import NOT_LISTED
from raftline_testing.doubles.watched_store import FakeSink, WatchScene
from raftline_testing.nodes.processes import eventually

DEADLINE_S = 30.0
KEYS = 500
LINES = [f"EVENT 501 has k{number:03} {'v' * 1000}" for number in range(KEYS)]  # 500 KB


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WatchScene]:
    monkeypatch.setattr(LogManager, "folder_path", str(tmp_path))
    scene = WatchScene()
    scene.apply(*(f"set k{number:03} {'v' * 1000}" for number in range(KEYS)))
    yield scene
    scene.watchers.close()


def slow_watch(scene: WatchScene) -> FakeSink:
    """Begin a watch whose reader takes nothing; it is a look by itself."""
    sink = FakeSink()
    sink.is_slow = True
    assert scene.watch("k", sink=sink)[0] == f"WATCH response: {KEYS} keys as of 501"
    return sink


def read(sink: FakeSink) -> list[str]:
    sink.is_slow = False
    sink.pump()
    return [line.removeprefix("s1@") for line in sink.read()]


def test_watches_that_are_not_read_share_one_bound_of_memory(scene: WatchScene) -> None:
    tracemalloc.start()
    try:
        sinks = [slow_watch(scene) for _ in range(24)]  # of 12 MB
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < LISTINGS_BYTES * 5 // 4
    assert 0 < scene.listed_bytes <= LISTINGS_BYTES
    assert read(sinks[0]) == read(sinks[-1]) == LINES  # of memory and of a file


def test_prefixes_within_one_another_keep_no_key_more_than_once(scene: WatchScene) -> None:
    """Otherwise, one packet of watches would write each value to the disk once for each of their
    prefixes, and other watches would wait for that."""
    stem = "p" * 200
    scene.apply(*(f"set {stem}{number:04} 1" for number in range(3000)))
    prefixes = [stem[:length] for length in range(1, 201)]
    listings = scene.lister.take(prefixes)
    assert {each.count for each in listings} == {3000}
    assert {each.piece(0) for each in listings} == {listings[0].piece(0)}
    (lines,) = {each._lines for each in listings}
    assert lines.size == 3000 * len(f"EVENT 3501 has {stem}0000 1\n")


@pytest.mark.parametrize(
    ("prefix", "has"),
    [
        ("", ["a", "\\xc3", "\\xc3z", "é", "éb", "\\xc3\\xff", "\\xff"]),
        ("é", ["é", "éb"]),
        ("\\xc3", ["\\xc3", "\\xc3z", "\\xc3\\xff"]),
        ("b", []),
    ],
)
def test_prefixes_of_one_look_have_each_their_own_keys(prefix: str, has: list[str]) -> None:
    scene = WatchScene()
    keys = ("éb", "\\xc3z", "a", "\\xff", "é", "\\xc3", "\\xc3\\xff")
    scene.apply(*(f"set {key} 1" for key in keys))
    asked = [("1", WatchAsked(prefix)), ("2", WatchAsked("a"))]
    scene.watchers.open(scene.sink, asked)
    scene.sink.pump()
    lines = [line for line in scene.sink.read() if line.startswith("s1#1@")]
    assert [line.split(" ")[3] for line in lines] == has


@pytest.mark.parametrize("end", ["unwatch", "drop", "read", "close"])
def test_what_a_watch_has_let_go_of_counts_no_more(scene: WatchScene, end: str) -> None:
    gc.disable()
    try:
        for _ in range(3):
            sink = slow_watch(scene)
            assert scene.listed_bytes > 500_000
            if end == "unwatch":
                scene.watchers.unwatch(sink, "")
            elif end == "drop":
                scene.watchers.drop(sink)
            elif end == "read":
                assert read(sink) == LINES
            else:
                scene.watchers._end_all(words.IS_STOPPING)
            assert scene.listed_bytes == 0
    finally:
        gc.enable()


def test_least_recently_read_file_is_evicted(
    scene: WatchScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there are too many files, the one that has been unread for the longest time is evicted."""
    monkeypatch.setattr(watch_listing, "LISTINGS_BYTES", 0)
    monkeypatch.setattr(watch_listing, "LISTING_FILES", 2)
    first, second = slow_watch(scene), slow_watch(scene)
    first.text += first.backlogs[0].next_piece().decode()  # it reads a piece
    third = slow_watch(scene)
    (last,) = read(second)
    assert last == words.amid_keys(words.TOO_SLOW, "k")
    assert read(first) == read(third) == LINES
    assert scene.watchers.count == 2


def test_files_of_listings_leave_the_log_its_part_of_the_disk(
    scene: WatchScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_listing, "LISTINGS_BYTES", 0)
    first = slow_watch(scene)
    monkeypatch.setattr(watch_listing, "spares", lambda _, size: size <= 1000)
    refusal = scene.watch("k")[0]
    assert "can't be written" in refusal
    assert "No space left on device" in refusal
    assert read(first) == [words.amid_keys(words.TOO_SLOW, "k")]


def look_together(
    scene: WatchScene, error: BaseException, watch: Callable[[str], object]
) -> dict[str, object]:
    """Make three threads watch. The first looks alone, while the others come to share the next
    look, which raises `error`. Return what each was given."""
    lister, hold = scene.lister, scene.manager.hold
    given: dict[str, object] = {}

    def run(prefix: str) -> None:
        try:
            given[prefix] = watch(prefix)
        except BaseException as caught:
            given[prefix] = caught

    threads = {prefix: threading.Thread(target=run, args=(prefix,)) for prefix in ("", "k", "k0")}
    looks = iter(range(2))

    def hold_once() -> object:
        if next(looks):
            raise error
        threads["k"].start()
        threads["k0"].start()
        assert eventually(lambda: len(lister._waiting) == 2)
        return hold()

    scene.manager.hold = hold_once  # type: ignore[assignment,method-assign]
    threads[""].start()
    threads[""].join(DEADLINE_S)
    for thread in threads.values():
        thread.join(DEADLINE_S)
    scene.manager.hold = hold  # type: ignore[method-assign]
    return given


@pytest.mark.pure
@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "Too many open files")])
def test_failed_listing_is_not_shared_as_an_empty_one(
    scene: WatchScene, error: BaseException
) -> None:
    """A failed listing does not look like an empty one to those who share it."""
    given = look_together(scene, error, lambda prefix: scene.lister.take([prefix])[0])
    first: Any = given.pop("")
    assert (first.count, first.failure) == (KEYS, "")
    (other,) = [each for each in given.values() if each is not error]
    assert isinstance(other, watch_listing.KeyListing)
    assert other.failure == NOT_LISTED
    assert scene.lister.take(["k"])[0].count == KEYS  # by the next look


@pytest.mark.pure
def test_a_watch_whose_look_another_one_failed_is_refused(scene: WatchScene) -> None:
    error, sinks = MemoryError(), {prefix: FakeSink() for prefix in ("", "k", "k0")}

    def watch(prefix: str) -> list[str]:
        return scene.watchers.open(sinks[prefix], [("", WatchAsked(prefix))])[0]

    given = look_together(scene, error, watch)
    assert given.pop("") == [f"WATCH response: {KEYS} keys as of 501"]
    (prefix,) = [prefix for prefix, each in given.items() if each is not error]
    assert given[prefix] == [NOT_LISTED]
    sinks[prefix].pump()
    assert sinks[prefix].read() == []
    for sink in sinks.values():
        scene.watchers.drop(sink)  # their connections end
    assert scene.watchers.count == 0


def test_watch_refused_amid_a_listing_spares_the_next_one(scene: WatchScene) -> None:
    """If a watch is refused during a listing, the next one still gets its own keys."""
    scene.apply("set app/a 1", "set pub/a 2")
    watchers, take = scene.watchers, scene.lister.take

    def meanwhile(prefixes: list[str]) -> list[watch_listing.KeyListing]:
        listings = take(prefixes)
        watchers.end_refused(scene.sink, lambda line: "you may not" if "app/" in line else "")
        return listings

    scene.lister.take = meanwhile
    asked = [("1", WatchAsked("app/")), ("2", WatchAsked("pub/"))]
    refused, begun = watchers.open(scene.sink, asked)
    scene.sink.pump()
    assert (refused, begun) == ([], ["WATCH response: 1 key as of 503"])
    assert sorted(scene.sink.read()) == [
        f"s1#1@{words.amid_keys(words.RIGHTS, 'app/')}",
        "s1#2@EVENT 503 has pub/a 2",
    ]
