"""The parts of a reply that refuses nothing: `GET response: 5`, or `…, no such key: b`. Pure.

A request that was done has a colon after `response`. If its condition did not hold, a word of the
protocol comes first: one of this module, or of the command's row. Programs compare the word.
"""

from __future__ import annotations

from typing import Final, NamedTuple

NO_SUCH_KEY: Final = "no such key"
KEY_EXISTS: Final = "key exists"
NO_MATCH: Final = "no match"
NOT_DONE: Final = "not done"
NO_SUCH_LEASE: Final = "no such lease"
NO_LEASE: Final = "no lease"
NO_SUCH_USER: Final = "no such user"
USER_EXISTS: Final = "user exists"
NO_SUCH_ROLE: Final = "no such role"
ROLE_EXISTS: Final = "role exists"
THEN: Final = "then"  # of a transaction whose conditions held: it was done,
ELSE: Final = "else"  # and of one whose conditions did not hold
NOT_MET: Final = frozenset({
    NO_SUCH_KEY, KEY_EXISTS, NO_MATCH, NOT_DONE, NO_SUCH_LEASE, NO_LEASE,
    NO_SUCH_USER, USER_EXISTS, NO_SUCH_ROLE, ROLE_EXISTS, ELSE,
})  # fmt: skip

_RESPONSE: Final = " response"


class DoneReply(NamedTuple):
    """The parts of a reply."""

    verb: str
    word: str  # "no such key"; "" if the request was done
    rest: str


def with_word(verb: str, word: str, what: object) -> str:
    """Return a reply with a word."""
    return f"{verb}{_RESPONSE}, {word}: {what}"


def done_reply(text: str) -> DoneReply | None:
    """Return the parts of a reply; None if it has another form."""
    head, colon, rest = text.partition(": ")
    verb, response, word = head.partition(_RESPONSE)
    return DoneReply(verb, word.removeprefix(", "), rest) if colon and response else None


def word_in(text: str) -> str:
    """Return the word of the condition that did not hold, "" for any other reply."""
    parts = done_reply(text)
    return "" if parts is None else parts.word


def is_done(text: str) -> bool:
    """Whether a reply has no such word, so that what was asked comes after the first colon."""
    return text.startswith(f"{_RESPONSE}: ", max(0, text.find(" ")))
