"""The users and roles of the cluster. Pure.

A table never changes: a command about users makes another one. So any thread may read the current
one without a lock, and two tables are compared by identity to see whether rights have changed.

In a snapshot each line is one of these (storage/snapshot_lines.py):

    unknown BASE64
    role app readwrite:app/ read:
    user bob SCRAM-SHA-256$65536:SALT$STOREDKEY:SERVERKEY app reader

The secret of the line `unknown` makes salts for unknown names (RFC 5802, section 9).
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ..wire.commands.identity import EVERYWHERE, ROLES, Identity, identity_of
from ..wire.commands.rights import UserRole
from ..wire.operands.user_operands import (
    KEY_BYTES,
    NO_PASSWORD,
    RIGHTS,
    SALT_BYTES,
    RoleGrant,
    Verifier,
    format_bytes,
    is_own_role,
    read_bytes,
    read_verifier,
)
from ..wire.protocol import NAME

ITERATIONS: Final = 65_536  # RFC 7677 requires at least 4,096; docs/use/users.md explains why more
ADMIN: Final = str(UserRole.ADMIN)
_BUILT_IN: Final = {name: identity_of("", role) for name, role in ROLES.items()}


class Account(NamedTuple):
    """A user's row of the table."""

    verifier: Verifier | None  # None: a certificate alone logs the user in
    roles: tuple[str, ...]


class User(NamedTuple):
    """A user with its rights."""

    identity: Identity
    verifier: Verifier | None


class UserTable:
    """The users, the roles that are not built in, and the secret of fake verifiers."""

    def __init__(
        self,
        accounts: Mapping[str, Account] | None = None,
        roles: Mapping[str, tuple[RoleGrant, ...]] | None = None,
        secret: bytes = b"",
    ) -> None:
        self.accounts: Mapping[str, Account] = accounts or {}
        self.roles: Mapping[str, tuple[RoleGrant, ...]] = roles or {}
        self.secret = secret
        self._found: dict[str, User] = {}  # made so far
        self._iterations = Counter[int]()  # of how many users; made by the first login

    def __bool__(self) -> bool:
        """Whether there are users, so that rights are checked."""
        return bool(self.accounts)

    def __len__(self) -> int:
        return len(self.accounts)

    def has_role(self, role: str) -> bool:
        """Return whether there is such a role, built in or not."""
        return role in self.roles or role in _BUILT_IN

    def find(self, name: str) -> User | None:
        """Return the user of this name, or None."""
        user, account = self._found.get(name), self.accounts.get(name)
        if user is None and account is not None:
            user = self._found[name] = User(self._identity(name, account), account.verifier)
        return user

    def identity(self, name: str) -> Identity:
        """Return the rights of a user, or none if the user does not exist."""
        user = self.find(name)
        return Identity(name) if user is None else user.identity

    def admins(self) -> list[str]:
        """Return the users with the role admin."""
        return [name for name, account in self.accounts.items() if ADMIN in account.roles]

    def with_account(self, name: str, account: Account | None) -> UserTable:
        """Return a table in which this user is another one, or is gone."""
        accounts = {**self.accounts}
        if account is None:
            del accounts[name]
        else:
            accounts[name] = account
        secret = self.secret or _first_secret(account)
        return UserTable(accounts, self.roles, secret)

    def with_role(self, role: str, grants: tuple[RoleGrant, ...] | None) -> UserTable:
        """Return a table in which this role has these grants, or is gone from all users too."""
        roles, accounts = {**self.roles}, self.accounts
        if grants is not None:
            roles[role] = grants
        else:
            del roles[role]
            accounts = {
                name: Account(one.verifier, tuple([each for each in one.roles if each != role]))
                for name, one in accounts.items()
            }
        return UserTable(accounts, roles, self.secret)

    def verifier_of(self, name: str) -> Verifier:
        """Return the verifier of a user. A name without one gets a fake verifier that looks like
        the others, and is the same each time and on each node. No password fits it."""
        if not self._iterations:
            numbers = [one.verifier.iterations for one in self.accounts.values() if one.verifier]
            self._iterations = Counter(numbers or [ITERATIONS])
        # For each name, since it takes a while.
        fake = _fake_verifier(self.secret, self._iterations, name)
        account = self.accounts.get(name)
        return fake if account is None or account.verifier is None else account.verifier

    def _identity(self, name: str, account: Account) -> Identity:
        reads, writes = dict[str, None](), dict[str, None]()
        for role in account.roles:
            built_in = _BUILT_IN.get(role)
            if built_in is not None:
                reads |= dict.fromkeys(built_in.reads)
                writes |= dict.fromkeys(built_in.writes)
            for right, prefix in self.roles.get(role, ()):
                if right != "write":
                    reads[prefix] = None
                if right != "read":
                    writes[prefix] = None
        return Identity(name, ADMIN in account.roles, _least(reads), _least(writes))

    def facts(self) -> dict[str, object]:
        """Return the users and the roles as `users` shows them, without verifiers."""
        users = {
            name: {"roles": list(one.roles), "has_password": one.verifier is not None}
            for name, one in sorted(self.accounts.items())
        }
        return {"users": users, "roles": {role: self.roles[role] for role in sorted(self.roles)}}

    def format(self) -> list[str]:
        """Return the lines of a snapshot, none if there are neither users nor roles."""
        if not (self.accounts or self.roles):
            return []
        lines = [f"unknown {format_bytes(self.secret)}"] if self.secret else []
        for role, grants in self.roles.items():
            lines.append(" ".join(["role", role, *[f"{one[0]}:{one[1]}" for one in grants]]))
        for name, (verifier, roles) in self.accounts.items():
            lines.append(" ".join(["user", name, str(verifier or NO_PASSWORD), *roles]))
        return lines


