"""The reply to a Redis client, made from the reply to a line of this store. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ..wire.protocol import real
from .replies import OK, OK_LINE, Value, bulk, failure_of, spell
from .session import Session


def _value(reply: str) -> Value:
    """Return the value in the reply to a `get`."""
    before, _, text = reply.partition(": ")
    return real(text) if before.endswith(" response") else None


def _is_met(reply: str) -> Value:
    """Return 1 if the command was carried out, 0 if its condition did not hold."""
    return int(" response: " in reply[:32])


def _ok(reply: str) -> Value:
    return OK


FORMS: Final[Mapping[str, Callable[[str], Value]]] = {
    "get": _value,
    "set": _ok,
    "delete": _is_met,
}


def value_of(form: str, key: str, reply: str) -> Value:
    """Return the value of a reply to a line on this key."""
    if reply.startswith("Sorry"):
        failure = failure_of(reply, key)
        if failure is not None:
            return failure
    return FORMS[form](reply)


class Speller:
    """Spells the replies of one connection. It has the signature of `reply_line`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, name: str, form_and_key: str, reply: str) -> str:
        """Return the reply to a line in the form of a command's reply. Without a form, the reply is
        a refusal that belongs to no line."""
        form, _, key = form_and_key.partition(" ")
        if form == "set" and reply.startswith("SET response: "):  # nearly always
            return OK_LINE
        if form == "get" and reply.startswith("GET response: ") and "\\" not in reply:
            return bulk(reply[14:])
        return spell(value_of(form, key, reply), self._session.version)
