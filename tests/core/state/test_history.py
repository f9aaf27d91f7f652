"""The latest events of a node: what is kept, what is gone, and from where a watch can continue."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from raftline.state import event_history as the_history
from raftline.state.event_history import EVENT_BYTES, RUN_BYTES, SET_BYTES, EventHistory, _size_of
from raftline.state.key_events import DELETE, SET, EventRun, KeyEvent
from raftline.wire.protocol import real
from raftline_testing.runner.at_night import in_the_rest


def bare(events: list[KeyEvent]) -> list[EventRun]:
    return [EventRun(list(events))] if events else []


def history(*numbers: int, events_max: int = 1000, bytes_max: int = 1 << 20) -> EventHistory:
    """A history of entries 1, 2, …; those with these numbers set a key, once for each mention."""
    found = EventHistory()
    found.bound(events_max, bytes_max)
    for number in range(1, max(numbers) + 1):
        found.add(bare([KeyEvent(number, SET, "k", "v")] * numbers.count(number)), [number])
    return found


def numbers(found: EventHistory, after: int, events_max: int = 1000) -> list[int]:
    return [event.number for event in found.after(after, events_max)[0]]


def test_events_after_an_entry_are_those_of_later_entries_alone() -> None:
    found = history(1, 3, 3, 5)
    assert numbers(found, 0) == [1, 3, 3, 5]
    assert numbers(found, 1) == numbers(found, 2) == [3, 3, 5]
    assert numbers(found, 3) == [5]
    assert found.after(5, 10) == ([], 5)


def test_an_entry_without_events_moves_the_history_on() -> None:
    found = history(1)
    found.add([], [2, 3])
    assert found.last == 3
    assert found.after(1, 10) == ([], 3)


def test_a_piece_holds_whole_entries() -> None:
    found = history(1, 2, 2, 2, 3)
    events, upto = found.after(0, 2)
    assert ([event.number for event in events], upto) == ([1, 2, 2, 2], 2)
    events, upto = found.after(upto, 2)
    assert ([event.number for event in events], upto) == ([3], 3)


@pytest.mark.parametrize("seed", range(5))
def test_events_of_a_prefix_are_those_of_a_full_scan(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events are sets and others, some of escaped keys, read in pieces of any size."""
    monkeypatch.setattr(the_history, "RUN_BYTES", 300)
    chance, found, number = random.Random(seed), EventHistory(), 0
    keys = ["a", "ab", "b/1", "b/2", r"b/\xe4", r"\\a", "b\U0010ffff", "z" * 20]
    while number < 300:
        count = chance.randint(1, 9)
        if chance.random() < 0.5:
            sets = [f"set {chance.choice(keys)} {chance.random()}" for _ in range(count)]
            found.add([EventRun([], number + 1, sets)], range(number + 1, number + count + 1))
        else:
            count = 1
            events = [KeyEvent(number + 1, DELETE, key, "") for key in chance.sample(keys, 3)]
            found.add(bare(events), [number + 1])
        number += count
    for prefix in (*keys, "b", "b/", "c"):
        begin = chance.randint(found.floor, number - 1)
        whole = found.after(begin, 10**6, prefix="")[0]
        upto, taken = begin, list[KeyEvent]()
        while upto < number:
            part, upto = found.after(upto, chance.randint(1, 9), prefix=prefix)
            taken += part
        while len(whole) and whole[-1].number < number:
            whole = [*whole, *found.after(whole[-1].number, 10**6)[0]]
        raw = real(prefix)
        assert taken == [event for event in whole if real(event.key).startswith(raw)]


