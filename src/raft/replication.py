"""AppendEntries at the leader, and the rule that decides when an entry is committed."""

from __future__ import annotations

from typing import Final

from .agreement import compare, confirmed_index
from .log import Entry, SafetyError, entries_of
from .messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
)
from .progress import Mode, Progress
from .recovering import leader_finds_loss
from .roles import Leading
from .snapshot import lacks_snapshot, send_again
from .state import State

NOTICES = 20  # most notices of a commit between two heartbeats
NO_ENTRIES: Final[list[Entry]] = []  # one object, so that the rim serializes a round only once


def propose(state: State, commands: list[str]) -> None:
    """Append one entry for each command in the leader's term, and send the entries (§5.3).

    They are sent before the leader's own disk write (thesis §10.2.1); the leader counts itself only
    once `Synced` reports the write.
    """
    leading = state.as_leader
    if leading.transfer is not None:
        raise SafetyError(f"{state.name} is asked to append while it gives way")
    first = state.log.last_index + 1
    state.log.extend(state.term, commands)
    entries = entries_of(first, state.term, commands)
    state.out.append += entries
    options = state.options
    if len(entries) <= options.batch_entries and sum(map(len, commands)) <= options.batch_bytes:
        leading.batch = entries  # the batch that `next_batch` would make
    send_entries_to_all(state)


def send_entries_to_all(state: State) -> None:
    """Send every follower the entries that it lacks, as far as its window allows."""
    leading = state.as_leader
    for name, progress in leading.progress.items():
        send_entries(state, leading, name, progress)


def send_entries(state: State, leading: Leading, name: str, progress: Progress) -> None:
    """Send one follower the entries that it lacks: one message in probe mode, a window of messages
    in replicate mode, or the snapshot if the log no longer has the entries (§7).

    A follower that needs a snapshot lacks the snapshot's last entry, which this log holds or begins
    after. So a follower that lacks no entry needs no snapshot.
    """
    if progress.next_index > state.log.last_index:
        return
    if not state.may_send(name) or _needs_snapshot(state, name, progress):
        return
    while progress.next_index <= state.log.last_index:
        if progress.mode is Mode.PROBE and progress.probe_sent:
            return
        if len(progress.in_flight) >= state.options.window:
            return
        entries = next_batch(state, leading, progress.next_index)
        _send(state, leading, name, progress, entries)
        if progress.mode is Mode.PROBE:
            progress.probe_sent = True
            return
        progress.next_index = entries[-1].index + 1
        progress.in_flight.append(entries[-1].index)


def _needs_snapshot(state: State, name: str, progress: Progress) -> bool:
    """Whether a follower gets the snapshot now (§7), since the log lacks its next entries."""
    if progress.mode is not Mode.SNAPSHOT and progress.next_index > state.log.base_index:
        return False
    return lacks_snapshot(state, name, progress)


def next_batch(state: State, leading: Leading, first: int) -> list[Entry]:
    """Return the entries from `first` on: at least one, limited in number and bytes.

    Followers at the same index get the same list object, so that the rim serializes it only once.
    """
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
    """Open a new round: send every follower an empty AppendEntries, then its missing entries
    (§5.2)."""
    leading = state.as_leader
    leading.begin_round(state.now_ms)
    leading.heartbeat_at_ms = state.now_ms + state.options.heartbeat_ms
    for name, progress in leading.progress.items():
        if state.may_send(name):
            send_heartbeat(state, name, progress)


def send_heartbeat(state: State, name: str, progress: Progress) -> None:
    """Send one follower an empty AppendEntries of this round, and its missing entries."""
    progress.probe_sent = False
    leading = state.as_leader
    _needs_snapshot(state, name, progress)
    _send(state, leading, name, progress, NO_ENTRIES)
    progress.probe_sent = progress.mode is Mode.PROBE
    send_entries(state, leading, name, progress)
    if progress.sending is not None:
        send_again(state, name, progress)


def _send(
    state: State, leading: Leading, name: str, progress: Progress, entries: list[Entry]
) -> None:
    """Send an AppendEntries, possibly empty; the caller has checked `may_send`."""
    prev_index = progress.next_index - 1
    prev_term = state.log.term_at(prev_index)
    if progress.sending is not None:  # the log's base may have moved
        prev_index, prev_term = progress.sending.snapshot[:2]
    if prev_term is None:
        raise SafetyError(f"{name} needs entries from {prev_index}, which are not in the log")
    progress.commit_sent = state.commit_index
    number = leading.round
    state.send_early(
        AppendEntries(
            state.name,
            name,
            state.term,
            prev_index,
            prev_term,
            entries,
            state.commit_index,
            number,
            vote_again=0 if progress.is_counted else progress.vote_again(number),
            lost_index=progress.lost_index,
            differs=progress.told_difference,
            agreed_index=progress.received_index and _confirmed(state, progress),
        )
    )


