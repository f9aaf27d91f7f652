"""`raftline user`: the file that it writes, and what it refuses."""

from __future__ import annotations

import argparse
import io
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from raftline import cli
from raftline.access.login import Access
from raftline.access.users import Users, read_users, write_users
from raftline.common.config import ConfigError
from raftline.node.program import boot
from raftline.tools.node_files.user_command import carry_out
from raftline.wire.commands.identity import identity_of
from raftline.wire.commands.rights import UserRole
from raftline_course import controlled_server as controlled

PASSWORD = "correct horse battery"


class Desk:
    """One folder, in which somebody runs `raftline user`."""

    def __init__(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.path = path
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def run(self, *words: str, typed: str = PASSWORD + "\n") -> tuple[int, str]:
        """Return the exit status and all that is printed."""
        self._monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = cli.main(["user", *words, "--users", str(self.path)])
        output, errors = self._capsys.readouterr()
        return code, output + errors

    def add(self, name: str, *words: str) -> None:
        assert self.run("add", name, *words, "--iterations", "4096")[0] == 0


@pytest.fixture
def desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Desk:
    return Desk(tmp_path / "users", monkeypatch, capsys)


def test_users_are_added_changed_listed_and_removed(desk: Desk) -> None:
    desk.add("bob", "--role", "writer", "--prefix", "app/", "--prefix", r"two\swords")
    desk.add("ann", "--role", "admin")
    assert desk.run("list") == (0, "ann admin\nbob writer app/ two\\swords\n")
    before = read_users(desk.path)
    assert desk.run("change", "bob", "--role", "reader", "--prefix", "web/")[0] == 0
    after = read_users(desk.path)
    assert after.by_name["bob"].identity.reads == ("web/",)
    assert after.by_name["bob"].verifier == before.by_name["bob"].verifier
    assert after.secret == before.secret  # the salts of unknown names stay
    assert desk.run("password", "bob", typed="staple\n")[0] == 0
    assert read_users(desk.path).by_name["bob"].verifier != before.by_name["bob"].verifier
    assert read_users(desk.path).by_name["bob"].identity.role is UserRole.READER
    assert desk.run("remove", "bob")[0] == 0
    assert desk.run("list") == (0, "ann admin\n")


def test_the_file_is_its_owners_and_holds_no_password(desk: Desk) -> None:
    desk.add("bob", "--role", "reader")
    assert stat.S_IMODE(desk.path.stat().st_mode) == 0o600
    assert "horse" not in desk.path.read_text()
    assert [path.name for path in desk.path.parent.iterdir()] == ["users"]


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        (["add", "bob", "--role", "reader"], "x\n", "bob is a user already"),
        (["add", "4ve", "--role", "reader"], "x\n", "takes the name of a user"),
        (["add"], "x\n", "takes the name of a user"),
        (["add", "eve"], "x\n", "--role is missing; there are reader, writer, admin"),
        (["add", "eve", "--role", "reader"], "\n", "a password has 1 to 256 characters"),
        (["add", "eve", "--role", "reader"], "", "a password has 1 to 256 characters"),
        (["add", "eve", "--role", "reader"], "ä\n", "a password has 1 to 256 characters"),
        (["add", "eve", "--role", "reader", "--prefix", ""], "x\n", "--prefix: a prefix is empty"),
        (
            ["add", "eve", "--role", "reader", "--prefix", r"\q"],
            "x\n",
            r"--prefix: \q is not an escap",
        ),
        (["remove", "bob"], "", "the last user can't be removed"),
        (["remove", "eve"], "", "eve is not a user"),
        (["change", "eve", "--role", "admin"], "", "eve is not a user"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    desk: Desk, words: list[str], typed: str, said: str
) -> None:
    desk.add("bob", "--role", "reader")
    before = desk.path.read_bytes()
    code, printed = desk.run(*words, typed=typed)
    assert (code, printed.count("\n")) == (2, 1)
    assert printed.startswith("raftline: ")
    assert said in printed
    assert desk.path.read_bytes() == before


class Waiting(io.StringIO):
    """A prompt at which a person waits while others work."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__(PASSWORD + "\n")
        self._meanwhile = meanwhile

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        self._meanwhile()
        return super().readline(size)


@pytest.mark.parametrize("words", [["password", "root"], ["add", "eve", "--role", "reader"]])
def test_what_others_change_while_a_password_is_typed_is_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    for name in ("root", "mallory"):
        desk.add(name, "--role", "admin")

    def meanwhile() -> None:
        assert desk.run("remove", "mallory")[0] == 0
        desk.add("bob", "--role", "reader")

    monkeypatch.setattr("sys.stdin", Waiting(meanwhile))
    assert cli.main(["user", *words, "--users", str(desk.path), "--iterations", "4096"]) == 0
    assert set(read_users(desk.path).by_name) == {"root", "bob", *words[1:2]}


def test_a_user_that_another_person_adds_first_keeps_its_password(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Waiting(lambda: desk.add("eve", "--role", "admin")))
    words = ["user", "add", "eve", "--role", "reader", "--users", str(desk.path)]
    assert cli.main(words) == 2
    assert read_users(desk.path).by_name["eve"].identity.role is UserRole.ADMIN


def test_changes_at_the_same_time_are_all_kept(desk: Desk) -> None:
    names = [f"u{number}" for number in range(8)]
    desk.add("root", "--role", "admin")
    before = read_users(desk.path)
    root = before.by_name["root"]
    others = {name: root._replace(identity=identity_of(name, UserRole.READER)) for name in names}
    write_users(desk.path, Users({"root": root, **others}, before.secret))
    requests = [argparse.Namespace(action="remove", name=name, users=desk.path) for name in names]
    removing = [threading.Thread(target=carry_out, args=(request,)) for request in requests]
    for thread in removing:
        thread.start()
    for thread in removing:
        thread.join()
    assert set(read_users(desk.path).by_name) == {"root"}


def test_a_password_is_no_argument(desk: Desk) -> None:
    with pytest.raises(SystemExit):
        desk.run("add", "bob", "--role", "reader", "--password", PASSWORD)
    assert not desk.path.exists()


def access_of(*words: str) -> Access | None:
    arguments = boot.parser().parse_args(["s1", "10000", *words])
    boot.settle(arguments)
    return boot.access_settings(arguments).access()


@pytest.fixture
def known(desk: Desk, tmp_path: Path) -> list[str]:
    """Return the options of a node with users."""
    desk.add("bob", "--role", "reader")
    (tmp_path / "server-configuration.txt").write_text("s1 localhost 10000\n")
    return ["--dir", str(tmp_path), "--users", str(desk.path)]


def test_without_a_login_all_is_allowed_where_only_this_machine_reaches(known: list[str]) -> None:
    """A node that others reach allows nothing; another word holds where it is said."""
    open_to_all = ["--host", "0.0.0.0", "--open-to-network"]
    for words, role in (
        ([], UserRole.ADMIN),
        (["--host", "127.0.0.1"], UserRole.ADMIN),
        (["--anonymous", "none", "--insecure"], UserRole.NONE),
        (["--anonymous", "reader", "--insecure"], UserRole.READER),
    ):
        access = access_of(*known, *words)
        assert access is not None
        assert access.nobody.role is role
    arguments = boot.parser().parse_args(["s1", "10000", *known, *open_to_all])
    access = boot.access_settings(arguments).access()
    assert access is not None
    assert access.nobody.role is UserRole.NONE


def test_without_users_nobody_is_asked_who_they_are(known: list[str]) -> None:
    assert access_of(*known[:2]) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--anonymous", "none"], "--anonymous none does not stop clients"),
        (["--users", "nowhere"], "users file nowhere: No such file or directory"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    known: list[str], words: list[str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        access_of(*known[:2], *words)


def test_datagrams_do_not_go_with_users(known: list[str]) -> None:
    words = ["s1", "10000", *known, "--controller", "--controller-udp"]
    with pytest.raises(ConfigError, match="datagrams have no login"):
        controlled.check(controlled.parser().parse_args(words))


# --- a node that is more open than it seems -----------------------------------------------------

UNPROVEN = r"does not stop clients on this machine while members prove nothing: .* --secret FILE"
OFFERED = ["--secret", "s", "--secret-mode", "offer"]
BY_CERTIFICATE = ["--tls-only", "--tls-ca", "ca.pem"]


@pytest.mark.parametrize("role", ["none", "reader", "writer"])
@pytest.mark.parametrize("proofs", [[], OFFERED, BY_CERTIFICATE[:1], BY_CERTIFICATE[1:]])
def test_users_who_are_to_keep_others_out_need_members_that_prove_themselves(
    known: list[str], role: str, proofs: list[str]
) -> None:
    """Else whoever speaks as a member does what no user may: no right is asked for its lines."""
    with pytest.raises(ConfigError, match=UNPROVEN):
        access_of(*known, "--anonymous", role, *proofs)


@pytest.mark.parametrize(
    "words",
    [["--secret", "s"], BY_CERTIFICATE, ["--insecure"], OFFERED + BY_CERTIFICATE,
     ["--anonymous", "admin"]],
)  # fmt: skip
def test_users_go_with_a_proof_of_members_or_where_that_is_meant(
    known: list[str], words: list[str]
) -> None:
    assert access_of(*known, "--anonymous", "none", *words) is not None


def warned(*words: str) -> list[str]:
    """Return what a node says that is started so."""
    return list(boot.access_settings(boot.parser().parse_args(["s1", "10000", *words])).warnings())


OPEN = ["--host", "0.0.0.0", "--open-to-network"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], []),
        (["--secret", "s"], []),
        (["--secret", "s", "--users", "u", "--anonymous", "none"], []),
        ([*OPEN, "--secret", "s", "--users", "u"], []),
        ([*OPEN, "--insecure"], []),  # the word for it was said
        (["--users", "u", "--anonymous", "admin"], []),
        (["--users", "u"], ["clients that are not logged in may do everything"]),
        (OFFERED, ["--secret-mode offer accepts members that prove nothing"]),
        ([*OPEN, "--secret", "s"], ["without --users every client that reaches this node may do"]),
        ([*OPEN, *BY_CERTIFICATE], ["without --users every client that reaches this node may do"]),
        ([*OPEN, *BY_CERTIFICATE, "--tls-require"], ["without --users every client with a certif"]),
        (["--users", "u", "--anonymous", "none", "--insecure"], ["members prove nothing (--insec"]),
        ([*OPEN, "--users", "u", "--insecure"], ["members prove nothing (--insecure)"]),
        ([*OPEN, *OFFERED, "--users", "u", "--insecure"], ["--secret-mode offer", "members prove"]),
    ],
)
def test_a_node_that_is_more_open_than_it_seems_says_so(words: list[str], said: list[str]) -> None:
    lines = warned(*words)
    assert len(lines) == len(said)
    for line, begin in zip(lines, said, strict=True):
        assert line.startswith(f"[!] {begin}")
        assert "\n" not in line
