"""A TLS connection between two threads: both ways at once, slow readers, files that change."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raftline.access import authority, tls_socket
from raftline.access.tls import Tls, TlsFiles, named_in, tls_of_node
from raftline.access.tls_socket import TlsSocket
from raftline.common.config import ConfigError
from raftline.net.line_connection import LineConnection
from raftline.net.line_reader import LineReader, set_timeout
from raftline.net.peers import opening
from raftline.net.peers.opening import NoTls, begin_tls
from raftline.wire.limits import TLS_ANSWERS_BYTES, TLS_HANDSHAKE_BYTES

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    authority.make(folder, ["s1=localhost"], ["app"])
    return folder


def files(made: Path, name: str) -> TlsFiles:
    return TlsFiles(made / f"{name}.pem", made / f"{name}.key", made / "ca.pem")


@pytest.fixture
def ends(made: Path) -> Iterator[tuple[TlsSocket, TlsSocket]]:
    """Return a member's end and that of a client, who have shaken hands."""
    here, there = (TlsSocket(one) for one in socket.socketpair())
    server, client = Tls(files(made, "s1")), Tls(files(made, "app"))
    shaking = threading.Thread(
        target=lambda: here.begin(server.server_context(), server_side=True, limit_s=DEADLINE_S)
    )
    shaking.start()
    there.begin(client.client_context(), server_side=False, limit_s=DEADLINE_S, name="s1")
    shaking.join(DEADLINE_S)
    yield here, there
    here.close()
    there.close()


def test_both_sides_know_who_the_other_is(ends: tuple[TlsSocket, TlsSocket]) -> None:
    here, there = ends
    assert named_in(here.peer) == ("app", False)
    assert named_in(there.peer) == ("s1", True)


def test_the_other_side_is_known_after_it_hung_up_without_a_word(
    ends: tuple[TlsSocket, TlsSocket],
) -> None:
    """Certificates may be read again between the end of a connection and its close."""
    here, there = ends
    socket.socket.shutdown(there, socket.SHUT_RDWR)  # TLS's own end is not sent
    assert here.recv(1) == b""
    assert named_in(here.peer) == ("app", False)


def test_bytes_refused_by_the_kernel_are_sent_once_later(ends: tuple[TlsSocket, TlsSocket]) -> None:
    """Bytes that the kernel does not accept are kept and sent later, once."""
    here, there = ends
    data, received = os.urandom(3_000_000), bytearray()

    def read() -> None:
        while len(received) < len(data):
            received.extend(there.recv(7_001))

    reader = threading.Thread(target=read)
    sent, refused = 0, 0
    while sent < len(data):
        try:
            sent += here.send(data[sent:], socket.MSG_DONTWAIT)
        except BlockingIOError:
            refused += 1
            if not reader.ident:
                reader.start()
            select.select([], [here], [], DEADLINE_S)
            if sent // 500_000 % 2:
                here.sendall(data[sent : sent + 1000])
                sent += len(data[sent : sent + 1000])
    reader.join(DEADLINE_S)
    assert refused
    assert bytes(received) == data


def test_what_the_kernel_has_not_taken_does_not_count_as_sent(
    ends: tuple[TlsSocket, TlsSocket],
) -> None:
    """Otherwise, the rest would never be sent if nothing followed it."""
    here, there = ends
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    data = os.urandom(200_000)
    sent = here.send(data, socket.MSG_DONTWAIT)
    assert sent == len(data) - 1
    with pytest.raises(BlockingIOError):
        here.send(data[sent:], socket.MSG_DONTWAIT)
    sending = threading.Thread(target=here.sendall, args=(data[sent:],))
    sending.start()
    received = b""
    while len(received) < len(data):
        received += there.recv(1 << 16)
    sending.join(DEADLINE_S)
    assert received == data


