"""Watches while a snapshot replaces the state, connections end, and rights are taken away.

A client keeps the picture of its keys that the lines make. At each line this is the state after
the entry that the line names; no event of its prefix was left out before.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from unittest import mock

import pytest

from raftline.access.users import make_verifier
from raftline.net.connections import outgoing
from raftline.net.connections.outgoing import Outgoing
from raftline.net.protocol import subscriptions
from raftline.net.protocol.host import Backlog, Batch
from raftline.net.protocol.subscriptions import WatchSubscriptions
from raftline.net.protocol.waits import AwaitReplies, Replies, SendBytes, Waits
from raftline.node.watches import watch_feed, watch_registry
from raftline.node.watches import watch_listing as listing
from raftline.node.watches.prefix_watch import PrefixWatch
from raftline.node.watches.watch_feed import Feed
from raftline.node.watches.watch_listing import KeyListing
from raftline.node.watches.watch_registry import WatchRegistry
from raftline.raft.log import Entry, Snapshot
from raftline.storage.snapshot_lines import LoadedSnapshot
from raftline.wire.commands.authorization import denial_reason
from raftline.wire.commands.command_table import Request
from raftline.wire.commands.watch_lines import RIGHTS
from raftline.wire.operands.login_operands import ITERATIONS_LEAST
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds
from raftline_testing.interleave.threads import Thread
from raftline_testing.interleave.wires import connected
from tests.interleave import driven_watches
from tests.interleave.driven_watches import FIRST, DrivenWatches, settle

LINES = (watch_feed, watch_registry, subscriptions, outgoing, listing)
COMMANDS = (
    "set a 1",
    "set b 1",
    "delete a",
    "set a 2",
    "snapshot",
    "set c 1",
    "delete b",
    "set a 3",
)
GONE_PAIRS = {"a": "7", "d": "8"}  # of the snapshot
SKIPPED = 3  # entries that come with it alone
ROOM = 60  # bytes that are on their way to a client
REFUSED = "Sorry, you may not watch these keys."
AMID_STEPS = 400
USERS = (
    "cluster 9f86d081884c7d65 level 1",
    f"user-add root {make_verifier('correct horse', ITERATIONS_LEAST)} admin",
    "user-add bob - reader",
)
REMOVAL = "user-remove bob"


class Scene(DrivenWatches):
    """A node whose state is replaced between the entries; the state after each is known."""

    def __init__(self, commands: Sequence[str] = COMMANDS) -> None:
        self.states: dict[int, dict[str, str]] = {0: {}}
        super().__init__()
        self.left = list(commands)
        self.has_rights = True
        self.removed_by = 0  # the entry that removed the user of the clients

    def apply(self, command: str) -> None:
        now = dict(self.states[self.index])
        if command == "snapshot":
            self._install()
            return
        verb, key, *value = command.split()
        if verb == "set":
            now[key] = value[0]
        elif command != FIRST:
            now.pop(key, None)
        self.states[self.index + 1] = now
        super().apply(command)

    def _install(self) -> None:
        self.index += SKIPPED
        self.states[self.index] = dict(GONE_PAIRS)
        snapshot = Snapshot(self.index, 1, 0, 0)
        pairs = {key: f"{value}\x00{self.index}" for key, value in GONE_PAIRS.items()}
        members, store = self.manager.members, self.manager.store
        kept: dict[str, Any] = {"cluster": self.manager.state.cluster}
        kept["users"] = store.users.format()
        self.manager.arrived(LoadedSnapshot(snapshot, members, [], pairs, **kept))
        self.manager.take_over(snapshot)
        self.watchers.feed.applied(list[Entry]())

    def state(self, number: int, prefix: str) -> dict[str, str]:
        pairs = self.states[number]
        return {key: value for key, value in pairs.items() if key.startswith(prefix)}

    def last_of(self, prefix: str) -> int:
        """Return the last entry that changed a key with that prefix."""
        pairs = pairwise(sorted(self.states))
        changes = [n for before, n in pairs if self.state(before, prefix) != self.state(n, prefix)]
        return changes[-1]

    def why_not(self, line: str) -> str:
        return "" if self.has_rights else REFUSED

    def why_not_to_begin(self, line: str) -> str:
        return self.why_not(line)

    def reads_by(self, users: Any) -> tuple[str, ...]:
        return tuple(users.identity("bob").reads)


class RemovingScene(Scene):
    """A node at which an entry removes the user of the clients."""

    def __init__(self) -> None:
        super().__init__()
        for command in USERS:
            self.apply(command)
        self.left.insert(Thread.schedule.random.randrange(len(self.left)), REMOVAL)

    def apply(self, command: str) -> None:
        if command == REMOVAL:
            self.has_rights, self.removed_by = False, self.index + 1
        super().apply(command)

    def why_not(self, line: str) -> str:
        identity = self.manager.store.users.identity("bob")
        return denial_reason(identity, line or "watch", lambda lease: None)


class Client:
    """Watches a prefix on its connection, and takes its time to read."""

    def __init__(
        self,
        scene: Scene,
        prefix: str,
        end: str = "",
    ) -> None:
        """`end` is what the client does once it watches: nothing, `unwatch`, or `close`."""
        self._scene, self._prefix, self._end = scene, prefix, end
        near: Any
        near, self.far = connected(ROOM)
        host: Any = FakeHost(watchers=scene.watchers, submit=Batch.wake)
        self.out = Outgoing(host, near)
        self.out.denial_by_now, self.out.reads_by = scene.why_not_to_begin, scene.reads_by
        self._near = near
        self._replies = Replies("s1", self.out)
        self.watching = WatchSubscriptions(host, self.out, self._replies, scene.why_not)
        self.received = b""
        self.serving = threading.Thread(target=self._serve, name=f"connection {prefix}{end}")
        self.reading = threading.Thread(target=self._read, name=f"client {prefix}{end}")

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            if self._scene.why_not(""):
                return
            verbs = {"watch": f"watch {self._prefix}".strip(), "unwatch": "unwatch"}
            for verb in ("watch", "unwatch") if self._end == "unwatch" else ("watch",):
                self._carry_out(self.watching.serve([Request("", "", verb, verbs[verb])]))
                self._carry_out(self._replies.flush())
        if self._end == "close":
            self.end()

    def _carry_out(self, waits: Waits[None]) -> None:
        """Wait for what the machine needs, as `Connection` does."""
        with contextlib.suppress(StopIteration):
            wait = next(waits)
            while True:
                if isinstance(wait, SendBytes):
                    self.out.send_bytes(wait.data)
                elif not isinstance(wait, AwaitReplies):  # which is answered at once
                    self.out.wait_until_empty()
                wait = waits.send(True)

    def end(self) -> None:
        """End the connection, as `Connection.serve` does."""
        self.watching.end()
        self._near.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        while data := self.far.recv(9):
            self.received += data

    @property
    def is_settled(self) -> bool:
        return not (self.out._is_stuck or self.out._backlogs or self.out._coming)

    def check(self) -> None:
        """Follow the lines that came whole."""
        *lines, _ = self.received.decode().split("\n")
        picture = Picture(self._scene, self._prefix)
        # If the node has ended the watch by itself, `unwatch` finds none. The line of that end may
        # follow, as a watch sends its lines apart from replies.
        late = [line for line in lines if "no watch without an id runs" in line]
        assert len(late) <= (self._end == "unwatch"), lines
        for line in lines:
            if line in late:
                continue
            assert not picture.is_over, f"{line} after the end: {lines}"
            picture.take(line.removeprefix("s1@").split(" "), lines)
        assert picture.is_over or not late, lines
        removed_by = self._scene.removed_by
        assert picture.at <= (removed_by or picture.at), f"after {removed_by}: {lines}"
        if self._scene.has_rights and self._end != "close":
            assert picture.is_over or picture.at >= self._scene.last_of(self._prefix), lines


class Picture:
    """The keys as a client has them by the lines so far."""

    def __init__(self, scene: Scene, prefix: str) -> None:
        self._scene, self._prefix = scene, prefix
        self._pairs: dict[str, str] = {}
        self._left = 0  # keys to come
        self.at = 0
        self.is_over = False

    def take(self, words: list[str], context: object) -> None:
        match words:
            case ["WATCH", _, count, _, "as", "of", number]:
                self._pairs, self._left, self.at = {}, int(count), int(number)
            case ["EVENT", number, "has", key, value]:
                assert int(number) == self.at, context
                self._pairs[key] = value
                self._left -= 1
            case ["EVENT", number, *change]:
                assert int(number) > self.at, context
                assert not self._left, context
                self._has_state_after(int(number) - 1, context)
                self._pairs.pop("".join(change[1:2]), None)
                if change[:1] == ["set"]:
                    self._pairs.update([(change[1], change[2])])
                self.at = int(number)
            case ["Sorry,", "events", *_]:
                return
            case _:
                self.is_over = True
                said = " ".join(words)
                assert words[0] == "UNWATCH" or RIGHTS in said or " may not watch " in said, context
                self.at = int(words[-1]) if words[-2] == "after" else self.at
        if not self._left:
            self._has_state_after(self.at, context)

    def _has_state_after(self, number: int, context: object) -> None:
        assert self._pairs == self._scene.state(number, self._prefix), (number, context)


class TwoWatches(Client):
    """Watches all keys, and then those with a prefix as well, on one connection."""

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            for place, line in enumerate(("watch", f"watch {self._prefix}")):
                self._carry_out(self.watching.serve([Request("", str(place), "watch", line)]))

    def check(self) -> None:
        *lines, _ = self.received.decode().split("\n")
        for place, prefix in enumerate(("", self._prefix)):
            head = f"s1#{place}@"
            mine = [line.removeprefix(head) for line in lines if line.startswith(head)]
            assert mine[0].startswith("WATCH response: "), f"it was not answered first: {lines}"
            picture = Picture(self._scene, prefix)
            for line in mine:
                picture.take(line.split(" "), lines)
            assert picture.at >= self._scene.last_of(prefix), lines


def run(scene: Scene, clients: Sequence[Client], *others: threading.Thread) -> None:
    """Run everything until the entries are applied, and nothing waits; then end all."""
    owner = threading.Thread(target=scene.keep_time, name="owner")
    work = [threading.Thread(target=scene.drive, name=name) for name in ("driver", "writer")]
    serving = [client.serving for client in clients]
    reading = [client.reading for client in clients]
    for thread in (owner, *serving, *reading, *work, *others):
        thread.start()
    for thread in (*serving, *work, *others):
        thread.join()
    settle(scene, *clients)
    assert scene.has_rights or scene.watchers.count == 0, "somebody still watches"
    for client in clients:
        client.end()
        client.far.incoming.is_ended = True
        client.reading.join()
        client.check()
    scene.watchers.hand_out()
    assert scene.watchers.count == 0
    assert not scene.watchers.feed.has_work
    assert len(scene.watchers.feed._index) == 0, "a watch that ended is in the index"
    scene.has_stopped = True
    scene.is_woken.set()


def a_snapshot_comes() -> None:
    """Clients watch, one ends its watch, one its connection; all during a snapshot."""
    scene = Scene()
    run(scene, [Client(scene, ""), Client(scene, "a", "unwatch"), Client(scene, "", "close")])


def one_watch_begins_again_as_another_begins() -> None:
    """A snapshot strands the first watch of a connection, while the second begins."""
    scene = Scene()
    run(scene, [TwoWatches(scene, "a")])


def rights_are_taken_away(kind: type[Scene] = Scene) -> None:
    """The users are read again during that: one that watches, or begins to, may not any more."""
    scene = kind()
    clients = [Client(scene, ""), Client(scene, "a")]

    def read_again() -> None:
        for _ in range(Thread.schedule.random.randrange(AMID_STEPS)):
            Thread.schedule.step()
        scene.has_rights = False
        for client in clients:
            client.watching.end_refused(scene.why_not)

    run(scene, clients, threading.Thread(target=read_again, name="reload"))


def the_user_is_removed() -> None:
    """An entry removes the user of those who watch or begin to, or end their watch."""
    scene = RemovingScene()
    run(scene, [Client(scene, ""), Client(scene, "a"), Client(scene, "", "unwatch")])


@seeds(30, 10_000)
def test_the_picture_is_whole_though_a_snapshot_comes(seeds: range) -> None:
    check_interleavings(a_snapshot_comes, seeds, LINES)


@seeds(20, 10_000)
def test_each_watch_is_answered_before_its_first_event(seeds: range) -> None:
    """Each watch of a connection gets its reply before anything else."""
    check_interleavings(one_watch_begins_again_as_another_begins, seeds, LINES)


@seeds(30, 10_000)
def test_nobody_watches_once_the_rights_are_gone(seeds: range) -> None:
    check_interleavings(rights_are_taken_away, seeds, LINES)


@seeds(30, 10_000)
def test_no_event_is_sent_of_an_entry_after_the_removal(seeds: range) -> None:
    check_interleavings(the_user_is_removed, seeds, LINES)


class LooksAtTheRightsBefore(Scene):
    """A watch that begins is not judged again."""

    def why_not_to_begin(self, line: str) -> str:
        return ""


class EndsAfterNoEntry(Feed):
    """A watch ends a moment after the removal, and gets the events until then."""

    def bound(self, watch: PrefixWatch, until: int) -> None:
        self._refused.append(watch)


def _resume_with_all(out: Outgoing, backlogs: Sequence[Backlog]) -> None:
    """Send what watches have whose first lines have not left."""
    out.add_backlogs(backlogs)
    out.pump()


class CountsResetsAfter(WatchRegistry):
    """A listing of before a snapshot passes for one of after it."""

    def _list(self, watch: PrefixWatch, listing: KeyListing, resets: int) -> str:
        return super()._list(watch, listing, self.feed.history.resets)


@pytest.mark.slow
def test_a_watch_that_begins_by_old_rights_is_found() -> None:
    failure = first_failure(
        lambda: rights_are_taken_away(LooksAtTheRightsBefore), range(100), LINES
    )
    assert failure is not None
    assert "somebody still watches" in str(failure)


@pytest.mark.slow
def test_an_event_of_after_the_removal_is_found() -> None:
    with mock.patch.object(watch_registry, "Feed", EndsAfterNoEntry):
        failure = first_failure(the_user_is_removed, range(200), LINES)
    assert failure is not None
    assert "after " in str(failure)


@pytest.mark.slow
def test_a_listing_of_before_the_snapshot_is_found() -> None:
    with mock.patch.object(driven_watches, "WatchRegistry", CountsResetsAfter):
        failure = first_failure(a_snapshot_comes, range(200), LINES)
    assert failure is not None
    assert "too slowly" in str(failure)


@pytest.mark.slow
def test_a_watch_that_is_sent_events_before_its_reply_is_found() -> None:
    with mock.patch.object(Outgoing, "resume", _resume_with_all):
        failure = first_failure(one_watch_begins_again_as_another_begins, range(200), LINES)
    assert failure is not None
    assert "it was not answered first" in str(failure)
