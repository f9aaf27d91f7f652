"""A leader with its leases, at times that a test names."""

from __future__ import annotations

from raftline.node.loop.granted_leases import GrantedLeases
from raftline.raft.inputs import Applied, Propose
from raftline.raft.node import RawNode
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline_testing.doubles.cores import acknowledge, established, sync


class Leader:
    """s1 of three, its leases, and what it applies: entries that this test commits."""

    def __init__(self, node: RawNode | None = None) -> None:
        self.node = node or established("s1")
        self.store = Store(is_at_floor=False)
        self.leasing = GrantedLeases(self.node, self.store)
        self.now_ms = 1000
        self.look()

    def look(self) -> None:
        self.leasing.stepped(self.node.view.led_term, lambda: self.now_ms)

    def propose(self, command: str) -> None:
        """Put an entry into the log, which nobody else has yet."""
        self.node.step(Propose([command]), self.node.view.now_ms)

    def commit(self) -> None:
        """Make all hold the log, and apply it."""
        sync(self.node)
        for peer in self.node.view.peers:
            acknowledge(self.node, peer)
        view = self.node.view
        for entry in view.log.entries(view.applied + 1, view.applying):
            self.store.number, self.store.term = entry.index, entry.term
            execute(self.store, entry.command)
        self.node.step(Applied(view.applying), view.now_ms)
        self.look()

    def apply(self, command: str) -> int:
        """Commit an entry of this command; return its index."""
        self.propose(command)
        self.commit()
        return self.node.view.applied

    def lease(self, seconds: int) -> str:
        return f"lease-{self.apply(f'lease {seconds}')}"

    def expire(self) -> str:
        """Make the leader do what time asks for; its expiry enters the log."""
        expiry = self.leasing.expiry(self.now_ms)
        if expiry:
            self.propose(expiry)
        return expiry

    def ask(self, command: str) -> str:
        return self.leasing.answer(command, self.now_ms)
