"""A connection whose node is real as far as its watches and its users go."""

from __future__ import annotations

import socket
import threading
from typing import Any, cast

from raftline.access.login import Access
from raftline.logmanager import LogManager
from raftline.net.connections.connection import Connection
from raftline.node.watches.watch_registry import WatchRegistry
from raftline.raft.log import Entry
from raftline.wire.commands.rights import UserRole

from ..files.faulty_folder import MemoryFolder
from ..nodes.known_users import table_of
from .fake_host import FakeHost

PASSWORD, OTHER = "correct horse battery", "staple"


class Wired:
    """A connection to a host, which its own thread serves, and the other end of it."""

    def connect(self, host: Any) -> None:
        self.here, self.there = socket.socketpair()
        self.there.settimeout(20.0)
        self.lines = self.there.makefile()
        self.connection = Connection(host, self.here, for_peers_only=False, doors=host.doors)
        self.thread = threading.Thread(target=self.connection.serve, daemon=True)
        self.thread.start()

    def line(self) -> str:
        return self.lines.readline().removesuffix("\n")

    def close(self) -> None:
        self.lines.close()
        self.there.close()
        self.thread.join(60)


class UserConnection(Wired):
    """A connection on which bob is logged in, at a node whose watches are real."""

    def __init__(self) -> None:
        self.access = Access(anonymous=UserRole.NONE, failed_s=0.0)
        self._follow(bob=("app/", "web/"))
        self.manager = LogManager("s1", MemoryFolder(), {"s1": "localhost:10000"})
        self.watchers = WatchRegistry(self.manager, lambda: None)
        self.index = 0
        self.apply("cluster 9f86d081884c7d65 level 1")
        facts = {"watchers": self.watchers, "logmanager": self.manager}
        self.host = cast(Any, FakeHost(access=self.access, is_at_floor=False, **facts))
        self.host.submit = self._confirm_all
        self.connect(self.host)

    def _confirm_all(self, *batches: Any) -> None:
        for batch in batches:
            batch.wake()

    def _follow(self, password: str = PASSWORD, **users: tuple[str, ...]) -> None:
        known = {name: (UserRole.READER, users[name]) for name in users or {"ann": ("",)}}
        self.access.follow(table_of(known, password))

    def change(self, password: str = PASSWORD, **users: tuple[str, ...]) -> None:
        """Put these readers in force, or another one if there are none."""
        self._follow(password, **(users or {"ann": ("",)}))
        self.connection.rights_changed()

    def apply(self, *commands: str) -> None:
        entries = [Entry(self.index + 1 + place, 1, each) for place, each in enumerate(commands)]
        self.index += len(entries)
        self.manager.apply(entries)
        self.watchers.feed.applied(entries)
        self.watchers.hand_out()

    def ask(self, line: str) -> str:
        self.there.sendall(f"{line}\n".encode())
        return self.line()
