"""Locks and queues in a full store."""

from __future__ import annotations

import pytest

from raftline.node.loop.quota import needs_room


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        ("hold a/ alone lease-7 x", True), ("c#7@unhold a/ lease-7", False),
        ("c#7@abandon a/ lease-7", True),
        ("enqueue a/ x", True), ("requeue a/ 7", True), ("dequeue a/ 1 0 lease-7", True),
        ("dequeue a/ 1 0 now lease-7", False), ("c#7@dequeue a/ 0 0 lease-7 5:6", False),
    ],
)  # fmt: skip
def test_what_takes_no_place_needs_no_room(command: str, needs: bool) -> None:
    assert needs_room(command) is needs
