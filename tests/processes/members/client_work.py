"""The functions that work for one client, and those that the threads of members may run.

A test of this list fails when such a thread gets more work for a client. Leave it to the
connection's own thread; if it is bounded for each connection, and short, add it to the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from tests.lists.walks import Place, place_of, profiled

# What the threads run that hear members, keep time, write the log, or apply long entries.
MEMBER_WORK = {
    ("net/peers/peers.py", "_talk"),
    ("node/loop/driver.py", "receive"),
    ("node/loop/driver.py", "run"),
    ("node/loop/driver.py", "_apply_offloaded"),
    ("node/loop/writer.py", "run"),
}
# The code that works for one client: its protocol, its login and its connection.
CLIENT_PACKAGES = ("access/", "net/protocol/", "net/connections/")
ALLOWED = {
    # Replies of at most AT_ONCE_CHARACTERS, and as many on one connection.
    "net/protocol/outgoing_protocol.py": {
        "_as_kept", "_forget", "_is_ready", "_next", "_release", "_sent_replies", "_settle",
        "give_up_late", "keep", "mark_ready", "push", "push_later", "send_now", "format",
    },
    "net/protocol/refusal_counts.py": {"add"},
    "net/connections/outgoing.py": {
        "_has_moved", "_send", "_send_later", "flush",
        "_shut_down", "shut_down",  # by `break_off`, see below
    },
    # A few fields of each request, and of each connection.
    "net/protocol/host.py": {
        "answer_all", "answer_rest", "asks_leader", "leave_room", "release", "stop_waiting", "wake",
    },
    "net/connections/connection_slots.py": {"all"},
    "net/connections/listener.py": {"_all_open", "give_up_late"},
    # The work of members themselves; one that dials again ends its earlier connection.
    "access/secret.py": {"initiator", "new_nonce"},
    "net/connections/connection.py": {"answer", "break_off"},
}  # fmt: skip


@contextmanager
def recorded(
    monkeypatch: pytest.MonkeyPatch, packages: tuple[str, ...] = CLIENT_PACKAGES
) -> Iterator[set[Place]]:
    """Collect the functions of these packages that are called from MEMBER_WORK meanwhile."""
    ran: set[Place] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        place = place_of(frame)
        if place is None or place in ran or not place[0].startswith(packages):
            return
        if place[1].startswith("<"):  # a part of a function
            return
        outer = frame.f_back
        while outer is not None:
            if place_of(outer) in MEMBER_WORK:
                ran.add(place)
                return
            outer = outer.f_back

    with profiled(note, monkeypatch):
        yield ran
