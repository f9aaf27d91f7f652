"""The beginning of a connection from outside where TLS is spoken: on one port with plain lines, or
alone."""

from __future__ import annotations

import select
import socket
import time

from raftline.access.tls import Tls, named_in
from raftline.access.tls_socket import TlsSocket
from raftline.net.admission import Admission
from raftline.net.lines import Late
from raftline.wire.limits import HANDSHAKE_S
from raftline.wire.protocol import TLS_ALONE

HANDSHAKE = b"\x16"  # the first byte of TLS, and of no line
TLS_ONLY = f"{TLS_ALONE} Try: openssl s_client -quiet -connect HOST:PORT"


class NoTls(Exception):
    """A connection is plain, and this node speaks TLS alone."""


def begin_tls(connection: TlsSocket, tls: Tls, wait_s: float | None) -> str | None:
    """Wait for the first byte, and shake hands where it begins TLS; return the member that a
    certificate proves, "" where none does, None on a plain connection. It is read by nobody yet.
    `wait_s` is for both together; None: the first byte may come at any time.

    Raises:
        Late: nothing came within `wait_s`. NoTls: the connection is plain, and must not be.
        OSError: the connection broke, or the handshake failed or took too long.
    """
    begun_s = time.monotonic()
    waiting = select.poll()  # select() takes no descriptor above 1023
    waiting.register(connection, select.POLLIN)
    if not waiting.poll(None if wait_s is None else wait_s * 1000):
        raise Late
    first = connection.recv(1, socket.MSG_PEEK)
    if first != HANDSHAKE:
        if first and tls.is_only:
            raise NoTls
        return None
    limit_s = HANDSHAKE_S if wait_s is None else begun_s + wait_s - time.monotonic()
    connection.begin(tls.answering(), server_side=True, limit_s=limit_s)
    if not tls.is_current(connection.context):  # it began before others were revoked
        raise ConnectionAbortedError("certificates were revoked during the handshake")
    name, is_member = named_in(connection.peer)
    return name if is_member else ""


def admit_by_tls(
    connection: socket.socket,
    tls: Tls | None,
    admission: Admission,
    *,
    wait_s: float | None,
) -> bool:
    """Shake hands where the other side wants to, and admit whoever its certificate names; return
    whether TLS is spoken now. `wait_s` is as of `begin_tls`.

    Raises:
        Late, NoTls, OSError: as `begin_tls`.
    """
    if tls is None or not isinstance(connection, TlsSocket):
        return False
    member = begin_tls(connection, tls, wait_s)
    if member is None:
        return False
    admission.proven = member or None
    if admission.login is not None and not member:
        admission.login.by_certificate(named_in(connection.peer)[0])
    return True
