"""The right that a line requires: a role, and the keys that the line touches. Pure.

Each row of wire/commands/command_table.py has a right, which authorization.py checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum, IntEnum
from typing import Final, NamedTuple

from ..operands.operands import Kind


class UserRole(IntEnum):
    """A role; each includes the rights of the roles below it."""

    NONE = 0
    READER = 1
    WRITER = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()


_WORDS: Final = {
    UserRole.NONE: "anybody",
    UserRole.READER: "read",
    UserRole.WRITER: "write",
    UserRole.ADMIN: "admin",
}


class Touches(Enum):
    """The keys that a line touches. The value is their description in the table of the page."""

    NOTHING = "no key"
    KEY = "KEY"
    PREFIX = "all keys with PREFIX"
    CLAIM = "all keys with PREFIX, and all keys of the lease of CLAIM"
    INNER = "the key of the command, and all keys of LEASE"
    PARTS = "each condition and operation for itself"
    LEASE = "all keys of LEASE"
    EVERY = "all keys"


# What a form names, by the keys that the line touches.
COVERED: Final = {
    Touches.NOTHING: frozenset[Kind](),
    Touches.KEY: frozenset([Kind.KEY]),
    Touches.PREFIX: frozenset([Kind.PREFIX]),
    Touches.CLAIM: frozenset([Kind.PREFIX, Kind.CLAIM]),
    Touches.INNER: frozenset([Kind.LEASE]),
    Touches.PARTS: frozenset([Kind.PART]),
    Touches.LEASE: frozenset([Kind.LEASE]),
}


class KeyRight(NamedTuple):
    """The use that a part of a line makes of a key."""

    line: str  # its name in a refusal
    key: str
    reads: bool
    writes: bool


class Right(NamedTuple):
    """The role that a line requires for the keys that it touches."""

    role: UserRole
    touches: Touches = Touches.NOTHING
    shows: bool = False  # a write whose reply may show the value, so it takes both rights
    keys: Callable[[str], Iterable[KeyRight]] | None = None  # that the parts of a line name

    @property
    def in_words(self) -> str:
        """The right as the table of docs/use/users.md names it."""
        return "read and write" if self.shows else _WORDS[self.role]


OPEN: Final = Right(UserRole.NONE)
READS: Final = Right(UserRole.READER)
READS_KEY: Final = Right(UserRole.READER, Touches.KEY)
READS_PREFIX: Final = Right(UserRole.READER, Touches.PREFIX)
READS_ALL: Final = Right(UserRole.READER, Touches.EVERY)
WRITES: Final = Right(UserRole.WRITER)
WRITES_KEY: Final = Right(UserRole.WRITER, Touches.KEY)
UPDATES_KEY: Final = Right(UserRole.WRITER, Touches.KEY, shows=True)
WRITES_PREFIX: Final = Right(UserRole.WRITER, Touches.PREFIX)
WRITES_CLAIM: Final = Right(UserRole.WRITER, Touches.CLAIM)
UPDATES_CLAIM: Final = Right(UserRole.WRITER, Touches.CLAIM, shows=True)
WRITES_LEASE: Final = Right(UserRole.WRITER, Touches.LEASE)
WRITES_UNDER_LEASE: Final = Right(UserRole.WRITER, Touches.INNER)
WRITES_PARTS: Final = Right(UserRole.WRITER, Touches.PARTS)
WRITES_ALL: Final = Right(UserRole.WRITER, Touches.EVERY)
ADMINISTERS: Final = Right(UserRole.ADMIN)
ADMINISTERS_ALL: Final = Right(UserRole.ADMIN, Touches.EVERY)


class LeaseKeys:
    """The keys of a lease at one time. A lease may have very many keys, so the result of the check
    on all of them is cached."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._answers: dict[tuple[str, ...], bool] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def are_held(self, prefixes: tuple[str, ...]) -> bool:
        """Whether each key begins with one of these prefixes."""
        answer = self._answers.get(prefixes)
        if answer is None:
            answer = all([key.startswith(prefixes) for key in self._keys])
            self._answers[prefixes] = answer
        return answer
