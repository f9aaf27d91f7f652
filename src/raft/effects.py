"""Effects: the requests of the consensus core to the rim, and the values that both hand over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .log import Entry, Snapshot
from .messages import Message


class HardState(NamedTuple):
    """The state that is on disk before any answer that depends on it leaves (paper, Figure 2)."""

    term: int
    vote: str | None
    lease_ms: int = 0  # for so long after a start votes may be promised (raft/lease.py)


class ReadReady(NamedTuple):
    """A read that is served now: the state machine has applied `index`. Leadership was confirmed
    after the read came, and `index` was committed then (thesis §6.4)."""

    token: Any
    index: int  # type: ignore[assignment]  # the field's word; tuple.index is not used


class Settled(NamedTuple):
    """The outcome of a change of members: `done`; `refused`, nothing was appended; `unknown`."""

    token: Any
    outcome: str
    text: str


class Chunk(NamedTuple):
    """Bytes of an arriving snapshot and their place in its file; 0 begins the file again."""

    offset: int
    data: bytes


@dataclass(slots=True)
class Effects:
    """The requests of one input to the rim, in the order in which they must be carried out.

    A step 2 that is empty costs no disk write, yet messages of step 3 may not overtake the
    step 2 of an earlier Effects. Step 4 may be carried out at once, or bit by bit, and `Applied`
    reports each bit. What is applied is committed, that is, durable on a quorum, whether or not
    this server's own disk is among it.
    """

    send: list[Message] = field(default_factory=list)  # 1. may leave at once (thesis §10.2.1)
    save: HardState | None = None  # 2. term and vote
    cut_after: int | None = None  # 2. last index to keep; a conflicting tail goes
    level: int | None = None  # 2. new level; goes into NAME.storage before the log
    cluster: str | None = None  # 2. the identity, known from here on; goes there as well
    append: list[Entry] = field(default_factory=list)  # 2. then new entries; one fsync for all
    chunks: list[Chunk] = field(default_factory=list)  # 2. of an arriving snapshot; no fsync
    install: Snapshot | None = None  # 2. the checked file becomes the snapshot, the log its rest
    check: Snapshot | None = None  # 3. all of it has arrived: check its file, then report
    forgot: bool = False  # 2. this server finds out that it lost its memory (raft/recovering.py)
    recovered: bool = False  # 2. the log counts as whole from here on (raft/recovering.py)
    send_after_save: list[Message] = field(default_factory=list)  # 3. votes, acknowledgements
    # 3. that promise nothing new: past a write of entries, yet behind one of a vote or the like.
    send_past_entries: list[Message] = field(default_factory=list)
    apply: list[Entry] = field(default_factory=list)  # 4. committed: execute, answer clients
    reads: list[ReadReady] = field(default_factory=list)  # 4. confirmed: serve
    refused: list[Any] = field(default_factory=list)  # 4. tokens of reads that no leader serves
    members_changed: bool = False  # 4. whom to keep connections to: see State.contacts
    settled: list[Settled] = field(default_factory=list)  # 4. changes of members: answer
    notes: list[str] = field(default_factory=list)  # what changed or was ignored, and why

    def messages(self) -> list[Message]:
        """Return all that is sent, whenever it may leave."""
        return [*self.send, *self.send_past_entries, *self.send_after_save]

    @property
    def holds_promise(self) -> bool:
        """Whether step 2 changes what this server promised or knows of itself: its term, vote and
        lease, its memory, the beginning or the tail of its log. Entries alone are none of these."""
        return (
            self.save is not None
            or self.cut_after is not None
            or self.recovered
            or self.install is not None
            or self.forgot
            or self.cluster is not None
        )

    @property
    def wants_disk(self) -> bool:
        """Whether step 2 has anything to do."""
        return bool(self.append or self.chunks or self.holds_promise)
