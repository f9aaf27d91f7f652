"""The dial of a node that speaks TLS, at a peer that does not, or only says so."""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raftline.access import authority
from raftline.access.secret import NO_AUTH, PeerAuth
from raftline.access.tls import Tls, TlsFiles, named_in
from raftline.access.tls_socket import TlsSocket
from raftline.common.address import Address
from raftline.net.peers.opening import begin_tls
from raftline.net.peers.peers import Peer
from raftline_testing.doubles import certificates
from raftline_testing.nodes.processes import eventually

DEADLINE_S = 30.0
HANDSHAKE = b"\x16"  # the first byte of TLS, and of no line


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    authority.make(folder, ["s2=localhost"], [])
    return folder


@pytest.fixture
def plain() -> Iterator[socket.socket]:
    """The port of s1, at which somebody speaks lines alone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        yield listener


def dialing(plain: socket.socket, made: Path, said: list[str], *, is_only: bool) -> Peer:
    tls = Tls(TlsFiles(made / "s2.pem", made / "s2.key", made / "ca.pem"), is_only=is_only)
    address = Address("127.0.0.1", plain.getsockname()[1])
    peer = Peer(
        "s2", "s1", address, lambda _: None, lambda _: None, said.append, lambda *_: None, tls=tls
    )
    peer.start()
    return peer


def first_byte(plain: socket.socket) -> bytes:
    """Return the first byte of the next connection, which is answered by a line."""
    there, _ = plain.accept()
    with there:
        there.settimeout(DEADLINE_S)
        data = there.recv(1)
        there.sendall(b"s1@Sorry, too many connections; the last places are for peers.\n")
        return data


def test_tls_only_node_says_nothing_in_plain_text(plain: socket.socket, made: Path) -> None:
    """An attacker on the path may attempt a downgrade: no answer makes a node speak without TLS."""
    said: list[str] = []
    peer = dialing(plain, made, said, is_only=True)
    try:
        peer.send(b"s2@AppendEntries 1-0-0-[] commit 0 round 1\n")
        assert [first_byte(plain) for _ in range(4)] == [HANDSHAKE] * 4
        eventually(lambda: said, "a complaint")
        assert "no TLS: " in said[0]
        assert not peer.is_proven
    finally:
        peer.stop()


def test_a_node_that_takes_both_continues_without_tls(plain: socket.socket, made: Path) -> None:
    """This happens while TLS is being turned on; every second attempt uses TLS, since the peer may
    support it by now."""
    peer = dialing(plain, made, [], is_only=False)
    try:
        tries = [first_byte(plain) for _ in range(4)]
        assert tries == [HANDSHAKE, b"s", HANDSHAKE, b"s"]
    finally:
        peer.stop()


# --- a peer whose certificate is of the same CA, and no member's ----------------------------------


class Place:
    """The place of s1, where somebody with these files takes what is sent there over TLS."""

    def __init__(self, files: TlsFiles) -> None:
        self._context = Tls(files).server_context()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self._listener.getsockname()[1])
        self.heard: queue.Queue[bytes] = queue.Queue()  # the first bytes of each connection
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                self._take(self._listener.accept()[0])

    def _take(self, plain: socket.socket) -> None:
        plain.settimeout(DEADLINE_S)
        try:
            with self._context.wrap_socket(plain, server_side=True) as connection:
                self.heard.put(connection.recv(1000))
        except OSError:
            self.heard.put(b"no handshake")

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def places() -> Iterator[list[Place]]:
    made: list[Place] = []
    yield made
    for one in made:
        one.close()


def said_at(
    place: Place, made: Path, said: list[str], *, rule: PeerAuth, files: TlsFiles | None = None
) -> bytes:
    """Return what s2 says first at the place of s1."""
    files = files or TlsFiles(made / "s2.pem", made / "s2.key", made / "ca.pem")
    tls = Tls(files, is_only=True)
    peer = Peer(
        "s2",
        "s1",
        place.address,
        lambda _: None,
        lambda _: None,
        said.append,
        lambda *_: None,
        rule,
        tls,
    )
    peer.start()
    try:
        first = place.heard.get(timeout=DEADLINE_S)
        if first in (b"", b"no handshake"):
            eventually(lambda: said, "a complaint")
        return first
    finally:
        peer.stop()


BY_CERTIFICATE = NO_AUTH._replace(is_required=True)


def test_a_certificate_that_is_not_a_member_s_is_given_nothing(
    made: Path, places: list[Place]
) -> None:
    """It may be of the same CA and for the same host, such as a web server's. Its answers would
    count for a quorum."""
    server = certificates.issue(made, "web", certificates.named("s1", is_member=False), ["s1"])
    places.append(place := Place(server))
    said: list[str] = []
    assert said_at(place, made, said, rule=BY_CERTIFICATE) == b""
    assert "its certificate is not that of the member s1" in said[0]


def test_a_member_s_certificate_is_given_all(made: Path, places: list[Place]) -> None:
    member = certificates.issue(made, "right", certificates.named("s1"), ["s1"])
    places.append(place := Place(member))
    assert said_at(place, made, [], rule=BY_CERTIFICATE).startswith(b"s2@Level ")


def test_member_certificate_with_a_foreign_host_proves_nothing(
    made: Path, places: list[Place]
) -> None:
    """A certificate that names one member proves nothing if its host is another member's."""
    other = certificates.issue(made, "other", certificates.named("s3"), ["s3", "s1"])
    places.append(place := Place(other))
    said: list[str] = []
    assert said_at(place, made, said, rule=BY_CERTIFICATE) == b""