def test_one_thread_reads_while_another_writes(ends: tuple[TlsSocket, TlsSocket]) -> None:
    here, there = ends
    rounds, heard = 2_000, bytearray()

    def echo() -> None:
        left = rounds * 100
        while left:
            data = there.recv(1 << 16)
            there.sendall(data)
            left -= len(data)

    echoing = threading.Thread(target=echo)
    writing = threading.Thread(target=lambda: [here.sendall(b"x" * 100) for _ in range(rounds)])
    echoing.start()
    writing.start()
    while len(heard) < rounds * 100:
        heard.extend(here.recv(1 << 16))
    writing.join(DEADLINE_S)
    echoing.join(DEADLINE_S)
    assert bytes(heard) == b"x" * rounds * 100


class ClosesIt(contextlib.AbstractContextManager[None]):
    """The lock of those who send, got by a thread once another has closed the connection."""

    def __init__(self, connection: TlsSocket) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.close()

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self, *, blocking: bool) -> bool:
        self._connection.close()
        return True

    def release(self) -> None:
        pass


@pytest.mark.parametrize("flags", [0, socket.MSG_DONTWAIT])
@pytest.mark.parametrize("send", [TlsSocket.send, TlsSocket.sendall])
def test_sending_while_another_thread_closes_is_an_oserror(
    ends: tuple[TlsSocket, TlsSocket], send: Callable[..., object], flags: int
) -> None:
    """Such a thread handles an OSError only; any other error would end it."""
    here, _ = ends
    here._sending = ClosesIt(here)  # type: ignore[assignment]
    with pytest.raises(OSError, match="another thread closed it"):
        send(here, b"x", flags)


def test_lines_leave_while_replies_are_read(ends: tuple[TlsSocket, TlsSocket]) -> None:
    """The other side stops reading until its reply is taken."""
    here, there = ends
    asked = [f"{place} {'x' * 1_000_000}" for place in range(5)]
    connection = LineConnection.__new__(LineConnection)
    connection.socket, connection.timeout_s = there, DEADLINE_S
    connection.received = bytearray()

    def echo() -> None:
        begun, data = b"", b"-"
        while data:
            with contextlib.suppress(BlockingIOError):  # a part of a record came, or none of ours
                data = here.recv(1 << 16)
                *lines, begun = (begun + data).split(b"\n")
                for line in lines:
                    here.sendall(line + b"\n")

    echoing = threading.Thread(target=echo)
    echoing.start()
    connection.send_soon(*asked[:3])
    connection.send_soon(asked[3])
    assert [connection.read().decode() for _ in range(3)] == asked[:3]
    connection.send_soon(asked[4])
    assert connection.read().decode() == asked[3]
    connection.send("the end")  # after what is unsent yet
    assert [connection.read().decode() for _ in range(2)] == [asked[4], "the end"]
    there.close()
    echoing.join(DEADLINE_S)


def test_a_look_takes_nothing_and_the_end_is_reported(ends: tuple[TlsSocket, TlsSocket]) -> None:
    here, there = ends
    there.settimeout(0)
    with pytest.raises(BlockingIOError):
        there.recv(1, socket.MSG_PEEK)
    there.settimeout(DEADLINE_S)
    here.sendall(b"a line\n")
    assert there.recv(100, socket.MSG_PEEK) == b"a line\n"
    assert there.recv(100) == b"a line\n"
    here.shutdown(socket.SHUT_WR)
    assert there.recv(100) == b""


def test_what_is_changed_on_the_way_ends_the_connection(
    ends: tuple[TlsSocket, TlsSocket],
) -> None:
    here, there = ends
    socket.socket.send(here, b"\x17\x03\x03\x00\x20" + b"x" * 32)  # a record of nobody's
    with pytest.raises(ssl.SSLError):
        there.recv(100)


def test_a_plain_connection_is_known_by_its_first_byte(made: Path) -> None:
    for is_only in (False, True):
        here, there = socket.socketpair()
        door = TlsSocket(here)
        there.sendall(b"get a\n")
        tls = Tls(files(made, "s1"), is_only=is_only)
        reader = LineReader(door, DEADLINE_S)
        if is_only:
            with pytest.raises(NoTls):
                begin_tls(door, tls, None)
        else:
            assert not begin_tls(door, tls, None)
            assert reader.read(100) == [b"get a"]
        door.close()
        there.close()


