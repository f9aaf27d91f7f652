"""Your Raft: one server as a state machine. An input and the time go in, Effects come out.

Nothing here opens a file, a socket or a thread, and nothing asks for the time or for chance: the
world around it does. Each empty method is a rule for you to write. README.md has the milestones.
"""

from __future__ import annotations

from typing import Any

from raftline.raft import inputs
from raftline.raft.effects import Effects, HardState
from raftline.raft.log import Entry, Snapshot
from raftline.raft.membership import Configurations, Membership


class Node:
    """One server. Keep these six up to date, for the world looks at them after each step:
    `term`, `vote`, `role`, `leader`, `commit_index`, `wake_at_ms`."""

    def __init__(self, start: Any, now_ms: int) -> None:
        """Begin with what this server's disk holds."""
        self.name: str = start.name
        self.log = start.log  # term_at(index), entries(first, last), last_index, last_term
        self.term: int = start.term
        self.vote: str | None = start.vote
        self.role = "follower"  # or "candidate", or "leader"
        self.leader: str | None = None
        self.commit_index: int = self.log.base_index  # 0 without a snapshot
        self.options = start.options  # election_timeout_ms, heartbeat_ms, chunk_bytes
        self.pick_timeout_ms = start.pick_timeout_ms  # draws the next election timeout
        self.lost: bool = start.lost  # milestone 8: files were lost, so no vote, ever again
        self.snapshot: Snapshot | None = start.snapshot  # milestone 11
        self.configurations = Configurations(self.log.base_index, start.members, self.log.commands)
        self.now_ms = now_ms
        self.wake_at_ms = now_ms + self.pick_timeout_ms()  # the time of the next Tick
        self.out = Effects()

    @property
    def members(self) -> Membership:
        """The members by the latest configuration in the log. `is_quorum(names)` counts votes,
        `reached_by_quorum({name: index})` returns the index that a majority has."""
        return self.configurations.latest

    def step(self, taken: Any, now_ms: int) -> Effects:
        """Process one input; return its effects."""
        self.now_ms, self.out = now_ms, Effects()
        rule = RULES.get(type(taken))
        if rule is not None:
            rule(self, taken)
        self.advance()
        return self.out

    # --- help, ready to use -----------------------------------------------------------------

    def send(self, message: Any) -> None:
        """Send a message, once all that this step writes is on the disk."""
        self.out.send_after_save.append(message)

    def save(self, term: int, vote: str | None) -> None:
        """Set term and vote, on the disk as well."""
        self.term, self.vote = term, vote
        self.out.save = HardState(term, vote)

    def append(self, term: int, command: str) -> None:
        """Add an entry after the last one, on the disk as well."""
        self.log.append(term, command)
        entry = Entry(self.log.last_index, term, command)
        self.configurations.append(entry.index, command)
        self.out.append.append(entry)

    def cut_after(self, index: int) -> None:
        """Drop all entries after this one, on the disk as well."""
        self.log.cut_after(index)
        self.configurations.cut_after(index)
        self.out.cut_after = index

    # --- the rules, for you -----------------------------------------------------------------

    def tick(self, taken: inputs.Tick) -> None:
        """Time has passed: stand for election, send heartbeats. Renew `wake_at_ms` (1, 2)."""
        self.wake_at_ms = self.now_ms + self.pick_timeout_ms()

    def propose(self, taken: inputs.Propose) -> None:
        """Append `taken.commands` as the leader (1)."""

    def synced(self, taken: inputs.Synced) -> None:
        """The log up to `taken.index` of `taken.term` is on this server's own disk (1)."""

    def receive(self, taken: inputs.Receive) -> None:
        """A message has come: `taken.message` (2 to 7)."""

    def read(self, taken: inputs.Read) -> None:
        """Confirm reads: each of `taken.tokens` comes back in `self.out.reads`, as
        `ReadReady(token, index)`, or in `self.out.refused` (9)."""
        self.out.refused += taken.tokens

    def snapshot_taken(self, taken: inputs.SnapshotTaken) -> None:
        """A snapshot of this server's state is on its disk: `taken.snapshot` (11)."""

    def compact(self, taken: inputs.Compact) -> None:
        """Drop the entries up to `taken.index` from the log: `self.log.compact` (11)."""
        self.log.compact(taken.index)
        self.configurations.compact(taken.index)

    def snapshot_checked(self, taken: inputs.SnapshotChecked) -> None:
        """The snapshot that arrived is whole: install it (11)."""

    def change_members(self, taken: inputs.ChangeMembers) -> None:
        """Change the members; `taken.token` comes back in `self.out.settled` (12)."""

    def advance(self) -> None:
        """Do what the input has made possible: commit, then apply each entry once (1, 4, 7)."""


RULES: dict[type, Any] = {
    inputs.Tick: Node.tick,
    inputs.Propose: Node.propose,
    inputs.Synced: Node.synced,
    inputs.Receive: Node.receive,
    inputs.Read: Node.read,
    inputs.SnapshotTaken: Node.snapshot_taken,
    inputs.Compact: Node.compact,
    inputs.SnapshotChecked: Node.snapshot_checked,
    inputs.ChangeMembers: Node.change_members,
}
