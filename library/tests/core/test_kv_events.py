"""The events of a watch: each once, in order, over any number of connections and lost histories."""

from __future__ import annotations

import random

import pytest

from raftline.clients.calls.kv_errors import EventsGone, NotUnderstood
from raftline.clients.calls.value_codec import BINARY, TEXT
from raftline.clients.connections.node_connection import Refused
from raftline.clients.watches.watch_events import Event, KVSnapshot, WatchCursor, WatchEnded
from raftline.wire.commands import watch_lines as words
from raftline.wire.protocol import escape
from raftline.wire.refusal import AT_FLOOR, HALF_APPLIED, NO_LEADER, NOT_WRITTEN, STOPPING
from raftline_testing.runner.at_night import for_seeds

EventFields = tuple[int, str, str, str | None]


def fields(events: list[Event[str]]) -> list[EventFields]:
    return [(event.index, event.kind, event.key, event.value) for event in events]


def fed(cursor: WatchCursor[str], *lines: str) -> list[EventFields]:
    return [each for line in lines for each in fields(cursor.take(line))]


def test_a_watch_begins_with_the_keys_and_continues_with_events() -> None:
    cursor = WatchCursor(TEXT, "app/", None)
    assert cursor.command == "watch app/"
    assert fed(
        cursor,
        words.begins(2, 57),
        words.has(57, "app/a", "5"),
        words.has(57, "app/b\\sc", r"two words\n"),
        words.event(58, "set", "app/a", ""),
        words.event(60, "delete", "app/b\\sc", ""),
        words.event(61, "expire", "app/a", ""),
        words.nothing_until(90),
    ) == [
        (57, "has", "app/a", "5"),
        (57, "has", "app/b c", "two words\n"),
        (58, "set", "app/a", ""),
        (60, "delete", "app/b c", None),
        (61, "expire", "app/a", None),
    ]
    assert cursor.position == 90
    assert cursor.command == "watch app/ after 90"


def test_keys_that_differ_come_as_events_after_a_gap() -> None:
    """If the events in between are gone, the keys that differ are delivered as events."""
    cursor = WatchCursor(TEXT, "", None)
    fed(cursor, words.begins(3, 57), words.has(57, "a", "1"), words.has(57, "b", "1"))
    fed(cursor, words.has(57, "c", "1"), words.event(58, "set", "d", "1"))
    assert cursor.command == "watch after 57"
    assert fed(
        cursor,
        words.gone("", 80),
        words.begins(3, 90),
        words.has(90, "a", "1"),
        words.has(90, "b", "2"),
        words.has(90, "e", "1"),
    ) == [
        (90, "set", "b", "2"),
        (90, "set", "e", "1"),
        (90, "delete", "c", None),
        (90, "delete", "d", None),
    ]
    assert cursor.position == 90
    assert fed(cursor, words.never_was("", 90), words.begins(0, 99)) == [
        (99, "delete", "a", None),
        (99, "delete", "b", None),
        (99, "delete", "e", None),
    ]


def test_resumed_snapshot_has_the_keys_of_its_entry() -> None:
    """A listing that resumes at another node has the keys as of its entry."""
    cursor = WatchCursor(TEXT, "", None)
    lines = [
        words.begins(9, 57),
        *(words.has(57, key, "1") for key in ("b", "é", "gone")),  # then its node dies
        words.begins(4, 60),
        *(words.has(60, key, "2") for key in ("a", "b", "c")),
        words.has(60, "é", "1"),
    ]
    events = [event for line in lines for event in cursor.take(line)]
    found = KVSnapshot._of(cursor.position, events)
    assert found.index == 60
    assert list(found.pairs.items()) == [("a", "2"), ("b", "2"), ("c", "2"), ("é", "1")]


def test_watch_from_an_index_misses_earlier_deletions() -> None:
    """A watch that starts at an index does not report keys deleted before it."""
    cursor = WatchCursor(TEXT, "app/", 57)
    assert cursor.command == "watch app/ after 57"
    assert fed(cursor, words.goes_on(57), words.event(58, "set", "app/a", "1")) == [
        (58, "set", "app/a", "1")
    ]
    said = "^events up to 80 are gone, and the keys at that index are unknown here; watch without "
    with pytest.raises(EventsGone, match=said):
        cursor.take(words.gone("app/", 80))


def test_a_last_line_of_a_node_sends_the_watch_elsewhere() -> None:
    cursor = WatchCursor(TEXT, "", None)
    cursor.refused(NO_LEADER)  # before the first line
    cursor.refused(STOPPING)
    cursor.refused(words.too_many(5))
    cursor.refused(NOT_WRITTEN("/disk", "No space left"))
    cursor.refused(HALF_APPLIED)
    fed(cursor, words.begins(0, 57))
    for line in (words.continue_elsewhere(words.TOO_SLOW, "", 57), STOPPING):
        with pytest.raises(WatchEnded):
            cursor.take(line)
        cursor.refused(line)
    assert cursor.command == "watch after 57"


