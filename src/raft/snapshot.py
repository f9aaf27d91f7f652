"""Compaction and InstallSnapshot (paper §7, Figure 13; thesis §5).

The log's beginning goes when a snapshot stands for it, and who lacks that beginning gets the
snapshot in chunks.

The core moves no bytes. As a leader it names a piece of the snapshot's file (`InstallSnapshot`
without data) and the rim reads and sends it. As a follower it hands each piece to the disk, and
the whole to the rim to be checked; a checked one comes back as `install`.
"""

from __future__ import annotations

from .effects import Chunk
from .following import answer, hear_leader
from .levels import Levels, is_foreign
from .log import SafetyError, Snapshot
from .membership import Configurations, Membership
from .messages import AppendAccepted, InstallSnapshot, InstallSnapshotReply, PeerError
from .progress import Mode, Progress, Sending
from .roles import Incoming, Role
from .state import State

ENTRY_BYTES = 100  # what an entry in memory costs beside its command
LAGGING = 16  # times the bytes that are kept for all are kept for a follower that catches up
COMPACT_MAX = 20_000  # entries dropped in one step, so that nobody waits for long

# --- the own log ---------------------------------------------------------------------------


def snapshot_taken(state: State, snapshot: Snapshot) -> None:
    """Record that a snapshot of this server's own state is on its disk.

    Raises:
        SafetyError: it stands for entries that were not applied here, or for other ones.
    """
    known = state.log.term_at(snapshot.index)
    if snapshot.index > state.applied or known not in (snapshot.term, None):
        raise SafetyError(
            f"{state.name} has a snapshot of entry {snapshot.index} of term {snapshot.term}, but "
            f"applied up to {state.applied}, and its log has term {known} there"
        )
    # With the same index: the old one rotted, and was taken again.
    if state.snapshot is None or snapshot.index >= state.snapshot.index:
        state.snapshot = snapshot


def compaction_index(state: State) -> int:
    """Return up to where the log may go: what the snapshot on disk stands for, less the last
    entries of it, so that a follower that lacks a few entries needs no snapshot. More of them stay
    for one that catches up, or else a snapshot would be out of date whenever it was sent."""
    log, snapshot, trailing = state.log, state.snapshot, state.options.trailing_bytes
    if snapshot is None or snapshot.index <= log.base_index:
        return log.base_index
    index, size = snapshot.index, 0
    while index > log.base_index and size < trailing:
        size += len(log.commands[index - log.base_index - 1]) + ENTRY_BYTES
        index -= 1
    needed = max(held_by_followers(state, snapshot.index), log.base_index)
    count, most = snapshot.index - needed, LAGGING * trailing
    if needed >= index or count * ENTRY_BYTES > most:
        return index
    first = needed - log.base_index
    size = sum(map(len, log.commands[first : first + count])) + count * ENTRY_BYTES
    return needed if size <= most else index


def held_by_followers(state: State, index: int) -> int:
    """Return the last entry that all those hold whom this leader sends entries or a snapshot, and
    that answer: at most `index`. Who is sent a snapshot counts as if it had all of it."""
    since_ms = state.now_ms - state.options.election_timeout_ms
    for progress in state.progress.values():
        if progress.mode is not Mode.PROBE and progress.heard_at_ms > since_ms:
            sending = progress.sending
            index = min(index, sending.snapshot.index if sending else progress.match_index)
    return index


def compact(state: State, index: int) -> None:
    """Drop entries up to `index` from memory, as many as one step may.

    Raises:
        SafetyError: a part of them was not applied, or no snapshot on disk stands for it.
    """
    covered = state.snapshot.index if state.snapshot is not None else 0
    if index > min(covered, state.applied):
        raise SafetyError(
            f"{state.name} would drop entries up to {index}, but applied {state.applied} and "
            f"has a snapshot up to {covered}"
        )
    log = state.log
    if index > log.base_index:
        log.compact(min(index, log.base_index + COMPACT_MAX))
        state.configurations.compact(log.base_index)
        state.levels.compact(log.base_index)


# --- the leader's side ---------------------------------------------------------------------


def lacks_snapshot(state: State, name: str, progress: Progress) -> bool:
    """Whether a follower is to get the snapshot, which is then begun: what it lacks is no longer
    in the log. One that is silent is probed with what the log still has, until it answers."""
    if progress.mode is Mode.SNAPSHOT:
        return True
    if state.now_ms - progress.heard_at_ms >= state.options.election_timeout_ms:
        progress.next_index = state.log.base_index + 1
        progress.mode, progress.doubt_round = Mode.PROBE, 0
        return False
    begin_to_send(state, name, progress)
    return True


