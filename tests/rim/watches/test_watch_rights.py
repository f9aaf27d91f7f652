"""Watches whose user loses the right to read: no event of a later entry is sent."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from raftline.node.watches import watch_feed
from raftline.node.watches.watch_listing import KeyListing
from raftline.raft.log import Entry, Snapshot
from raftline.storage.snapshot_lines import LoadedSnapshot
from raftline.wire.commands import watch_lines as words
from raftline.wire.limits import KEPT_PART
from raftline_testing.doubles.user_scene import UserScene, UserSink
from raftline_testing.doubles.watched_store import FakeSink, settle

REMOVALS = ("user-remove bob", "user-revoke bob app", "role-remove app", "role-revoke app app/")


@pytest.fixture
def scene() -> UserScene:
    return UserScene()


def ended(after: int) -> str:
    return f"s1@{words.continue_elsewhere(words.RIGHTS, 'app/', after)}"


def test_rights_last_in_the_last_epoch(scene: UserScene) -> None:
    """A recovery with a forged term numbers entries with the largest numbers that exist."""
    scene.apply("set app/a 1", term=10**18)
    first_line, *keys = scene.watch("app/", sink=scene.bob)
    assert first_line.startswith("WATCH response: ")
    assert "app/a 1" in keys[0]
    assert scene.watchers.count == 1


@pytest.mark.parametrize("removal", REMOVALS)
def test_no_event_of_an_entry_after_the_removal_is_sent(scene: UserScene, removal: str) -> None:
    scene.watch("app/", sink=scene.bob)
    scene.watch("app/", sink=scene.root)
    first = scene.index + 1
    scene.apply("set app/a 1", removal, "set app/a 2", "set app/b 2")
    assert scene.bob.read() == [f"s1@EVENT {first} set app/a 1", ended(first + 1)]
    assert scene.root.read() == [
        f"s1@EVENT {first} set app/a 1",
        f"s1@EVENT {first + 2} set app/a 2",
        f"s1@EVENT {first + 3} set app/b 2",
    ]
    scene.apply("set app/a 3")
    assert scene.bob.read() == []
    assert scene.watchers.count == 1


def test_events_before_the_end_of_a_right_are_sent(scene: UserScene) -> None:
    """Events that wait when the right ends are sent up to that entry."""
    scene.watch("app/", sink=scene.bob)
    scene.is_held = True
    first = scene.index + 1
    for command in ("set app/a 1", "user-remove bob", "set app/a 2"):
        scene.apply(command)
    scene.watchers.hand_out()
    assert scene.bob.read() == [f"s1@EVENT {first} set app/a 1", ended(first + 1)]


def test_a_watch_ends_while_lines_of_others_always_wait(
    scene: UserScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds even if its connection has another watch that gets events all the time."""
    monkeypatch.setattr(watch_feed, "SLICE", 1)
    roots = [UserSink(scene.manager.store, "root") for _ in range(3)]
    scene.watch("app/", sink=scene.bob)
    scene.apply("role-add other", "role-grant other read other/", "user-grant bob other")
    for sink in (scene.bob, *roots):
        scene.watch("other/", number="2", sink=sink)
    scene.is_held = True
    scene.apply("set other/a 1", "user-revoke bob app")
    scene.is_held, last = False, ended(scene.index)
    said: list[str] = []
    for _ in range(6):
        scene.apply("set other/a 1")
        assert scene.watchers.feed.has_work
        said += scene.bob.read()
    assert last in said


def test_a_slow_reader_gets_no_later_event_out_of_the_history(scene: UserScene) -> None:
    scene.watch("app/", sink=scene.bob)
    scene.bob.is_slow = True
    first = scene.index + 1
    scene.apply("set app/a 1")  # from here on it lags
    scene.is_held = True
    scene.apply("user-remove bob", "set app/a 2")
    scene.bob.is_slow = False
    scene.bob.pump()
    assert scene.bob.read() == [f"s1@EVENT {first} set app/a 1"]
    scene.watchers.hand_out()
    assert scene.bob.read() == [ended(first + 1)]


def test_regained_right_does_not_show_what_happened_meanwhile(scene: UserScene) -> None:
    """A right that is granted again does not show what happened in the meantime."""
    scene.watch("app/", sink=scene.bob)
    first = scene.index + 1
    scene.apply("user-revoke bob app", "set app/a 1", "user-grant bob app", "set app/a 2")
    assert scene.bob.read() == [ended(first)]
    assert scene.watch("app/", sink=scene.bob)[0].startswith("WATCH response: 1 key as of ")


def test_a_change_that_leaves_the_right_ends_nothing(scene: UserScene) -> None:
    scene.watch("app/", sink=scene.bob)
    scene.apply("role-grant app readwrite app/", "user-add eve - reader", "set app/a 1")
    assert scene.bob.read() == [f"s1@EVENT {scene.index} set app/a 1"]


