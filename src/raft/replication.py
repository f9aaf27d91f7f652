"""AppendEntries, both sides, and the rule that says when an entry is committed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raftline.raft.amnesia import leader_heard_amnesiac, regain_vote, vote_again
from raftline.raft.chunks import InstallSnapshot, InstallSnapshotReply
from raftline.raft.effects import Entry, SafetyError, entries_of
from raftline.raft.lease import begin_round, extend_lease, promise
from raftline.raft.messages import AppendAccepted, AppendEntries, AppendRejected, PeerError
from raftline.raft.progress import Mode, Progress
from raftline.raft.snapshot import lacks_snapshot, on_held, send_again
from raftline.raft.state import Role, State

# --- the leader's side ---------------------------------------------------------------------


def propose(state: State, commands: list[str]) -> None:
    """Append one entry for each command in the leader's term, and send them on (§5.3).

    They leave before the leader's own disk write (thesis §10.2.1); the leader counts itself
    only once `synced` says so.
    """
    if state.role is not Role.LEADER:
        raise SafetyError(f"{state.name} is asked to append, but is {state.role.value}")
    if state.transfer is not None:
        raise SafetyError(f"{state.name} is asked to append while it gives way")
    first = state.log.last_index + 1
    state.log.extend(state.term, commands)
    state.out.append += entries_of(first, state.term, commands)
    send_entries_to_all(state)


def send_entries_to_all(state: State) -> None:
    """Send every follower what it lacks, as far as its window allows."""
    leading = state.as_leader
    for name, progress in leading.progress.items():
        send_entries(state, name, progress)


def send_entries(state: State, name: str, progress: Progress) -> None:
    """Send one follower the entries it lacks: one message in probe mode, a window in replicate;
    the snapshot where the log no longer has them (§7)."""
    if lacks_snapshot(state, name, progress):
        return
    while progress.next_index <= state.log.last_index:
        if progress.mode is Mode.PROBE and progress.probe_sent:
            return
        if len(progress.in_flight) >= state.options.window:
            return
        entries = next_batch(state, progress.next_index)
        _send(state, name, progress, entries)
        if progress.mode is Mode.PROBE:
            progress.probe_sent = True
            return
        progress.next_index = entries[-1].index + 1
        progress.in_flight.append(entries[-1].index)


def next_batch(state: State, first: int) -> list[Entry]:
    """Return the entries from `first` on, bounded in number and bytes, at least one.

    Followers that stand at the same place get the same list object, so that the rim spells it
    once for all of them.
    """
    leading = state.as_leader
    cached = leading.batch
    last = min(state.log.last_index, first + state.options.batch_entries - 1)
    if cached and (cached[0].index, cached[-1].index) == (first, last):
        return cached
    entries = state.log.entries(first, last)
    size = 0
    for place, entry in enumerate(entries):
        size += len(entry.command)
        if size > state.options.batch_bytes and place:
            entries = entries[:place]
            break
    leading.batch = entries
    return entries


def send_heartbeats(state: State) -> None:
    """Open a new round: an empty AppendEntries to every follower, then what it lacks (§5.2)."""
    leading = state.as_leader
    leading.round += 1
    begin_round(state)
    leading.heartbeat_at_ms = state.now_ms + state.options.heartbeat_ms
    for name, progress in leading.progress.items():
        progress.probe_sent = False
        lacks_snapshot(state, name, progress)
        _send(state, name, progress, [])
        progress.probe_sent = progress.mode is Mode.PROBE
        send_entries(state, name, progress)
        send_again(state, name, progress)


def _send(state: State, name: str, progress: Progress, entries: list[Entry]) -> None:
    leading = state.as_leader
    prev_index = progress.next_index - 1
    prev_term = state.log.term_at(prev_index)
    if progress.sending is not None:  # the log's base may have moved on from it since
        prev_index, prev_term = progress.sending.snapshot[:2]
    if prev_term is None:
        raise SafetyError(f"{name} is to be sent entries from {prev_index}, not in the log")
    state.send_early(
        AppendEntries(
            state.name,
            name,
            state.term,
            prev_index,
            prev_term,
            entries,
            state.commit_index,
            leading.round,
            vote_again=vote_again(state, progress),
        )
    )


def on_append_accepted(state: State, message: AppendAccepted) -> None:
    """Count what the follower now holds, and go on sending (Figure 2, Leaders).

    Its index was reached by this leader's own messages of this term, so it can't be too high,
    however late it comes; `matched` never lowers it.
    """
    progress = _progress_of(state, message)
    if progress is None:
        return
    progress.matched(message.index)
    if progress.is_counted:
        advance_commit(state)
    send_entries(state, message.sender, progress)


def on_append_rejected(state: State, message: AppendRejected) -> None:
    """Step back to where the follower's log may agree, and probe there (§5.3, end).

    In replicate mode many sends may fail for one reason: only the first complaint counts, the
    others answer sends from before the step back.
    """
    progress = _progress_of(state, message)
    if progress is None or message.round <= progress.rewound_round:
        return
    if progress.mode is Mode.SNAPSHOT:
        return  # it lacks the snapshot's last entry, as it must until it has installed it
    leading = state.as_leader
    agree_index = min(message.index, state.log.last_index, progress.next_index - 1)
    progress.rewind(agree_index, leading.round)
    leading.round += 1
    if progress.next_index <= state.log.last_index:
        send_entries(state, message.sender, progress)
    else:
        _send(state, message.sender, progress, [])
        progress.probe_sent = True


def on_install_snapshot_reply(state: State, message: InstallSnapshotReply) -> None:
    """Send the follower the next pieces of the snapshot (§7)."""
    progress = _progress_of(state, message)
    if progress is not None:
        on_held(state, progress, message)


def _progress_of(
    state: State, message: AppendAccepted | AppendRejected | InstallSnapshotReply
) -> Progress | None:
    """Return the sender's progress; None for an answer that is not to this leadership.

    A term compares with the term the question was sent in: answers of an earlier term never
    count (Students' Guide to Raft).
    """
    if state.leading is None or message.term != state.term:
        return None
    if message.round > state.leading.round:
        raise PeerError(f"round {message.round} was never sent")
    if isinstance(message, AppendAccepted) and message.index > state.log.last_index:
        raise PeerError(f"{message.sender} can't hold entry {message.index}, I never sent it")
    progress = state.progress.get(message.sender)
    if progress is None:  # it was taken out, and has been told
        return None
    if not leader_heard_amnesiac(state, progress, message):
        return None
    progress.heard_at_ms = state.now_ms
    progress.away = False
    if not isinstance(message, InstallSnapshotReply):  # which promises nothing
        extend_lease(state, progress, message)
    progress.acked_round = max(progress.acked_round, message.round)
    return progress


def advance_commit(state: State) -> None:
    """Commit what a quorum holds on disk, if it is of the leader's own term (§5.4.2, Figure 8).

    Entries of earlier terms are committed by the one of this term that follows them.
    """
    leading = state.as_leader
    held = {name: p.match_index for name, p in leading.progress.items() if p.is_counted}
    held[state.name] = state.durable_index
    index = state.membership.reached_by_quorum(held)
    if index > state.commit_index and state.log.term_at(index) == state.term:
        state.advance_commit_index(index)


# --- the follower's side ------------------------------------------------------------------


def check_append(state: State, message: AppendEntries) -> None:
    """Refuse an AppendEntries that no leader of a sound cluster sends, before anything changes.

    Raises:
        PeerError: a second leader in one term (§5.2), or other entries where this server knows
            some to be committed (§5.4.3). A sound cluster never sends these; a person can.
    """
    if message.term < state.term:
        return
    if message.term == state.term and state.leader not in (None, message.sender):
        raise PeerError(f"{state.leader} leads term {state.term}, so {message.sender} does not")
    for index, term in _terms(message):
        if index > state.commit_index:
            return
        known = state.log.term_at(index)
        if known is not None and known != term:
            raise PeerError(
                f"entry {index} is committed with term {known}, it is never replaced by term {term}"
            )


def _terms(message: AppendEntries) -> Iterator[tuple[int, int]]:
    yield message.prev_index, message.prev_term
    for index, term, _ in message.entries:
        yield index, term


def refuse_old_leader(state: State, message: AppendEntries | InstallSnapshot) -> None:
    """Answer with this server's term, so that a leader of an earlier one steps down.

    The answer is in a term that its sender never asked in, so it names no round: if that
    server leads this term by now, a round of the earlier one must not confirm its reads.
    """
    state.note(
        f"[*] {state.name} ignored {type(message).__name__} from {message.sender}: "
        f"term {message.term} < {state.term}"
    )
    state.send(
        AppendRejected(
            state.name,
            message.sender,
            state.term,
            state.log.last_index,
            0,
            state.without_vote,
            may_be_new=state.may_be_new,
        )
    )


def on_append_entries(state: State, message: AppendEntries) -> None:
    """Make this follower's log agree with the leader's, or say from where it differs.

    Entries already present are left alone; only a real conflict cuts the tail, so a late and
    shorter message erases nothing. The answer waits for the save. Source: Figure 2,
    AppendEntries receiver 1-5; the node has checked the term (1) before.
    """
    state.follow(message.term, message.sender)
    state.leader_heard_at_ms = state.now_ms
    state.quick_retries_left = 0
    state.arm_election()
    if state.vote is None and (state.amnesiac or state.name not in state.membership.electors):
        # It may have voted in this term in an incarnation that it forgot, or under a name that is
        # used again: spent on the leader, who has won already, its vote isn't given twice.
        state.save(state.term, message.sender)
    agrees = state.log.term_at(message.prev_index) == message.prev_term
    if not agrees and message.prev_index >= state.log.base_index:  # receiver 2
        _send_missing(state, message)
        return
    new = _without_known(state, message.entries)
    if new:
        if new[0].index <= state.log.last_index:  # receiver 3
            state.cut_after(new[0].index - 1)
        state.append(new)  # receiver 4
    match_index = message.prev_index + len(message.entries)
    # receiver 5: never beyond what this very message has matched
    state.advance_commit_index(min(message.commit_index, match_index))
    if state.amnesiac and message.vote_again == state.incarnation:
        regain_vote(state)
    state.send(
        AppendAccepted(
            state.name,
            message.sender,
            state.term,
            match_index,
            message.round,
            state.without_vote,
            promise(state),
            state.may_be_new,
        )
    )


def _without_known(state: State, entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries from the first on that this log lacks or holds with another term."""
    if not entries or entries[0].index > state.log.last_index:
        return list(entries)
    for position, entry in enumerate(entries):
        if entry.index > state.log.base_index and state.log.term_at(entry.index) != entry.term:
            return list(entries[position:])
    return []


def _send_missing(state: State, message: AppendEntries) -> None:
    """Answer with the last index that may agree: the log's end, or before the whole run of the
    term that conflicts (§5.3, end); what is committed agrees for certain."""
    index = state.log.last_index
    if message.prev_index <= index:
        index = state.log.first_index_of_term_at(message.prev_index) - 1
        if state.incoming is None:  # else it is no news
            state.note(
                f"[*] {state.name} differs from {message.sender} at entry {message.prev_index}"
            )
    state.send(
        AppendRejected(
            state.name,
            message.sender,
            state.term,
            max(index, state.commit_index),
            message.round,
            state.without_vote,
            promise(state),
            state.may_be_new,
        )
    )
