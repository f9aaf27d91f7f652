"""The file of users: names, roles, prefixes of keys, and what checks a password.

    # Users of raftline. `raftline user` changes this file; each node of a cluster needs the same.
    unknown BASE64
    bob writer SCRAM-SHA-256$65536:SALT$STOREDKEY:SERVERKEY app/ web/
    root admin SCRAM-SHA-256$65536:SALT$STOREDKEY:SERVERKEY

After a verifier stand prefixes, spelled like keys; without one the role holds for all keys. The
secret of the line `unknown` makes salts for names that are no user's (RFC 5802, section 9).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..common.config import ConfigError
from ..wire.loginoperands import ITERATIONS_LEAST, ITERATIONS_MOST
from ..wire.operands import PREFIX, Limits
from ..wire.protocol import NAME, ProtocolError, unescape
from .roles import EVERYWHERE, ROLES, Identity

MECHANISM = "SCRAM-SHA-256"
ITERATIONS = 65_536  # RFC 7677 asks for 4,096 at least; docs/use/users.md explains why more
SALT_BYTES, KEY_BYTES = 16, 32
HEAD = "# Users of raftline. `raftline user` changes this file; each node of a cluster needs it."
EXTRA = "users need the package scramp: pip install 'scramp>=1.4.17'"
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
        salt, stored, server = map(_spelled, (self.salt, self.stored_key, self.server_key))
        return f"{MECHANISM}${self.iterations}:{salt}${stored}:{server}"

    def __repr__(self) -> str:
        return "<a verifier>"


class User(NamedTuple):
    """One user."""

    identity: Identity
    verifier: Verifier


class Users:
    """All users of a file."""

    def __init__(self, by_name: Mapping[str, User], secret: bytes) -> None:
        self.by_name = by_name
        self.secret = secret
        numbers = sorted(user.verifier.iterations for user in by_name.values())
        self._iterations = numbers or [ITERATIONS]  # as often as there are users with them

    def verifier_of(self, name: str) -> Verifier:
        """Return the verifier of a user. An unknown name gets one that looks like the others,
        the same each time and at each node; no password fits it."""
        made = [_hash(self.secret, f"{part} {name}") for part in ("salt", "stored", "server")]
        chance = int.from_bytes(_hash(self.secret, f"iterations {name}")[:4], "big")
        iterations = self._iterations[chance * len(self._iterations) >> 32]
        fake = Verifier(iterations, made[0][:SALT_BYTES], made[1], made[2])
        user = self.by_name.get(name)
        return fake if user is None else user.verifier


def make_verifier(password: str, iterations: int = ITERATIONS) -> Verifier:
    """Return the verifier of a password, with its own salt.

    Raises:
        ConfigError: the library is not installed.
    """
    salt = secrets.token_bytes(SALT_BYTES)
    return derive(password, salt, iterations)


def derive(password: str, salt: bytes, iterations: int) -> Verifier:
    """Return the verifier of a password with this salt."""
    _, stored, server, _ = scram().make_auth_info(password, iterations, salt)
    return Verifier(iterations, salt, stored, server)


def scram() -> Any:
    """Return the library's mechanism.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from scramp import ScramMechanism
    except ImportError:
        raise ConfigError(EXTRA) from None
    return ScramMechanism(MECHANISM)


def read_users(path: Path) -> Users:
    """Return the users of a file.

    Raises:
        ConfigError: it can't be used; the message explains what to do.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError(f"the file of users {path} is no file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the file of users {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"the file of users {path} is no text of UTF-8") from None
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise ConfigError(f"the file of users {path} is open to others: chmod 600 {path}")
    return parse_users(text, str(path))


def parse_users(text: str, name: str) -> Users:
    """Return the users that a text names; `name` is that of its file. Raises ConfigError."""
    found: dict[str, User] = {}
    secret = b""
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split(" ")
        if not line.strip() or line.startswith("#"):
            continue
        try:
            if words[0] == "unknown" and len(words) == 2:
                secret = _bytes(words[1], KEY_BYTES)
                continue
            user = _user(words)
        except (ValueError, ProtocolError) as problem:
            raise ConfigError(f"the file of users {name}, line {number}: {problem}") from None
        if user.identity.user in found:
            raise ConfigError(f"the file of users {name}, line {number}: this user stands twice")
        found[user.identity.user] = user
    if not secret or not found:
        raise ConfigError(f"the file of users {name} names no user; raftline user add NAME does")
    return Users(found, secret)


def _user(words: list[str]) -> User:
    """Return the user of a line. Raises ValueError, ProtocolError; no message holds a verifier."""
    if len(words) < 3:
        raise ValueError("the form is: NAME ROLE VERIFIER [PREFIX …], with one space between")
    name, role, verifier, *prefixes = words
    if not NAME.fullmatch(name) or name == "unknown":
        raise ValueError("this is no name of a user")
    if role not in ROLES:
        raise ValueError(f"there is no such role; there are {', '.join(ROLES)}")
    found = _VERIFIER.fullmatch(verifier)
    if found is None or not ITERATIONS_LEAST <= int(found[1]) <= ITERATIONS_MOST:
        raise ValueError(f"this is no verifier of {MECHANISM}")
    checks = Verifier(
        int(found[1]), _bytes(found[2]), _bytes(found[3], KEY_BYTES), _bytes(found[4], KEY_BYTES)
    )
    return User(Identity(name, ROLES[role], prefixes_of(prefixes)), checks)


def prefixes_of(words: list[str]) -> tuple[str, ...]:
    """Return prefixes in canonical spelling; all keys if none is given.

    Raises:
        ProtocolError: one is misspelled, or ends within a character.
    """
    prefixes = []
    for word in words:
        if not word:
            raise ProtocolError("a prefix is empty; without a prefix the role holds for all keys")
        prefix = PREFIX.read("clear", word, Limits()).removeprefix("clear ")
        try:
            unescape(prefix).encode()
        except UnicodeEncodeError:
            raise ProtocolError("a user's prefix is text: each of its characters whole") from None
        prefixes.append(prefix)
    return tuple(dict.fromkeys(prefixes)) or EVERYWHERE


def spell_users(users: Users) -> str:
    """Return the file of these users."""
    lines = [HEAD, f"unknown {_spelled(users.secret)}"]
    for name in sorted(users.by_name):
        identity, verifier = users.by_name[name]
        words = [name, str(identity.role), str(verifier), *identity.prefixes]
        lines.append(" ".join(words).rstrip(" "))
    return "\n".join(lines) + "\n"


def write_users(path: Path, users: Users) -> None:
    """Write the file as a whole, for its owner alone. Raises OSError."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(beside, flags, 0o600), "w", encoding="utf-8") as file:
            if path.exists():  # root may change the file of another user's node
                with contextlib.suppress(OSError):
                    os.fchown(file.fileno(), path.stat().st_uid, path.stat().st_gid)
            file.write(spell_users(users))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def new_secret() -> bytes:
    """Return the secret of a new file."""
    return secrets.token_bytes(KEY_BYTES)


def _hash(secret: bytes, text: str) -> bytes:
    return hmac.new(secret, text.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()


def _spelled(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str, size: int | None = None) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("a verifier or a secret is no base64") from None
    if (size is not None and len(raw) != size) or len(raw) < 12:
        raise ValueError("a part of the verifier or the secret has another length")
    return raw