def test_a_watch_of_another_prefix_looks_at_few_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, many watches that resume at an old event would each scan the events of all
    keys."""
    found, looks = EventHistory(), 0
    found.bound(100_000, 1 << 30)
    found.add(
        [
            EventRun([], n + 1, [f"set k{i} v" for i in range(n, n + 1000)])
            for n in range(0, 20_000, 1000)
        ],
        range(1, 20_001),
    )
    key_at = EventRun.raw_key_at

    def counted(run: EventRun, place: int) -> str:
        nonlocal looks
        looks += 1
        return key_at(run, place)

    monkeypatch.setattr(EventRun, "raw_key_at", counted)

    def look() -> int:
        nonlocal looks
        looks, upto = 0, 0
        while upto < 20_000:
            events, upto = found.after(upto, 500, prefix="none/")
            assert events == []
        return looks

    assert look() >= 19_000  # once, to sort them
    assert look() < 3_000


def test_history_evicts_whole_entries_at_its_bound() -> None:
    """If there are too many events, those of the oldest entries are evicted, entry by entry."""
    found = history(1, 2, 2, 2, 3, 4, events_max=3)
    assert found.floor == 2
    assert numbers(found, 2) == [3, 4]
    assert len(found) == 2


def test_the_oldest_entries_go_where_they_take_too_much_memory() -> None:
    each = EVENT_BYTES + 2
    found = history(1, 2, 3, 4, bytes_max=2 * each)
    assert (found.floor, found.bytes) == (2, 2 * each)


def test_the_last_entry_stays_whole_whatever_its_size() -> None:
    found = history(1, 2, 2, 2, 2, events_max=2)
    assert found.floor == 1
    assert numbers(found, 1) == [2, 2, 2, 2]


@pytest.mark.parametrize("seed", [*range(3), *map(in_the_rest, range(3, 20))])
def test_entries_of_any_size_keep_to_the_bounds_and_go_whole(seed: int) -> None:
    chance = random.Random(seed)
    events_max, bytes_max = chance.choice([(40, 1 << 20), (1000, 8000), (100, 16000)])
    found, added = EventHistory(), list[KeyEvent]()
    found.bound(events_max, bytes_max)
    for number in range(1, 300):
        size = chance.choice([0, 0, 1, 1, 1, 2, 5, 60])
        new = [KeyEvent(number, SET, "k", "v" * chance.randrange(50)) for _ in range(size)]
        added += new
        before = len(found) + size
        found.add(bare(new), [number])
        kept = [event for event in added if event.number > found.floor]
        assert found.after(found.floor, 10**6) == (kept, number)
        assert found.bytes == sum(EVENT_BYTES + len(one.key) + len(one.value) for one in kept)
        alone = len({event.number for event in kept}) == 1
        assert alone or (len(kept) <= events_max and found.bytes <= bytes_max)
        if bytes_max == 1 << 20:
            surplus = max(0, before - events_max)
            assert before - len(kept) <= (surplus and surplus + before // 16 + 60)


def runs_of(history: EventHistory) -> list[EventRun]:
    """Return the runs in which a history holds its events."""
    return [*history._runs]


@pytest.mark.parametrize("seed", [*range(3), *map(in_the_rest, range(3, 20))])
def test_sets_that_are_not_taken_apart_are_the_same_events(seed: int) -> None:
    """This holds among events of other kinds, with gaps between the entries, and with any
    bounds."""
    chance = random.Random(seed)
    events_max, bytes_max = chance.choice([(40, 1 << 20), (2000, 1 << 20), (3000, 16000)])
    found, added, last = EventHistory(), list[KeyEvent](), 0
    found.bound(events_max, bytes_max)
    for _ in range(100):
        last += chance.choice([0, 0, 0, 1])
        runs, first = list[EventRun](), last + 1
        for _ in range(chance.choice([1, 1, 1, 3])):
            count = chance.choice([1, 5, 30, RUN_BYTES // 200])
            texts = [f"v {'ü' * chance.randrange(20)}" for _ in range(count)]
            new = [KeyEvent(last + 1 + place, SET, "k", text) for place, text in enumerate(texts)]
            if chance.random() < 0.5:
                runs.append(EventRun([], last + 1, [f"set k {text}" for text in texts]))
            else:
                runs.append(EventRun(list(new)))
            added += new
            last += count
        found.add(runs, range(first, last + 1))
        kept = [event for event in added if event.number > found.floor]
        assert found.after(found.floor, 10**6) == (kept, last)
        assert len(found) == len(kept)
        assert len(kept) == 1 or (len(kept) <= events_max and found.bytes <= bytes_max)
        begin = chance.randrange(found.floor, last + 1)
        part, upto = found.after(begin, 50)
        assert part == [event for event in kept if begin < event.number][:50]
        assert upto == (part[-1].number if len(part) == 50 else last)
        assert found.bytes == sum(map(_size_of, runs_of(found)))


@pytest.mark.pure  # a function of a compiled module can't be replaced
def test_events_of_two_kinds_in_turn_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client with a session and one without take turns. Counting a whole run again takes
    50 us."""
    counted = 0

    def count(run: EventRun) -> int:
        nonlocal counted
        counted += len(run)
        return _size_of(run)

    monkeypatch.setattr(the_history, "_size_of", count)
    found = EventHistory()
    for number in range(1, 1001, 2):
        found.add(bare([KeyEvent(number, SET, "k", "v")]), [number])
        found.add([EventRun([], number + 1, ["set k v"])], [number + 1])
    assert counted < 2000


@pytest.mark.parametrize("length", [5, 200])
@pytest.mark.parametrize(("events_max", "bytes_max"), [(5000, 1 << 30), (100_000, 1 << 20)])
def test_of_sets_that_came_together_only_as_many_go_as_must(
    events_max: int, bytes_max: int, length: int
) -> None:
    found, last, command = EventHistory(), 0, f"set key {'v' * length}"
    found.bound(events_max, bytes_max)
    for count in [4096] * 4 + [1] * 500:
        before, size = len(found), found.bytes
        found.add([EventRun([], last + 1, [command] * count)], range(last + 1, last + count + 1))
        last += count
        too_many = before + count - events_max
        too_long = (size + count * (SET_BYTES + len(command)) - bytes_max) // len(command)
        gone = before + count - len(found)
        assert gone <= max(0, too_many, too_long) + before // 8


