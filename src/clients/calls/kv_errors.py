"""The errors of a typed client, in addition to the errors of every client
(`clients/requests/node_connection.py`)."""

from __future__ import annotations

from ...common.errors import PUBLIC
from ...wire.replies.refusals import TOO_MANY, RequestOutcome
from ..requests.node_connection import ClientError, Refused


class LeaseLost(ClientError):
    """The lease has ended, or may have ended: it was not renewed in time. Another program may now
    hold the lock that it guarded. A write under it was not done."""

    __module__ = PUBLIC


class EventsGone(Refused):
    """The events after the index of a watch are gone, so the changes since then are unknown. Watch
    without `after`, which begins with the current keys."""

    __module__ = PUBLIC


class TooManyWatches(Refused):
    """No node serves another watch: its limit of watches, or the limit of one user, is reached.
    Nothing was done; a later try may succeed."""

    __module__ = PUBLIC
    outcome = RequestOutcome.NO_LEADER
    code = TOO_MANY


class NotUnderstood(ClientError):
    """A node answered in a form that this version of raftline does not know."""

    __module__ = PUBLIC
