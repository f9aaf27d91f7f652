"""Password verifiers, and the file of the first admin."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import stat
from pathlib import Path

from ..common.config import ConfigError
from ..state.user_table import ITERATIONS
from ..wire.operands.user_operands import SALT_BYTES, Verifier, read_verifier
from ..wire.protocol import NAME
from .secret import write_new

SIDES = (b"Client", b"Server")


def make_verifier(password: str, iterations: int = ITERATIONS) -> Verifier:
    """Return the verifier of a password, with its own salt."""
    salt = secrets.token_bytes(SALT_BYTES)
    return derive(password, salt, iterations)


def derive(password: str, salt: bytes, iterations: int) -> Verifier:
    """Return the verifier of a password with this salt."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key, server_key = [hmac.digest(salted, b"%s Key" % of, "sha256") for of in SIDES]
    return Verifier(iterations, salt, hashlib.sha256(client_key).digest(), server_key)


def read_private(path: Path, what: str) -> str:
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
    name, _, verifier = read_private(path, "first-admin").removesuffix("\n").partition(" ")
    try:
        if NAME.fullmatch(name):
            return name, read_verifier(verifier)
    except ValueError:
        pass
    raise ConfigError(
        f"first-admin file {path} is not a line NAME VERIFIER; raftline user first NAME {path} "
        "writes one"
    )
