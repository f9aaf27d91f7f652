"""The leadership transfers that clients wait for, and the reply to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...net.protocol.host import Batch
from ...raft.effects import Effects
from ...raft.inputs import Transfer
from ...raft.node import RawNode
from ...raft.node_view import NodeView
from ...raft.transfer import TransferRefused
from ...wire.refusal import NO_LEADER, NO_TRANSFER, NOT_TAKEN_OVER, outcome_unknown


class _WaitingTransfer(NamedTuple):
    batch: Batch
    to: str
    term: int  # in which the transfer began


class Handover:
    """Watches the core after each of its steps. Callers hold the driver's `core` lock."""

    def __init__(self, node: RawNode, not_leader: Callable[[str], str]) -> None:
        self._node = node
        self._not_leader = not_leader
        self.waiting: list[_WaitingTransfer] = []

    def begin(self, batch: Batch, to: str | None, now: int) -> Effects:
        """Begin a transfer; answer `batch` when it ends, or at once if it can't begin."""
        view = self._node.view
        if not view.is_leader:
            batch.answer_all(NO_LEADER if view.leader is None else self._not_leader(view.leader))
            return Effects()
        try:
            effects = self._node.step(Transfer(to), now)
        except TransferRefused as refusal:
            batch.answer_all(NO_TRANSFER(refusal))
            return Effects()
        if view.transfer is not None:
            self.waiting.append(_WaitingTransfer(batch, view.transfer.to, view.term))
        return effects

    def look(self) -> None:
        """Answer requests whose transfer has ended: another server leads, or this one again."""
        still: list[_WaitingTransfer] = []
        for waiting in self.waiting:
            reply = _outcome(waiting, self._node.view)
            if reply is None:
                still.append(waiting)
            else:
                waiting.batch.answer_all(reply)
        self.waiting = still

    def end(self) -> None:
        """Answer all waiting requests, since this server stops."""
        for waiting in self.waiting:
            waiting.batch.answer_all(outcome_unknown(f"{waiting.to} may take over yet, or not"))
        self.waiting = []


def _outcome(waiting: _WaitingTransfer, view: NodeView) -> str | None:
    """Return the reply about a transfer; None while its outcome is not known."""
    if view.is_leader:
        if view.transfer is not None and view.term == waiting.term:
            return None
        return NOT_TAKEN_OVER(waiting.to, view.name, view.term)
    if view.leader is None:
        return None
    if view.leader == waiting.to:
        return f"TRANSFER response: {view.leader} leads term {view.term}"
    return NOT_TAKEN_OVER(waiting.to, view.leader, view.term)
