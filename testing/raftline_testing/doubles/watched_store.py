"""A store with its watches, and a connection that takes their events, without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from raftline.logmanager import LogManager
from raftline.net.protocol.host import Backlog
from raftline.node.watches.watch_registry import WatchRegistry
from raftline.raft.log import Entry, Snapshot
from raftline.storage.snapshot_lines import LoadedSnapshot
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.watch_lines import WatchAsked

from ..files.faulty_folder import MemoryFolder
from ..nodes.processes import eventually
from .set_clock import SetClock

MEMBERS = {"s1": "localhost:10000"}


class FakeSink:
    """A connection whose reader takes what it is sent, until it is asked not to."""

    def __init__(self, user: str | None = None) -> None:
        self.user = user
        self.text = ""
        self.backlogs: list[Backlog] = []
        self.is_slow = False
        self.pushes = 0
        self.puts_codes = False
        self.uses_positions = True

    def reads_by(self, users: Any) -> tuple[str, ...]:
        return EVERYWHERE

    def denial_by_now(self, command: str) -> str:
        return ""

    def push(self, data: bytes, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        if self.is_slow or self.backlogs:
            self.backlogs += to_backlogs()
        else:
            self.pushes += 1
            self.text += data.decode()

    def push_later(
        self, to_backlogs: Callable[[], Sequence[Backlog]], idle: Backlog | None = None
    ) -> None:
        self.backlogs += to_backlogs() if idle is None or self.backlogs else [idle]

    def add_backlogs(self, backlogs: Sequence[Backlog]) -> None:
        self.backlogs += backlogs

    def resume(self, backlogs: Sequence[Backlog]) -> None:
        self.add_backlogs(backlogs)
        self.pump()

    def break_off(self) -> None:
        """The tests end no connection so."""

    def pump(self) -> None:
        while self.backlogs and not self.is_slow:
            backlog = self.backlogs.pop(0)
            piece = backlog.next_piece().decode()
            self.text += piece
            if piece:
                self.backlogs.append(backlog)

    def read(self) -> list[str]:
        lines, self.text = self.text.splitlines(), ""
        return lines


class WatchScene:
    """The watches of s1, whose entries a test applies."""

    def __init__(self, events_max: int = 1000) -> None:
        self.manager = LogManager("s1", MemoryFolder(), MEMBERS)
        self.woken = 0
        self.clock = SetClock(s=1000.0)  # a slice never takes too long
        self.watchers = WatchRegistry(self.manager, self._wake, self.clock)
        self.watchers.feed.history.bound(events_max, 1 << 20)
        self.sink = FakeSink()
        self.index = 0
        self.is_held = False  # nothing is handed out after a step
        self.apply("cluster 9f86d081884c7d65 level 1")

    def _wake(self) -> None:
        self.woken += 1

    @property
    def lister(self) -> Any:
        """The lookup of the keys with which a watch begins."""
        return self.watchers._lister

    @property
    def listed_bytes(self) -> int:
        """The memory that lists of keys take."""
        return int(self.lister.room._counted())

    @property
    def are_listed(self) -> bool:
        """Whether no watch waits for a new list of keys."""
        return not self.watchers._is_relisting

    def apply(self, *commands: str, term: int = 1) -> None:
        """Apply entries in one step, and hand out what they did."""
        entries = [
            Entry(index, term, command)
            for index, command in enumerate(commands, start=self.index + 1)
        ]
        self.index += len(entries)
        self.manager.apply(entries)
        self.note(entries)
        if not self.is_held:
            self.watchers.hand_out()

    def note(self, entries: Sequence[Entry]) -> None:
        """Note the events of applied entries."""
        self.watchers.feed.applied(entries)

    def watch(
        self,
        prefix: str = "",
        after: int | None = None,
        number: str = "",
        sink: FakeSink | None = None,
    ) -> list[str]:
        """Begin a watch; return its first lines and those that it tells at once."""
        sink = sink or self.sink
        asked = WatchAsked(prefix, after)
        first_lines = self.watchers.open(sink, [(number, asked)])[0]
        sink.pump()
        return [*first_lines, *sink.read()]

    def install(self, index: int, **pairs: str) -> None:
        snapshot = Snapshot(index, 1, 0, 0)
        self.manager.arrived(
            LoadedSnapshot(snapshot, self.manager.members, [], pairs, cluster="9f86d081884c7d65")
        )
        self.manager.take_over(snapshot)
        self.index = index
        self.watchers.feed.applied([])
        self.watchers.hand_out()


def settle(scene: WatchScene, *sinks: FakeSink) -> None:
    """Make every watch come to where it is sent events as they happen."""
    eventually(lambda: scene.are_listed)
    while scene.watchers.feed.has_work:
        scene.watchers.hand_out()
    for sink in sinks or (scene.sink,):
        sink.pump()
