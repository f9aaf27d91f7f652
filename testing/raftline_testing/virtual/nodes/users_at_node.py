"""The users of a simulated cluster: what the log says of them, and how each node keeps to it.

A census reads the committed entries, and knows the users and roles at each place in the log. It
repeats the rule of docs/use/users.md: nothing is written by a right that had ended before its
entry. A node's answers are checked against the users at the entries that it had applied while it
had the line.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from random import Random
from typing import NamedTuple

from raftline.access.login import Access
from raftline.access.users import derive
from raftline.net.protocol.host import Batch
from raftline.raft.log import Entry
from raftline.state.user_table import UserTable
from raftline.wire.commands.rights import UserRole
from raftline.wire.operands.login_operands import ITERATIONS_LEAST
from raftline.wire.operands.user_operands import NO_PASSWORD, Verifier

from ...invariants import InvariantError
from ..world.world import World
from .node_connections import Doors, SimulatedConnection
from .simulated_node import Host

NAMES = ("ann", "bob", "cid")
PASSWORDS = ("correct horse", "battery staple")
DENIED = " may not "
Need = tuple[str, ...]  # the rights that a request takes
READ, WRITE, UPDATE, ADMIN = ("read",), ("write",), ("read", "write"), ("admin",)
NEEDS: Mapping[str, Need] = {  # of each verb; a get as an entry needs what an update needs
    "get": READ, "set": WRITE, "setnx": WRITE, "delete": WRITE, "append": WRITE, "session": WRITE,
    "cas": UPDATE, "incr": UPDATE,
}  # fmt: skip
BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "reader": {"": "read"}, "writer": {"": "readwrite"}, "admin": {"": "readwrite"},
}  # fmt: skip
_OF_USER = re.compile(r"([\w.-]+)(?:#(\d+))?@(.*)")


def is_denial(reply: str) -> bool:
    """Whether a request was refused because of a missing right."""
    return reply.startswith("Sorry, ") and DENIED in reply and reply.endswith("Nothing was done.")


@cache
def derived(password: str, salt: bytes, iterations: int) -> Verifier:
    """Return what `access.users.derive` does; it is computed once for each password and salt."""
    return derive(password, salt, iterations)


@lru_cache
def verifier(name: str, password: str) -> str:
    """Return the verifier of a password; for one user it is always the same."""
    return str(derived(password, name.ljust(16).encode(), ITERATIONS_LEAST))


class NotLoggedIn(Exception):
    """The node refuses a login, or does not prove that it knows the user."""


class Guest(NamedTuple):
    """The user of a connection. Without a password the login is by a certificate."""

    name: str
    password: str | None


class Account(NamedTuple):
    """A user at one place in the log."""

    verifier: str
    roles: tuple[str, ...]

    def takes(self, guest: Guest) -> bool:
        """Whether this guest is that user."""
        return guest.password is None or verifier(guest.name, guest.password) == self.verifier


class Users(NamedTuple):
    """The users at one place in the log, and their roles: the right to each prefix."""

    accounts: Mapping[str, Account]
    roles: Mapping[str, Mapping[str, str]]

    def have(self, guest: Guest) -> bool:
        """Whether this guest is one of the users."""
        account = self.accounts.get(guest.name)
        return account is not None and account.takes(guest)

    def allow(self, name: str, need: Need, key: str | None) -> bool:
        """Whether a user has all these rights for this key or prefix; None: for any key."""
        account = self.accounts.get(name)
        return account is not None and self.roles_allow(account.roles, need, key)

    def roles_allow(self, roles: Sequence[str], need: Need, key: str | None) -> bool:
        """Whether roles together give all these rights for this key or prefix."""
        if need == ADMIN:
            return "admin" in roles
        granted = [
            right
            for role in roles
            for prefix, right in self.roles.get(role, {}).items()
            if key is None or key.startswith(prefix)
        ]
        return all([right in "".join(granted) for right in need])

    def after(self, command: str) -> Users:
        """Return the users after a command of an administrator that was carried out."""
        accounts = dict(self.accounts)
        roles = {role: dict(grants) for role, grants in self.roles.items()}
        verb, name, *words = command.split(" ")
        match verb:
            case "user-add":
                accounts[name] = Account(words[0], tuple(words[1:]))
            case "user-remove":
                del accounts[name]
            case "user-password":
                accounts[name] = accounts[name]._replace(verifier=words[0])
            case "user-grant" | "user-revoke":
                kept = [role for role in accounts[name].roles if role != words[0]]
                given = words if verb == "user-grant" else []
                accounts[name] = accounts[name]._replace(roles=(*kept, *given))
            case "role-add":
                roles[name] = {}
            case "role-remove":
                del roles[name]
                for user, one in accounts.items():
                    left = tuple([role for role in one.roles if role != name])
                    accounts[user] = one._replace(roles=left)
            case "role-grant":
                roles[name]["".join(words[1:])] = words[0]
            case "role-revoke":
                roles[name].pop("".join(words), None)
        return Users(accounts, roles)


class Census:
    """The users at each place in the log, by the entries that any node has applied."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._applied = 0
        self._indexes = [0]  # of the entries that changed the users, with those after them
        self._users = [Users({}, BUILT_IN)]
        self._owners: dict[str, str] = {}  # the users of sessions
        self._numbered: set[tuple[str, str]] = set()  # requests that were executed

    @property
    def latest(self) -> Users:
        """The users now, as far as any node has applied the log."""
        return self._users[-1]

    def between(self, first: int, last: int) -> Sequence[Users]:
        """Return the users after entry `first` and their changes up to entry `last`."""
        begin = bisect_right(self._indexes, first) - 1
        return self._users[begin : bisect_right(self._indexes, last)]

    def applied(self, entries: Sequence[Entry], replies: Sequence[str]) -> None:
        """Take entries that a node has applied. Other nodes give the same replies
        (invariants.py)."""
        for entry, reply in zip(entries, replies, strict=True):
            if entry.index <= self._applied:
                continue
            self._applied = entry.index
            match = _OF_USER.fullmatch(entry.command)
            command = entry.command if match is None else match[3]
            if match is not None:
                self._judge(match[1], match[2] or "", command, reply)
            verb = command.partition(" ")[0]
            if verb.startswith(("user-", "role-")) and reply.startswith(f"{verb.upper()} resp"):
                self._change(entry.index, command, reply)

    def _change(self, index: int, command: str, reply: str) -> None:
        if ", " in reply.partition(": ")[0]:
            return  # a condition that was not met
        self._indexes.append(index)
        self._users.append(self.latest.after(command))
        self._world.counts["users changed"] += 1

    def _judge(self, name: str, number: str, command: str, reply: str) -> None:
        """Check that an entry of a user was carried out if, and only if, the user has the right at
        its place in the log. A repeated request is answered as before."""
        verb, _, operands = command.partition(" ")
        if verb == "session":
            self._owners[name] = operands
            return
        user = self._owners.get(name, "") if number else name
        is_repeated = bool(number) and (name, number) in self._numbered
        self._numbered.add((name, number))
        if verb not in NEEDS or not user or is_repeated or not self.latest.accounts:
            return
        if reply.startswith("Sorry, ") and not is_denial(reply):
            return  # for example, the session has expired
        may = self.latest.allow(user, NEEDS[verb], operands.split(" ")[0] or None)
        if may is is_denial(reply):
            word = "refused" if may else "carried out"
            raise InvariantError(f"the entry of {user}, {command}, is {word}, and must not be")
        self._world.counts["entries with a right" if may else "entries without a right"] += 1


