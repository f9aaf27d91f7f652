"""The file of users: names, roles, prefixes of keys, and password verifiers.

    # Users of raftline. Each node of a cluster needs this file until `raftline user import`.
    unknown BASE64
    bob writer SCRAM-SHA-256$65536:SALT$STOREDKEY:SERVERKEY app/ web/
    root admin SCRAM-SHA-256$65536:SALT$STOREDKEY:SERVERKEY

Prefixes follow the verifier, escaped like keys. Without a prefix, the role covers all keys. The
secret of the line `unknown` makes salts for unknown names (RFC 5802, section 9).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common.config import ConfigError
from ..state.user_table import ITERATIONS, User, fake_verifier, iterations_of
from ..wire.commands.identity import EVERYWHERE, ROLES, identity_of
from ..wire.commands.operands import Limits
from ..wire.commands.user_operands import (
    KEY_BYTES,
    MECHANISM,
    SALT_BYTES,
    Verifier,
    prefix_of,
    read_bytes,
    read_verifier,
    spell_bytes,
)
from ..wire.protocol import NAME, ProtocolError
from .secret import write_new

SIDES = (b"Client", b"Server")
HEAD = "# Users of raftline. Each node of a cluster needs this file until `raftline user import`."
EXTRA = "users need the package scramp: pip install 'scramp>=1.4.17'"


class Users:
    """All users of a file."""

    def __init__(self, by_name: Mapping[str, User], secret: bytes) -> None:
        self.by_name = by_name
        self.secret = secret
        self._iterations = iterations_of(by_name.values())

    def __bool__(self) -> bool:
        return bool(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def find(self, name: str) -> User | None:
        """Return a user, or None if there is none of this name."""
        return self.by_name.get(name)

    def verifier_of(self, name: str) -> Verifier:
        """Return the verifier of a user. An unknown name gets a fake verifier that looks like the
        others, and is the same each time and on each node. No password fits it."""
        fake = fake_verifier(self.secret, self._iterations, name)
        user = self.by_name.get(name)
        return user.verifier if user is not None and user.verifier is not None else fake


def make_verifier(password: str, iterations: int = ITERATIONS) -> Verifier:
    """Return the verifier of a password, with its own salt."""
    salt = secrets.token_bytes(SALT_BYTES)
    return derive(password, salt, iterations)


def derive(password: str, salt: bytes, iterations: int) -> Verifier:
    """Return the verifier of a password with this salt."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key, server_key = [hmac.digest(salted, b"%s Key" % of, "sha256") for of in SIDES]
    return Verifier(iterations, salt, hashlib.sha256(client_key).digest(), server_key)


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
        ConfigError: it can't be used. The message explains what to do.
    """
    return parse_users(_read_private(path, "users"), str(path))


def _read_private(path: Path, what: str) -> str:
    """Return the text of a file that only its owner may change and no stranger read. Raises
    ConfigError."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{what} file {path} is not a file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{what} file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{what} file {path} is not valid UTF-8") from None
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise ConfigError(f"{what} file {path} is open to others: chmod 600 {path}")
    return text


def write_first_admin(path: Path, name: str, verifier: str) -> None:
    """Write the new file of `--first-admin`, a line `NAME VERIFIER`. Raises ConfigError."""
    try:
        write_new(path, f"{name} {verifier}\n".encode())
    except OSError as error:
        raise ConfigError(f"can't write {path}: {error.strerror}") from None


def read_first_admin(path: Path) -> tuple[str, Verifier]:
    """Return the name and the verifier in the file of `--first-admin`. Raises ConfigError."""
    name, _, verifier = _read_private(path, "first-admin").removesuffix("\n").partition(" ")
    try:
        if NAME.fullmatch(name):
            return name, read_verifier(verifier)
    except ValueError:
        pass
    raise ConfigError(
        f"first-admin file {path} is not a line NAME VERIFIER; raftline user first NAME {path} "
        "writes one"
    )


def parse_users(text: str, name: str) -> Users:
    """Return the users in a text. `name` is the name of its file. Raises ConfigError."""
    users: dict[str, User] = {}
    secret = b""
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split(" ")
        if not line.strip() or line.startswith("#"):
            continue
        try:
            if words[0] == "unknown" and len(words) == 2:
                secret = read_bytes(words[1], KEY_BYTES)
                continue
            user = _user(words)
        except (ValueError, ProtocolError) as problem:
            raise ConfigError(f"users file {name}, line {number}: {problem}") from None
        if user.identity.user in users:
            raise ConfigError(f"users file {name}, line {number}: this user is listed twice")
        users[user.identity.user] = user
    if not secret or not users:
        raise ConfigError(f"users file {name} has no users")
    return Users(users, secret)


def _user(words: list[str]) -> User:
    """Return the user of a line. Raises ValueError or ProtocolError, without a verifier in the
    message."""
    if len(words) < 3:
        raise ValueError("the form is: NAME ROLE VERIFIER [PREFIX …], with one space between")
    name, role, verifier, *prefixes = words
    if not NAME.fullmatch(name) or name == "unknown":
        raise ValueError("this is not a user name")
    if role not in ROLES:
        raise ValueError(f"there is no such role; the roles are {', '.join(ROLES)}")
    checks = read_verifier(verifier)
    return User(identity_of(name, ROLES[role], prefixes_of(prefixes)), checks)


def prefixes_of(words: list[str]) -> tuple[str, ...]:
    """Return prefixes in canonical spelling. Without words, return the prefix of all keys.

    Raises:
        ProtocolError: a prefix is misspelled, or ends within a character.
    """
    prefixes = []
    for word in words:
        if not word:
            raise ProtocolError("a prefix is empty; without a prefix the role holds for all keys")
        prefixes.append(prefix_of(word, Limits()))
    return tuple(dict.fromkeys(prefixes)) or EVERYWHERE


def spell_users(users: Users) -> str:
    """Return the file of these users."""
    lines = [HEAD, f"unknown {spell_bytes(users.secret)}"]
    for name in sorted(users.by_name):
        identity, verifier = users.by_name[name]
        words = [name, str(identity.role), str(verifier), *identity.reads]
        lines.append(" ".join(words).rstrip(" "))
    return "\n".join(lines) + "\n"


def write_users(path: Path, users: Users) -> None:
    """Write the file as a whole, readable only by its owner. Raises OSError."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(beside, flags, 0o600), "w", encoding="utf-8") as file:
            if path.exists():  # root may edit the file of a node that runs as another user
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
