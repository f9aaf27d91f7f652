"""The proof of two members to each other that both know the cluster's secret.

Four lines at the beginning of a connection, which s2 made to s1:

    s2@Prove s1 nonce N2
    s1@Challenge s2 nonce N1
    s2@Proof MAC of "dials"
    s1@Proof MAC of "answers"

A MAC is HMAC-SHA256 with the secret over a label, the direction, both names and both nonces. So a
recorded proof fails beside another nonce, and a proof that is sent back fails in the other
direction. The module has no socket, clock or chance: the caller gives the nonce.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Generator

from ..wire.protocol import NAME
from ..wire.refusals import refusal_in

LABEL = "raftline proof of peers 1"
PROVE, CHALLENGE, PROOF = ("Prove", "Challenge", "Proof")
NONCE_BYTES = 16
_NONCE = re.compile(r"[0-9a-f]{32}")
_MAC = re.compile(r"[0-9a-f]{64}")
ENDED = "what was proved on this connection is settled; begin another for a new proof"
WRONG = "that is no proof: it was made with another secret, or for another connection"


class ProofError(Exception):
    """The other side has proved nothing; the message explains why."""


def mac_of(secret: bytes, direction: str, names: tuple[str, str], nonces: tuple[str, str]) -> str:
    """Return one side's proof; names and nonces are those of the side that dials, then of the one
    that answers. No part can hold a newline, so none can pass for a piece of another."""
    text = "\n".join([LABEL, direction, *names, *nonces])
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


class Initiator:
    """The side that made the connection, `me`, and expects `peer` there."""

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
        """Take the next answer; return the text of the next line, "" once all is proved.

        Raises:
            ProofError: another line should come next, or the proof is wrong.
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
    """Yield each text of a proof, and be sent the answer to it; return the refusal to begin one,
    "" once all is proved.

    Raises:
        ProofError: the other side is not that peer, or knows another secret.
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
    """The side that took the connection, `me`. It takes one attempt at a proof.

    It may be made with `other` as well, if there is one: while the secret is changed some
    members have the new one first, and some the old one.
    """

    def __init__(self, secret: bytes, me: str, nonce: str, other: bytes = b"") -> None:
        self._secrets = [secret, other] if other else [secret]
        self.proven_by = b""  # the secret of the proof
        self._me = me
        self._nonce = nonce
        self._begun: tuple[str, str] | None = None  # the name and the nonce of who dialed
        self._is_over = False
        self.proven: str | None = None  # the name that was proved

    @property
    def waits(self) -> bool:
        """Whether a proof was begun, and neither succeeded nor failed."""
        return self._begun is not None and not self._is_over

    def take(self, sender: str, text: str) -> str:
        """Take a line of a proof; return the text of the answer.

        Raises:
            ProofError: another line should come next, or the proof is wrong. Later ones fail, too.
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
