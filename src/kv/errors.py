"""The errors of a typed client, beside those of any client (`clients/connection.py`)."""

from __future__ import annotations

from raftline.clients.connection import ClientError, Refused
from raftline.common.errors import PUBLIC


class LeaseLost(ClientError):
    """The lease has ended, or may have: it was not renewed in time. Another program may hold
    what it held. A write under it was not done."""

    __module__ = PUBLIC


class EventsGone(Refused):
    """The events after the index of a watch are gone, so what changed since is unknown.
    Watch without `after`: that begins with the current keys."""

    __module__ = PUBLIC


class NotUnderstood(ClientError):
    """A node answered in a form that this version of raftline does not know."""

    __module__ = PUBLIC
