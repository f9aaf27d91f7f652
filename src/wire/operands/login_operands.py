"""The operands of a login: a name and a password, or a SCRAM message. Pure.

No error message here repeats the typed text: it may hold a password.
"""

from __future__ import annotations

import re

from ..limits import PASSWORD_CHARACTERS, SCRAM_CHARACTERS
from ..protocol import NAME, ProtocolError
from .operands import Limits, Operands

ITERATIONS_LEAST, ITERATIONS_MOST = 4096, 10_000_000  # RFC 7677; more would take minutes
_NOTHING = "Nothing was done."
# SASLprep (RFC 4013) leaves these characters unchanged, so each password has one form.
_PASSWORD = re.compile(rf"[ -~]{{1,{PASSWORD_CHARACTERS}}}")
_MESSAGE = re.compile(rf"[!-~]{{1,{SCRAM_CHARACTERS}}}")


def why_no_password(text: str) -> str:
    """Return why this is not a valid password, or ""."""
    if _PASSWORD.fullmatch(text):
        return ""
    return f"a password has 1 to {PASSWORD_CHARACTERS} characters of ASCII, spaces too"


def without_password(command: str) -> str:
    """Return a command in a form that may be shown and stored: a login loses its password."""
    words = command.split()
    if words[:1] != ["login"]:
        return command
    return " ".join([*words[:2], *["***"] * (len(words) > 2)])


def _read_login(verb: str, operands: str, limits: Limits) -> str:
    """Parse `login NAME PASSWORD`. The password is the rest of the line."""
    name, space, password = operands.partition(" ")
    if not name or not space or not password:
        raise ProtocolError(f"the form is: {verb} NAME PASSWORD. {_NOTHING}")
    if not NAME.fullmatch(name):
        what = "a letter, then letters, digits, _ . or -, at most 64 in all"
        raise ProtocolError(f"the name of a user is {what}: {verb} NAME PASSWORD. {_NOTHING}")
    if why := why_no_password(password):
        raise ProtocolError(f"{why}. {_NOTHING}")
    return f"{verb} {name} {password}"


def _read_message(verb: str, operands: str, limits: Limits) -> str:
    """Parse `auth MESSAGE`, one of the two messages that a client sends (RFC 5802)."""
    message = operands.rstrip(" ")
    if not _MESSAGE.fullmatch(message):
        raise ProtocolError(
            f"the form is: {verb} MESSAGE, one word of SCRAM-SHA-256 of at most {SCRAM_CHARACTERS}"
            f" characters. {_NOTHING}"
        )
    return f"{verb} {message}"


NAME_PASSWORD = Operands("NAME PASSWORD", _read_login)
MESSAGE = Operands("MESSAGE", _read_message)
