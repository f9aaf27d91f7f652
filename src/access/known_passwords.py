"""Typed passwords that were right before, so that the next login need not derive their key."""

from __future__ import annotations

import hmac
import secrets

from ..state.user_table import UserTable
from ..wire.operands.user_operands import KEY_BYTES, Verifier


class KnownPasswords:
    """The latest right password of each user, as a MAC under a key that this process alone has.

    The MAC covers the verifier, so a password stops to be known when its user gets another
    verifier. Any thread may call the methods.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(KEY_BYTES)
        self._macs: dict[str, bytes] = {}  # by user

    def is_right(self, name: str, password: str, verifier: Verifier) -> bool:
        """Whether this is the latest password that was right for this verifier."""
        return hmac.compare_digest(self._macs.get(name, b""), self._mac(password, verifier))

    def add(self, name: str, password: str, verifier: Verifier) -> None:
        """Remember a password that fits a verifier."""
        self._macs[name] = self._mac(password, verifier)

    def follow(self, before: UserTable, users: UserTable) -> None:
        """Forget the passwords of users that are gone, or have another verifier."""
        for name in list(self._macs):
            now, earlier = users.find(name), before.find(name)
            if now is None or earlier is None or now.verifier != earlier.verifier:
                self._macs.pop(name, None)

    def _mac(self, password: str, verifier: Verifier) -> bytes:
        formatted = verifier.salt + verifier.stored_key + password.encode()  # the first two: fixed
        return hmac.digest(self._key, formatted, "sha256")
