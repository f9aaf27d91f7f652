"""The file of users of an earlier build, from which `raftline user import` adds users."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raftline.common.config import ConfigError
from raftline.tools.requests.users_file import parse_users, prefixes_of, read_users
from raftline.wire.commands.identity import EVERYWHERE, identity_of
from raftline.wire.commands.rights import UserRole
from raftline_testing.nodes.known_users import format_old_users, verifier_of, write_old_users

PASSWORD = "correct horse battery"
OLD = {"bob": (UserRole.READER, ("app/",)), "root": (UserRole.ADMIN, EVERYWHERE)}


def test_the_users_of_a_file_keep_their_rights_and_passwords(tmp_path: Path) -> None:
    users = read_users(write_old_users(tmp_path / "users", OLD, PASSWORD))
    assert list(users) == ["bob", "root"]
    assert users["bob"].identity == identity_of("bob", *OLD["bob"])
    assert users["bob"].verifier == verifier_of(PASSWORD)


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o601])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = write_old_users(tmp_path / "users", OLD, PASSWORD)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="is open to others: chmod 600"):
        read_users(path)


def test_a_pipe_or_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # to read it would wait for a writer
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ConfigError, match="is not a file"):
            read_users(path)


GOOD = format_old_users({"bob": OLD["bob"]}, PASSWORD)
LINE = GOOD.splitlines()[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no users"),
        ("\n".join(GOOD.splitlines()[:1]), "has no users"),
        (GOOD + LINE, "line 3: this user is listed twice"),
        (GOOD + "eve", "line 3: the form is: NAME ROLE VERIFIER"),
        (GOOD + LINE.replace("bob reader", "eve king"), "line 3: there is no such role"),
        (GOOD + LINE.replace("bob", "4ve"), "line 3: this is not a user name"),
        (GOOD + LINE.replace("4096", "4095").replace("bob", "e"), "line 3: this is not a verifier"),
        (GOOD + "eve reader SCRAM-SHA-256$4096:AAAA$AAAA:AAAA", "line 3: a part of the verifier"),
        (
            GOOD + LINE.replace("bob", "eve").replace("app/", r"\xc3"),
            "line 3: the prefix of a right",
        ),
        (GOOD + LINE.replace("bob", "eve").replace("app/", r"\q"), r"line 3: \q is not an escape"),
        (GOOD + LINE.replace("bob", "eve") + " ", "line 3: a prefix is empty"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_users(text, "users")
    assert said in str(refused.value)
    assert LINE.split(" ")[2] not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_prefixes_have_one_form() -> None:
    assert prefixes_of([r"\x61pp/", "app/", r"two\swords"]) == ("app/", r"two\swords")
    assert prefixes_of([]) == EVERYWHERE
