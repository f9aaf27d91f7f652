"""The account of each user: bytes of keys and values, and leases. Pure.

A key counts for the user who wrote its value last, and a lease for the user who asked for it. Both
follow from the replicated state (wire/key_stat.py, lease_table.py), so every node has the same
accounts. Keys written without a login count for nobody.
"""

from __future__ import annotations

from ..wire.key_stat import user_and_lease
from ..wire.limits import LEASE_BYTES, PAIR_BYTES
from ..wire.operands.lease_operands import OWN

WIDE = 4  # bytes per character, at most, in a text that is not all ASCII


def size_of(key: str, text: str) -> int:
    """Return the bytes of a key and its text in memory, at most."""
    size = len(key) if key.isascii() else WIDE * len(key)
    return size + PAIR_BYTES + (len(text) if text.isascii() else WIDE * len(text))


class Accounts:
    """The bytes of the keys of each user. Users without any are not in it."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}

    def count(self, text: str, size: int, sign: int = 1) -> None:
        """Add a key of this size to its user's account, or with -1 subtract it. `text` is its value
        with its facts. A key with a lease of its own also counts for that."""
        user, lease = user_and_lease(text)
        if not user:
            return
        if lease.startswith(OWN):
            size += LEASE_BYTES
        total = self.bytes.get(user, 0) + sign * size
        if total:
            self.bytes[user] = total
        else:
            self.bytes.pop(user, None)
