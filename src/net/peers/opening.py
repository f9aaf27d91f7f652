"""The beginning of a connection, between nodes or from outside: the TLS handshake, on the same port
as plain lines or without them, and the mutual proof of two members (access/proof.py)."""

from __future__ import annotations

import select
import socket
import ssl
import time

from ...access.proof import Initiator, ProofError, proving
from ...access.tls import Tls, named_in
from ...access.tls_socket import TlsSocket
from ...common.address import Address
from ...wire.commands.parsing import asks_status
from ...wire.limits import HANDSHAKE_S, PROOF_LINE_BYTES, PROOF_S, SORRY_BYTES
from ...wire.protocol import decode_line, split_sender
from ..line_reader import Late, LineReader

SILENT_S = 0.2  # a connection is reported after this time, even if it has sent nothing
BEGINNING_BYTES = 128  # of the first line; a name and `@status` fit
# OpenSSL's alerts for a certificate that is not valid yet, or has expired.
BY_THE_CLOCK = ("ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_EXPIRED")
OF_CERTIFICATES = (
    *BY_THE_CLOCK, "ALERT_CERTIFICATE_REVOKED", "ALERT_CERTIFICATE_REQUIRED", "ALERT_UNKNOWN_CA",
    "ALERT_UNSUPPORTED_CERTIFICATE", "ALERT_CERTIFICATE_UNKNOWN",
)  # fmt: skip
HANDSHAKE = b"\x16"  # the first byte of TLS, but never of a line


class NoTls(Exception):
    """A connection is plain, but this node speaks only TLS."""


def begin_tls(connection: TlsSocket, tls: Tls, wait_s: float | None) -> bool:
    """Wait for the first byte, and do the handshake if it begins TLS; return whether it did.

    No other thread reads from the connection yet. `wait_s` bounds the wait and the handshake
    together; with None, the first byte may arrive at any time.

    Raises:
        Late: no byte arrived within `wait_s`.
        NoTls: the connection is plain, which is not allowed.
        OSError: the connection broke, or the handshake failed or took too long.
    """
    begun_s = time.monotonic()
    if not _is_readable(connection, wait_s):
        raise Late
    first = connection.recv(1, socket.MSG_PEEK)
    if first != HANDSHAKE:
        if first and tls.is_only:
            raise NoTls
        return False
    limit_s = HANDSHAKE_S if wait_s is None else begun_s + wait_s - time.monotonic()
    connection.begin(tls.server_context(), server_side=True, limit_s=limit_s)
    if not tls.is_current(connection.context):  # certificates were revoked since it began
        raise ConnectionAbortedError("certificates were revoked during the handshake")
    return True


def asks_only_status(connection: socket.socket) -> bool:
    """Whether a connection soon begins with lines that ask for `status`; the lines stay unread.
    `raftline status --watch` and `up` make such connections repeatedly.

    Raises:
        OSError: the connection broke.
    """
    if not _is_readable(connection, SILENT_S):
        return False
    beginning = connection.recv(BEGINNING_BYTES, socket.MSG_PEEK)
    return bool(beginning) and all(map(asks_status, beginning.splitlines()))


def _is_readable(connection: socket.socket, wait_s: float | None) -> bool:
    """Wait for bytes or the end, without a bound if `wait_s` is None; return whether they came."""
    waiting = select.poll()  # select() takes no descriptor above 1023
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(None if wait_s is None else wait_s * 1000))


def connect(address: Address, patience_s: float) -> socket.socket:
    """Connect to a peer, but never to this very connection.

    If the peer is down, and its port is one that the kernel assigns to outgoing connections, a
    connection may connect to itself. It would also keep the peer from taking its own port.

    Raises:
        OSError: the connection failed.
        UnicodeError: the host is not a name that can be looked up.
    """
    connection = socket.create_connection(address, timeout=patience_s)
    if connection.getsockname() == connection.getpeername():
        connection.close()
        raise ConnectionRefusedError(f"{address} is this very connection")
    return connection


def dial_tls(connection: TlsSocket, tls: Tls, peer: str) -> bool:
    """Do the TLS handshake with a peer, whose certificate has to be for its name. Return whether
    the certificate is the member's; the answering side does the same check. Other certificates of
    the CA may list the name as a host, such as the certificate of a web server.

    Raises:
        OSError, ssl.SSLError: the connection broke, or the handshake failed or took too long.
    """
    connection.begin(tls.client_context(), server_side=False, limit_s=HANDSHAKE_S, name=peer)
    return tls.files.ca is not None and named_in(connection.peer) == (peer, True)


def prove(
    connection: socket.socket, reader: LineReader, dialing: Initiator, me: str, peer: str
) -> str:
    """Do the mutual proof of this node and a peer; return the peer's refusal to begin, "" on
    success. No other thread sends or reads on the connection yet.

    Raises:
        ProofError, ProtocolError: the other side is not that peer, or knows another secret.
        OSError, HalfLine, LineTooLong: the connection broke, or is too slow.
    """
    reader.limit(PROOF_S)
    steps = proving(dialing)
    try:
        text = next(steps)
        while True:
            connection.sendall(f"{me}@{text}\n".encode())
            text = steps.send(_answer(reader, peer))
    except StopIteration as end:
        reader.limit(None)
        return str(end.value)


def _answer(reader: LineReader, peer: str) -> str:
    lines = reader.read(PROOF_LINE_BYTES + SORRY_BYTES)
    if lines is None:
        raise ConnectionResetError
    if len(lines) > 1 or reader.has_begun:
        raise ProofError("more than an answer to a proof")
    name, _, text = split_sender(decode_line(lines[0]))
    if name != peer:
        raise ProofError(f"it calls itself {name or 'nothing'}: {text}")
    return text


def why_not_accepted(problem: ssl.SSLError, me: str) -> str:
    """Return which certificate a handshake of this node with a peer was refused for, and why; "" if
    it failed for another reason."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {problem.verify_message}"
    if (problem.reason or "").endswith(OF_CERTIFICATES):
        return f"it does not accept the certificate of {me}: {problem.reason}"
    return ""
