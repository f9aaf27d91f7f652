"""The node's side of a SCRAM-SHA-256 exchange, without channel binding (RFC 5802, RFC 7677). Pure.

The client's side is clients/connections/client_login.py.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable

from ..wire.operands.user_operands import KEY_BYTES, Verifier, format_bytes

_NONCE = r"[!-+\--~]+"  # what is printable, without a comma
_MORE = r"(?:,[A-Za-z]=[^,]*)*"  # extensions, which have no meaning here
_BASE64 = "[A-Za-z0-9+/=]+"
# The flags say that the client binds the login to no channel.
_FIRST = re.compile(rf"([ny],,)(n=([^,]*),r=({_NONCE}){_MORE})")
_FINAL = re.compile(rf"(c=({_BASE64}),r=({_NONCE}){_MORE}),p=({_BASE64})")


class OutOfPlace(ValueError):
    """A message that belongs to no exchange, or is not the next one of its exchange."""


class Exchange:
    """The exchange of one login: a challenge, and the answer to the client's proof."""

    def __init__(self, first: str, verifier_of: Callable[[str], Verifier], token: str) -> None:
        """Take the client's first message. `token` is the node's part of the nonce, which no
        exchange had before.

        Raises:
            OutOfPlace: it is not a first message.
        """
        match = _FIRST.fullmatch(first)
        if match is None:
            raise OutOfPlace
        self._header, self._bare, self.name = match[1], match[2], match[3]
        self._nonce = match[4] + token
        self._verifier = verifier_of(self.name)

    @property
    def challenge(self) -> str:
        """The node's first message."""
        salt = format_bytes(self._verifier.salt)
        return f"r={self._nonce},s={salt},i={self._verifier.iterations}"

    def answer(self, final: str) -> str:
        """Return the node's proof that it knows the verifier, or "" if the client's proof is wrong.

        Raises:
            OutOfPlace: it is not the last message of this exchange.
        """
        match = _FINAL.fullmatch(final)
        try:
            if match is None or match[3] != self._nonce:
                raise OutOfPlace
            header, proof = [base64.b64decode(match[at], validate=True) for at in (2, 4)]
            signed = f"{self._bare},{self.challenge},{match[1]}".encode()
        except ValueError:
            raise OutOfPlace from None
        if header != self._header.encode() or len(proof) != KEY_BYTES:
            raise OutOfPlace
        signature = hmac.digest(self._verifier.stored_key, signed, "sha256")
        key = bytes([one ^ other for one, other in zip(proof, signature, strict=True)])
        if not hmac.compare_digest(hashlib.sha256(key).digest(), self._verifier.stored_key):
            return ""
        return f"v={format_bytes(hmac.digest(self._verifier.server_key, signed, 'sha256'))}"