def test_a_refusal_of_the_request_is_raised() -> None:
    cursor = WatchCursor(TEXT, "", None)
    assert cursor.command == "watch"
    with pytest.raises(Refused, match=r"^this cluster is at the floor"):
        cursor.refused(AT_FLOOR("its nodes were started with --floor"))
    future = WatchCursor(TEXT, "", 99)
    assert future.command
    with pytest.raises(Refused, match="there is no entry 99 yet"):
        future.refused(words.from_the_future(99, 57))


def test_watch_restarts_if_the_cluster_went_back() -> None:
    """If the cluster was restored to a state before its entry, a watch restarts."""
    cursor = WatchCursor(TEXT, "", None)
    fed(cursor, words.begins(1, 57), words.has(57, "a", "1"))
    assert cursor.command == "watch after 57"
    cursor.refused(words.from_the_future(57, 20))
    assert cursor.command == "watch"
    assert fed(cursor, words.begins(0, 20)) == [(20, "delete", "a", None)]


def test_lines_of_another_kind_are_not_taken_for_events() -> None:
    event = "EVENT x set a 1", "EVENT 5 moved a b", "EVENT 5 set a \\q"
    for line in (*event, "WATCH response", "?"):
        cursor = WatchCursor(TEXT, "", None)
        with pytest.raises(NotUnderstood):
            cursor.take(line)


def test_bytes_are_given_as_bytes() -> None:
    cursor = WatchCursor(BINARY, b"\xff", None)
    assert cursor.command == r"watch \xff"
    fed(cursor, words.begins(0, 1))  # type: ignore[arg-type]
    event = cursor.take(words.event(2, "set", r"\xff\s", r"\x00"))[0]
    assert (event.key, event.value, event.is_there) == (b"\xff ", b"\x00", True)


class Script:
    """A history of a few keys, as nodes tell it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.listed = 0  # the entry that the last listing was the state after
        self.entries: list[list[EventFields]] = [[]]  # by number
        self.states: list[dict[str, str]] = [{}]
        for number in range(1, 40):
            state = dict(self.states[-1])
            events: list[EventFields] = []
            for _ in range(chance.choice((0, 1, 1, 2, 4))):
                key = chance.choice("abcd e")
                if key in state and chance.random() < 0.4:
                    del state[key]
                    events.append((number, "delete", key, None))
                else:
                    state[key] = chance.choice(("0", "1", "x" * 999, "x" * 1000))
                    events.append((number, "set", key, state[key]))
            self.entries.append(events)
            self.states.append(state)

    def lines(self, command: str, last: int, reported: int, forgets: bool) -> list[str]:
        """Return what a node tells that has applied `last`; it may have lost its events. A listing
        is as of a confirmed read, so not before `told`, which was sent already."""
        said: list[str] = []
        after = command.partition("after ")[2]
        if after and not (forgets and self.chance.random() < 0.4):
            first = int(after)
            said.append(words.goes_on(first))
        else:
            self.listed = first = self.chance.randrange(reported, last + 1)
            if after:
                said.append(words.gone("", first))
            state = self.states[first]
            said.append(words.begins(len(state), first))
            said += [words.has(first, escape(key, True), state[key]) for key in sorted(state)]
        for number in range(first + 1, last + 1):
            for index, kind, key, value in self.entries[number]:
                said.append(words.event(index, kind, escape(key, True), value or ""))
            if self.chance.random() < 0.3:
                said.append(words.nothing_until(number))
        return said


def loop(seed: int, forgets: bool) -> tuple[Script, list[EventFields]]:
    """Follow a script over connections that end anywhere; return all that was sent."""
    chance = random.Random(seed)
    script = Script(chance)
    cursor = WatchCursor(TEXT, "", None)
    got: list[EventFields] = []
    last = len(script.entries) - 1
    is_last = has_begun = False
    while not is_last:
        lines = script.lines(cursor.command, last, got[-1][0] if got else 0, forgets)
        is_last = chance.random() < 0.1
        cut = len(lines) if is_last else chance.randrange(len(lines) + 1)
        events = fed(cursor, *lines[:cut])
        assert not (has_begun and "has" in [kind for _, kind, _, _ in events])
        has_begun = has_begun or cursor.is_listed
        got += events
    return script, got


@for_seeds(60, 1000)
def test_a_loop_over_a_watch_never_misses_a_final_state(seed: int) -> None:
    script, got = loop(seed, forgets=True)
    seen: dict[str, str] = {}
    for _, _, key, value in got:
        if value is None:
            del seen[key]  # which was there: it is sent once
        else:
            seen[key] = value
    assert seen == script.states[-1]
    indexes = [index for index, *_ in got]
    assert indexes == sorted(indexes)


@for_seeds(60, 1000)
def test_where_no_event_is_gone_each_is_given_once_and_in_order(seed: int) -> None:
    script, got = loop(seed, forgets=False)
    changes = [event for event in got if event[0] > script.listed and event[1] != "has"]
    assert changes == [each for events in script.entries[script.listed + 1 :] for each in events]