def begin_to_send(state: State, name: str, progress: Progress) -> None:
    """Send a follower the snapshot, since the entries that it lacks are no longer in the log.

    Heartbeats go on and speak of the snapshot's last entry: the follower can confirm that one
    once it has installed it, and that is how the transfer ends.
    """
    snapshot = state.snapshot
    if snapshot is None or snapshot.index < state.log.base_index:
        raise SafetyError(f"{name} lacks entries that lie in no snapshot of {state.name}")
    progress.mode, progress.doubt_round = Mode.SNAPSHOT, 0
    progress.next_index = snapshot.index + 1
    progress.in_flight.clear()
    progress.probe_sent = False
    progress.sending = Sending(snapshot, moved_at_ms=state.now_ms)
    state.note(
        f"[*] {state.name} sends {name} its snapshot up to entry {snapshot.index}, "
        f"{snapshot.size:,} bytes"
    )
    send_chunks(state, name, progress.sending)


def send_chunks(state: State, name: str, sending: Sending) -> None:
    """Ask the rim to send the next pieces, at most a window ahead of what the follower holds."""
    snapshot = sending.snapshot
    window = state.options.chunk_window * state.options.chunk_bytes
    while sending.next_offset < min(snapshot.size, sending.held + window):
        length = min(state.options.chunk_bytes, snapshot.size - sending.next_offset)
        _send_chunk(state, name, sending, length)
        sending.next_offset += length


def _send_chunk(state: State, name: str, sending: Sending, length: int) -> None:
    round_now = state.as_leader.round
    if not state.may_send(name):
        return
    state.send(
        InstallSnapshot(
            state.name, name, state.term, sending.snapshot, sending.next_offset, length, round_now
        )
    )


def on_held(state: State, message: InstallSnapshotReply) -> None:
    """Go on from where the follower stands, be it before what was sent or after it (a leader
    before this one may have sent the same snapshot)."""
    leading = state.as_leader
    progress = state.progress[message.sender]
    sending = progress.sending
    if sending is None or message.round <= progress.rewound_round:
        return
    if (message.index, message.index_term) != sending.snapshot[:2]:
        return
    if message.offset > sending.snapshot.size:
        raise PeerError(f"{message.sender} can't hold {message.offset} bytes of this snapshot")
    went_back = message.offset < sending.held or message.offset == sending.held > 0
    if message.offset > sending.next_offset or went_back or not message.offset:
        # Something was lost or known before: only the first word of that counts, the answers to
        # what was sent until now repeat it.
        sending.next_offset = message.offset
        progress.rewound_round = leading.round
        leading.round += 1
    sending.held = message.offset
    sending.moved_at_ms = state.now_ms
    send_chunks(state, message.sender, sending)


def send_again(state: State, name: str, progress: Progress) -> None:
    """Ask a follower that was silent on the snapshot for an election timeout how far it is,
    by an empty piece: pieces get lost, and followers start again."""
    sending = progress.sending
    if sending is None or (state.now_ms - sending.moved_at_ms < state.options.election_timeout_ms):
        return
    sending.moved_at_ms = state.now_ms
    sending.next_offset = sending.held
    _send_chunk(state, name, sending, 0)


def snapshot_gone(state: State, peer: str, snapshot: Snapshot) -> None:
    """Begin to send the snapshot in force; pieces of the earlier one can't be read any more."""
    progress = state.progress.get(peer)
    if progress is None or progress.sending is None or progress.sending.snapshot != snapshot:
        return
    if state.snapshot != snapshot:
        begin_to_send(state, peer, progress)


# --- the follower's side -------------------------------------------------------------------


def check_snapshot(state: State, message: InstallSnapshot) -> None:
    """Refuse a snapshot that ends in another entry than the one that this server knows to be
    committed there (§5.4.3).

    Raises:
        PeerError: it does.
    """
    index, term = message.snapshot[:2]
    known = state.log.term_at(index)
    if index <= state.commit_index and known not in (None, term):
        raise PeerError(f"entry {index} is committed with term {known}, not with term {term}")


