"""Compaction and InstallSnapshot (paper §7, Figure 13; thesis §5).

The beginning of the log is dropped once a snapshot covers it, and a follower that lacks that
beginning gets the snapshot in chunks.

The core moves no bytes. At a leader, it names a chunk of the snapshot's file (`InstallSnapshot`
without data), and the rim reads and sends it. At a follower, it hands each chunk to the disk, and
requests a check of the complete file from the rim, which then calls `install`.
"""

from __future__ import annotations

from .agreement import forget_sums
from .append_entries import answer, hear_leader
from .effects import Chunk
from .identity import ClusterIdentity, check_needs, is_foreign
from .log import SafetyError, Snapshot
from .membership import Configurations, Membership
from .messages import AppendAccepted, InstallSnapshot, InstallSnapshotReply, PeerError
from .progress import Mode, Progress, Sending
from .roles import Incoming, Role
from .state import State

ENTRY_BYTES = 100  # the memory of an entry in addition to its command
LAGGING = 16  # factor on `trailing_bytes` for a follower that catches up
COMPACT_MAX = 20_000  # entries dropped in one step, so that no request waits long

# --- this server's log ---------------------------------------------------------------------


def snapshot_taken(state: State, snapshot: Snapshot) -> None:
    """Record that a snapshot of this server's own state is on its disk.

    Raises:
        SafetyError: it covers entries that were not applied here, or different ones.
    """
    known_term = state.log.term_at(snapshot.index)
    if snapshot.index > state.applied or known_term not in (snapshot.term, None):
        raise SafetyError(
            f"{state.name} has a snapshot of entry {snapshot.index} of term {snapshot.term}, but "
            f"applied up to {state.applied}, and its log has term {known_term} there"
        )
    # With an equal index, the old snapshot was corrupt, and a new one was taken.
    if state.snapshot is None or snapshot.index >= state.snapshot.index:
        state.snapshot = snapshot


def compaction_index(state: State) -> int:
    """Return the index up to which the log may be dropped: the snapshot on disk covers these
    entries. Its last entries stay, so that a follower that lacks a few entries needs no snapshot.
    More of them stay for a follower that catches up, since otherwise a snapshot would be out of
    date whenever it was sent."""
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
    """Return the last entry, at most `index`, that all answering followers in replicate or snapshot
    mode hold. A follower in snapshot mode counts as if it had the whole snapshot."""
    since_ms = state.now_ms - state.options.election_timeout_ms
    for progress in state.progress.values():
        if progress.mode is not Mode.PROBE and progress.heard_at_ms > since_ms:
            sending = progress.sending
            index = min(index, sending.snapshot.index if sending else progress.match_index)
    return index


def compact(state: State, index: int) -> None:
    """Drop entries up to `index` from memory, at most `COMPACT_MAX` in one step.

    Raises:
        SafetyError: some of these entries were not applied, or no snapshot on disk covers them.
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
        state.identity.compact(log.base_index)


# --- the leader's side ---------------------------------------------------------------------


def lacks_snapshot(state: State, name: str, progress: Progress) -> bool:
    """Whether a follower needs the snapshot, since the log no longer has its next entries; if so,
    start the transfer. A silent follower is probed with the remaining log until it answers."""
    if progress.mode is Mode.SNAPSHOT:
        return True
    if state.now_ms - progress.heard_at_ms >= state.options.election_timeout_ms:
        progress.next_index = state.log.base_index + 1
        progress.mode, progress.doubt_round = Mode.PROBE, 0
        return False
    begin_to_send(state, name, progress)
    return True


def begin_to_send(state: State, name: str, progress: Progress) -> None:
    """Start sending a follower the snapshot, since the log no longer has the entries that it lacks.

    Heartbeats continue, with the snapshot's last entry as the previous one. The follower can accept
    them once it has installed the snapshot, which ends the transfer.
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
    """Ask the rim to send the next chunks, at most a window ahead of the bytes that the follower
    holds."""
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
    """Continue from the follower's position, which may be before or after the bytes that were sent
    (an earlier leader may have sent the same snapshot)."""
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
        # Some bytes were lost, or already received. Only the first such answer counts, since the
        # answers to the other chunks in flight repeat it.
        sending.next_offset = message.offset
        progress.rewound_round = leading.round
        leading.round += 1
    sending.held = message.offset
    sending.moved_at_ms = state.now_ms
    send_chunks(state, message.sender, sending)


def send_again(state: State, name: str, progress: Progress) -> None:
    """Ask for a follower's position with an empty chunk after an election timeout without an answer
    about the snapshot: chunks get lost, and followers restart."""
    sending = progress.sending
    if sending is None or (state.now_ms - sending.moved_at_ms < state.options.election_timeout_ms):
        return
    sending.moved_at_ms = state.now_ms
    sending.next_offset = sending.held
    _send_chunk(state, name, sending, 0)