def test_a_watch_whose_line_was_admitted_before_does_not_begin(scene: UserScene) -> None:
    scene.apply("set app/a 1", "user-revoke bob app")
    for after in (None, scene.index - 2):
        [line] = scene.watch("app/", after, sink=scene.bob)
        assert line.startswith("Sorry, bob may not watch app/: it takes the right to read there.")
    assert scene.watchers.count == 0


def test_watch_begun_by_later_users_outlives_earlier_ones(
    scene: UserScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection learns the users of an entry shortly before that entry's events are recorded."""
    late: list[Sequence[Entry]] = []
    with monkeypatch.context() as patch:
        patch.setattr(scene, "note", late.append)
        scene.apply("user-revoke bob app", "user-grant bob app")
        assert scene.watch("app/", scene.index - 2, sink=scene.bob)[0].startswith("WATCH response")
    scene.note(late[0])
    scene.apply("set app/a 1")
    assert scene.bob.read() == [f"s1@EVENT {scene.index} set app/a 1"]
    scene.apply("user-revoke bob app")
    assert scene.bob.read() == [ended(scene.index)]


def test_right_ending_amid_the_keys_ends_the_watch(scene: UserScene) -> None:
    """If the right ends while the keys are sent, the watch ends with them."""
    scene.apply(*(f"set app/{number} {'v' * 1000}" for number in range(100)))
    scene.bob.is_slow = True
    scene.watch("app/", sink=scene.bob)
    scene.apply("user-remove bob", "set app/late 1")
    scene.bob.is_slow = False
    scene.bob.pump()
    *keys, last = scene.bob.read()
    assert last == f"s1@{words.amid_keys(words.RIGHTS, 'app/')}"
    assert not [line for line in keys if "late" in line]


@pytest.mark.parametrize("is_noted", [True, False])
def test_keys_of_a_later_state_are_not_sent(
    scene: UserScene, monkeypatch: pytest.MonkeyPatch, *, is_noted: bool
) -> None:
    """The right ends after the watch was accepted and before its keys are looked up. The events of
    these entries may be recorded later."""
    take, noted = scene.lister.take, scene.note
    late: list[Sequence[Entry]] = []

    def removed_before(prefixes: Sequence[str]) -> list[KeyListing]:
        scene.is_held = True
        if not is_noted:
            monkeypatch.setattr(scene, "note", late.append)
        scene.apply("user-remove bob", "set app/late 1")
        listings: list[KeyListing] = take(prefixes)
        return listings

    monkeypatch.setattr(scene.lister, "take", removed_before)
    assert scene.watch("app/", sink=scene.bob) == [words.amid_keys(words.RIGHTS, "app/")]
    for entries in late:
        noted(entries)
    scene.watchers.hand_out()
    assert scene.bob.read() == []
    assert scene.watchers.count == 0


def test_snapshot_without_the_user_ends_the_watch_first(scene: UserScene) -> None:
    """If a snapshot lacks the user, the watch ends before the keys are sent again."""
    scene.watch("app/", sink=scene.bob)
    users = scene.manager.store.users.with_account("bob", None).format()
    snapshot = Snapshot(scene.index + 5, 1, 0, 0)
    members, cluster = scene.manager.members, scene.manager.state.cluster
    loaded = LoadedSnapshot(snapshot, members, [], {"app/a": "1"}, cluster=cluster, users=users)
    scene.manager.arrived(loaded)
    scene.manager.take_over(snapshot)
    scene.watchers.feed.applied([])
    settle(scene, scene.bob)
    *notices, last = scene.bob.read()
    assert last == f"s1@{words.amid_keys(words.RIGHTS, 'app/')}"
    assert not [line for line in notices if " app/a " in line]
    assert scene.watchers.count == 0


def test_the_position_of_a_later_entry_is_not_sent(scene: UserScene) -> None:
    scene.watch("app/", sink=scene.bob)
    scene.is_held = True
    scene.apply("user-remove bob", "set other 1")
    scene.clock.s = scene.clock.now_s() + 60.0
    scene.watchers.feed.mark_keepalives_due()
    scene.watchers.hand_out()
    assert scene.bob.read() == [ended(scene.index - 1)]


def test_users_who_take_all_they_may_leave_watches(scene: UserScene) -> None:
    """Some are left for the next user, and a sixteenth for admins alone."""
    scene.watchers.watches_max = 640

    def take(user: str) -> int:
        """Return how many watches a user gets."""
        sink, count = FakeSink(user), 0
        while scene.watch("k", number=str(count), sink=sink)[0].startswith("WATCH "):
            count += 1
        return count

    assert [take(user) for user in ("bob", "eve", "ann")] == [450, 113, 28]
    while take("mallory") + take("oscar"):
        """They share what is left."""
    assert take("ann") == 0
    assert take("root") == 640 // KEPT_PART
