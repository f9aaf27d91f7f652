"""The rights that the commands for locks and queues take for each claim that they name."""

from __future__ import annotations

import pytest

from raftline.wire.commands.authorization import denial_reason
from raftline.wire.commands.identity import identity_of
from raftline.wire.commands.rights import UserRole

BOB = identity_of("bob", UserRole.WRITER, ("bob/",))
LEASES = {"lease-5": ["ann/session"], "lease-6": ["bob/session"], "lease-7": []}


@pytest.mark.parametrize(
    "line",
    ["hold bob/l/ alone {} v", "hold bob/l/ together:2 now {} v", "unhold bob/l/ {}",
     "abandon bob/l/ {}", "dequeue bob/q/ 1 10 {}", "dequeue bob/q/ 1 10 now {} 5:7",
     "dequeue bob/q/ 1 10 as {} lease-6", "dequeue bob/q/ 1 10 as lease-6 {}",
     "dequeue bob/q/ 0 10 as {} lease-6 5:7:lease-6/2 6:7:back"],
)  # fmt: skip
def test_each_claim_takes_the_right_to_its_lease(line: str) -> None:
    """A key that is put under the lease of another user keeps her from renewing it, so that her
    keys end with it."""
    for claim in ("lease-5", "lease-5/3"):
        reply = denial_reason(BOB, line.format(claim), lambda lease: LEASES[lease])
        assert "bob may not put a key under lease-5: it takes the right to write for each" in reply
    for claim in ("lease-6", "lease-6/3", "lease-7"):
        assert denial_reason(BOB, line.format(claim), lambda lease: LEASES[lease]) == ""


def test_put_in_a_transaction_takes_the_right_to_its_prefix() -> None:
    """In each branch, and whatever stands before it."""
    for line in (
        "txn enqueue {} x", "txn set bob/a 1 ; enqueue {} x",
        "txn if bob/a exists then set bob/a 1 else enqueue {} x",
    ):  # fmt: skip
        assert denial_reason(BOB, line.format("bob/q/"), lambda lease: LEASES[lease]) == ""
        reply = denial_reason(BOB, line.format("ann/q/"), lambda lease: LEASES[lease])
        assert "bob may not enqueue ann/q/: it takes the right to write there" in reply


def test_taking_a_job_over_takes_the_right_to_its_prefix() -> None:
    """The key of the job at PREFIX leaves the lease; nothing else of the lease changes."""
    line = "dequeue {} 0 10 lease-6 5:7:lease-5"
    assert denial_reason(BOB, line.format("bob/q/"), lambda lease: LEASES[lease]) == ""
    reply = denial_reason(BOB, line.format("ann/q/"), lambda lease: LEASES[lease])
    assert "bob may not dequeue ann/q/" in reply
