"""Users and roles: the commands that change them, what they carry into a snapshot, and the check of
a user's entries."""

from __future__ import annotations

import json

import pytest

from raftline.access.users import make_verifier
from raftline.logmanager import LogManager, parts_of
from raftline.raft.log import Entry
from raftline.state.user_table import read_users
from raftline.wire.commands.command_table import read_request
from raftline.wire.limits import GRANTS_MAX, ROLES_MAX, USER_ROLES_MAX, USERS_MAX
from raftline.wire.operands.login_operands import ITERATIONS_LEAST
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError
from raftline_testing.doubles.user_machine import BOB, VERIFIER, UserMachine
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS

OTHER = str(make_verifier("staple", ITERATIONS_LEAST))


@pytest.fixture
def machine() -> UserMachine:
    return UserMachine()


def test_the_commands_change_users_and_roles(machine: UserMachine) -> None:
    replies = machine.do(
        f"user-add bob {OTHER}",
        "user-add eve - writers",
        "user-add eve -",
        "user-grant eve app",
        "user-grant eve nothing",
        "user-revoke bob reader",
        "role-add app",
        r"role-grant app read two\swords",
        "role-grant app read app/",
        "role-revoke app other/",
        "role-revoke app",
        f"user-password zoe {OTHER}",
        "role-grant none read",
    )
    assert replies == [
        "USER-ADD response, user exists: bob",
        "USER-ADD response, no such role: writers",
        "USER-ADD response: eve added",
        "USER-GRANT response: eve has app",
        "USER-GRANT response, no such role: nothing",
        "USER-REVOKE response: bob does not have reader",
        "ROLE-ADD response, role exists: app",
        r"ROLE-GRANT response: app may read two\swords",
        "ROLE-GRANT response: app may read app/",
        "ROLE-REVOKE response: app has no right to other/",
        "ROLE-REVOKE response: app has no right to all keys",
        "USER-PASSWORD response, no such user: zoe",
        "ROLE-GRANT response, no such role: none",
    ]
    assert json.loads(machine.do("users")[0].partition(": ")[2]) == {
        "users": {
            "bob": {"roles": ["app"], "has_password": True},
            "eve": {"roles": ["app"], "has_password": False},
            "root": {"roles": ["admin"], "has_password": True},
        },
        "roles": {"app": [["read", r"two\swords"], ["read", "app/"]]},
    }
    assert machine.do("role-remove app", "user-remove eve", "role-remove app") == [
        "ROLE-REMOVE response: app removed",
        "USER-REMOVE response: eve removed",
        "ROLE-REMOVE response, no such role: app",
    ]
    assert machine.store.users.identity("bob").in_words() == "bob, who has no right yet"


def test_the_rights_of_a_user_are_those_of_all_roles(machine: UserMachine) -> None:
    bob = machine.store.users.identity("bob")
    assert (bob.reads, bob.writes, bob.is_admin) == (("",), ("app/",), False)
    assert bob.in_words() == "bob, who may read all keys and may write keys that begin with app/"
    machine.do("role-add log", "role-grant log write log/", "user-grant bob log")
    assert machine.store.users.identity("bob").writes == ("app/", "log/")
    root = machine.store.users.identity("root")
    assert (root.is_admin, root.is_everywhere) == (True, True)


def test_change_makes_another_table_and_a_repetition_does_not(machine: UserMachine) -> None:
    """A change makes a new table; a repeated change keeps the old one."""
    before = machine.store.users
    machine.do("role-grant app readwrite app/", "user-grant bob app", "user-revoke bob writer")
    assert machine.store.users is before
    machine.do(f"user-password bob {OTHER}")
    assert machine.store.users is not before
    assert str(before.verifier_of("bob")) == VERIFIER
    assert str(machine.store.users.verifier_of("bob")) == OTHER


def test_first_user_is_an_admin_and_the_last_admin_stays() -> None:
    """The first user must be an admin with a password, and the last admin cannot be removed."""
    machine = UserMachine.__new__(UserMachine)
    machine.manager = LogManager("s1", MemoryFolder(), MEMBERS)
    machine.store, machine._index = machine.manager.store, 0
    machine.do("cluster 9f86d081884c7d65 level 1")
    for first in (f"user-add bob {VERIFIER} reader", "user-add root - admin"):
        assert machine.do(first)[0].startswith("Sorry, the first user needs the role admin and")
    machine.do(f"user-add root {VERIFIER} admin")
    for last in ("user-remove root", "user-revoke root admin"):
        assert machine.do(last)[0] == "Sorry, root is the last admin. Nothing was done."
    machine.do(f"user-add ann {VERIFIER} admin")
    assert machine.do("user-remove root") == ["USER-REMOVE response: root removed"]


def test_there_are_no_users_at_the_floor() -> None:
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    [_, reply] = manager.apply([Entry(1, 1, "noop"), Entry(2, 1, "role-add app")])
    assert reply.startswith("Sorry, I don't understand: role-add app.")


