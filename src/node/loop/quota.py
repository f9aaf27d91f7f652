"""The bounds of a cluster: the memory of keys, the number of leases and the leader's disk.

The leader decides before it proposes, so every node applies the same entries, whatever its own
bound is. Beyond a bound, only writes that free something are accepted.

A user may hold USER_SHARE times the room that is left, as with the dynamic thresholds of a shared
buffer (Choudhury and Hahne, 1998). So one user alone fills three quarters, and some room is always
left for the next one, however many there are. Nobody has to be counted or told a share in advance.
The share of a user follows from the replicated state (state/accounts.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from heapq import nlargest
from typing import Final

from ...net.protocol.host import Batch
from ...state.store import Store
from ...wire.commands.command_table import COMMANDS, IN_TRANSACTIONS
from ...wire.commands.transaction_line import read_transaction
from ...wire.limits import KEPT_PART, LEASE_BYTES, LEASES_MAX, PAIRS_BYTES, USER_SHARE
from ...wire.operands.operands import NO_LIMITS
from ...wire.protocol import ProtocolError
from ...wire.refusal import NO_BYTES, NO_DISK, NO_LEASES, SHARE_USED, Refusal
from ..disk_room import DiskSpace

_SENDER: Final = r"(?:[^ @]*@)?"
_OF_ROWS: Final = [f"|{row.verb} {row.frees}" for row in COMMANDS.values() if row.frees is not None]
_FREES: Final = re.compile(
    rf"{_SENDER}(?:(?:delete|clear|release) |(?:forget|sum)\Z|session(?: |\Z){''.join(_OF_ROWS)})"
)
_TXN: Final = re.compile(rf"{_SENDER}txn ")
_LEASE: Final = re.compile(rf"{_SENDER}lease ")
ACCOUNTS_LISTED: Final = 16  # in a status
_FREES_IN_TXN: Final = frozenset(["delete", "clear", "get", "read", "stat"])


class Quota:
    """Refuses the writes for which there is no room."""

    def __init__(
        self,
        store: Store,
        disk: DiskSpace,
        bytes_max: int = PAIRS_BYTES,
        leases_max: int = LEASES_MAX,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`say` prints a line when the disk is nearly full, and when it has room again."""
        self._store = store
        self._disk = disk
        self._is_disk_full = False  # at the last check
        self.bytes_max = bytes_max
        self._leases_max = leases_max
        # What users share; the rest is kept.
        self._shared_bytes = bytes_max - bytes_max // KEPT_PART
        self._shared_leases = leases_max - leases_max // KEPT_PART
        self._say = say

    def check_disk(self) -> None:
        """Check whether the disk has room; called after a write, by the thread that wrote."""
        left, _ = self._disk.look()
        was_full, self._is_disk_full = self._is_disk_full, self._disk.is_short(2)
        if self._is_disk_full and not was_full:
            self._say(
                f"[!] The disk is nearly full: it has {left:,} bytes left. No writes are accepted "
                "until there is room; free some space on it"
            )
        elif was_full and not self._is_disk_full:
            self._say("[*] The disk has room again: writes are accepted")

    @property
    def is_disk_low(self) -> bool:
        """Whether the disk may soon be nearly full: it has less than eight times the bytes that a
        leader leaves free, so each write needs a look."""
        return self._disk.is_short(16)

    @property
    def lacks(self) -> str:
        """The exhausted resource, in one word: bytes, disk or leases; "" if there is room."""
        if self._store.bytes >= self.bytes_max:
            return "bytes"
        if self._is_disk_full:
            self.check_disk()  # there may be room again
        if self._is_disk_full:
            return "disk"
        return "leases" if len(self._store.leases.granted) >= self._leases_max else ""

    def admit(self, writes: Sequence[Batch]) -> list[Batch]:
        """Return the writes to propose; answer the others with a refusal. Each batch is accepted or
        refused as a whole."""
        lacks = self.lacks
        if not lacks and not self._shares()[2]:
            return list(writes)
        is_refused = asks_lease if lacks == "leases" else needs_room
        admitted = []
        for batch in writes:
            if lacks and any(map(is_refused, batch.commands)):
                batch.answer_all(self._refusal(lacks))
            elif batch.writer is not None and (why := self._beyond_share(batch)):
                batch.answer_all(why)
            else:
                admitted.append(batch)
        return admitted

    # --- users -----------------------------------------------------------------------------------

    def _shares(self) -> tuple[int, int, bool]:
        """Return the bytes and the leases of a user's share, and whether so much is held that one
        user may hold more."""
        size, leases = self._store.bytes, len(self._store.leases.granted)
        share = USER_SHARE * max(0, self._shared_bytes - size)
        of_leases = USER_SHARE * max(0, self._shared_leases - leases)
        return share, of_leases, size > share or leases > of_leases

    def _held_by(self, user: str) -> tuple[int, int]:
        """Return the bytes and the leases of a user. Clients without a login hold what is
        nobody's."""
        store = self._store
        accounts, counts = store.accounts.bytes, store.leases.count_of
        if user:
            leases = counts.get(user, 0)
            return accounts.get(user, 0) + LEASE_BYTES * leases, leases
        leases = len(store.leases.granted) - sum(list(counts.values()))
        return store.pair_bytes - sum(list(accounts.values())) + LEASE_BYTES * leases, leases

    def _beyond_share(self, batch: Batch) -> str:
        """Return the refusal of a run of writes whose user holds more than a share, or ""."""
        user = batch.writer or ""
        held, leases = self._held_by(user)
        share, of_leases, _ = self._shares()
        if held > share and any(map(needs_room, batch.commands)):
            return _refusal_of(user, f"{held} bytes", share, "delete or clear some keys")
        if leases > of_leases and any(map(asks_lease, batch.commands)):
            return _refusal_of(user, f"{leases} leases", of_leases, "release some")
        return ""

    @property
    def has_user_beyond_share(self) -> bool:
        """Whether a user holds more than a share."""
        share, of_leases, may_be = self._shares()
        held = map(self._held_by, self._users() if may_be else ())
        return any(size > share or leases > of_leases for size, leases in held)

    def _users(self) -> set[str]:
        """Return all users who hold something."""
        store = self._store
        return {*store.accounts.bytes.copy(), *store.leases.count_of.copy()}

    def accounts(self) -> dict[str, dict[str, int]]:
        """Return the bytes and the leases of the users who hold the most."""
        rows = [(*self._held_by(user), user) for user in self._users()]
        return {
            user: {"bytes": size, "leases": leases}
            for size, leases, user in nlargest(ACCOUNTS_LISTED, rows)
        }

    def _refusal(self, lacks: str) -> str:
        if lacks == "bytes":
            return NO_BYTES(self.bytes_max)
        if lacks == "disk":
            return NO_DISK
        return NO_LEASES(self._leases_max)


def _refusal_of(user: str, held: str, share: int, remedy: str) -> Refusal:
    holds = f"{user} holds" if user else "clients without a login hold"
    return SHARE_USED(holds, held, USER_SHARE, share, remedy)


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
        operands = command[match.end() :]
        transaction = read_transaction(operands, IN_TRANSACTIONS, NO_LIMITS, with_values=False)
    except ProtocolError:
        return True
    operations = (*transaction.then, *transaction.otherwise)
    return any([each.partition(" ")[0] not in _FREES_IN_TXN for each in operations])
