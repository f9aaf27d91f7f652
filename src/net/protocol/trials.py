"""Requests that may be too much for one entry: each node would apply such an entry up to the bound,
and again at each start. So they are tried out before they are in the log.

An estimate finds them. Those that it finds wait for all earlier requests of their connection, whose
effects they may see. The values may grow in between, by requests of other connections, so each node
counts again where it applies the entry.
"""

from __future__ import annotations

from typing import Protocol

from ...state.work import growth_of
from .host import AppliedState, Batch, DoorHost, RequestHost
from .outgoing_protocol import OutgoingProtocol
from .subscriptions import CONFIRMED
from .waits import AwaitReplies, Waits

TRIED = "tried"  # the kind of these lines


class TrialHost(RequestHost, Protocol):
    """The node as a trial sees it."""

    @property
    def logmanager(self) -> AppliedState: ...


class Trials:
    """Finds the requests of one connection that have to be tried out. They are asked for in
    order."""

    def __init__(self, host: DoorHost) -> None:
        self._host = host
        self._grown = 0  # characters by which a value may be longer after the requests asked for
        self.under_way = 0  # characters of all requests that are not answered

    def begin_run(self) -> None:
        """Forget the requests that were asked for if all of them are answered."""
        if not self.under_way:
            self._grown = 0

    def add(self, command: str) -> None:
        """Count a request that is not tried out."""
        self._grown += len(command)

    def are_needed(self, command: str) -> bool:
        """Whether a command has to be tried out."""
        is_needed = self._host.needs_trial(command, self._grown + self.under_way)
        self._grown = growth_of(command) + (0 if is_needed else self._grown)
        return is_needed


def why_too_much(host: TrialHost, outgoing: OutgoingProtocol, entry: str) -> Waits[str]:
    """Return why a command is refused before it becomes an entry, or "". It is written as in the
    log. Only the latest state refuses it, and a quorum confirms that."""
    if host.logmanager.try_out(entry):
        return (yield from confirmed(host, outgoing)) or host.logmanager.try_out(entry)
    return ""


def confirmed(host: RequestHost, outgoing: OutgoingProtocol) -> Waits[str]:
    """Wait until this node has applied all entries that were committed when this began; return a
    refusal, or ""."""
    batch = Batch(["subscribe"], is_read=True, reading=CONFIRMED, asker=outgoing)
    host.submit(batch)
    if not (yield AwaitReplies(batch, host.patience_s)):
        return host.not_confirmed()
    return batch.replies[0] if batch.replies else ""