def test_a_common_name_is_not_a_name_of_a_host(made: Path, places: list[Place]) -> None:
    """A certificate without subject alternative names is valid for no host (RFC 9525,
    section 2)."""
    places.append(place := Place(certificates.issue(made, "bare", certificates.named("s1"))))
    said: list[str] = []
    assert said_at(place, made, said, rule=BY_CERTIFICATE) == b"no handshake"
    assert "no certificate for s1" in said[0]


@pytest.mark.parametrize(
    ("days", "alert"),
    [((-3, -1), "CERTIFICATE_EXPIRED; compare"), ((1, 3), "BAD_CERTIFICATE; compare")],
    ids=["expired", "not yet valid"],
)
@pytest.mark.parametrize("secret", [b"", b"0123456789abcdef0123456789abcdef"], ids=["", "secret"])
def test_peer_that_refuses_our_certificate_is_named(
    made: Path, places: list[Place], days: tuple[int, int], alert: str, secret: bytes
) -> None:
    """A peer whose clock is wrong does so: the log of each other node then names it."""
    since, until = (each * certificates.DAY for each in days)
    member = certificates.named("s2")
    mine = certificates.issue(made, "mine", member, ["s2"], since=since, until=until)
    places.append(
        place := Place(certificates.issue(made, "right", certificates.named("s1"), ["s1"]))
    )
    said: list[str] = []
    rule = PeerAuth(secret, is_required=True) if secret else BY_CERTIFICATE
    assert said_at(place, made, said, rule=rule, files=mine) == b"no handshake"
    assert "it does not take my certificate: " in said[0]
    assert alert in said[0]


def test_secret_proof_precedes_the_certificate(made: Path, places: list[Place]) -> None:
    """If there is a secret, its proof is sent first, whatever the certificate says."""
    server = certificates.issue(made, "web", certificates.named("s1", is_member=False), ["s1"])
    places.append(place := Place(server))
    rule = PeerAuth(b"0123456789abcdef0123456789abcdef", is_required=True)
    assert said_at(place, made, [], rule=rule).startswith(b"s2@Prove s1 nonce ")