def snapshot_gone(state: State, peer: str, snapshot: Snapshot) -> None:
    """Start sending the current snapshot, since chunks of the earlier one can no longer be read."""
    progress = state.progress.get(peer)
    if progress is None or progress.sending is None or progress.sending.snapshot != snapshot:
        return
    if state.snapshot != snapshot:
        begin_to_send(state, peer, progress)


# --- the follower's side -------------------------------------------------------------------


def check_snapshot(state: State, message: InstallSnapshot) -> None:
    """Refuse a snapshot whose last entry conflicts with a committed one (§5.4.3).

    Raises:
        PeerError: the entries conflict.
    """
    index, term = message.snapshot[:2]
    known_term = state.log.term_at(index)
    if index <= state.commit_index and known_term not in (None, term):
        raise PeerError(f"entry {index} is committed with term {known_term}, not with term {term}")


def on_install_snapshot(state: State, message: InstallSnapshot) -> None:
    """Take a chunk of the leader's snapshot, or answer with the position to continue from, or that
    the snapshot isn't needed.

    Source: Figure 13, InstallSnapshot receiver 2-6; the node has already checked the term (1).
    Instead of `done`, each message has the size of the file. Only the next chunk in order is taken,
    and the answer names it.
    """
    hear_leader(state, message)
    snapshot = message.snapshot
    if state.log.term_at(snapshot.index) == snapshot.term:  # 6: later entries are here already
        state.advance_commit_index(snapshot.index)
    if state.incoming and state.incoming.snapshot.index <= state.commit_index:
        state.incoming = None  # the log has overtaken it
    if snapshot.index <= state.commit_index:  # never back: it is old or a duplicate
        answer(state, message, AppendAccepted, snapshot.index)
        return
    incoming = state.incoming
    if incoming is None or incoming.snapshot != snapshot:
        if incoming and incoming.term == message.term and incoming.snapshot.index > snapshot.index:
            return  # a late chunk of an earlier snapshot
        if message.offset == 0:  # 2: a new snapshot restarts the file; two are never mixed
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
        if incoming.received == snapshot.size:  # 4: complete
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
    state: State, snapshot: Snapshot, members: Membership, cluster: str, needs: str = ""
) -> None:
    """Install a snapshot whose file arrived complete and passed its checks (Figure 13, 5-8).

    The next heartbeat that names its last entry is answered after the write.
    """
    incoming = state.incoming
    if incoming is None or incoming.snapshot != snapshot or incoming.received < snapshot.size:
        return  # a newer transfer has replaced the file
    if is_foreign(state.cluster, cluster):
        refuse(state, snapshot, f"it is of cluster {cluster}, and this is cluster {state.cluster}")
        return
    what = f"the snapshot of {incoming.sender}"
    check_needs(state.options.applies, what, needs)
    state.incoming = None
    if state.role is Role.LEADER or snapshot.index <= state.commit_index:
        state.note(f"[*] {state.name} no longer needs the snapshot up to entry {snapshot.index}")
        return
    if state.log.term_at(snapshot.index) == snapshot.term:
        state.advance_commit_index(snapshot.index)  # 6: keep the entries after it
        return
    was_member = state.is_member and state.log.last_index > 0  # a newborn may be added later
    # 7: the log ends before it, or holds a different entry there, which invalidates the rest.
    state.log.reset(snapshot.index, snapshot.term)
    state.durable_index = min(state.durable_index, snapshot.index)
    state.identity = ClusterIdentity(snapshot.index, cluster, needs=needs)
    state.advance_commit_index(snapshot.index)
    state.applying = snapshot.index  # 8: the rim replaces the state machine, and reports that
    state.snapshot = snapshot
    state.configurations = Configurations(snapshot.index, members)
    state.out.members_changed = True
    state.out.install = snapshot
    state.received_index = state.out.received = snapshot.index
    forget_sums(state)
    state.note(
        f"[*] {state.name} installs the snapshot of {incoming.sender} up to entry {snapshot.index}"
    )
    if was_member and not state.is_member:
        state.note_removed(snapshot.index, f"before entry {snapshot.index + 1}")


def refuse(state: State, snapshot: Snapshot, why: str) -> None:
    """Forget a snapshot whose file failed its checks; the answer to the leader's next message asks
    it to begin again."""
    if state.incoming is not None and state.incoming.snapshot == snapshot:
        state.incoming = None
        state.note(
            f"[!] {state.name} refuses the snapshot up to entry {snapshot.index} that it "
            f"received: {why}; the leader must send it again"
        )
