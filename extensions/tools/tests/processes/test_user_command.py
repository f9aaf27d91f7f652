"""`raftline user` and `raftline role` at real nodes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from raftline.access.users import read_first_admin
from raftline.clients.connections.client_login import Credentials, log_in
from raftline.clients.connections.node_connection import LoginFailed, Unreachable
from raftline.net.line_connection import LineConnection
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline_testing.doubles import in_process
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.known_users import verifier_of, write_old_users
from raftline_testing.nodes.processes import DEADLINE_S, eventually

PASSWORD = "correct horse"
FEW = ("--iterations", "4096")
OLD = {
    "ann": (UserRole.ADMIN, EVERYWHERE),
    "bob": (UserRole.READER, ("app/", r"two\swords")),
    "eve": (UserRole.ADMIN, ("web/",)),
    "max": (UserRole.WRITER, EVERYWHERE),
    "reader": (UserRole.WRITER, ("r/",)),
}
Run = Callable[..., tuple[int, str, str]]


def at(cluster: Cluster) -> str:
    return ",".join(f"localhost:{node.port}" for node in cluster.nodes)


def raftline(environment: dict[str, str], *words: object, typed: str = "") -> tuple[int, str, str]:
    """Return the exit status, and what is printed on both streams."""
    done: subprocess.CompletedProcess[str] = in_process.raftline(
        *words, environment=dict(os.environ) | environment, typed=typed.encode()
    )
    return done.returncode, done.stdout, done.stderr


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def run(three: Cluster, tmp_path: Path) -> Run:
    """A shell of the admin root, who is the first user of three nodes."""
    given = {
        "RAFTLINE": at(three),
        "RAFTLINE_USER": "root",
        "RAFTLINE_PASSWORD_FILE": str(private(tmp_path / "password", PASSWORD)),
    }

    def run(*words: object, typed: str = "", **more: str) -> tuple[int, str, str]:
        return raftline(given | more, *words, typed=typed)

    adds = ("user", "add", "root", "--role", "admin", *FEW)
    added = run(*adds, typed=PASSWORD, RAFTLINE_USER="", RAFTLINE_PASSWORD_FILE="")
    assert added == (0, "USER-ADD response: root added\n", "")
    return run


def logs_in(cluster: Cluster, name: str, user: str, password: str) -> bool:
    try:
        with LineConnection(cluster[name].port) as connection:
            log_in(connection, Credentials(user, password), "c", DEADLINE_S)
    except (LoginFailed, Unreachable):
        return False
    return True


def test_users_and_roles_are_added_changed_listed_and_removed(run: Run) -> None:
    assert run("role", "add", "app") == (0, "ROLE-ADD response: app added\n", "")
    assert run("role", "grant", "app", "readwrite", "two words/")[0] == 0
    assert run("role", "grant", "app", "read")[0] == 0
    said = "app  read and write two\\swords/, read all keys\n"
    assert run("role", "list") == run("role") == (0, said, "")
    assert run("role", "revoke", "app")[0] == 0
    assert run("user", "add", "bob", "--role", "app", *FEW, typed="staple\n")[0] == 0
    assert run("user", "add", "cert", "--no-password")[0] == 0
    assert run("user", "grant", "bob", "reader")[0] == 0
    listed = "bob  app, reader\ncert  (no role)  (no password)\nroot  admin\n"
    assert run("user", "list") == run("user") == (0, listed, "")
    shown = json.loads(run("user", "--json")[1])["users"]
    assert shown["users"]["bob"] == {"roles": ["app", "reader"], "has_password": True}
    assert shown["roles"] == {"app": [["readwrite", "two\\swords/"]]}
    assert run("user", "revoke", "bob", "app")[0] == 0
    assert run("role", "remove", "app")[0] == 0
    assert run("user", "remove", "bob") == (0, "USER-REMOVE response: bob removed\n", "")
    assert run("user")[1] == "cert  (no role)  (no password)\nroot  admin\n"


def test_a_new_password_works_at_once_at_every_node(run: Run, three: Cluster) -> None:
    run("user", "add", "bob", "--role", "reader", *FEW, typed="old\n")
    for name in ("s1", "s2", "s3"):
        eventually(lambda name=name: logs_in(three, name, "bob", "old"), "bob")
    assert run("user", "password", "bob", *FEW, typed="new\n")[0] == 0
    for name in ("s1", "s2", "s3"):
        eventually(lambda name=name: logs_in(three, name, "bob", "new"), "the new password")
        assert not logs_in(three, name, "bob", "old")


MISTAKES = [
    ("user add root --role admin", 1, "user exists: root"),
    ("user add bob --role none", 1, "no such role: none"),
    ("user password bob", 1, "no such user: bob"),
    ("user grant bob reader", 1, "no such user: bob"),
    ("role grant none read", 1, "no such role: none"),
    (r"role grant app read \q", 1, "no such role: app"),  # the shell takes it literally
    ("user add 4ve", 2, "raftline: a name is a letter, then letters"),
    ("user add bob --role a/b", 2, "raftline: the name of a role is a letter"),
    ("role add admin", 2, "raftline: the role admin is built in"),
    ("role grant app sing", 2, "argument RIGHT: invalid choice: 'sing'"),
    ("user remove", 2, "the following arguments are required: USER"),
    ("user sing", 2, "argument ACTION: invalid choice: 'sing'"),
    ("user remove root", 5, "root is the last admin"),
    ("user import nowhere", 2, "raftline: users file nowhere: No such file or directory"),
]


def test_a_mistake_is_one_line_and_changes_nothing(run: Run) -> None:
    for words, status, said in MISTAKES:
        code, output, errors = run(*words.split(), typed="x\n")
        assert (code, (output + errors).count("\n")) == (status, 1), words
        assert said in output + errors
    assert run("user")[1] == "root  admin\n"


@pytest.mark.parametrize("typed", ["", "\n", "ä\n", "x" * 257])
def test_a_bad_password_is_refused_before_anything_is_sent(typed: str) -> None:
    nowhere = {"RAFTLINE": "localhost:1"}
    code, _, errors = raftline(nowhere, "user", "add", "bob", typed=typed)
    assert (code, errors.count("\n")) == (2, 1)
    assert "a password has 1 to 256 characters" in errors


def test_an_empty_prefix_does_not_stand_for_all_keys() -> None:
    code, _, errors = raftline({"RAFTLINE": "localhost:1"}, "role", "grant", "app", "read", "")
    assert code == 2
    assert errors == "raftline: PREFIX is empty; leave it out for all keys\n"


def test_user_who_is_not_an_admin_is_refused(run: Run, tmp_path: Path) -> None:
    run("user", "add", "bob", "--role", "writer", *FEW, typed="staple\n")
    file, users = str(private(tmp_path / "bob", "staple\n")), old_file(tmp_path)
    for words in ("user list", "user remove root", "role add app", f"user import {users}"):
        code, _, errors = run(*words.split(), RAFTLINE_USER="bob", RAFTLINE_PASSWORD_FILE=file)
        assert code == 5
        assert "bob may not" in errors


# --- from a file --------------------------------------------------------------------------------


def old_file(folder: Path) -> Path:
    return write_old_users(folder / "raftline-users", OLD, "staple")


def test_an_import_keeps_the_passwords_and_can_be_repeated(
    run: Run, three: Cluster, tmp_path: Path
) -> None:
    file = old_file(tmp_path)
    run("user", "add", "max", "--role", "reader", *FEW, typed="new\n")
    code, _, errors = run("user", "import", str(file))
    assert (code, errors) == (
        0,
        "[*] eve, an admin of some keys, may read and write them, and nothing else\n"
        "[*] max is a user already, and stays as it is\n",
    )
    listed = "ann  admin\nbob  bob\neve  eve\nmax  reader\nreader  reader-keys\nroot  admin\n"
    assert run("user")[1] == listed
    assert run("role")[1] == (
        "bob  read app/, read two\\swords\neve  read and write web/\n"
        "reader-keys  read and write r/\n"
    )
    for name in ("s1", "s2", "s3"):
        eventually(lambda name=name: logs_in(three, name, "reader", "staple"), "the last user")
        assert logs_in(three, name, "bob", "staple")
    run("user", "remove", "bob")
    assert run("user", "import", str(file), "-q")[0] == 0  # where the role bob exists
    assert run("user")[1] == listed


def test_an_import_widens_no_role_that_has_other_rights(run: Run, tmp_path: Path) -> None:
    run("role", "add", "bob")
    run("role", "grant", "bob", "read", "other/")
    code, output, errors = run("user", "import", str(old_file(tmp_path)))
    assert (code, output) == (2, "")
    assert "the role bob has other rights than the user bob of the file" in errors
    assert run("user")[1] == "root  admin\n"


def test_an_empty_list_is_not_taken_for_a_failure(three: Cluster) -> None:
    for noun in ("user", "role"):
        said = f"[*] the cluster has no {noun}s\n"
        assert raftline({"RAFTLINE": at(three)}, noun, "list") == (0, "", said)
        assert raftline({"RAFTLINE": at(three)}, noun, "list", "-q") == (0, "", "")


def test_an_import_needs_an_admin_first(three: Cluster, tmp_path: Path) -> None:
    code, _, errors = raftline({"RAFTLINE": at(three)}, "user", "import", str(old_file(tmp_path)))
    assert code == 2
    assert "the cluster has no users yet: add its first admin" in errors


def test_file_of_the_first_admin_starts_a_closed_cluster(tmp_path: Path) -> None:
    """The file of the first admin starts a cluster that is never open."""
    first, secret = tmp_path / "first", tmp_path / "secret"
    made = raftline({}, "user", "first", "root", first, *FEW, typed=PASSWORD)
    said = f"[*] {first} is written; start each node with --first-admin {first}\n"
    assert made == (0, "", said)
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert "horse" not in first.read_text()
    assert raftline({}, "secret", secret)[0] == 0
    (tmp_path / "nodes").mkdir()
    options = ["--first-admin", str(first), "--secret", str(secret)]
    with Cluster(tmp_path / "nodes", 3, *STEADY, *options) as cluster:
        cluster.start()
        nodes = {"RAFTLINE": at(cluster)}
        eventually(lambda: logs_in(cluster, "s1", "root", PASSWORD), "the first admin")
        assert raftline(nodes, "user")[0] == 5
        known = nodes | {
            "RAFTLINE_USER": "root",
            "RAFTLINE_PASSWORD_FILE": str(private(tmp_path / "password", PASSWORD)),
        }
        listed = (0, "root  admin\n", "")  # the file lets root in before its entry is there
        eventually(lambda: raftline(known, "user") == listed, "the entry of the first admin")


def test_operator_replaces_the_last_admins_lost_password(
    run: Run, three: Cluster, tmp_path: Path
) -> None:
    """An operator replaces the lost password of the last admin."""

    def restart(*options: str) -> None:
        for node in three.nodes:
            node.kill()
            node.options[:] = options
        three.start()

    own = three["s1"].options[:]
    restart(*own, "--anonymous", "admin")
    nobody = {"RAFTLINE_USER": "", "RAFTLINE_PASSWORD_FILE": ""}
    assert run("user", "password", "root", *FEW, typed="found\n", **nobody)[0] == 0
    restart(*own)
    file = str(private(tmp_path / "found", "found\n"))
    assert run("user", "list", RAFTLINE_PASSWORD_FILE=file) == (0, "root  admin\n", "")
    code, _, errors = run("user", "list", **nobody)
    assert (code, "without a login may not" in errors) == (5, True)


def test_a_first_admin_may_have_the_password_of_an_old_file(tmp_path: Path) -> None:
    old, first = old_file(tmp_path), tmp_path / "first"
    assert raftline({}, "user", "first", "bob", first, "--from", old)[0] == 0
    assert read_first_admin(first) == ("bob", verifier_of("staple"))


def test_a_cluster_takes_the_users_of_an_old_file_over(tmp_path: Path) -> None:
    old, first, secret = old_file(tmp_path), tmp_path / "first", tmp_path / "secret"
    assert raftline({}, "user", "first", "ann", first, "--from", old)[0] == 0
    assert raftline({}, "secret", secret)[0] == 0
    (tmp_path / "nodes").mkdir()
    options = ["--first-admin", str(first), "--secret", str(secret)]
    with Cluster(tmp_path / "nodes", 3, *STEADY, *options) as cluster:
        cluster.start()
        nodes = {"RAFTLINE": at(cluster), "RAFTLINE_USER": "ann"}
        nodes["RAFTLINE_PASSWORD_FILE"] = str(private(tmp_path / "ann", "staple"))
        eventually(lambda: raftline(nodes, "user")[1] == "ann  admin\n", "the first admin")
        assert not logs_in(cluster, "s1", "bob", "staple")
        assert raftline(nodes, "user", "import", old)[0] == 0
        for node in cluster.nodes:
            eventually(lambda node=node: logs_in(cluster, node.name, "bob", "staple"), "bob")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("root", "there"), "there already exists, and is unchanged"),
        (("4ve", "new"), "a name is a letter, then letters"),
        (("nobody", "new", "--from", "raftline-users"), "raftline-users has no user nobody"),
        (("bob", "new", "--from", "there"), "users file there has no users"),
        (("bob", "none/new", "--from", "raftline-users"), "can't write none/new: No such file"),
    ],
)
def test_a_mistake_writes_no_first_admin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    old_file(tmp_path)
    private(tmp_path / "there", "")
    monkeypatch.chdir(tmp_path)
    code, _, errors = raftline({}, "user", "first", *words, *FEW, typed="x\n")
    assert (code, errors.count("\n")) == (2, 1)
    assert said in errors
    assert not (tmp_path / "new").exists()
