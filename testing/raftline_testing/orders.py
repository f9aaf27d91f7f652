"""Orders to a server that no input of the core expresses: of a controller, and of schedules.

The core has no part in them. `obey` changes the state as an order says, and lets the core do what
has become possible. Each order is safe, because chance, delays and lost messages could have the
same effect. The course's controller and the virtual world use them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from raftline.raft.effects import Effects
from raftline.raft.election import start_election
from raftline.raft.node import RawNode, advance
from raftline.raft.roles import Role
from raftline.raft.state import State

PAGE = "course/docs/controller.md"


class OrderRefused(Exception):
    """A refused order; nothing was changed. The message gives the reason."""


class Order:
    """An order, with its explanation for observers: a sentence, its section, and the place."""

    why: ClassVar[tuple[str, str, str]]

    def change(self, state: State) -> None:
        """Change the state. Raises OrderRefused if the server can't obey; nothing was changed."""
        raise NotImplementedError


def obey(node: RawNode, order: Order, now_ms: int) -> Effects:
    """Carry out an order; return its effects, which the caller carries out like those of a step.

    A recording has no orders: it begins again with the state after this one.

    Raises:
        OrderRefused: the server can't obey; nothing was changed.
    """
    state = node._state
    state.now_ms = max(now_ms, state.now_ms)
    state.out = Effects()
    order.change(state)
    advance(state)
    begin_segment = getattr(node, "begin_segment", None)  # of a node that records its steps
    if begin_segment is not None:
        begin_segment()
    if node.observer is not None:
        node.observer.stepped(order, state.out)
    return state.out


@dataclass(frozen=True)
class StepDown(Order):
    """Become a follower, like a leader without answers from a quorum (thesis §6.2)."""

    why = "the controller orders it", PAGE, "state.follow"

    def change(self, state: State) -> None:
        if state.role is Role.FOLLOWER:
            raise OrderRefused(f"{state.name} follows already, in term {state.term}")
        state.note(f"[*] {state.name} is told to follow")
        state.follow(state.term, None)
        state.arm_election()


@dataclass(frozen=True)
class Campaign(Order):
    """Stand at once in a new term, like the paper's servers at the end of a timeout (§5.2).

    There is no PreVote, so the higher term deposes a working leader. Servers that hear from that
    leader still deny their votes (thesis §4.2.3), and so do servers that promised it their votes
    (lease), including this one.
    """

    why = "the controller says that my election timeout is over", "§5.2", "election.start_election"

    def change(self, state: State) -> None:
        _check_vote(state)
        if state.role is Role.LEADER:
            state.follow(state.term, None)
        state.note(f"[*] {state.name} is told that its election timeout is over")
        newborn = state.newborn
        start_election(state)
        if newborn and state.role is Role.CANDIDATE:
            # No quorum has confirmed that there is no history: this server may have lost all its
            # files.
            state.newborn, state.out.recovered = True, False


def _check_vote(state: State) -> None:
    """Refuse an order to stand if this server has no vote, or has promised it."""
    if state.recovering:
        why = "may be new or may have lost everything" if state.may_be_new else "lost its memory"
        raise OrderRefused(f"{state.name} {why}, and catches up without a vote")
    if state.name not in state.membership.electors:
        raise OrderRefused(f"{state.name} has no vote, so it does not stand")
    left_ms = state.promised_until_ms - state.now_ms
    if left_ms > 0:
        raise OrderRefused(
            f"{state.name} has promised its vote to a leader for {left_ms} ms more, which reads "
            "under a lease rest on"
        )


@dataclass(frozen=True)
class SetHeartbeat(Order):
    """Send heartbeats at this interval; a leader's next one is due after one interval."""

    heartbeat_ms: int
    why = "the controller orders it", PAGE, ""

    def change(self, state: State) -> None:
        state.options = replace(state.options, heartbeat_ms=self.heartbeat_ms)
        if state.leading is not None:
            state.leading.heartbeat_at_ms = state.now_ms + self.heartbeat_ms
