"""The rights of a client change while it watches."""

from __future__ import annotations

import pytest

from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.node_connection import LoginFailed, NotAllowed
from raftline.clients.watches.watch_events import WatchCursor


def test_client_following_a_watch_hears_that_it_is_forbidden() -> None:
    """A client that follows a watch is told that it is no longer allowed."""
    cursor = WatchCursor(TEXT, "app/", None)
    cursor.take("WATCH response: 0 keys as of 1")
    with pytest.raises(NotAllowed, match="bob may not watch app/"):
        cursor.refused("Sorry, bob may not watch app/: it takes the right to read there.")


def test_the_errors_say_that_nothing_was_done() -> None:
    assert NotAllowed.outcome is LoginFailed.outcome is NotAllowed("x").outcome
