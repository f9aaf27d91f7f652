"""The dial of a node that speaks TLS, at a peer that does not, or only says so."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.access.tls import Files, Tls
from raftline.common.address import Address
from raftline.harness.processes import eventually
from raftline.net.peers import Peer
from raftline.tools import certs

DEADLINE_S = 30.0
HANDSHAKE = b"\x16"  # the first byte of TLS, and of no line


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    certs.make(folder, ["s2=localhost"], [])
    return folder


@pytest.fixture
def plain() -> Iterator[socket.socket]:
    """The port of s1, at which somebody speaks lines alone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        yield listener


def dialing(plain: socket.socket, made: Path, said: list[str], *, is_only: bool) -> Peer:
    tls = Tls(Files(made / "s2.pem", made / "s2.key", made / "ca.pem"), is_only=is_only)
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


def test_a_node_with_tls_alone_says_no_plain_line_to_who_speaks_no_tls(
    plain: socket.socket, made: Path
) -> None:
    """A downgrade: the answer of somebody on the path is no reason to speak without TLS."""
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


def test_a_node_that_takes_both_goes_on_without_tls(plain: socket.socket, made: Path) -> None:
    """While TLS is turned on; and each second try is with TLS, as the peer may speak it by now."""
    peer = dialing(plain, made, [], is_only=False)
    try:
        tries = [first_byte(plain) for _ in range(4)]
        assert tries == [HANDSHAKE, b"s", HANDSHAKE, b"s"]
    finally:
        peer.stop()
