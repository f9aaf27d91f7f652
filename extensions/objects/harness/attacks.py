"""The attacks by operations on objects."""

from __future__ import annotations

import time
from collections.abc import Callable

from raftline.wire.limits import TRANSACTION_ITEMS
from raftline_testing.attacks.field import Field, leader_port


def rework(field: Field) -> None:
    """Operate on a long list, with many operations in a transaction and 20 more in one packet."""
    with field.logged_in(leader_port(field), "mal") as connection:
        connection.ask("c@txn " + " ; ".join(["object mal/o list.put 0 2"] * TRANSACTION_ITEMS))
        connection.send(*[f"c@object mal/o list.put 0 {number}" for number in range(20)])
        until_s = time.monotonic() + 10
        for _ in range(20):
            connection.read(until_s)


ATTACKS: tuple[Callable[[Field], None], ...] = (rework,)