def test_a_certificate_with_two_common_names_names_nobody() -> None:
    """Neither of the two counts: otherwise, a CA that signs any request could make members."""
    unit = (("organizationalUnitName", "raftline member"),)
    s2, s9 = (("commonName", "s2"),), (("commonName", "s9"),)
    assert named_in({"subject": (s2, unit)}) == ("s2", True)
    assert named_in({"subject": (s2,)}) == ("s2", False)
    for subject in ((s9, s2, unit), (s2, s9, unit), (s2 + s9, unit), (s2, s2, unit), (unit,), ()):
        assert named_in({"subject": subject}) == ("", False)


# --- certificates that are revoked meanwhile ------------------------------------------------------


class Amid(Tls):
    """The TLS of a node whose list of revoked certificates is replaced during a handshake."""

    amid: Callable[[], object] = staticmethod(lambda: None)

    def server_context(self) -> ssl.SSLContext:
        context = super().server_context()
        self.amid()
        return context

    def client_context(self) -> ssl.SSLContext:
        context = super().client_context()
        self.amid()
        return context


@pytest.fixture
def amid(made: Path, tmp_path: Path) -> Amid:
    """The TLS of s2, by which s9 is revoked as soon as the next handshake begins."""
    path = certificates.revoke(made, tmp_path / "revoked.pem")
    certificates.issue(made, "s9", certificates.named("s9"), ["s9"])
    files = TlsFiles(made / "s2.pem", made / "s2.key", made / "ca.pem")
    tls = Amid(files, is_only=True, crl=path)

    def revoke() -> None:
        del tls.amid
        certificates.revoke(made, path, "s9")
        assert tls.reload() == ""

    tls.amid = revoke
    return tls


def test_handshake_begun_before_a_revocation_does_not_stand(made: Path, amid: Amid) -> None:
    """The check of established connections cannot see it, since nothing is proved on it yet."""
    files = TlsFiles(made / "s9.pem", made / "s9.key", made / "ca.pem")
    for is_taken in (False, False, True):
        here, there = socket.socketpair()
        here.settimeout(DEADLINE_S)
        there.settimeout(DEADLINE_S)
        name = "s2" if is_taken else "s9"
        own = files if not is_taken else TlsFiles(made / "s2.pem", made / "s2.key", made / "ca.pem")

        client = TlsSocket(there)

        def dial(client: TlsSocket = client, own: TlsFiles = own) -> None:
            with contextlib.suppress(OSError):
                client.begin(
                    Tls(own).client_context(), server_side=False, limit_s=DEADLINE_S, name="s2"
                )

        dialing = threading.Thread(target=dial, daemon=True)
        dialing.start()
        answering = TlsSocket(here)
        if is_taken:
            assert begin_tls(answering, amid, DEADLINE_S)
            assert named_in(answering.peer) == (name, True)
        else:
            with pytest.raises(OSError, match=r"revoked"):
                begin_tls(answering, amid, DEADLINE_S)
        answering.close()
        dialing.join(DEADLINE_S)
        client.close()


def test_connection_made_during_a_revocation_does_not_stand(
    made: Path, amid: Amid, places: list[Place]
) -> None:
    """A connection that is made while a revocation takes effect is closed."""
    files = certificates.issue(made, "right", certificates.named("s1"), ["s1"])
    places.append(place := Place(files))
    peer = Peer(
        "s2",
        "s1",
        place.address,
        lambda _: None,
        lambda _: None,
        lambda _: None,
        None,
        BY_CERTIFICATE,
        amid,
    )
    peer.start()
    try:
        assert place.heard.get(timeout=DEADLINE_S) == b""  # by the list before: it ends at once
        eventually(lambda: peer._socket is not None, "the connection after it")
        peer.send(b"s2@PreVote 9-0-0\n")
        assert place.heard.get(timeout=DEADLINE_S) == b"s2@PreVote 9-0-0\n"
    finally:
        peer.stop()