def test_a_snapshot_has_the_users_the_roles_and_the_secret(machine: UserMachine) -> None:
    loaded = machine.loaded()
    assert len(loaded.users) == 4
    again = parts_of(loaded).users
    assert again.format() == machine.store.users.format()
    assert again.verifier_of("nobody") == machine.store.users.verifier_of("nobody")
    other = LogManager("s2", MemoryFolder(), MEMBERS)
    other._load(loaded, parts_of(loaded))
    assert other.store.users.identity("bob") == machine.store.users.identity("bob")


@pytest.mark.parametrize(
    "lines",
    [
        ["user bob"],
        ["user bob nonsense"],
        [f"user bob {VERIFIER}", f"user bob {VERIFIER}"],
        ["role app sing:app/"],
        ["role admin read:"],
        ["unknown AAAA"],
        ["nonsense"],
    ],
)
def test_a_damaged_line_of_a_snapshot_is_refused(lines: list[str]) -> None:
    with pytest.raises(ValueError, match=r"line of a|verifier|secret"):
        read_users(lines)


def test_an_entry_is_checked_by_the_rights_at_its_place(machine: UserMachine) -> None:
    """Each request was allowed on arrival, but the rights ended before its entry."""
    done = machine.do("bob@set app/x 1", f"{BOB}#1@set app/y 1", f"{BOB}#2@get web/x")
    assert done == [
        "SET response: app/x set to 1",
        "SET response: app/y set to 1",
        "GET response, no such key: web/x",
    ]
    refused = "Sorry, bob may not {}: it takes the right to {} there. Nothing was done."
    machine.do("role-grant app readwrite web/", "role-revoke app app/", "user-revoke bob reader")
    assert machine.do(
        "bob@set app/x 2",
        f"{BOB}#3@set app/y 2",
        f"{BOB}#4@get app/x",
        f"{BOB}#1@set app/y 1",
        "bob@set web/x 2",
    ) == [
        refused.format("set app/x", "write"),
        refused.format("set app/y", "write"),
        refused.format("get app/x", "read"),
        "SET response: app/y set to 1",  # a retry of what was done
        "SET response: web/x set to 2",
    ]
    machine.do("user-remove bob")
    assert machine.do("bob@delete web/x") == [refused.format("delete web/x", "write")]
    assert dict(machine.store) == {"app/x": "1", "app/y": "1", "web/x": "2"}


def test_an_admin_who_is_none_any_more_changes_no_users(machine: UserMachine) -> None:
    machine.do(f"user-add ann {VERIFIER} admin")
    demoted, refused = machine.do("ann@user-revoke root admin", "root@user-remove ann")
    assert demoted == "USER-REVOKE response: root does not have admin"
    assert refused == "Sorry, root may not user-remove: it takes the role admin. Nothing was done."


def test_the_keys_of_a_lease_are_checked_at_the_entry(machine: UserMachine) -> None:
    (granted,) = machine.do("bob@lease 10 0123456789abcdef")
    lease = granted.partition(": ")[2].partition(" ")[0]
    machine.do(f"under {lease} set web/x 1")
    assert machine.do(f"bob@release {lease}") == [
        f"Sorry, bob may not release {lease}: it takes the right to write for each of its keys. "
        "Nothing was done."
    ]


def test_users_roles_and_rights_have_bounds(machine: UserMachine) -> None:
    def last(*commands: str) -> str:
        return machine.do(*commands)[-1]

    refused = "Sorry, there may be at most {}. Nothing was done."
    grants = [f"role-grant app read {number}/" for number in range(GRANTS_MAX)]
    assert last(*grants) == refused.format(f"{GRANTS_MAX} rights of one role")
    roles = [f"role-add r{number}" for number in range(ROLES_MAX)]
    assert last(*roles) == refused.format(f"{ROLES_MAX} roles")
    given = [f"user-grant root r{number}" for number in range(USER_ROLES_MAX)]
    assert last(*given) == refused.format(f"{USER_ROLES_MAX} roles of one user")
    users = [f"user-add u{number} -" for number in range(USERS_MAX - 1)]
    assert last(*users) == refused.format(f"{USERS_MAX} users")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("user-add bob", "the form is: user-add NAME VERIFIER"),
        (f"user-add 4ve {VERIFIER}", "a name is a letter"),
        ("user-add bob horse", "this is not a verifier of SCRAM-SHA-256"),
        (f"user-add bob {VERIFIER[:-2]}", "not base64"),
        (f"user-add bob {VERIFIER} a/b", "the name of a role is a letter"),
        ("role-add admin", "the role admin is built in"),
        ("role-grant app sing app/", "there is no right sing; the rights are read, write"),
        (r"role-grant app read \xff", "text, with whole characters"),
        ("user-grant bob", "the form is: user-grant NAME ROLE"),
    ],
)
def test_a_mistake_is_named_without_the_verifier(line: str, why: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_request("c", "", line, Limits())
    assert why in str(caught.value)
    assert "horse" not in str(caught.value)
    assert VERIFIER[-40:-2] not in str(caught.value)
