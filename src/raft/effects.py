"""Effects: the requests of the consensus core to the rim, and the values that the two exchange."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .log import Entry, Snapshot
from .messages import Message


class HardState(NamedTuple):
    """State that must be on disk before any answer that depends on it is sent (paper, Figure 2)."""

    term: int
    vote: str | None
    lease_ms: int = 0  # how long after a start a vote may be promised (raft/leader_lease.py)


class ReadReady(NamedTuple):
    """A read that can be served now: the state machine has applied `index`. Leadership was
    confirmed after the read arrived, and `index` was committed by then (thesis §6.4)."""

    token: Any
    index: int  # type: ignore[assignment]  # the field's word; tuple.index is not used


class Settled(NamedTuple):
    """The outcome of a membership change: `done`, `refused` (nothing was appended) or `unknown`."""

    token: Any
    outcome: str
    text: str


class Chunk(NamedTuple):
    """Bytes of an arriving snapshot and their offset in its file; offset 0 restarts the file."""

    offset: int
    data: bytes


@dataclass(slots=True)
class Effects:
    """The requests to the rim after one input, in the order in which they must be carried out.

    An empty step 2 needs no disk write, but the messages of step 3 must not overtake step 2 of an
    earlier Effects. Step 4 may be carried out at once or in parts, and `Applied` reports each part.
    Applied entries are committed, that is, durable on a quorum, which may or may not include this
    server's own disk.
    """

    send: list[Message] = field(default_factory=list)  # 1. may be sent at once (thesis §10.2.1)
    save: HardState | None = None  # 2. term and vote
    cut_after: int | None = None  # 2. last index to keep; the conflicting tail is deleted
    cluster: str | None = None  # 2. the identity, known from now on; written to NAME.storage
    append: list[Entry] = field(default_factory=list)  # 2. then new entries; one fsync for all
    chunks: list[Chunk] = field(default_factory=list)  # 2. of an arriving snapshot; no fsync
    install: Snapshot | None = None  # 2. publish the checked file; the log keeps the rest
    check: Snapshot | None = None  # 3. it has arrived whole: check its file, then report
    forgot: bool = False  # 2. this server learned that it lost its memory (raft/recovering.py)
    differs: int = 0  # 2. this server's state differs from that entry on (raft/agreement.py)
    begins_again: bool = False  # 2. with `differs`: the next start begins with nothing
    received: int | None = None  # 2. the snapshot by which the state came; 0: it is confirmed
    recovered: bool = False  # 2. the log counts as complete from now on (raft/recovering.py)
    send_after_save: list[Message] = field(default_factory=list)  # 3. votes, acknowledgements
    # 3. messages without a new promise: they overtake writes of entries, but not those of a vote.
    send_past_entries: list[Message] = field(default_factory=list)
    apply: list[Entry] = field(default_factory=list)  # 4. committed: execute, answer clients
    reads: list[ReadReady] = field(default_factory=list)  # 4. confirmed: serve
    refused: list[Any] = field(default_factory=list)  # 4. tokens of reads that no leader serves
    members_changed: bool = False  # 4. update the connections: see State.contacts
    settled: list[Settled] = field(default_factory=list)  # 4. membership changes: answer
    notes: list[str] = field(default_factory=list)  # what changed or was ignored, and why

    def messages(self) -> list[Message]:
        """Return all messages to send, early and late ones."""
        return [*self.send, *self.send_past_entries, *self.send_after_save]

    @property
    def holds_promise(self) -> bool:
        """Whether step 2 changes this server's promises or its knowledge of itself: its term, vote
        and lease, its memory, the beginning or the tail of its log. New entries alone do not count.
        """
        return (
            self.save is not None
            or self.cut_after is not None
            or self.recovered
            or self.install is not None
            or self.forgot
            or self.differs > 0
            or self.begins_again
            or self.received is not None
            or self.cluster is not None
        )

    @property
    def wants_disk(self) -> bool:
        """Whether step 2 has anything to do."""
        return bool(self.append or self.chunks or self.holds_promise)
