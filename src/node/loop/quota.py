"""The bounds of a cluster: the memory of keys, the number of leases and the leader's disk.

The leader decides before it proposes, so every node applies the same entries, whatever its own
bound is. Beyond a bound, only writes that free something are accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from ...net.protocol.host import Batch
from ...state.store import Store
from ...wire.commands.command_table import IN_TRANSACTIONS
from ...wire.commands.operands import NO_LIMITS
from ...wire.commands.transaction_line import read_transaction
from ...wire.limits import LEASES_MAX, PAIRS_BYTES
from ...wire.protocol import ProtocolError, error
from ..disk_room import least_of

_SENDER: Final = r"(?:[^ @]*@)?"
_FREES: Final = re.compile(rf"{_SENDER}(?:(?:delete|clear|release) |(?:forget|session)\Z)")
_TXN: Final = re.compile(rf"{_SENDER}txn ")
_LEASE: Final = re.compile(rf"{_SENDER}lease ")
_FREES_IN_TXN: Final = frozenset(["delete", "clear", "get", "stat"])


class Quota:
    """Refuses the writes for which there is no room."""

    def __init__(
        self,
        store: Store,
        disk: Callable[[], tuple[int, int]],
        bytes_max: int = PAIRS_BYTES,
        leases_max: int = LEASES_MAX,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`disk` returns the free bytes of the disk, and its size; `say` prints a line when the
        disk is nearly full, and when it has room again."""
        self._store = store
        self._disk = disk
        self._is_disk_full = False  # at the last check
        self.bytes_max = bytes_max
        self._leases_max = leases_max
        self._say = say

    def look_at_disk(self) -> None:
        """Check whether the disk has room; called after each write, by the thread that wrote."""
        left, whole = self._disk()
        was_full, self._is_disk_full = self._is_disk_full, left < 2 * least_of(whole)
        if self._is_disk_full and not was_full:
            self._say(
                f"[!] The disk is nearly full: it has {left:,} bytes left. No writes are accepted "
                "until there is room; free some space on it"
            )
        elif was_full and not self._is_disk_full:
            self._say("[*] The disk has room again: writes are accepted")

    @property
    def lacks(self) -> str:
        """The exhausted resource, in one word: bytes, disk or leases; "" if there is room."""
        if self._store.bytes >= self.bytes_max:
            return "bytes"
        if self._is_disk_full:
            self.look_at_disk()  # there may be room again
        if self._is_disk_full:
            return "disk"
        return "leases" if len(self._store.leases.granted) >= self._leases_max else ""

    def admit(self, writes: Sequence[Batch]) -> list[Batch]:
        """Return the writes to propose; answer the others with a refusal. Each batch is accepted or
        refused as a whole."""
        lacks = self.lacks
        if not lacks:
            return list(writes)
        is_refused = asks_lease if lacks == "leases" else needs_room
        admitted = []
        for batch in writes:
            if any(map(is_refused, batch.commands)):
                batch.answer_all(self._refusal(lacks))
            else:
                admitted.append(batch)
        return admitted

    def _refusal(self, lacks: str) -> str:
        if lacks == "bytes":
            return error(
                f"no room: keys and leases take {self.bytes_max} bytes (--max-bytes). Nothing was "
                "done; delete or clear some keys first."
            )
        if lacks == "disk":
            return error(
                "no room: the leader's disk is nearly full. Nothing was done; delete or clear some "
                "keys first."
            )
        return error(
            f"no room: there are {self._leases_max} leases. Nothing was done; release some first."
        )


def asks_lease(command: str) -> bool:
    """Whether a command, as it is in the log, asks for a lease."""
    return _LEASE.match(command) is not None


def needs_room(command: str) -> bool:
    """Whether a command, as it is in the log, does more than free something."""
    if _FREES.match(command) is not None:
        return False
    match = _TXN.match(command)
    if match is None:
        return True
    try:
        transaction = read_transaction(command[match.end() :], IN_TRANSACTIONS, NO_LIMITS)
    except ProtocolError:
        return True
    operations = (*transaction.then, *transaction.otherwise)
    return any([each.partition(" ")[0] not in _FREES_IN_TXN for each in operations])
