"""Leadership transfer: a leader gives way to a follower in a few round trips (thesis §3.10).

1. The leader takes no more proposals (the rim holds them) and goes on to send what it has.
2. Once the follower holds all of it, and all of it is committed, so that nobody who waits is left
   without an answer, the leader says `TimeoutNow TERM`.
3. The follower stands at once, without PreVote; its RequestVote ends in ` transfer`, so that
   those who hear from the leader vote all the same. The leader steps down at the new term.
4. Without an outcome within an election timeout the leader takes proposals again. Should the
   follower stand later than that, the leader is deposed as by any election: a cost, no harm.
"""

from __future__ import annotations

from raftline.raft.election import start_election
from raftline.raft.messages import TimeoutNow
from raftline.raft.roles import PendingTransfer, Role
from raftline.raft.state import State


class TransferRefused(Exception):
    """The leadership can't be handed over so; nothing was changed. The message says why."""


def begin_transfer(state: State, to: str | None) -> None:
    """Hand the leadership to `to`, or to the follower that is nearest to holding everything.

    Raises:
        TransferRefused: this server does not lead, or that one can't take over now.
    """
    if state.role is not Role.LEADER:
        raise TransferRefused(f"{state.name} does not lead")
    if state.transfer is not None:
        raise TransferRefused(f"a transfer to {state.transfer.to} is under way")
    if to is None:
        fit = [name for name in state.membership.voters if why_unfit(state, name) is None]
        if not fit:
            raise TransferRefused("no follower is there that could take over")
        to = max(fit, key=lambda name: _nearness(state, name))
    reason = why_unfit(state, to)
    if reason is not None:
        raise TransferRefused(reason)
    state.as_leader.transfer = PendingTransfer(to, state.now_ms + state.options.election_timeout_ms)
    state.note(f"[*] Handing the leadership over to {to}")


def leave_to_another(state: State) -> None:
    """Let the voter that holds everything stand at once, if there is one: this leader goes.

    Unlike in a transfer nothing is waited for, neither for a follower to catch up nor for an
    outcome; without a successor an election timeout decides, as after any leader.
    """
    leading = state.as_leader
    fit = [name for name in state.membership.voters if why_unfit(state, name) is None]
    fit = [name for name in fit if leading.progress[name].match_index == state.log.last_index]
    if fit:
        successor = max(fit, key=lambda name: _nearness(state, name))
        leading.lease_is_over = True
        # Early, as all that a leader says: behind its own disk the connections may be gone.
        state.send_early(TimeoutNow(state.name, successor, state.term))


def why_unfit(state: State, name: str) -> str | None:
    """Return why this server can't be handed the leadership; None where it can."""
    leading = state.as_leader
    if name == state.name:
        return f"{name} leads already"
    progress = leading.progress.get(name)
    if progress is None or name not in state.membership.names:
        return f"{name} is no member of this cluster"
    if name in state.membership.learners:
        return f"{name} is a learner, it has no vote"
    if name not in state.membership.voters:
        return f"{name} is about to leave the cluster"
    if not progress.is_counted:
        return f"{name} {progress.befell} and catches up without a vote"
    silent_ms = state.now_ms - progress.heard_at_ms
    if progress.away or silent_ms > state.options.election_timeout_ms:
        return f"{name} is not reached at the moment"
    return None


def _nearness(state: State, name: str) -> tuple[int, int, int]:
    leading = state.as_leader
    progress = leading.progress[name]
    return progress.match_index, progress.acked_round, progress.heard_at_ms


def advance_transfer(state: State) -> None:
    """Say TimeoutNow as soon as the follower holds everything and nobody waits for an answer."""
    leading = state.as_leader
    transfer = leading.transfer
    if transfer is None or transfer.told:
        return
    progress = leading.progress.get(transfer.to)
    if progress is None or not progress.is_counted:
        give_up_transfer(state)
    elif progress.match_index == state.log.last_index == state.commit_index:
        transfer.told = True
        leading.lease_is_over = True
        state.send(TimeoutNow(state.name, transfer.to, state.term))


def give_up_transfer(state: State) -> None:
    """Lead on, and take proposals again."""
    leading = state.as_leader
    if leading.transfer is not None:
        state.note(f"[*] {leading.transfer.to} did not take over: {state.name} leads on")
        leading.transfer = None


def on_timeout_now(state: State, message: TimeoutNow) -> None:
    """Stand at once, if the leader of this very term says so and one's vote counts."""
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
