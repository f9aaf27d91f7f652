"""The users of simulated nodes: each node's file, which changes and is reloaded at any time, and
each user's rights according to docs/use/users.md.

A node's answers are checked against the files that were in force while it had the line. This module
repeats the rule: a get needs a reader, a watch a reader of its prefix, and everything else a
writer.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple

from raftline.access.login import Access
from raftline.access.users import derive
from raftline.common.config import ConfigError
from raftline.net.protocol.host import Batch
from raftline.wire.commands.login_operands import ITERATIONS_LEAST
from raftline.wire.commands.rights import UserRole
from raftline.wire.commands.user_operands import Verifier

from ...invariants import InvariantError
from ..world.world import World
from .node_connections import Doors, SimulatedConnection
from .simulated_node import Host

NAMES = ("ann", "bob", "cid")
PASSWORDS = ("correct horse", "battery staple")
PREFIXES: tuple[tuple[str, ...], ...] = (("",), ("",), ("a",), ("b", "n"), ("a", "b", "j"))
ROLES = (UserRole.READER, UserRole.WRITER, UserRole.WRITER, UserRole.ADMIN)
BROKEN = ("bob writer", "ann king x", "ann reader SCRAM-SHA-256$1:a$b:c", "")
DENIED = " may not "
UNKNOWN = "A" * 43 + "="  # the secret of a file, in BASE64


class Account(NamedTuple):
    """A user by one version of the file."""

    role: UserRole
    prefixes: tuple[str, ...]
    password: str

    def may(self, role: UserRole, key: str | None) -> bool:
        """Whether it has a role, for this key or prefix; None: without one."""
        return self.role >= role and (key is None or key.startswith(self.prefixes))

    @property
    def observes(self) -> bool:
        """Whether it may observe a node."""
        return self.may(UserRole.ADMIN, "")


def is_denial(reply: str) -> bool:
    """Whether a request was refused because of a missing right."""
    return reply.startswith("Sorry, ") and DENIED in reply and reply.endswith("Nothing was done.")


Accounts = Mapping[str, Account]
EVERYTHING: Accounts = {name: Account(UserRole.ADMIN, ("",), PASSWORDS[0]) for name in NAMES}


@cache
def derived(password: str, salt: bytes, iterations: int) -> Verifier:
    """Return what `access.users.derive` does; it is computed once for each password and salt."""
    return derive(password, salt, iterations)


@lru_cache
def verifier(name: str, password: str) -> str:
    """Return the verifier of a password for the file; for one user it is always the same."""
    return str(derived(password, name.ljust(16).encode(), ITERATIONS_LEAST))


def spelled(accounts: Accounts) -> str:
    """Return the file with these users."""
    lines = [f"unknown {UNKNOWN}"]
    for name, one in accounts.items():
        prefixes = [prefix for prefix in one.prefixes if prefix]
        lines.append(" ".join([name, str(one.role), verifier(name, one.password), *prefixes]))
    return "\n".join(lines) + "\n"


class MemoryPath:
    """A file in memory, as readers of settings see it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_mode=stat.S_IFREG | 0o600)

    def read_text(self, encoding: str) -> str:
        return self.text


class Guest(NamedTuple):
    """The user of a connection. Without a password the login is by a certificate."""

    name: str
    password: str | None