class UsersAtNode:
    """The users as one node knows them, and its connections on which they log in."""

    def __init__(
        self, world: World, chance: Random, host: Host, census: Census, anonymous: UserRole
    ) -> None:
        self.world = world
        self.host = host
        self.census = census
        self._anonymous = anonymous
        self._incarnation = 0
        self._connections: list[SimulatedConnection] = []
        self.doors = GuardedDoors(host, chance)

    def begin(self) -> None:
        """Follow the users of this start of the node."""
        if self._incarnation == self.host.incarnation:
            return
        self._incarnation = self.host.incarnation
        self._connections = []
        access = Access(anonymous=self._anonymous, failed_s=0.0)
        access.new_token = self.doors.new_token
        store = self.host.manager.store
        access.follow(store.users)
        store.on_users = self._follow
        self.doors.access = access

    def _follow(self, users: UserTable) -> None:
        """Take the users at an entry, at once; the connections look at their rights later."""
        assert self.doors.access is not None
        self.doors.access.follow(users)
        chance = self.doors.chance
        self.host.beside(chance.choice([0, 0, 1, 20]), chance.random(), self._rights_changed)

    def _rights_changed(self) -> None:
        for connection in self._connections:
            connection.rights_changed()

    def keep(self, connection: SimulatedConnection) -> None:
        """Subscribe a connection to changes of rights."""
        self._connections = [one for one in self._connections if not one.is_over] + [connection]

    def password_of(self, name: str) -> str:
        """Return a user's password, which may be remembered wrongly."""
        chance, account = self.doors.chance, self._now.accounts.get(name)
        known = [one for one in PASSWORDS if account and account.takes(Guest(name, one))]
        return known[0] if known and chance.random() < 0.8 else chance.choice(PASSWORDS)

    # --- the rule -------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The last applied entry: its users are in force here."""
        return self.host.manager.applied.index

    @property
    def _now(self) -> Users:
        return self._since(self.version)[-1]

    def _since(self, since: int) -> Sequence[Users]:
        return self.census.between(since, max(since, self.version))

    def logs_in(self, guest: Guest, since: int) -> set[bool]:
        """Return whether this login is valid by the users at an entry since this one."""
        return {users.have(guest) for users in self._since(since)}

    def may(self, guest: Guest | None, need: Need, key: str | None, since: int) -> set[bool]:
        """Return whether a guest had a right by the users at an entry since this one."""
        return {self._allows(users, guest, need, key) for users in self._since(since)}

    def may_now(self, guest: Guest | None, need: Need, key: str | None) -> bool:
        """Return whether a guest has a right."""
        return self._allows(self._now, guest, need, key)

    def _allows(self, users: Users, guest: Guest | None, need: Need, key: str | None) -> bool:
        if guest is not None and users.have(guest):
            return users.allow(guest.name, need, key)
        return users.roles_allow([str(self._anonymous)], need, key)

    def hold(self, why: str, answered: set[bool], *, was_done: bool) -> None:
        """Check a node's decision against the rule.

        Raises:
            InvariantError: no users in force permit it.
        """
        if was_done not in answered:
            word = "done" if was_done else "refused"
            raise InvariantError(f"{self.host.name}: {why} is {word}, and must not be")
        self.world.counts["allowed by rights" if was_done else "refused by rights"] += 1