@pytest.mark.pure
def test_a_handshake_that_is_begun_and_not_ended_is_given_up(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "HANDSHAKE_S", 0.1)
    here, there = socket.socketpair()
    door = TlsSocket(here)
    there.sendall(b"\x16\x03\x01")
    with pytest.raises(TimeoutError):
        begin_tls(door, Tls(files(made, "s1")), None)
    door.close()
    there.close()


HALF_RECORD = b"\x17\x03\x03\x40\x00" + b"x" * 100  # of 16 KB


@pytest.mark.parametrize("trickles", [False, True])
def test_unfinished_record_ends_the_connection(
    ends: tuple[TlsSocket, TlsSocket], monkeypatch: pytest.MonkeyPatch, trickles: bool
) -> None:
    """This holds whether nothing more arrives or a byte from time to time. Lines before it are
    served."""
    here, there = ends
    reader = LineReader(there, DEADLINE_S)
    here.sendall(b"get a\n")
    assert reader.read(100) == [b"get a"]
    socket.socket.send(here, HALF_RECORD)
    assert reader.receive_now() is None
    assert reader.receive_now() is None
    monkeypatch.setattr(tls_socket, "TLS_RECORD_S", 0.0)
    if trickles:
        socket.socket.send(here, b"x")
    else:
        there.settimeout(None)
        set_timeout(there, socket.SO_RCVTIMEO, 0.05)
    with pytest.raises(ConnectionAbortedError, match="a record was begun and not finished"):
        reader.read(100)


def test_record_beyond_the_maximum_ends_the_connection(ends: tuple[TlsSocket, TlsSocket]) -> None:
    """A record above the maximum length closes the connection at once."""
    here, there = ends
    socket.socket.send(here, b"\x17\x03\x03\xff\xff" + b"x" * 100)
    with pytest.raises(ssl.SSLError):
        there.recv(100)


class AsksForAnswers:
    """Decrypts records that OpenSSL answers, and no others: TLS 1.3's KeyUpdate, which asks for an
    answer, and TLS 1.2's wish to shake hands again."""

    def __init__(self, connection: TlsSocket) -> None:
        self._connection = connection

    def read(self, wanted: int, buffer: object) -> int:
        self._connection._leaving.write(b"a" * 27)
        raise ssl.SSLWantReadError

    def pending(self) -> int:
        return 0