def on_install_snapshot(state: State, message: InstallSnapshot) -> None:
    """Take a piece of the leader's snapshot, or answer where to go on, or that it isn't needed.

    Source: Figure 13, InstallSnapshot receiver 2-6; the node has checked the term (1) before.
    Instead of `done` each message has the size, and instead of taking pieces as they come only
    the next one is taken: the answer names which.
    """
    hear_leader(state, message)
    snapshot = message.snapshot
    if state.log.term_at(snapshot.index) == snapshot.term:  # 6: the entries follow on it already
        state.advance_commit_index(snapshot.index)
    if state.incoming and state.incoming.snapshot.index <= state.commit_index:
        state.incoming = None  # the log has overtaken it
    if snapshot.index <= state.commit_index:  # never back: an old one, or one come twice
        answer(state, message, AppendAccepted, snapshot.index)
        return
    incoming = state.incoming
    if incoming is None or incoming.snapshot != snapshot:
        if incoming and incoming.term == message.term and incoming.snapshot.index > snapshot.index:
            return  # this leader has a later one on its way: a late piece of an earlier one
        if message.offset == 0:  # 2: another snapshot begins again, nothing of two is ever mixed
            incoming = state.incoming = Incoming(snapshot, message.sender, message.term)
            state.note(
                f"[*] {state.name} receives the snapshot of {message.sender} up to entry "
                f"{snapshot.index}, {snapshot.size:,} bytes"
            )
        else:
            _send_held(state, message, 0)
            return
    incoming.sender, incoming.term = message.sender, message.term
    if message.offset == incoming.received < snapshot.size and message.length:  # 3
        state.out.chunks.append(Chunk(message.offset, message.raw))
        incoming.received += message.length
        if incoming.received == snapshot.size:  # 4: all of it
            state.out.check = snapshot
    _send_held(state, message, incoming.received)


def _send_held(state: State, message: InstallSnapshot, offset: int) -> None:
    index, term = message.snapshot[:2]
    state.send(
        InstallSnapshotReply(
            state.name,
            message.sender,
            state.term,
            index,
            term,
            offset,
            message.round,
            state.without_vote,
            state.may_be_new,
        )
    )


def install(
    state: State, snapshot: Snapshot, members: Membership, level: int, cluster: str
) -> None:
    """Take over a snapshot whose file arrived whole and passed its checks (Figure 13, 5-8).

    The heartbeat that speaks of its last entry is answered after the write.
    """
    incoming = state.incoming
    if incoming is None or incoming.snapshot != snapshot or incoming.received < snapshot.size:
        return  # another one has begun to arrive since, or this one again: the file is another
    if is_foreign(state.cluster, cluster):
        refuse(state, snapshot, f"it is of cluster {cluster}, and this is cluster {state.cluster}")
        return
    state.incoming = None
    if state.role is Role.LEADER or snapshot.index <= state.commit_index:
        state.note(f"[*] {state.name} needs the snapshot up to entry {snapshot.index} no longer")
        return
    if state.log.term_at(snapshot.index) == snapshot.term:
        state.advance_commit_index(snapshot.index)  # 6: what follows on it is kept
        return
    was_member = state.is_member and state.log.last_index > 0  # a newborn may be added later
    # 7: the log ends before it, or holds another entry there, which makes all after it void.
    state.log.reset(snapshot.index, snapshot.term)
    state.durable_index = min(state.durable_index, snapshot.index)
    state.levels = Levels(snapshot.index, level, cluster=cluster)
    state.advance_commit_index(snapshot.index)
    state.applying = snapshot.index  # 8: the rim replaces the state machine, and reports it
    state.snapshot = snapshot
    state.configurations = Configurations(snapshot.index, members)
    state.out.level = level
    state.out.members_changed = True
    state.out.install = snapshot
    state.note(
        f"[*] {state.name} installs the snapshot of {incoming.sender} up to entry {snapshot.index}"
    )
    if was_member and not state.is_member:
        state.note_removed(snapshot.index, f"before entry {snapshot.index + 1}")


def refuse(state: State, snapshot: Snapshot, why: str) -> None:
    """Forget a snapshot whose file does not pass its checks; the leader will be asked to begin
    again when it asks."""
    if state.incoming is not None and state.incoming.snapshot == snapshot:
        state.incoming = None
        state.note(
            f"[!] {state.name} refuses the snapshot up to entry {snapshot.index} that it "
            f"received: {why}; it takes it anew"
        )
