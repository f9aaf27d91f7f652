"""The right that a line takes: a role, and the keys that the line touches. Pure.

Each row of wire/commands.py has one. access/rights.py decides by it.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final, NamedTuple


class UserRole(IntEnum):
    """A role; each may do what the ones below it may."""

    NONE = 0
    READER = 1
    WRITER = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()


class Touches(Enum):
    """The keys that a line touches. The value is the word for them in the table of the page."""

    NOTHING = "no key"
    KEY = "KEY"
    PREFIX = "all keys with PREFIX"
    INNER = "the key of the command, and all keys of LEASE"
    PARTS = "each condition and operation for itself"
    LEASE = "all keys of LEASE"
    EVERY = "all keys"


class Right(NamedTuple):
    """The role that a line takes, for the keys that it touches."""

    role: UserRole
    touches: Touches = Touches.NOTHING


OPEN: Final = Right(UserRole.NONE)
READS: Final = Right(UserRole.READER)
READS_KEY: Final = Right(UserRole.READER, Touches.KEY)
READS_PREFIX: Final = Right(UserRole.READER, Touches.PREFIX)
READS_ALL: Final = Right(UserRole.READER, Touches.EVERY)
WRITES: Final = Right(UserRole.WRITER)
WRITES_KEY: Final = Right(UserRole.WRITER, Touches.KEY)
WRITES_PREFIX: Final = Right(UserRole.WRITER, Touches.PREFIX)
WRITES_LEASE: Final = Right(UserRole.WRITER, Touches.LEASE)
WRITES_UNDER_LEASE: Final = Right(UserRole.WRITER, Touches.INNER)
WRITES_PARTS: Final = Right(UserRole.WRITER, Touches.PARTS)
WRITES_ALL: Final = Right(UserRole.WRITER, Touches.EVERY)
ADMINISTERS: Final = Right(UserRole.ADMIN)
ADMINISTERS_ALL: Final = Right(UserRole.ADMIN, Touches.EVERY)
