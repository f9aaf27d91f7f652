"""Watches of users, who may lose their rights."""

from __future__ import annotations

from typing import Any

from raftline.access.users import make_verifier
from raftline.wire.commands.authorization import denial_reason
from raftline.wire.operands.login_operands import ITERATIONS_LEAST

from .watched_store import FakeSink, WatchScene

SETUP = (
    "cluster 9f86d081884c7d65 level 1",
    f"user-add root {make_verifier('correct horse', ITERATIONS_LEAST)} admin",
    "role-add app",
    "role-grant app read app/",
    "user-add bob - app",
)


class UserSink(FakeSink):
    """The connection of a user who is logged in."""

    def __init__(self, store: object, user: str) -> None:
        super().__init__(user)
        self._store: Any = store
        self.is_broken_off = False

    def reads_by(self, users: Any) -> tuple[str, ...]:
        reads: tuple[str, ...] = users.identity(self.user).reads
        return reads

    def denial_by_now(self, command: str) -> str:
        identity = self._store.users.identity(self.user)
        return denial_reason(identity, command, lambda lease: None)

    def break_off(self) -> None:
        self.is_broken_off = True


class UserScene(WatchScene):
    """A store in which bob may read the keys under `app/`, and root is an admin."""

    def __init__(self) -> None:
        super().__init__()
        self.apply(*SETUP)
        self.bob = UserSink(self.manager.store, "bob")
        self.root = UserSink(self.manager.store, "root")
