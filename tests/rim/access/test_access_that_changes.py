"""Access that changes during its use: users, files that are read again, and certificates for two
things."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.access import authority
from raftline.access.login import Access
from raftline.access.proof import Initiator
from raftline.access.secret import NO_AUTH, PeerAuth, make_secret, read_peer_auth, read_secrets
from raftline.access.tls import Tls, TlsFiles
from raftline.access.tls_socket import TlsSocket
from raftline.common.config import ConfigError
from raftline.net.connections.connection import admit_by_tls
from raftline.net.protocol.admission import Admission
from raftline.node.program.reload import readers_of
from raftline.wire.commands.identity import EVERYWHERE, identity_of
from raftline.wire.commands.parsing import ReadSettings, parse
from raftline.wire.commands.rights import UserRole
from raftline.wire.operands.operands import Limits
from raftline_testing.doubles import certificates
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.nodes.known_users import Known, access_with
from raftline_testing.nodes.processes import DEADLINE_S

OLD, NEW = "correct horse battery", "another password"
BOB = identity_of("bob", UserRole.ADMIN, EVERYWHERE)


def admins(*names: str) -> Known:
    return {name: (UserRole.ADMIN, EVERYWHERE) for name in names}


@pytest.fixture
def access() -> Access:
    return access_with(admins("bob", "s2"), OLD)


def admitted(made: Path, name: str, access: Access) -> Admission:
    """Return the admission of a connection on which this certificate was shown to s1."""
    here, there = socket.socketpair()
    for side in (here, there):
        side.settimeout(DEADLINE_S)
    client = TlsSocket(there)
    files = TlsFiles(made / f"{name}.pem", made / f"{name}.key", made / "ca.pem")

    def dial() -> None:
        with contextlib.suppress(OSError):
            client.begin(
                Tls(files).client_context(), server_side=False, limit_s=DEADLINE_S, name="s1"
            )

    thread = threading.Thread(target=dial, daemon=True)
    thread.start()
    host = FakeHost(access=access, peer_auth=PeerAuth(b"x" * 32, is_required=True))
    admission = Admission(host, object())  # type: ignore[arg-type]
    with TlsSocket(here) as connection:
        tls = Tls(TlsFiles(made / "s1.pem", made / "s1.key", made / "ca.pem"))
        assert admit_by_tls(connection, tls, admission, wait_s=DEADLINE_S)
    thread.join(DEADLINE_S)
    client.close()
    return admission


def test_a_certificate_is_a_member_s_or_a_user_s_never_both(tmp_path: Path, access: Access) -> None:
    authority.make(tmp_path, ["s1=localhost", "s2=localhost"], ["bob"])
    member = admitted(tmp_path, "s2", access)
    assert member.proven == "s2"
    assert member.login is not None
    assert member.login.identity == access.nobody
    user = admitted(tmp_path, "bob", access)
    assert user.proven is None
    assert user.login is not None
    assert user.login.identity == BOB


def test_certificate_holder_cannot_prove_another_name(tmp_path: Path, access: Access) -> None:
    """A peer that proved itself by a certificate cannot prove another name by the secret."""
    authority.make(tmp_path, ["s1=localhost", "s2=localhost"], [])
    member = admitted(tmp_path, "s2", access)
    dialing = Initiator(b"x" * 32, "s3", "s1", "3" * 32)
    line = parse(f"s3@{dialing.first}".encode(), Limits(), ReadSettings(), "s1")
    assert "s2 proved itself on this connection by a certificate" in member.admit(line).reply


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_secret_that_its_group_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """It is accepted if it belongs to root, as container engines mount it."""
    file = tmp_path / "secret"
    make_secret(file)
    file.chmod(mode)
    facts = SimpleNamespace(st_mode=file.stat().st_mode, st_uid=1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fstat", lambda _: facts)
        with pytest.raises(ConfigError, match="others on this machine can read or change it"):
            read_secrets(file)
        facts.st_uid = 0
        if mode == 0o640:
            assert read_secrets(file)[0]


class Running:
    """A node that runs, and what it was asked to look at."""

    def __init__(self, access: Access | None, rule: PeerAuth, tls: Any) -> None:
        self.access, self.peer_auth, self.tls = access, rule, tls
        self.asked: list[str] = []
        self.listener = self._noting("connections")
        self.book = self._noting("peers")
        self.warn = self.asked.append

    def _noting(self, who: str) -> Any:
        names = ("rights_changed", "secret_changed", "certificates_revoked", "prove_by")
        return SimpleNamespace(**{name: self._note(f"{who} {name}") for name in names})

    def _note(self, what: str) -> Any:
        return lambda *_: self.asked.append(what)


def test_changed_file_is_taken_up_in_both_directions(tmp_path: Path, access: Access) -> None:
    """Both the accepting and the dialing side read a changed file again."""
    secret = tmp_path / "secret"
    make_secret(secret)
    tls = SimpleNamespace(reload=lambda: "", warnings=list)
    node: Any = Running(access, read_peer_auth(secret, None), tls)
    before = node.peer_auth
    for what, asked in (
        ("secret", ["peers prove_by", "connections secret_changed"]),
        ("certificates", ["peers certificates_revoked", "connections certificates_revoked"]),
    ):
        node.asked.clear()
        if what == "secret":
            secret.unlink()
            make_secret(secret)
        readers_of(node)[what]()
        assert node.asked == asked
    assert node.peer_auth.secret != before.secret


def test_a_file_that_can_not_be_used_ends_no_connection(tmp_path: Path, access: Access) -> None:
    secret = tmp_path / "secret"
    make_secret(secret)
    node: Any = Running(
        access, read_peer_auth(secret, None), SimpleNamespace(reload=lambda: "broken")
    )
    before = node.peer_auth
    secret.write_text("nonsense\n")
    for read in readers_of(node).values():
        with pytest.raises(ConfigError):
            read()
    assert node.asked == []
    assert node.peer_auth == before


def test_a_reload_that_takes_an_expired_certificate_warns(tmp_path: Path, access: Access) -> None:
    pytest.importorskip("cryptography")
    authority.make(tmp_path, ["s1=localhost"], [])
    member = certificates.named("s1")
    later = 100 * certificates.DAY
    files = certificates.issue(tmp_path, "mine", member, ["localhost"], until=later)
    node: Any = Running(access, NO_AUTH, Tls(files))
    read = readers_of(node)["certificates"]
    assert read() == ""
    assert not any(str(files.cert) in line for line in node.asked)
    certificates.issue(tmp_path, "mine", member, ["localhost"], until=-certificates.DAY)
    assert read() == ""
    expired = f"--tls-cert {files.cert} has expired: "
    assert [line for line in node.asked if line.startswith(expired)]
