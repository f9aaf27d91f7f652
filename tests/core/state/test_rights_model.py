"""After any sequence of commands about users and roles, the table is that of a small model: rights,
what `users` shows, and the verifiers, also of names that nobody has."""

from __future__ import annotations

import json
import random

import pytest

from raftline.access.users import make_verifier
from raftline.logmanager import LogManager
from raftline.raft.log import Entry
from raftline.state.user_table import ITERATIONS, UserTable, read_users
from raftline.wire.commands.authorization import denial_reason
from raftline.wire.operands.login_operands import ITERATIONS_LEAST
from raftline.wire.operands.user_operands import read_verifier
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS
from raftline_testing.runner.at_night import at_night

VERIFIERS = [str(make_verifier("horse", ITERATIONS_LEAST + more)) for more in (0, 0, 1)]
USERS, ROLES = ("root", "ann", "bob"), ("app", "log")
BUILT_IN = {"admin": {"": "readwrite"}, "reader": {"": "read"}, "writer": {"": "readwrite"}}
PREFIXES = ("", "a", "a/b", "b")
KEYS = ("a", "a/b/c", "b1", "c")
STEPS = 60


class Model:
    """The roles of each user, and the rights of each role."""

    def __init__(self) -> None:
        self.users: dict[str, set[str]] = {}
        self.verifiers: dict[str, str] = {}
        self.roles: dict[str, dict[str, str]] = {}

    def take(self, verb: str, *words: str) -> None:
        """Carry out a command if it is allowed."""
        (self._take_of_role if verb.startswith("role") else self._take_of_user)(verb, *words)

    def _take_of_user(self, verb: str, name: str, *rest: str) -> None:
        users = self.users
        admins = [user for user, its in users.items() if "admin" in its]
        match verb:
            case "user-add" if name not in users and all(map(self._is_role, rest[1:])):
                if users or ("admin" in rest[1:] and rest[0] != "-"):
                    users[name], self.verifiers[name] = set(rest[1:]), rest[0]
            case "user-password" if name in users:
                self.verifiers[name] = rest[0]
            case "user-remove" if name in users and admins != [name]:
                del users[name], self.verifiers[name]
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

    def facts(self) -> dict[str, object]:
        return {
            "users": {
                name: {"roles": sorted(its), "has_password": self.verifiers[name] != "-"}
                for name, its in sorted(self.users.items())
            },
            "roles": {
                role: sorted([right, prefix] for prefix, right in its.items())
                for role, its in sorted(self.roles.items())
            },
        }

    def may(self, user: str, right: str, key: str) -> bool:
        return any(
            right in granted and key.startswith(prefix)
            for role in self.users.get(user, ())
            for prefix, granted in {**BUILT_IN, **self.roles}[role].items()
        )


def drawn(chance: random.Random) -> list[str]:
    """Return a random command about users or roles, in words."""
    verb = chance.choice(
        ["user-add", "user-add", "user-remove", "user-password", "user-grant", "user-revoke",
         "role-add", "role-add", "role-remove", "role-grant", "role-grant", "role-revoke"]
    )  # fmt: skip
    user, role, any_role = (chance.choice(each) for each in (USERS, ROLES, (*ROLES, *BUILT_IN)))
    prefix = [each for each in [chance.choice(PREFIXES)] if each]
    match verb:
        case "user-add":
            roles = chance.sample((*ROLES, *BUILT_IN), chance.randint(0, 2))
            return [verb, user, chance.choice([*VERIFIERS, "-"]), *roles]
        case "user-password":
            return [verb, user, chance.choice([*VERIFIERS, "-"])]
        case "user-remove":
            return [verb, user]
        case "user-grant" | "user-revoke":
            return [verb, user, any_role]
        case "role-grant":
            return [verb, role, chance.choice(["read", "write", "readwrite"]), *prefix]
        case "role-revoke":
            return [verb, role, *prefix]
    return [verb, role]


def check(table: UserTable, model: Model) -> None:
    """Compare rights as a node decides them, and what the table shows."""
    for user in USERS:
        identity = table.identity(user)
        assert identity.is_everywhere or not identity.is_admin
        for right, command in (("read", "get {}"), ("write", "set {} 1")):
            for key in KEYS:
                denial = denial_reason(identity, command.format(key), lambda lease: None)
                assert bool(denial) is not model.may(user, right, key), (user, right, key)
    shown = json.loads(json.dumps(table.facts()))
    for facts in shown["users"].values():
        facts["roles"].sort()
    for grants in shown["roles"].values():
        grants.sort()
    assert json.dumps(shown) == json.dumps(model.facts())


def check_verifiers(table: UserTable, before: UserTable, model: Model) -> None:
    """A name without a password gets a verifier like the others, the same on each node."""
    known = {name: read_verifier(one) for name, one in model.verifiers.items() if one != "-"}
    numbers = {one.iterations for one in known.values()} or {ITERATIONS}
    for name in (*USERS, "nobody"):
        found, earlier = table.verifier_of(name), before.verifier_of(name)
        assert found == known.get(name, found)
        assert name in known or (found not in known.values() and found.iterations in numbers)
        if name == "nobody" and found.iterations == earlier.iterations and before.secret:
            assert found == earlier
    assert table.secret == before.secret or not before.secret


@pytest.mark.parametrize(("first", "count"), [(0, 8), *at_night((8, 2000))])
def test_users_and_rights_are_those_of_the_model(first: int, count: int) -> None:
    for seed in range(first, first + count):
        chance, model = random.Random(seed), Model()
        manager = LogManager("s1", MemoryFolder(), MEMBERS)
        manager.apply([Entry(1, 1, "cluster 9f86d081884c7d65 level 1")])
        done = []
        for index in range(2, STEPS):
            words, before = drawn(chance), manager.store.users
            done.append(" ".join(words[:2] + words[3:] if "SCRAM" in words[2:3] else words))
            model.take(*words)
            manager.apply([Entry(index, 1, " ".join(words))])
            table = manager.store.users
            try:
                check(read_users(table.format()) if index % 2 else table, model)
                check_verifiers(table, before, model)
                check_verifiers(read_users(table.format()), table, model)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {done}") from error
