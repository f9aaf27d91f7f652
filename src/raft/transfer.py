"""Ways to give up the leadership: a transfer (thesis §3.10), and a hung disk.

A transfer hands the leadership to a follower in a few round trips:

1. The leader accepts no more proposals (the rim holds them) and continues to send its entries.
2. Once the follower holds the whole log, and all of it is committed, every waiting request has its
   answer. Then the leader sends `TimeoutNow TERM`.
3. The follower stands at once, without PreVote. Its RequestVote ends in ` transfer`, so that
   servers that hear from the leader vote for it anyway. The leader steps down in the new term.
4. Without an outcome within an election timeout, the leader takes proposals again. If the follower
   stands later than that, it deposes the leader like any election, which is slow but safe.

A leader whose own disk hangs hands over in the same way (`check_disk`), if the other disks work.
Its followers commit without it (thesis §10.2.1), so heartbeats and answers alone would never end
its leadership.
"""

from __future__ import annotations

from contextlib import suppress

from .election import heard_lately, start_election
from .messages import TimeoutNow
from .progress import Mode
from .roles import Leading, PendingTransfer, Role
from .state import DISK_TIMEOUTS, State


class TransferRefused(Exception):
    """A refused transfer; nothing was changed. The message gives the reason."""


def begin_transfer(state: State, to: str | None) -> None:
    """Hand the leadership to `to`, or to the follower that has applied the most entries.

    Raises:
        TransferRefused: this server does not lead, or the follower can't take over now.
    """
    if state.role is not Role.LEADER:
        raise TransferRefused(f"{state.name} does not lead")
    if state.transfer is not None:
        raise TransferRefused(f"a transfer to {state.transfer.to} is under way")
    if to is None:
        fit = [name for name in state.membership.voters if why_unfit(state, name) is None]
        if not fit:
            raise TransferRefused("no follower can take over")
        to = max(fit, key=lambda name: _nearness(state, name))
    reason = why_unfit(state, to)
    if reason is not None:
        raise TransferRefused(reason)
    state.as_leader.transfer = PendingTransfer(to, state.now_ms + state.options.election_timeout_ms)
    state.note(f"[*] Handing the leadership over to {to}")


def leave_to_another(state: State) -> None:
    """Tell a voter with the whole log, if there is one, to stand at once, because this leader is
    leaving.

    Unlike a transfer, this waits neither for a follower to catch up nor for an outcome. Without a
    successor, an election timeout ends the leadership as usual.
    """
    leading = state.as_leader
    fit = [name for name in state.membership.voters if why_unfit(state, name) is None]
    fit = [name for name in fit if leading.progress[name].match_index == state.log.last_index]
    if fit:
        successor = max(fit, key=lambda name: _nearness(state, name))
        leading.lease_is_over = True
        # Early: after the wait for this server's disk, the connections may be gone.
        state.send_early(TimeoutNow(state.name, successor, state.term))


def why_unfit(state: State, name: str) -> str | None:
    """Return why this server can't take over the leadership; None if it can."""
    if name == state.name:
        return f"{name} leads already"
    progress = state.as_leader.progress.get(name)
    if progress is None or name not in state.membership.names:
        return f"{name} is not a member of this cluster"
    if name in state.membership.learners:
        return f"{name} is a learner without a vote"
    if name not in state.membership.voters:
        return f"{name} is about to leave the cluster"
    if not progress.is_counted:
        return f"{name} {progress.loss} and catches up without a vote"
    silent_ms = state.now_ms - progress.heard_at_ms
    if progress.away or silent_ms > state.options.election_timeout_ms:
        return f"{name} can't be reached at the moment"
    return None


def _nearness(state: State, name: str) -> tuple[int, int, int, int]:
    """Return how near a follower is to serving as a leader. One that still has a long log to apply
    would answer nobody until it has applied it."""
    progress = state.as_leader.progress[name]
    place = progress.applied_index, progress.match_index
    return *place, progress.acked_round, progress.heard_at_ms


