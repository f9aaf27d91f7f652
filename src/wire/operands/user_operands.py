"""The operands of the commands about users and roles: names, verifiers and grants. Pure.

No error message here repeats a verifier.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, NamedTuple

from ..commands.identity import ROLES
from ..protocol import NAME, ProtocolError, shown, unescape
from .login_operands import ITERATIONS_LEAST, ITERATIONS_MOST
from .operands import ALL_KEYS, PREFIX, Limits, Operands

MECHANISM: Final = "SCRAM-SHA-256"
SALT_BYTES: Final = 16
KEY_BYTES: Final = 32
NO_PASSWORD: Final = "-"  # in place of a verifier: a certificate alone logs the user in
RIGHTS: Final = ("read", "write", "readwrite")
_NOTHING: Final = "Nothing was done."
_NAMED: Final = "a letter, then letters, digits, _ . or -, at most 64 in all"
_VERIFIER = re.compile(
    rf"{MECHANISM}\$([1-9][0-9]{{0,8}}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)"
)


class Verifier(NamedTuple):
    """The part of a password that a node knows (RFC 5803)."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    def __str__(self) -> str:
        salt, stored, server = map(format_bytes, (self.salt, self.stored_key, self.server_key))
        return f"{MECHANISM}${self.iterations}:{salt}${stored}:{server}"

    def __repr__(self) -> str:
        return "<a verifier>"


class RoleGrant(NamedTuple):
    """A right to the keys with a prefix, in canonical form; "" for all keys."""

    right: str
    prefix: str

    @property
    def in_words(self) -> str:
        does = "read and write" if self.right == "readwrite" else self.right
        return f"{does} {self.prefix or 'all keys'}"


def read_verifier(text: str) -> Verifier:
    """Return the verifier in a text. Raises ValueError, without the text in the message."""
    match = _VERIFIER.fullmatch(text)
    if match is None or not ITERATIONS_LEAST <= int(match[1]) <= ITERATIONS_MOST:
        raise ValueError(f"this is not a verifier of {MECHANISM}")
    salt = read_bytes(match[2], SALT_BYTES)
    stored, server = [read_bytes(text, KEY_BYTES) for text in match.group(3, 4)]
    return Verifier(int(match[1]), salt, stored, server)


def format_bytes(raw: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(raw).decode()


def read_bytes(text: str, size: int) -> bytes:
    """Return so many bytes in base64. Raises ValueError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("a verifier or a secret is not base64") from None
    if len(raw) != size:
        raise ValueError("a part of the verifier or the secret has the wrong length")
    return raw


def prefix_of(word: str, limits: Limits) -> str:
    """Return the canonical form of a grant's prefix.

    Raises:
        ProtocolError: it is empty, misspelled or too long, or ends within a character.
    """
    prefix = PREFIX.read("clear", word, limits).removeprefix("clear ")
    try:
        unescape(prefix).encode()
    except UnicodeEncodeError:
        raise ProtocolError(
            f"the prefix of a right is text, with whole characters. {_NOTHING}"
        ) from None
    return prefix


def is_own_role(name: str) -> bool:
    """Whether a role may have this name: the names of the built-in roles are taken."""
    return NAME.fullmatch(name) is not None and name not in ROLES


def _words(operands: Operands, verb: str, text: str, least: int, most: int) -> list[str]:
    words = text.split()
    if not least <= len(words) <= most:
        raise ProtocolError(f"the form is: {verb} {operands.form}. {_NOTHING}")
    _check_name(words[0], "a name")
    return words


def _check_name(name: str, what: str) -> None:
    if not NAME.fullmatch(name):
        raise ProtocolError(f"{what} is {_NAMED}. {_NOTHING}")


def _check_role(name: str) -> None:
    _check_name(name, "the name of a role")


def _check_verifier(text: str) -> None:
    if text == NO_PASSWORD:
        return
    try:
        read_verifier(text)
    except ValueError as problem:
        raise ProtocolError(
            f"{problem}; its form is {MECHANISM}$ITERATIONS:SALT$STOREDKEY:SERVERKEY, or "
            f"{NO_PASSWORD} for a login by certificate alone. {_NOTHING}"
        ) from None


def _read_new(verb: str, operands: str, limits: Limits) -> str:
    """Parse `VERB NAME VERIFIER [ROLE ...]`."""
    name, verifier, *roles = _words(NEW_USER, verb, operands, 2, 1 << 30)
    _check_verifier(verifier)
    for role in roles:
        _check_role(role)
    return " ".join([verb, name, verifier, *dict.fromkeys(roles)])


def _read_password(verb: str, operands: str, limits: Limits) -> str:
    name, verifier = _words(PASSWORD, verb, operands, 2, 2)
    _check_verifier(verifier)
    return f"{verb} {name} {verifier}"


def _read_name(verb: str, operands: str, limits: Limits) -> str:
    return f"{verb} {_words(A_NAME, verb, operands, 1, 1)[0]}"


def _read_role(verb: str, operands: str, limits: Limits) -> str:
    """Parse `VERB NAME` of a role that is not built in."""
    (name,) = _words(A_NAME, verb, operands, 1, 1)
    if name in ROLES:
        raise ProtocolError(f"the role {name} is built in: choose another name. {_NOTHING}")
    return f"{verb} {name}"


def _read_member(verb: str, operands: str, limits: Limits) -> str:
    name, role = _words(USER_ROLE, verb, operands, 2, 2)
    _check_role(role)
    return f"{verb} {name} {role}"


def _read_grant(verb: str, operands: str, limits: Limits) -> str:
    """Parse `VERB NAME RIGHT [PREFIX]`; without a prefix the right is for all keys."""
    name, right, *prefix = _words(GRANT, verb, operands, 2, 3)
    if right not in RIGHTS:
        rights = ", ".join(RIGHTS)
        raise ProtocolError(
            f"there is no right {shown(right)}; the rights are {rights}. {_NOTHING}"
        )
    return " ".join([_read_role(verb, name, limits), right, *_canonical(prefix, limits)])


def _read_revoke(verb: str, operands: str, limits: Limits) -> str:
    name, *prefix = _words(REVOKED, verb, operands, 1, 2)
    return " ".join([_read_role(verb, name, limits), *_canonical(prefix, limits)])


def _canonical(words: list[str], limits: Limits) -> list[str]:
    return [prefix_of(word, limits) for word in words]


NEW_USER = Operands("NAME VERIFIER [ROLE ...]", _read_new, ALL_KEYS)
PASSWORD = Operands("NAME VERIFIER", _read_password, ALL_KEYS)
A_NAME = Operands("NAME", _read_name, ALL_KEYS, is_public=True)
A_ROLE = Operands("NAME", _read_role, ALL_KEYS, is_public=True)
USER_ROLE = Operands("NAME ROLE", _read_member, ALL_KEYS, is_public=True)
GRANT = Operands("NAME read|write|readwrite [PREFIX]", _read_grant, ALL_KEYS, is_public=True)
REVOKED = Operands("NAME [PREFIX]", _read_revoke, ALL_KEYS, is_public=True)
