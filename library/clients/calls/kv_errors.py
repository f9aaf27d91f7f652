"""The errors of a typed client, in addition to the errors of every client
(`clients/connections/node_connection.py`)."""

from __future__ import annotations

from raftline.common.public import public
from raftline.wire.refusal import TOO_MANY, RequestOutcome

from ..connections.node_connection import ClientError, Refused


@public("raftline")
class LeaseLost(ClientError):
    """The lease has ended, or may have ended: it was not renewed in time. Another program may now
    hold the lock that it guarded. A write under it was not done."""


@public("raftline.errors")
class EventsGone(Refused):
    """The events after the index of a watch are gone, so the changes since then are unknown. Watch
    without `after`, which begins with the current keys."""


@public("raftline.errors")
class TooManyWatches(Refused):
    """No node serves another watch: its limit of watches, or the limit of one user, is reached.
    Nothing was done; a later try may succeed."""

    outcome = RequestOutcome.NO_LEADER
    code = TOO_MANY


@public("raftline.errors")
class NotUnderstood(ClientError):
    """A node answered in a form that this version of raftline does not know."""