def advance_transfer(state: State) -> None:
    """Send TimeoutNow once the follower holds the whole log and no request waits."""
    leading = state.as_leader
    transfer = leading.transfer
    if transfer is None or transfer.has_sent:
        return
    progress = leading.progress.get(transfer.to)
    if progress is None or not progress.is_counted:
        give_up_transfer(state)
    elif progress.match_index == state.log.last_index == state.commit_index:
        transfer.has_sent = True
        leading.lease_is_over = True
        # Early: this server's disk may be the reason for the transfer.
        state.send_early(TimeoutNow(state.name, transfer.to, state.term))


def give_up_transfer(state: State) -> None:
    """End the transfer, and take proposals again."""
    leading = state.as_leader
    if leading.transfer is not None:
        state.note(f"[*] {leading.transfer.to} did not take over: {state.name} leads on")
        leading.transfer = None


def check_disk(state: State) -> None:
    """Give up the leadership if an entry has waited for this leader's disk for `DISK_TIMEOUTS`
    election timeouts without any progress.

    The leader tries a transfer for an election timeout, and then steps down. It can't be elected
    again before its disk makes progress, since its votes and its vote requests wait for the disk.
    It stays if no other server could lead, or if the other disks are no better: it still serves
    reads.
    """
    leading, now_ms = state.as_leader, state.now_ms
    is_behind = state.durable_index < state.log.last_index
    if not (is_behind and leading.disk_since_ms) or state.durable_index != leading.disk_index:
        leading.disk_since_ms = now_ms if is_behind else 0
        leading.disk_index, leading.gives_way = state.durable_index, False
        leading.outrun_since_ms = 0
        return
    if state.commit_index > state.durable_index and not leading.outrun_since_ms:
        leading.outrun_since_ms = now_ms
    waits_ms = now_ms - leading.disk_since_ms
    is_stalled = waits_ms >= DISK_TIMEOUTS * state.options.election_timeout_ms
    if not is_stalled or leading.transfer is not None or not _have_better_disks(state, leading):
        return
    if not leading.gives_way:
        leading.gives_way = True
        state.note(
            f"[!] The disk of {state.name} has not taken entry {state.durable_index + 1} for "
            f"{waits_ms:,} ms: {state.name} gives the leadership up. Its disk hangs or is much too "
            "slow"
        )
        with suppress(TransferRefused):
            begin_transfer(state, None)
            return
    state.follow(state.term, None)


def _have_better_disks(state: State, leading: Leading) -> bool:
    """Whether a quorum without this leader is there, and can write what this leader's disk can't.

    An answer doesn't show that: a follower answers heartbeats past its disk (`send_past_entries`),
    but its votes wait for the disk. So the others must have committed entries that this disk lacks,
    and for half of the time, since disks that are equally slow also outrun each other.

    A follower that lags can't help to commit before it has caught up, perhaps from this disk. While
    there is one, a quorum of followers is enough that lag, or hold what this disk lacks.
    """
    heard = heard_lately(state)
    if not state.membership.is_quorum(heard):
        return False
    outrun_ms = state.now_ms - leading.outrun_since_ms if leading.outrun_since_ms else 0
    if 2 * outrun_ms >= DISK_TIMEOUTS * state.options.election_timeout_ms:
        return True
    lag = {name for name in heard if leading.progress[name].mode is not Mode.REPLICATE}
    ahead = {name for name in heard if leading.progress[name].match_index > state.durable_index}
    return bool(lag) and state.membership.is_quorum(lag | ahead)


def on_timeout_now(state: State, message: TimeoutNow) -> None:
    """Stand at once, if the leader of the current term asks for it and this server is a voter."""
    if message.term != state.term or message.sender != state.leader:
        state.note(
            f"[*] {state.name} ignored TimeoutNow from {message.sender}: "
            f"it does not lead term {state.term}"
        )
    elif state.recovering or state.name not in state.membership.voters:
        state.note(f"[*] {state.name} ignored TimeoutNow from {message.sender}: it has no vote")
    else:
        state.note(f"[*] {message.sender} hands the leadership over")
        start_election(state, transfer=True)
