"""A connection in memory, at a node that answers requests on order."""

from __future__ import annotations

from collections.abc import Sequence

from raftline.access.login import Access
from raftline.net.protocol.doors import Door
from raftline.net.protocol.host import Batch
from raftline.net.protocol.turns import CALLS_AT_ONCE, Turns
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole

from ..nodes.known_users import access_with, table_of
from .store_wire import StoreWire


class LateWire(StoreWire):
    """The connection of bob, who may read the keys under `app/`, or is an admin."""

    def __init__(self, role: UserRole = UserRole.READER, doors: Sequence[Door] = ()) -> None:
        prefixes = ("app/",) if role is UserRole.READER else EVERYWHERE
        self.waiting: list[Batch] = []
        self.access: Access = access_with({"bob": (role, prefixes)}, "right")
        store = Store()
        execute(store, "set app/a old")
        super().__init__(store, self.access, "bob", doors)

    def _submit(self, *batches: Batch, more_come: bool = False) -> None:
        self.waiting += batches

    def answer(self) -> None:
        for batch in self.waiting:
            super()._submit(batch)
        self.waiting.clear()

    def without_turn(self) -> Turns:
        """Give all turns of bob to others, and return these."""
        turns = self.host.calls = Turns(CALLS_AT_ONCE)
        for _ in range(CALLS_AT_ONCE):
            assert turns.take("bob", Batch([], is_read=True))
        return turns

    def end_right(self) -> None:
        """Take the right of bob away, and set a secret that only others may read."""
        self.access.follow(table_of({"bob": (UserRole.READER, ("other/",))}, "right"))
        execute(self._store, "set app/a secret")

    def remove_user(self) -> None:
        self.access.follow(table_of({"ann": (UserRole.READER, EVERYWHERE)}, "right"))
