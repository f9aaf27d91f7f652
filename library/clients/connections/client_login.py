"""The client's half of a login by SCRAM-SHA-256 (RFC 5802, RFC 7677), with the standard library.

The password never leaves this process. The node proves in its last message that it knows the user.
An exchange is a generator: it yields commands, and is sent the text of each reply.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple

from raftline.common.config import ConfigError
from raftline.net.line_connection import LineConnection, TooLong
from raftline.wire.operands.login_operands import ITERATIONS_LEAST, ITERATIONS_MOST, why_no_password
from raftline.wire.protocol import NAME
from raftline.wire.refusal import TLS_ALONE, RequestOutcome
from raftline.wire.replies.refusals import refusal_in
from raftline.wire.replies.replies import read_reply

from ..steps import carry_out
from .node_connection import ADVICE, NAME_CA, ClientError, LoginFailed, Unreachable, line_of

USER, PASSWORD_FILE = "RAFTLINE_USER", "RAFTLINE_PASSWORD_FILE"  # of the environment
REPLY_MAX = 1 << 16  # bytes
NAMED = "one is a letter, then letters, digits, _ . or -, at most 64 in all"
_HEADER = "n,,"
_CHALLENGE = re.compile(r"AUTH response: (r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,8}))")


class Credentials(NamedTuple):
    """A name and a password, or the file whose first line is the password."""

    user: str
    password: str = ""
    file: str = ""

    def __repr__(self) -> str:
        return f"<the credentials of {self.user}>"

    @property
    def secret(self) -> str:
        """The password.

        Raises:
            LoginFailed: the password can't be read, or is invalid.
        """
        if not NAME.fullmatch(self.user):
            raise LoginFailed(f"{self.user!r} is not a valid user name; {NAMED}")
        if not self.password and not self.file:
            failure = LoginFailed(
                f"{self.user} has no password here; ${PASSWORD_FILE} names its file."
            )
            failure.advice = "Or --password-file FILE."
            raise failure
        password = self.password
        if self.file:
            password = _first_line(self.file)
        password = password.removesuffix("\r")
        if why := why_no_password(password):
            raise LoginFailed(f"{self.user} can't log in: {why}")
        return password


def _first_line(path: str) -> str:
    """Return the first line of a password file, which may be a pipe (`<(pass show bob)`).

    Raises:
        LoginFailed: the file can't be read, or other users can read it.
    """
    from raftline.access.secret import check_private  # only needed for such a file

    try:
        with open(path, encoding="utf-8") as file:
            facts = os.fstat(file.fileno())
            if stat.S_ISREG(facts.st_mode):
                check_private(Path(path), facts, "the file of the password")
            return file.readline().partition("\n")[0]
    except ConfigError as problem:
        raise LoginFailed(str(problem)) from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not valid UTF-8"
        raise LoginFailed(f"the file of the password {path}: {why}") from None


def of_environment() -> Credentials | None:
    """Return the credentials in $RAFTLINE_USER and $RAFTLINE_PASSWORD_FILE; None if they name no
    user. A mistake in them is reported at the first login."""
    user = os.environ.get(USER, "")
    return Credentials(user, file=os.environ.get(PASSWORD_FILE, "")) if user else None


def credentials_of(user: str | None, password: str | None) -> Credentials | None:
    """Return the credentials that a program names, or otherwise the credentials in the environment;
    None if neither names a user.

    Raises:
        ValueError: there is a password without a user or a user without a password, or the name is
            invalid.
    """
    if user is None:
        if password is not None:
            raise ValueError("a password without a user; name both")
        return of_environment()
    if not NAME.fullmatch(user):
        raise ValueError(f"{user!r} is not a valid user name; {NAMED}")
    if password is not None and (why := why_no_password(password)):
        raise ValueError(why)
    file = "" if password else os.environ.get(PASSWORD_FILE, "")
    if not password and not file:
        raise ValueError(f"{user} has no password: give password=, or its file, ${PASSWORD_FILE}")
    return Credentials(user, password or "", file)


def log_in(
    connection: LineConnection, credentials: Credentials, sender: str, timeout_s: float
) -> None:
    """Log in on a connection that has not carried a request yet.

    Raises:
        LoginFailed, Unreachable: see `exchange`. OSError: no answer arrived in time.
    """
    until_s = time.monotonic() + timeout_s

    def answer_to(command: str) -> str:
        connection.send(line_of(sender, command))
        try:
            return text_in(connection.read(until_s, REPLY_MAX))
        except TooLong:
            raise _no_challenge() from None

    carry_out(exchange(credentials), answer_to)


def text_in(raw: bytes) -> str:
    """Return the text of a node's reply. Raises LoginFailed."""
    reply = read_reply(raw.removesuffix(b"\r"))
    if reply is None:
        raise _no_challenge()
    return reply.text


def nonce() -> str:
    """Return a random nonce, a new one for each exchange."""
    return secrets.token_urlsafe(18)


@functools.lru_cache(maxsize=16)
def _keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """Return the client's key and the server's key. The result is cached, as it takes a long time
    to compute."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    return _mac(salted, "Client Key"), _mac(salted, "Server Key")


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def exchange(
    credentials: Credentials, new_nonce: Callable[[], str] = nonce
) -> Generator[str, str, None]:
    """Yield each command of a login, and receive its reply; end once the login has succeeded.

    Raises:
        LoginFailed: the node refuses the login, or does not prove that it knows the user.
        Unreachable: this node accepts no login now; another node may.
    """
    try:
        password, own = credentials.secret, new_nonce()
    except LoginFailed as failure:
        failure._was_not_tried = True
        raise
    first = f"n={credentials.user},r={own}"
    challenge = _CHALLENGE.fullmatch(_checked((yield f"auth {_HEADER}{first}")))
    if challenge is None or not challenge[2].startswith(own) or challenge[2] == own:
        raise _no_challenge()
    try:
        salt, iterations = base64.b64decode(challenge[3], validate=True), int(challenge[4])
    except binascii.Error:
        raise _no_challenge() from None
    if not ITERATIONS_LEAST <= iterations <= ITERATIONS_MOST:
        raise _no_challenge()
    client_key, server_key = _keys(password, salt, iterations)
    bare = f"c={base64.b64encode(_HEADER.encode()).decode()},r={challenge[2]}"
    message = f"{first},{challenge[1]},{bare}"
    signature = _mac(hashlib.sha256(client_key).digest(), message)
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    reply = _checked((yield f"auth {bare},p={base64.b64encode(proof).decode()}"))
    expected = base64.b64encode(_mac(server_key, message)).decode()
    if not hmac.compare_digest(reply.encode(), f"AUTH response: v={expected}".encode()):
        raise LoginFailed("the node did not prove that it knows this user. Nothing was done.")


def _checked(reply: str) -> str:
    """Return the reply. Raises LoginFailed or Unreachable if it is a refusal."""
    refusal = refusal_in(reply)
    if refusal is None:
        return reply
    if refusal.outcome is RequestOutcome.NO_LEADER:
        early = Unreachable(refusal.sentence)
        early._is_early, early.code, early.facts = True, refusal.code, refusal.facts
        raise early
    failure: ClientError = LoginFailed(refusal.sentence)
    if refusal.code == "tls-only":  # the node looked at no name and no password
        failure = Unreachable(f"{TLS_ALONE} {NAME_CA}")
        failure.lasts, failure.code = True, refusal.code
    failure.advice = ADVICE.get(refusal.code, "")
    raise failure


def _no_challenge() -> LoginFailed:
    return LoginFailed("the node answered the login with something else. Nothing was done.")
