"""The mutual proof of two members that both know the cluster's secret.

It takes four lines at the beginning of a connection from s2 to s1:

    s2@Prove s1 nonce N2
    s1@Challenge s2 nonce N1
    s2@Proof MAC of "dials"
    s1@Proof MAC of "answers"

A MAC is HMAC-SHA256 with the secret over a label, the direction, both names and both nonces. So a
recorded proof fails with another nonce, and a reflected proof fails in the other direction. The
module has no socket, clock or randomness: the caller passes the nonce.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Generator

from ..wire.protocol import NAME
from ..wire.replies.refusals import refusal_in

LABEL = "raftline proof of peers 1"
PROVE, CHALLENGE, PROOF = ("Prove", "Challenge", "Proof")
NONCE_BYTES = 16
_NONCE = re.compile(r"[0-9a-f]{32}")
_MAC = re.compile(r"[0-9a-f]{64}")
ENDED = "what was proved on this connection is settled; begin another for a new proof"
WRONG = "that is not a valid proof: it was made with another secret, or for another connection"


class ProofError(Exception):
    """The other side did not prove its identity. The message explains why."""


def mac_of(secret: bytes, direction: str, names: tuple[str, str], nonces: tuple[str, str]) -> str:
    """Return one side's proof. The first name and nonce belong to the dialing side, the second to
    the answering side. No part can hold a newline, so no part can pass for a piece of another."""
    text = "\n".join([LABEL, direction, *names, *nonces])
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


class Initiator:
    """The side `me` that made the connection, and expects `peer` at the other end."""

    def __init__(self, secret: bytes, me: str, peer: str, nonce: str) -> None:
        self.secret = secret
        self._names = (me, peer)
        self._nonce = nonce
        self._nonces: tuple[str, str] | None = None
        self.is_proven = False  # the other side has proved itself

    @property
    def first(self) -> str:
        """The text of the first line."""
        return f"{PROVE} {self._names[1]} nonce {self._nonce}"

    def take(self, text: str) -> str:
        """Take the next answer. Return the text of the next line, or "" once the proof is complete.

        Raises:
            ProofError: this line is not expected now, or the proof is wrong.
        """
        word, *operands = text.split(" ")
        if self._nonces is None:
            me = self._names[0]
            if word != CHALLENGE or operands[:2] != [me, "nonce"] or len(operands) != 3:
                raise ProofError(f"no challenge: {text}")
            if not _NONCE.fullmatch(operands[2]):
                raise ProofError("a challenge without a nonce")
            self._nonces = (self._nonce, operands[2])
            return f"{PROOF} {mac_of(self.secret, 'dials', self._names, self._nonces)}"
        if self.is_proven or word != PROOF or len(operands) != 1:
            raise ProofError(f"no proof: {text}")
        mine = mac_of(self.secret, "answers", self._names, self._nonces)
        if not hmac.compare_digest(mine, _ascii(operands[0])):
            raise ProofError(WRONG)
        self.is_proven = True
        return ""


def proving(dialing: Initiator) -> Generator[str, str, str]:
    """Yield each text of a proof, and receive its answer by `send`. Return the peer's refusal to
    begin, or "" once the proof is complete.

    Raises:
        ProofError: the other side is not that peer, or has another secret.
    """
    text = dialing.first
    while text:
        answer = yield text
        if refusal_in(answer) is not None:
            if text != dialing.first:
                raise ProofError(answer)
            return answer
        text = dialing.take(answer)
    return ""


class Responder:
    """The side `me` that accepted the connection. It accepts one attempt at a proof.

    The proof may also use the secret `other`, if there is one: during a change of the secret, some
    members have the new secret first, and some the old one.
    """

    def __init__(self, secret: bytes, me: str, nonce: str, other: bytes = b"") -> None:
        self._secrets = [secret, other] if other else [secret]
        self.proven_by = b""  # the secret of the proof
        self._me = me
        self._nonce = nonce
        self._begun: tuple[str, str] | None = None  # the name and the nonce of the dialing side
        self._is_over = False
        self.proven: str | None = None  # the proved name

    @property
    def waits(self) -> bool:
        """Whether a proof was begun, and has neither succeeded nor failed yet."""
        return self._begun is not None and not self._is_over

    def take(self, sender: str, text: str) -> str:
        """Take a line of a proof and return the text of the answer.

        Raises:
            ProofError: this line is not expected now, or the proof is wrong. Later lines fail, too.
        """
        if self._is_over:
            raise ProofError(ENDED)
        try:
            if self._begun is None:
                self._begun = self._begin(sender, text)
                return f"{CHALLENGE} {sender} nonce {self._nonce}"
            return self._end(sender, text, *self._begun)
        except ProofError:
            self._is_over = True
            raise

    def _begin(self, sender: str, text: str) -> tuple[str, str]:
        word, *operands = text.split(" ")
        if word != PROVE or len(operands) != 3 or operands[1] != "nonce":
            raise ProofError(f"a proof begins with: {PROVE} NAME nonce NONCE")
        if operands[0] != self._me:
            raise ProofError(f"this is {self._me}, so nobody else is proved to")
        if not _NONCE.fullmatch(operands[2]):
            raise ProofError(f"a nonce is {2 * NONCE_BYTES} hexadecimal digits")
        if sender == self._me or not NAME.fullmatch(sender):
            raise ProofError(f"{self._me} proves nothing to itself")
        return sender, operands[2]

    def _end(self, sender: str, text: str, began: str, nonce: str) -> str:
        word, *operands = text.split(" ")
        if sender != began:
            raise ProofError(f"{began} began this proof, so nobody else ends it")
        if word != PROOF or len(operands) != 1 or not _MAC.fullmatch(operands[0]):
            raise ProofError(f"{PROOF} and {2 * hashlib.sha256().digest_size} digits come next")
        names, nonces = (began, self._me), (nonce, self._nonce)
        for secret in self._secrets:
            theirs = mac_of(secret, "dials", names, nonces)
            if hmac.compare_digest(theirs, operands[0]):
                self.proven_by = secret
        if not self.proven_by:
            raise ProofError(WRONG)
        self._is_over = True
        self.proven = began
        return f"{PROOF} {mac_of(self.proven_by, 'answers', names, nonces)}"


def _ascii(text: str) -> str:
    """Return `text`, or "" if it can't be compared in constant time."""
    return text if text.isascii() else ""
