"""One line to a node, and its answer, or that of the leader: what a node asks when it joins."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..access.tls import Tls
from ..common.address import Address
from ..wire.protocol import ProtocolError, decode_line, split_sender
from ..wire.refusal import ELSEWHERE
from ..wire.replies.refusals import leader_in, refusal_in
from .line_connection import LineConnection

if TYPE_CHECKING:
    import ssl

PAUSE_S = 0.3  # between two attempts to find the leader


class NotAnswered(Exception):
    """No node answered in time, or the answer is a refusal, which has a code."""

    def __init__(self, why: str, code: str = "") -> None:
        super().__init__(why)
        self.code = code


class OwnTls:
    """The TLS of a node as the one that dials: the certificate must name the host."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls

    def context(self) -> ssl.SSLContext:
        return self._tls.client_context()

    def name_of(self, host: str) -> str:
        return host


def ask(there: Address, line: str, limit_s: float, tls: OwnTls | None) -> str:
    """Return the answer of the node at an address to one line.

    Raises:
        NotAnswered: it can't be reached, or does not answer in time.
    """
    try:
        with LineConnection(there.port, limit_s, there.host, tls) as connection:
            connection.send(line)
            return split_sender(decode_line(connection.read().removesuffix(b"\r")))[2]
    except ConnectionRefusedError:
        raise NotAnswered(f"nothing listens on {there.host} port {there.port}") from None
    except (OSError, ProtocolError) as error:
        raise NotAnswered(f"{there.host} port {there.port}: {error}") from None


def ask_leader(
    there: Address, line: str, limit_s: float, search_s: float, tls: OwnTls | None
) -> str:
    """Return the leader's answer to one line, which the node at `there` may redirect. A line that a
    node has taken is not repeated.

    Raises:
        NotAnswered: no leader was found within `search_s`, it did not answer within `limit_s`, or
            it refused.
    """
    until_s, at = time.monotonic() + search_s, there
    while True:
        answer = ask(at, line, limit_s, tls)
        refusal = refusal_in(answer)
        if refusal is None:
            return answer
        leader = leader_in(refusal) if at == there else None
        if leader is not None:  # the time of the search is for nodes that know of none
            at = Address(*leader[1:])
            continue
        if refusal.outcome is not ELSEWHERE or time.monotonic() > until_s:
            raise NotAnswered(refusal.sentence, refusal.code)
        time.sleep(PAUSE_S)
        at = there