class GuardedDoors(Doors):
    """A node as the connections of its users see it."""

    def __init__(self, host: Host, chance: Random) -> None:
        self.chance = chance  # it draws tokens, as soon as it begins
        super().__init__(host)
        self.doors_of_all = host.requests.doors
        self.is_private = chance.random() < 0.8

    def submit(self, *batches: Batch, more_come: bool = False) -> None:
        self.doors_of_all.submit(*batches, more_come=more_come)

    def new_token(self, size: int) -> str:
        return f"{self.chance.getrandbits(8 * size):0{2 * size}x}"


# --- the changes of an administrator -------------------------------------------------------------

ROOT = "root"
ROLES = ("app", "web")
GRANTED = ("admin", "reader", "writer", *ROLES)
RIGHTS = ("read", "write", "readwrite", "readwrite")
PREFIXES = ("", "a", "a", "b", "n", "j")


def any_change(chance: Random) -> str:
    """Return a command that changes a user or a role. It may be refused."""
    name, role = chance.choice(NAMES), chance.choice(ROLES)
    verb = chance.choice((
        "user-add", "user-add", "user-remove", "user-password", "user-grant", "user-grant",
        "user-revoke", "user-revoke", "role-add", "role-add", "role-remove", "role-grant",
        "role-grant", "role-grant", "role-revoke",
    ))  # fmt: skip
    match verb:
        case "user-add":
            roles = chance.sample(GRANTED, chance.randint(0, 2))
            return " ".join([verb, name, _any_verifier(name, chance), *roles])
        case "user-remove":
            return f"user-remove {name}"
        case "user-password":
            return f"user-password {name} {_any_verifier(name, chance)}"
        case "user-grant" | "user-revoke":
            return f"{verb} {name} {chance.choice(GRANTED)}"
        case "role-grant":
            return f"role-grant {role} {chance.choice(RIGHTS)} {chance.choice(PREFIXES)}".rstrip()
        case "role-revoke":
            return f"role-revoke {role} {chance.choice(PREFIXES)}".rstrip()
    return f"{verb} {role}"


def _any_verifier(name: str, chance: Random) -> str:
    return NO_PASSWORD if chance.random() < 0.1 else verifier(name, chance.choice(PASSWORDS))


def change_to_all_rights(users: Users) -> str:
    """Return the next command on the way to users who may do everything; "" at the end."""
    for name in NAMES:
        account, needed = users.accounts.get(name), verifier(name, PASSWORDS[0])
        if account is None:
            return f"user-add {name} {needed} admin"
        if account.verifier != needed:
            return f"user-password {name} {needed}"
        if "admin" not in account.roles:
            return f"user-grant {name} admin"
    return ""
