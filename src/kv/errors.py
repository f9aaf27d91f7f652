"""The errors of a typed client, beside those of any client (`clients/connection.py`)."""

from __future__ import annotations

from ..clients.connection import ClientError, Refused
from ..common.errors import PUBLIC
from ..wire.refusals import TOO_MANY, RequestOutcome


class LeaseLost(ClientError):
    """The lease has ended, or may have: it was not renewed in time. Another program may hold
    what it held. A write under it was not done."""

    __module__ = PUBLIC


class EventsGone(Refused):
    """The events after the index of a watch are gone, so what changed since is unknown.
    Watch without `after`: that begins with the current keys."""

    __module__ = PUBLIC


class TooManyWatches(Refused):
    """No node serves one more watch: all that it serves are taken, or all that one user may
    have. Nothing was done; later one may."""

    __module__ = PUBLIC
    outcome = RequestOutcome.NO_LEADER
    code = TOO_MANY


class NotUnderstood(ClientError):
    """A node answered in a form that this version of raftline does not know."""

    __module__ = PUBLIC
