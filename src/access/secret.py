"""The cluster's secret: the file that holds it, and the proofs that a node requires of its peers.

The file holds one line, or two during a change of the secret: a node proves itself by the first,
and accepts a proof by either. A reader of the file can pass for a member. So its mode is 0600, or
0640 if it belongs to root (a secret that a container engine mounts).
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..common.config import ConfigError, as_option
from .proof import NONCE_BYTES, Initiator, Responder

MODES = ("require", "offer")
SECRET_BYTES = 32
CHARACTERS_MIN, FILE_BYTES_MAX = 32, 4096
LINES_MAX = 2


class PeerAuth(NamedTuple):
    """The proofs that a node requires of members. `repr` never shows the secret."""

    secret: bytes = b""  # empty: no secret
    is_required: bool = False  # False: members without a proof are accepted as well
    other: bytes = b""  # a second secret, whose proof is accepted as well
    path: Path | None = None  # of the secret file
    option: str = "--secret"  # the option that named the file, for messages

    def __repr__(self) -> str:
        return f"PeerAuth({'a secret' if self.secret else 'no secret'}, {self.is_required})"

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The secrets whose proofs are accepted."""
        return tuple(filter(None, (self.secret, self.other)))

    def responder(self, me: str, nonce: str) -> Responder | None:
        """Return our side of an incoming connection, or None without a secret."""
        return Responder(self.secret, me, nonce, self.other) if self.secret else None

    def initiator(self, me: str, peer: str, nonce: str) -> Initiator | None:
        """Return our side of a connection to a peer, or None without a secret."""
        return Initiator(self.secret, me, peer, nonce) if self.secret else None

    def read_again(self) -> PeerAuth:
        """Return a copy with the secrets that the file holds now.

        Raises:
            ConfigError: the file can't be used.
        """
        if self.path is None:
            return self
        secret, other = read_secrets(self.path, self.option)
        return self._replace(secret=secret, other=other)


NO_AUTH = PeerAuth()


def new_nonce() -> str:
    """Return a random number that no connection has used before."""
    return secrets.token_hex(NONCE_BYTES)


def read_peer_auth(
    path: Path | None, mode: str | None, called: Callable[[str], str] = as_option
) -> PeerAuth:
    """Return the proofs for the settings `secret` and `secret_mode`. Messages name settings by
    `called`.

    Raises:
        ConfigError: the file is missing, or others can read it, or it holds no secret.
    """
    if path is None:
        if mode is not None:
            raise ConfigError(
                f"{called('secret_mode')} says how a secret is used; add {called('secret')} FILE"
            )
        return NO_AUTH
    option = called("secret")
    secret, other = read_secrets(path, option)
    return PeerAuth(secret, mode != "offer", other, path, option)


def read_secrets(path: Path, option: str = "--secret") -> tuple[bytes, bytes]:
    """Return the secret in a file, and the second one if it has two lines, or else b"".

    Raises:
        ConfigError: see `parse_secrets`; or the file can't be read, or others can read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            check_private(path, os.fstat(descriptor), option)
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror or error}") from None
    return parse_secrets(data, path, option)


def parse_secrets(data: bytes, path: Path, option: str) -> tuple[bytes, bytes]:
    """Return the secrets in the content of a file, as `read_secrets` does.

    Raises:
        ConfigError: the content can't be used. The message explains why, without the secret.
    """
    lines = [line.strip() for line in data.strip().split(b"\n")]
    if len(lines) > LINES_MAX:
        raise ConfigError(
            f"{option} {path}: it holds one secret, or two during a change, each on its own line"
        )
    if len(data) > FILE_BYTES_MAX or any(len(line) < CHARACTERS_MIN for line in lines):
        raise ConfigError(
            f"{option} {path}: a secret has {CHARACTERS_MIN} to {FILE_BYTES_MAX} characters; "
            "`raftline secret FILE` makes one"
        )
    secret, other = (_checked(path, option, line) for line in (*lines, b"")[:LINES_MAX])
    return secret, other


def _checked(path: Path, option: str, line: bytes) -> bytes:
    """Return one line of the file. Raises ConfigError, which does not show the line."""
    text = line.decode("ascii", "replace")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError(
            f"{option} {path}: a secret is one word of letters, digits and signs on one line; "
            "`raftline secret FILE` makes one"
        )
    return line


def check_private(path: Path, facts: os.stat_result, option: str) -> None:
    """Check that only the file's owner, or root's group, can read it.

    Raises:
        ConfigError: others may read or change it.
    """
    if not stat.S_ISREG(facts.st_mode):
        raise ConfigError(f"{option} {path}: that is not a file")
    allowed = 0o740 if facts.st_uid == 0 else 0o700
    if stat.S_IMODE(facts.st_mode) & ~allowed:
        raise ConfigError(
            f"{option} {path}: others on this machine can read or change it, so it is not secret; "
            f"make another one, and run: chmod 600 {path}"
        )


def make_secret(path: Path) -> None:
    """Write a secret into a new file.

    Raises:
        ConfigError: the file exists already, or can't be written.
    """
    try:
        write_new(path, f"{secrets.token_hex(SECRET_BYTES)}\n".encode())
    except FileExistsError:
        raise ConfigError(f"{path} already exists, and is unchanged") from None
    except OSError as error:
        raise ConfigError(f"can't write {path}: {error.strerror or error}") from None


def write_new(path: Path, data: bytes) -> None:
    """Create a file that only its owner can read, with the whole content or not at all. Raises
    OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(data)
    except OSError:
        path.unlink()
        raise
