"""The identity of a client: a user name, a role, and the prefixes that the role covers."""

from __future__ import annotations

from typing import NamedTuple

from ..wire.commands.rights import UserRole

EVERYWHERE = ("",)
ROLES = {str(role): role for role in UserRole if role is not UserRole.NONE}
ANONYMOUS = {str(role): role for role in UserRole}


class Identity(NamedTuple):
    """The identity of the client on a connection."""

    user: str  # "" for a client without a login
    role: UserRole
    prefixes: tuple[str, ...] = EVERYWHERE  # in canonical spelling; "" covers all keys

    def __str__(self) -> str:
        return f"{self.role} {self.user}" if self.user else "a client without a login"

    @property
    def is_everywhere(self) -> bool:
        """Whether the role covers all keys."""
        return "" in self.prefixes

    def holds(self, prefix: str) -> bool:
        """Return whether the role covers this key, or all keys with this prefix.

        Both are in canonical spelling, which spells each character separately. A user's prefix ends
        with a whole character. So comparing the spellings is the same as comparing the bytes.
        """
        return prefix.startswith(self.prefixes)

    def in_words(self) -> str:
        """Return the user, the role and the keys, in readable form."""
        if self.is_everywhere:
            return str(self)
        return f"{self} of keys that begin with {' or '.join(self.prefixes)}"


def nobody(role: UserRole) -> Identity:
    """Return the identity before a login, with the role of `--anonymous`."""
    return Identity("", role)