class UsersFile:
    """The users of one node: the file, and its versions in force since the node's start.

    It is also the listener that the shipped reload calls.
    """

    def __init__(self, world: World, chance: Random, host: Host, anonymous: UserRole) -> None:
        self.versions: list[Accounts] = [EVERYTHING]
        self.world = world
        self.host = host
        self._anonymous = Account(anonymous, ("",), "")
        self._path = MemoryPath(spelled(EVERYTHING))
        self._written: Accounts | None = EVERYTHING  # None: the file is broken
        self._good = EVERYTHING
        self._incarnation = 0
        self._connections: list[SimulatedConnection] = []
        self.doors = GuardedDoors(host, chance, self)

    def begin(self) -> None:
        """Check whether the node was restarted, and has read its file: no node is started with a
        broken one."""
        if self._incarnation == self.host.incarnation:
            return
        self._incarnation = self.host.incarnation
        if self._written is None:
            self._written, self._path.text = self._good, spelled(self._good)
        self._connections = []
        self.versions = [self._written]
        path: Any = self._path
        access = Access(path, self._anonymous.role, failed_s=0.0)
        access.new_token = self.doors.new_token
        self.doors.access = access

    def keep(self, connection: SimulatedConnection) -> None:
        """Subscribe a connection to changes of rights."""
        self._connections = [one for one in self._connections if not one.is_over] + [connection]

    def password_of(self, name: str) -> str:
        """Return a user's password, which may be remembered wrongly."""
        chance, account = self.doors.chance, self.versions[-1].get(name)
        return account.password if account and chance.random() < 0.8 else chance.choice(PASSWORDS)

    # --- changes ---------------------------------------------------------------------------------

    def write(self, accounts: Accounts | None, broken: str = "") -> None:
        """Write these users to the file; None: it is broken."""
        self._written = accounts
        self._path.text = (
            f"unknown {UNKNOWN}\n{broken}\n" if accounts is None else spelled(accounts)
        )
        if accounts is not None:
            self._good = accounts

    def read_again(self) -> None:
        """Make the node reload the file, as SIGHUP does."""
        from raftline.node.program.reload import readers_of

        self.begin()
        server: Any = SimpleNamespace(
            access=self.doors.access,
            listener=self,
            peer_auth=SimpleNamespace(secret=b""),
            tls=None,
        )
        if self._written is not None:
            self.versions.append(self._written)
        was_read = True
        with self.host.without_core:
            try:
                readers_of(server)["users"]()
            except ConfigError:
                was_read = False
        if was_read is not (self._written is not None):
            raise InvariantError(f"{self.host.name} takes a broken file of users, or no good one")
        self.world.counts["users read again" if was_read else "broken settings"] += 1

    def rights_changed(self) -> None:
        """Make all connections check their rights, as the listener does."""
        for connection in self._connections:
            connection.rights_changed()

    # --- the rule -------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The version in force."""
        return len(self.versions) - 1

    def account(self, guest: Guest | None, version: int) -> Account:
        """Return the account of a connection's guest in one version."""
        if guest is None:
            return self._anonymous
        found = self.versions[version].get(guest.name)
        if found is None or guest.password not in (None, found.password):
            return self._anonymous
        return found

    def logs_in(self, guest: Guest, since: int) -> set[bool]:
        """Return whether this login is valid in a version since this one."""
        found = [accounts.get(guest.name) for accounts in self.versions[since:]]
        return {one is not None and guest.password in (None, one.password) for one in found}

    def may(self, guest: Guest | None, role: UserRole, key: str | None, since: int) -> set[bool]:
        """Return whether a guest had a right in a version since this one."""
        versions = range(since, len(self.versions))
        return {self.account(guest, version).may(role, key) for version in versions}

    def hold(self, why: str, answered: set[bool], *, was_done: bool) -> None:
        """Check a node's decision against the rule.

        Raises:
            InvariantError: no version in force permits it.
        """
        if was_done not in answered:
            word = "done" if was_done else "refused"
            raise InvariantError(f"{self.host.name}: {why} is {word}, and must not be")
        self.world.counts["allowed by rights" if was_done else "refused by rights"] += 1


class GuardedDoors(Doors):
    """A node as the connections of its users see it."""

    def __init__(self, host: Host, chance: Random, file: UsersFile) -> None:
        self.chance = chance  # it draws tokens, as soon as it begins
        super().__init__(host)
        self.file = file
        self.is_private = chance.random() < 0.8

    def submit(self, *batches: Batch, more_come: bool = False) -> None:
        self.file.host.requests.doors.submit(*batches, more_come=more_come)

    def new_token(self, size: int) -> str:
        return f"{self.chance.getrandbits(8 * size):0{2 * size}x}"


class Settings:
    """An administrator who changes the users of a cluster, node by node."""

    def __init__(self, world: World, chance: Random, files: Sequence[UsersFile]) -> None:
        self._world = world
        self._chance = chance
        self._files = files
        self._over = False
        self._wait()

    def finish(self) -> None:
        """Give every user all rights from now on."""
        self._over = True
        for file in self._files:
            file.write(EVERYTHING)
            self._have_read(file, 0)

    def _wait(self) -> None:
        self._world.beside(self._chance.randint(20, 600), self._chance.random(), self._change)

    def _change(self) -> None:
        if self._over:
            return
        self._wait()
        chance = self._chance
        accounts = {
            name: Account(chance.choice(ROLES), chance.choice(PREFIXES), chance.choice(PASSWORDS))
            for name in NAMES
            if chance.random() < 0.8
        }
        for file in self._files:
            if chance.random() < 0.8:
                is_broken = not accounts or chance.random() < 0.1
                file.write(None if is_broken else accounts, chance.choice(BROKEN))
                self._have_read(file, chance.choice([0, 0, 5, 100]))

    def _have_read(self, file: UsersFile, delay_ms: int) -> None:
        host = file.host
        if host.node is not None:
            host.beside(delay_ms, self._chance.random(), file.read_again)
