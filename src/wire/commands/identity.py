"""The identity of a client: a user, and the prefixes of keys that it may read or write. Pure."""

from __future__ import annotations

from typing import NamedTuple

from .rights import UserRole

EVERYWHERE = ("",)
ROLES = {str(role): role for role in UserRole if role is not UserRole.NONE}
ANONYMOUS = {str(role): role for role in UserRole}


class Identity(NamedTuple):
    """The identity of the client on a connection, or of the client who wrote an entry.

    Prefixes are in canonical form, which writes each character separately, and each of them
    ends with a whole character. So comparing the forms is the same as comparing the bytes.
    """

    user: str  # "" for a client without a login
    is_admin: bool = False
    reads: tuple[str, ...] = ()  # the keys that it may read begin with one of these
    writes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.user or "a client without a login"

    @property
    def role(self) -> UserRole:
        """The highest right that it has anywhere."""
        if self.is_admin:
            return UserRole.ADMIN
        if self.writes:
            return UserRole.WRITER
        return UserRole.READER if self.reads else UserRole.NONE

    @property
    def is_everywhere(self) -> bool:
        """Whether it may read and write all keys."""
        return "" in self.reads and "" in self.writes

    def prefixes_for(self, role: UserRole) -> tuple[str, ...]:
        """Return the prefixes of the keys that it may read, or for a higher role may write."""
        return self.reads if role is UserRole.READER else self.writes

    def in_words(self) -> str:
        """Return the user and its rights, in readable form."""
        if self.is_admin and self.is_everywhere:
            return f"{self}, an admin"
        if self.reads == self.writes:
            what = f"may read and write {_keys(self.reads)}" if self.reads else "has no right yet"
        else:
            rights = (("read", self.reads), ("write", self.writes))
            what = " and ".join([f"may {does} {_keys(keys)}" for does, keys in rights if keys])
        return f"{self}, who {what}"


def _keys(prefixes: tuple[str, ...]) -> str:
    return "all keys" if "" in prefixes else f"keys that begin with {' or '.join(prefixes)}"


def identity_of(user: str, role: UserRole, prefixes: tuple[str, ...] = EVERYWHERE) -> Identity:
    """Return the identity of a user with one role for these prefixes."""
    return Identity(
        user,
        role is UserRole.ADMIN,
        prefixes if role >= UserRole.READER else (),
        prefixes if role >= UserRole.WRITER else (),
    )


def nobody(role: UserRole) -> Identity:
    """Return the identity before a login, with the role of `--anonymous`."""
    return identity_of("", role)