def _fake_verifier(secret: bytes, iterations: Mapping[int, int], name: str) -> Verifier:
    """Return a verifier that no password fits, for a name without one (RFC 5802, section 9).

    Each number of iterations bids for the name, by chance and by how many users have it. So the
    highest bidder seldom changes with the users; if it does, so does the salt, as for a user with
    a new password.
    """

    def drawn(part: str) -> bytes:
        text = f"{part} {name}".encode("utf-8", "surrogateescape")
        return hmac.digest(secret, text, "sha256")

    def bid(number: int) -> float:
        chance = (int.from_bytes(drawn(f"bid {number}")[:4], "big") + 1) / (1 << 32)
        return math.log(chance) / iterations[number]

    number = max(sorted(iterations), key=bid)
    salt, stored, server = [drawn(f"{part} {number}") for part in ("salt", "stored", "server")]
    return Verifier(number, salt[:SALT_BYTES], stored, server)


def read_users(lines: Iterable[str]) -> UserTable:
    """Return the table that `format_of` wrote.

    Raises:
        ValueError: a line has the wrong form, or repeats a name.
    """
    accounts, roles, secret = dict[str, Account](), dict[str, tuple[RoleGrant, ...]](), b""
    for line in lines:
        kind, _, rest = line.partition(" ")
        name, *words = rest.split(" ")
        if kind == "unknown" and not words:
            secret = read_bytes(name, KEY_BYTES)
        elif kind == "role" and is_own_role(name) and name not in roles:
            roles[name] = tuple(map(_read_grant, words))
        elif kind == "user" and NAME.fullmatch(name) and name not in accounts and words:
            verifier = None if words[0] == NO_PASSWORD else read_verifier(words[0])
            accounts[name] = Account(verifier, tuple(words[1:]))
        else:
            raise ValueError("the line of a user or role that says none, or one twice")
    return UserTable(accounts, roles, secret)


def _read_grant(word: str) -> RoleGrant:
    right, colon, prefix = word.partition(":")
    if not colon or right not in RIGHTS:
        raise ValueError("the line of a role that says no grant")
    return RoleGrant(right, prefix)


def _least(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Return the prefixes without those that others cover."""
    every = tuple(prefixes)
    if "" in every:
        return EVERYWHERE
    return tuple(
        [one for one in every if not one.startswith(tuple([each for each in every if each != one]))]
    )


def _first_secret(account: Account | None) -> bytes:
    """Return the secret of a table that gets its first user. Nobody outside knows the keys in a
    verifier, and it is the same on every node."""
    verifier = account.verifier if account is not None else None
    return b"" if verifier is None else hashlib.sha256(f"unknown {verifier}".encode()).digest()