def _confirmed(state: State, progress: Progress) -> int:
    """Return the entry that confirms a follower's snapshot (raft/agreement.py); 0: none yet."""
    index = confirmed_index(state)
    return index if progress.received_index <= index else 0


def on_append_accepted(state: State, message: AppendAccepted) -> None:
    """Count the entries that the follower now holds, and continue to send (Figure 2, Leaders).

    The follower reached its index through this leader's messages of this term, so the index can't
    be too high, however late the answer arrives; `matched` never lowers it.
    """
    leading = state.as_leader
    progress = leading.progress[message.sender]
    progress.matched(message.index, leading.round)
    if progress.is_counted and message.index > state.commit_index:
        advance_commit(state)
    if progress.next_index <= state.log.last_index:
        send_entries(state, leading, message.sender, progress)
    if message.sums is not None and message.round >= progress.acked_round:  # none is later
        compare(state, progress, message.sums)


def on_append_rejected(state: State, message: AppendRejected) -> None:
    """Go back to an index at which the follower's log may agree, and probe there (§5.3, end).

    In replicate mode many sends may fail for one reason: only the first complaint counts, and the
    others answer sends from before the leader went back. If the follower names an index before the
    log's base, the leader first probes at the base. The two logs may still agree there, because the
    follower names the beginning of a run of one term. Only if the follower refuses that too does it
    need the snapshot (§7).
    """
    progress = state.progress[message.sender]
    leading, log = state.as_leader, state.log
    if progress.is_outdated(message.round, message.index, log.base_index):
        return
    if progress.mode is Mode.SNAPSHOT:
        return  # it lacks the snapshot's last entry, as expected before the installation
    if progress.lacks_acknowledged(message.round, message.index, log.base_index):
        leader_finds_loss(state, progress, message)
    agree_index = min(message.index, log.last_index, progress.next_index - 1)
    asks_at_base = agree_index < log.base_index < progress.next_index - 1
    progress.rewind(log.base_index if asks_at_base else agree_index, leading.round)
    leading.round += 1
    if progress.next_index <= log.last_index and not asks_at_base:
        send_entries(state, leading, message.sender, progress)
    elif state.may_send(message.sender):
        _send(state, leading, message.sender, progress, NO_ENTRIES)
        progress.probe_sent = True


def advance_commit(state: State) -> None:
    """Commit the entries that a quorum holds on disk, if the last is of the leader's own term
    (§5.4.2, Figure 8).

    Entries of earlier terms are committed by an entry of this term that follows them.
    """
    leading = state.as_leader
    matches = {name: p.match_index for name, p in leading.progress.items() if p.is_counted}
    matches[state.name] = state.durable_index
    index = state.membership.reached_by_quorum(matches)
    if index > state.commit_index and state.log.term_at(index) == state.term:
        state.advance_commit_index(index)
        if not leading.notice_at_ms and not state.identity.is_at_floor:
            _plan_notice(state, leading)


def _plan_notice(state: State, leading: Leading) -> None:
    """Schedule a notice of the commit index to the followers, where watches of keys wait for it.

    Every AppendEntries carries the leader's commit index (§5.3), so under load the next entries
    carry it, and no notice is sent. At the floor there is nothing to watch.
    """
    leading.notice_at_ms = state.now_ms + max(1, state.options.heartbeat_ms // NOTICES)
    leading.notice_index = state.commit_index


def send_notices(state: State) -> None:
    """Send the commit index to followers that have not received it with other messages; followers
    in probe mode get it with the next heartbeat. An empty AppendEntries without a new round proves
    nothing new."""
    leading = state.as_leader
    index, leading.notice_at_ms = leading.notice_index, 0
    for name, progress in leading.progress.items():
        if _needs_snapshot(state, name, progress):
            continue
        is_late = progress.mode is Mode.REPLICATE and progress.commit_sent < index
        if is_late and state.may_send(name):
            _send(state, leading, name, progress, NO_ENTRIES)
    if state.commit_index > index:
        _plan_notice(state, leading)
