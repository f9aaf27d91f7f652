"""The proof at the beginning of a connection to a peer: the side that dials (access/proof.py)."""

from __future__ import annotations

import socket

from raftline.access.proof import LINE_BYTES_MAX, Dialing, ProofError
from raftline.net.lines import LineReader
from raftline.wire.protocol import decode_line, split_sender

PROOF_S = 10.0  # for all of it
SORRY_BYTES_MAX = 1024  # of a line of a node that knows no proofs, or is full


def prove(
    connection: socket.socket, reader: LineReader, dialing: Dialing, me: str, peer: str
) -> str:
    """Prove this node to a peer and have the peer prove itself; return its refusal to begin, ""
    once all is proved. Nobody else sends or reads on the connection yet.

    Raises:
        ProofError, ProtocolError: the other side is not that peer, or knows another secret.
        OSError, HalfLine, LineTooLong: the connection broke, or is too slow.
    """
    reader.limit(PROOF_S)
    text = dialing.first
    while text:
        connection.sendall(f"{me}@{text}\n".encode())
        answer = _answer(reader, peer)
        if answer.startswith("Sorry, "):
            if text != dialing.first:
                raise ProofError(answer)
            break
        text = dialing.take(answer)
    reader.limit(None)
    return "" if dialing.is_proven else answer


def _answer(reader: LineReader, peer: str) -> str:
    lines = reader.read(lambda _: LINE_BYTES_MAX + SORRY_BYTES_MAX)
    if lines is None:
        raise ConnectionResetError
    if len(lines) > 1 or reader.has_begun:
        raise ProofError("more than an answer to a proof")
    name, _, text = split_sender(decode_line(lines[0]))
    if name != peer:
        raise ProofError(f"it calls itself {name or 'nothing'}: {text}")
    return text