@pytest.mark.pure  # a method of a compiled class can't be replaced
def test_events_go_with_little_work_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    size_of, part = _size_of, EventRun.part

    def parted(run: EventRun, begin: int, end: int) -> EventRun:
        looked_at.append(end - begin)
        return part(run, begin, end)

    monkeypatch.setattr(EventRun, "part", parted)
    found = EventHistory()
    found.bound(1000, 1 << 20)
    for first in range(1, 10 * 4096, 4096):
        found.add([EventRun([], first, ["set k v"] * 4096)], range(first, first + 4096))
    assert len(looked_at) <= 40
    for number in range(10 * 4096 + 1, 11 * 4096 + 1):
        found.add([EventRun([], number, ["set k v"])], [number])
    assert len(looked_at) <= 1000
    assert sum(looked_at) <= 20 * 11 * 4096
    assert found.bytes == sum(map(size_of, runs_of(found)))


def test_a_set_that_is_not_taken_apart_counts_with_its_command() -> None:
    found = EventHistory()
    found.add([EventRun([], 1, ["set k v", "set k ü"])], [1, 2])
    assert found.bytes == 2 * SET_BYTES + 2 * len("set k v") + 3 * len("set k ü")


@pytest.mark.parametrize("key", ["k" * 1000, "k" * 1000 + "\U0001f600", "\u20ac" * 333])
def test_long_keys_keep_to_the_bytes_in_any_form(key: str) -> None:
    """One non-ASCII character can make each character of its text take four bytes."""
    found = EventHistory()
    found.bound(1 << 20, 1 << 20)
    tracemalloc.start()
    try:
        for number in range(1, 3000):
            found.add(bare([KeyEvent(number, DELETE, key[:100] + key[100:], "")]), [number])
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(found) > 200
    assert taken < 1.25 * (1 << 20)


def test_events_that_are_gone_take_no_memory() -> None:
    """This matters even for a few: one event may be as large as all that are kept."""
    found = EventHistory()
    found.bound(1000, 10 << 20)
    for number in range(1, 101):
        found.add(bare([KeyEvent(number, SET, "k", "v" * (1 << 20))]), [number])
    held = [event for run in runs_of(found) for event in run.events()]
    assert sum(len(event[3]) for event in held) == len(found) << 20 <= 10 << 20


def test_the_list_is_trimmed_and_continues() -> None:
    found = history(*range(1, 100), events_max=10)
    held = [event for run in runs_of(found) for event in run.events()]
    assert (found.floor, len(found), len(held)) == (89, 10, 10)
    assert numbers(found, 89) == list(range(90, 100))


def test_a_watch_can_continue_after_what_is_gone_and_not_before() -> None:
    found = history(1, 2, 3, 4, events_max=2)
    assert not found.place_of(1).is_covered
    assert found.place_of(2).is_covered
    assert found.place_of(4).is_covered


def test_a_history_begins_after_what_the_files_held() -> None:
    found = EventHistory()
    found.reset(50)
    found.add(bare([KeyEvent(51, DELETE, "k", "")]), [51])
    assert not found.place_of(49).is_covered
    assert numbers(found, 50) == [51]


def test_after_a_reset_only_what_follows_is_covered() -> None:
    found = history(1, 2)
    found.reset(40)
    assert (found.floor, found.last, len(found), found.resets, found.bytes) == (40, 40, 0, 1, 0)
    assert not found.place_of(2).is_covered
    found.add(bare([KeyEvent(41, SET, "k", "v")]), [41])
    assert numbers(found, 40) == [41]


def test_an_entry_that_was_lost_to_a_recovery_is_not_known() -> None:
    epoch = 10**12
    found = history(1, 2, 3)
    found.add(bare([KeyEvent(epoch + 4, SET, "k", "v")]), [epoch + 4, epoch + 5])
    assert found.place_of(3).is_covered
    assert not found.place_of(4).is_known
    assert not found.place_of(epoch + 3).is_known
    assert found.place_of(epoch + 4).is_covered
    assert numbers(found, 3) == [epoch + 4]
    assert (found.before(epoch + 4), found.before(epoch + 5), found.before(3)) == (3, epoch + 4, 2)


def test_a_recovery_amid_entries_that_come_together_is_seen() -> None:
    epoch = 10**12
    found = EventHistory()
    found.add([], [1, 2, epoch + 3, epoch + 4])
    assert not found.place_of(3).is_known
    assert found.place_of(epoch + 3).is_known
