"""The ledger of one request: what its reply may have, and what its entry may have. Pure.

A request may name the same key a thousand times in a few bytes, so its bytes say nothing about
those of its reply. The maker of a part of a reply, or of an entry counts it here before the next
part is made, and before anything is written. Memory that a user holds beyond a request is
counted by user: see docs/operate/limits.md.
"""

from __future__ import annotations

from raftline.wire.limits import ANSWER_BYTES, REQUEST_WORK_BYTES
from raftline.wire.protocol import ProtocolError


class OverLedgerError(ProtocolError):
    """A request costs more than one request may. Nothing was done."""


class RequestLedger:
    """Counts what a request makes the node keep until it is answered."""

    __slots__ = ("_changes_max", "changed", "held", "returned", "worked")

    def __init__(self, changes_max: int) -> None:
        """`changes_max` is the number of bytes of all values that an entry may have: those of the
        longest line."""
        self._changes_max = changes_max
        self.returned = 0
        self.changed = 0
        self.worked = 0
        self.held = 0  # bytes that were read for it; the room for long replies bounds them

    def returns(self, size: int) -> None:
        """Count bytes of the reply.

        Raises:
            OverLedgerError: it would be too long.
        """
        if self.returned + size > ANSWER_BYTES:
            raise OverLedgerError(
                f"the reply has more than {ANSWER_BYTES} bytes; ask for less at a time"
            )
        self.returned += size

    def changes(self, size: int) -> None:
        """Count bytes of keys and values in the entry.

        Raises:
            OverLedgerError: it would be too long.
        """
        self.changed += size
        if self.changed > self._changes_max:
            why = f"the changes have more than {self._changes_max} bytes"
            raise OverLedgerError(f"{why}; make fewer at a time. Nothing was done")

    def works(self, size: int) -> None:
        """Count the bytes that a command computes with: of each value that it makes.

        Raises:
            OverLedgerError: it would take too long.
        """
        self.worked += size
        if self.worked > REQUEST_WORK_BYTES:
            why = f"the commands make more than {REQUEST_WORK_BYTES} bytes"
            raise OverLedgerError(f"{why}; use fewer at a time. Nothing was done")