def test_peer_that_demands_endless_answers_is_disconnected(
    ends: tuple[TlsSocket, TlsSocket],
) -> None:
    """The answers leave with the next data, which may never come: memory would grow without
    bound."""
    here, there = ends
    here._tls = AsksForAnswers(here)  # type: ignore[assignment]
    there.sendall(b"x")
    for _ in range(TLS_ANSWERS_BYTES // 27):
        assert here.take(bytearray(100)) == 0
    with pytest.raises(ConnectionAbortedError, match="more answers than it reads"):
        here.take(bytearray(100))


@pytest.mark.parametrize(("size", "is_ended"), [(8_000, False), (TLS_HANDSHAKE_BYTES, True)])
def test_a_hello_without_its_end_holds_so_many_bytes_and_no_more(
    made: Path, size: int, is_ended: bool
) -> None:
    here, there = (TlsSocket(one) for one in socket.socketpair())
    hello = b"\x01" + (131_000).to_bytes(3, "big") + b"\x03\x03" + bytes(size)
    pieces = [hello[place : place + 4000] for place in range(0, len(hello), 4000)]
    there.sendall(b"".join(b"\x16\x03\x01" + len(one).to_bytes(2, "big") + one for one in pieces))
    if not is_ended:
        there.shutdown(socket.SHUT_WR)
    error = ConnectionAbortedError if is_ended else ConnectionResetError
    context = Tls(files(made, "s1")).server_context()
    with here, there, pytest.raises(error):
        here.begin(context, server_side=True, limit_s=DEADLINE_S)


def test_lines_at_the_end_of_a_handshake_do_not_count(made: Path) -> None:
    """This holds for any number of lines: they are read in their turn."""
    here, there = (TlsSocket(one) for one in socket.socketpair())
    data = os.urandom(4 * TLS_HANDSHAKE_BYTES)

    def say() -> None:
        there.begin(
            Tls(files(made, "app")).client_context(), server_side=False, limit_s=DEADLINE_S,
            name="s1",
        )  # fmt: skip
        there.sendall(data)

    talking = threading.Thread(target=say)
    talking.start()
    with here, there:
        context = Tls(files(made, "s1")).server_context()
        here.begin(context, server_side=True, limit_s=DEADLINE_S)
        received = bytearray()
        while len(received) < len(data):
            received += here.recv(1 << 16)
        talking.join(DEADLINE_S)
    assert received == data


def test_new_files_are_taken_over_and_bad_ones_are_not(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    shutil.copytree(made, folder)
    tls = Tls(files(folder, "s1"))
    before = tls.server_context()
    assert tls.server_context() is before
    (folder / "s1.pem").write_text("half of a file")
    assert tls.server_context() is before
    assert "--tls-cert" in tls.reload()
    shutil.copy(made / "s1.pem", folder / "s1.pem")
    os.utime(folder / "s1.pem", (1, 1))
    assert tls.server_context() is not before
    assert tls.reload() == ""


def test_versions_before_tls_1_2_are_refused(made: Path) -> None:
    tls = Tls(files(made, "s1"))
    for context in (tls.server_context(), tls.client_context()):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert tls.client_context().verify_mode == ssl.CERT_REQUIRED
    assert tls.client_context().check_hostname


def test_certificates_are_made_once_each_for_their_time(made: Path, tmp_path: Path) -> None:
    first = authority.make(tmp_path / "new", ["s1=localhost,127.0.0.1"], [])
    assert len(first) == 2
    assert (tmp_path / "new" / "s1.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new" / "ca.key").stat().st_mode & 0o777 == 0o600
    again = authority.make(tmp_path / "new", ["s1=127.0.0.1,localhost", "s2=localhost"], ["app"])
    assert [line.split("/")[-1] for line in again] == [
        "s1.pem stays: it is for these names already",
        "s2.key, for 397 days",
        "app.key, for 397 days",
    ]
    for nodes, why in [
        (["s1"], "the form is NAME=HOST"),
        (["../s1=h"], "is not the name of a node"),
        (["s5=a b"], "is not a host name"),
        (["s5=h", "s5=i"], "a name is given twice"),
        (["ca=h"], "ca.pem is the certificate of the CA"),
        (["s3=h", "s1=other"], "s1.pem: already exists, for s1, localhost, 127.0.0.1; delete it"),
    ]:
        with pytest.raises(ConfigError, match=why):
            authority.make(tmp_path / "new", nodes, [])
    assert not (tmp_path / "new" / "s3.pem").exists()
    (tmp_path / "new" / "s2.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"s2\.pem: not a certificate that this command made"):
        authority.make(tmp_path / "new", ["s2=localhost"], [])
    (tmp_path / "new" / "s2.pem").unlink()
    with pytest.raises(ConfigError, match=r"s2\.key: a key without s2\.pem; delete it"):
        authority.make(tmp_path / "new", ["s2=localhost"], [])


def test_tls_takes_both_a_certificate_and_its_key(made: Path) -> None:
    assert tls_of_node(TlsFiles(), is_only=False) is None
    for given in (TlsFiles(cert=made / "s1.pem"), TlsFiles(ca=made / "ca.pem")):
        with pytest.raises(ConfigError, match="TLS needs both"):
            tls_of_node(given, is_only=False)
    with pytest.raises(ConfigError, match="--tls-cert"):
        tls_of_node(TlsFiles(made / "app.pem", made / "s1.key"), is_only=False)
