"""After any sequence of commands about users and roles, rights are those of a small model."""

from __future__ import annotations

import random

import pytest

from raftline.access.users import make_verifier
from raftline.logmanager import LogManager
from raftline.raft.log import Entry
from raftline.state.user_table import UserTable, read_users
from raftline.wire.commands.authorization import denial_reason
from raftline.wire.operands.login_operands import ITERATIONS_LEAST
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS
from raftline_testing.runner.at_night import at_night

VERIFIER = str(make_verifier("correct horse", ITERATIONS_LEAST))
USERS, ROLES = ("root", "ann", "bob"), ("app", "log")
BUILT_IN = {"admin": {"": "readwrite"}, "reader": {"": "read"}, "writer": {"": "readwrite"}}
PREFIXES = ("", "a", "a/b", "b")
KEYS = ("a", "a/b/c", "b1", "c")
STEPS = 60


class Model:
    """The roles of each user, and the rights of each role."""

    def __init__(self) -> None:
        self.users: dict[str, set[str]] = {}
        self.roles: dict[str, dict[str, str]] = {}

    def take(self, verb: str, *words: str) -> None:
        """Carry out a command if it is allowed."""
        (self._take_of_role if verb.startswith("role") else self._take_of_user)(verb, *words)

    def _take_of_user(self, verb: str, name: str, *rest: str) -> None:
        users = self.users
        admins = [user for user, its in users.items() if "admin" in its]
        match verb:
            case "user-add" if name not in users and all(map(self._is_role, rest[1:])):
                if users or "admin" in rest[1:]:
                    users[name] = set(rest[1:])
            case "user-remove" if name in users and admins != [name]:
                del users[name]
            case "user-grant" if name in users and self._is_role(rest[0]):
                users[name].add(rest[0])
            case "user-revoke" if name in users and not (rest[0] == "admin" and admins == [name]):
                users[name].discard(rest[0])

    def _take_of_role(self, verb: str, name: str, *rest: str) -> None:
        roles = self.roles
        match verb:
            case "role-add":
                roles.setdefault(name, {})
            case "role-remove" if roles.pop(name, None) is not None:
                for its in self.users.values():
                    its.discard(name)
            case "role-grant" if name in roles:
                roles[name]["".join(rest[1:])] = rest[0]
            case "role-revoke" if name in roles:
                roles[name].pop("".join(rest), None)

    def _is_role(self, role: str) -> bool:
        return role in self.roles or role in BUILT_IN

    def may(self, user: str, right: str, key: str) -> bool:
        return any(
            right in granted and key.startswith(prefix)
            for role in self.users.get(user, ())
            for prefix, granted in {**BUILT_IN, **self.roles}[role].items()
        )


def drawn(chance: random.Random) -> list[str]:
    """Return a random command about users or roles, in words."""
    verb = chance.choice(
        ["user-add", "user-remove", "user-grant", "user-grant", "user-revoke",
         "role-add", "role-add", "role-remove", "role-grant", "role-grant", "role-revoke"]
    )  # fmt: skip
    user, role, any_role = (chance.choice(each) for each in (USERS, ROLES, (*ROLES, *BUILT_IN)))
    prefix = [each for each in [chance.choice(PREFIXES)] if each]
    match verb:
        case "user-add":
            return [verb, user, VERIFIER, *chance.sample((*ROLES, *BUILT_IN), chance.randint(0, 2))]
        case "user-remove":
            return [verb, user]
        case "user-grant" | "user-revoke":
            return [verb, user, any_role]
        case "role-grant":
            return [verb, role, chance.choice(["read", "write", "readwrite"]), *prefix]
        case "role-revoke":
            return [verb, role, *prefix]
    return [verb, role]


def rights(table: UserTable) -> set[tuple[str, str, str]]:
    """Return what each user may do with each key, as a node decides it."""
    commands = {"read": "get {}", "write": "set {} 1"}
    return {
        (user, right, key)
        for user in USERS
        for right, command in commands.items()
        for key in KEYS
        if not denial_reason(table.identity(user), command.format(key), lambda lease: None)
    }


@pytest.mark.parametrize(("first", "count"), [(0, 40), *at_night((40, 2000))])
def test_rights_equal_those_of_the_model(first: int, count: int) -> None:
    for seed in range(first, first + count):
        chance, model = random.Random(seed), Model()
        manager = LogManager("s1", MemoryFolder(), MEMBERS)
        manager.apply([Entry(1, 1, "cluster 9f86d081884c7d65 level 1")])
        done = []
        for index in range(2, STEPS):
            words = drawn(chance)
            done.append(" ".join(words).replace(VERIFIER, "VERIFIER"))
            model.take(*words)
            manager.apply([Entry(index, 1, " ".join(words))])
            expected = {
                (user, right, key)
                for user in USERS
                for right in ("read", "write")
                for key in KEYS
                if model.may(user, right, key)
            }
            assert rights(manager.store.users) == expected, (seed, done)
            assert rights(read_users(manager.store.users.format())) == expected, (seed, done)
