"""The beginning of a connection between nodes, or of one from outside: TLS if it is spoken, on one
port with plain lines or alone, and the proof of two members (access/proof.py)."""

from __future__ import annotations

import select
import socket
import time

from ..access.proof import Initiator, ProofError, proving
from ..access.tls import Tls, named_in
from ..access.tls_socket import TlsSocket
from ..common.address import Address
from ..wire.limits import HANDSHAKE_S, PROOF_LINE_BYTES, PROOF_S, SORRY_BYTES
from ..wire.parsing import asks_status
from ..wire.protocol import TLS_ALONE, decode_line, split_sender
from .lines import Late, LineReader

SILENT_S = 0.2  # then a connection is printed, before anything is asked
BEGINNING_BYTES = 128  # of the first line; a name and `@status` are no longer
HANDSHAKE = b"\x16"  # the first byte of TLS, and of no line
TLS_ONLY = f"{TLS_ALONE} Try: openssl s_client -quiet -connect HOST:PORT"


class NoTls(Exception):
    """A connection is plain, and this node speaks TLS alone."""


def begin_tls(connection: TlsSocket, tls: Tls, wait_s: float | None) -> bool:
    """Wait for the first byte, and shake hands if it begins TLS; return whether it did. The
    connection is read by nobody yet. `wait_s` is for both together; None: the first byte may come
    at any time.

    Raises:
        Late: nothing came within `wait_s`. NoTls: the connection is plain, and must not be.
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
    if not tls.is_current(connection.context):  # it began before others were revoked
        raise ConnectionAbortedError("certificates were revoked during the handshake")
    return True


def asks_only_status(connection: socket.socket) -> bool:
    """Whether a connection begins with lines that ask for `status`, and does so soon; they are left
    to who reads. `raftline status --watch` and `up` make such connections again and again.

    Raises:
        OSError: the connection broke.
    """
    if not _is_readable(connection, SILENT_S):
        return False
    begun = connection.recv(BEGINNING_BYTES, socket.MSG_PEEK)
    return bool(begun) and all(map(asks_status, begun.splitlines()))


def _is_readable(connection: socket.socket, wait_s: float | None) -> bool:
    """Wait for bytes or the end, for any time if `wait_s` is None; return whether there are."""
    waiting = select.poll()  # select() takes no descriptor above 1023
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(None if wait_s is None else wait_s * 1000))


def connect(address: Address, patience_s: float) -> socket.socket:
    """Connect to a peer, and to nobody else.

    If the peer is down and its port is one that the kernel hands out to outgoing
    connections, a dial may meet itself; it would also keep the peer from its own port.

    Raises:
        OSError, UnicodeError: that failed; the second: the host is no name to look up.
    """
    connection = socket.create_connection(address, timeout=patience_s)
    if connection.getsockname() == connection.getpeername():
        connection.close()
        raise ConnectionRefusedError(f"{address} is nobody but this very connection")
    return connection


def dial_tls(connection: TlsSocket, tls: Tls, peer: str) -> bool:
    """Shake hands with a peer, whose certificate has to be for its name; return whether it is that
    of the member, as on the side that answers. Other certificates of the CA may list the name as a
    host: a web server's.

    Raises:
        OSError, ssl.SSLError: the connection broke, or the handshake failed or took too long.
    """
    connection.begin(tls.client_context(), server_side=False, limit_s=HANDSHAKE_S, name=peer)
    return tls.files.ca is not None and named_in(connection.peer) == (peer, True)


def prove(
    connection: socket.socket, reader: LineReader, dialing: Initiator, me: str, peer: str
) -> str:
    """Prove this node to a peer and have the peer prove itself; return its refusal to begin, ""
    once all is proved. Nobody else sends or reads on the connection yet.

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
