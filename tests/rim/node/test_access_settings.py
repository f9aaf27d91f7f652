"""The access settings of a node: what they allow, refuse, and warn of."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline.access.login import Access
from raftline.access.users import write_first_admin
from raftline.common.config import ConfigError
from raftline.node.program import boot
from raftline.wire.commands.rights import UserRole
from raftline_course import controlled_server as controlled
from raftline_testing.nodes.known_users import verifier_of


def access_of(*words: str) -> Access | None:
    arguments = boot.parser().parse_args(["s1", "10000", *words])
    boot.start_settings(arguments)
    return boot.access_settings(arguments).access()


@pytest.fixture
def known(tmp_path: Path) -> list[str]:
    """Return the options of a node with a first admin."""
    write_first_admin(tmp_path / "first", "ann", str(verifier_of("battery")))
    (tmp_path / "server-configuration.txt").write_text("s1 localhost 10000\n")
    return ["--dir", str(tmp_path), "--first-admin", str(tmp_path / "first")]


def test_nothing_is_allowed_without_a_login_unless_configured(known: list[str]) -> None:
    """Without a login, a client may do only what the configuration allows."""
    open_to_all = ["--host", "0.0.0.0", "--open-to-network"]
    for words, role in (
        (["--insecure"], UserRole.NONE),
        (["--host", "127.0.0.1", "--insecure"], UserRole.NONE),
        (["--anonymous", "none", "--insecure"], UserRole.NONE),
        (["--anonymous", "reader", "--insecure"], UserRole.READER),
        (["--anonymous", "admin"], UserRole.ADMIN),
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
        (["--first-admin", "no", "--insecure"], "first-admin file no: No such file or directory"),
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
def test_users_need_members_that_prove_themselves(
    known: list[str], role: str, proofs: list[str]
) -> None:
    """Otherwise, one who speaks as a member could do what no user may: a member's lines need no
    rights."""
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
OPEN_TO_ALL = "while the cluster has no users, every client"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], []),
        (["--secret", "s"], []),
        (["--secret", "s", "--first-admin", "u", "--anonymous", "none"], []),
        ([*OPEN, "--secret", "s", "--first-admin", "u"], []),
        ([*OPEN, "--insecure"], []),  # the word for it was said
        (["--first-admin", "u", "--anonymous", "admin"], []),
        (OFFERED, ["--secret-mode offer accepts members that prove nothing"]),
        ([*OPEN, "--secret", "s"], [OPEN_TO_ALL]),
        ([*OPEN, *BY_CERTIFICATE], [OPEN_TO_ALL]),
        (
            [*OPEN, *BY_CERTIFICATE, "--tls-require"],
            [f"{OPEN_TO_ALL} with"],
        ),
        (["--first-admin", "u", "--insecure"], ["members prove nothing (--insec"]),
        ([*OPEN, "--first-admin", "u", "--insecure"], ["members prove nothing (--insecure)"]),
        (
            [*OPEN, *OFFERED, "--first-admin", "u", "--insecure"],
            ["--secret-mode offer", "members prove"],
        ),
    ],
)
def test_a_node_that_is_more_open_than_it_seems_says_so(words: list[str], said: list[str]) -> None:
    lines = warned(*words)
    assert len(lines) == len(said)
    for line, begin in zip(lines, said, strict=True):
        assert line.startswith(f"[!] {begin}")
        assert "\n" not in line
