"""The identity of a client: the name of a user, a role, and the prefixes that it holds for."""

from __future__ import annotations

from typing import NamedTuple

from ..wire.rights import UserRole

EVERYWHERE = ("",)
ROLES = {str(role): role for role in UserRole if role is not UserRole.NONE}
ANONYMOUS = {str(role): role for role in UserRole}


class Identity(NamedTuple):
    """The identity of the client on a connection."""

    user: str  # "" for a client without a login
    role: UserRole
    prefixes: tuple[str, ...] = EVERYWHERE  # in their one spelling; "" holds for all keys

    def __str__(self) -> str:
        return f"{self.role} {self.user}" if self.user else "a client without a login"

    @property
    def is_everywhere(self) -> bool:
        """Whether the role holds for all keys."""
        return "" in self.prefixes

    def holds(self, prefix: str) -> bool:
        """Whether the role holds for this key, or for all keys with this prefix.

        Both are in canonical spelling, which spells each character separately. A user's prefix
        ends with a whole character. So a test of the spellings is one of the bytes.
        """
        return prefix.startswith(self.prefixes)

    def in_words(self) -> str:
        """Return the user, the role and the keys, for a person."""
        if self.is_everywhere:
            return str(self)
        return f"{self} of keys that begin with {' or '.join(self.prefixes)}"


def nobody(role: UserRole) -> Identity:
    """Return the identity before a login, with the role of `--anonymous`."""
    return Identity("", role)
