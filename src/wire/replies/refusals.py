"""Reading of refusals: from a value, from a line with a code, or from a sentence alone. Pure."""

from __future__ import annotations

import re
from typing import Final

from ..protocol import reply_line
from ..refusal import NOT_UNDERSTOOD, SORRY, Refusal, is_refusal, reply_of

CODES_ID: Final = "0"  # of the line with which our clients request codes
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_CODED = re.compile(r"Sorry \[([a-z-]+)((?: \S+?)*)\] (.*)\Z", re.ASCII | re.DOTALL)


def refusal_in(reply: str) -> Refusal | None:
    """Return the refusal in a reply, with or without a code; None for other replies."""
    if not is_refusal(reply):
        return None
    if isinstance(reply, Refusal):
        return reply
    if reply.startswith(SORRY):
        return reply_of(reply.removeprefix(SORRY))
    match = _CODED.match(reply)
    if match is None:
        return None
    code, facts, sentence = match.groups()
    return Refusal(code, sentence, *facts.split())


def leader_named_in(reply: str) -> tuple[str, str, int] | None:
    """Return (name, host, port) if a reply redirects a client to the leader; otherwise None."""
    refusal = refusal_in(reply)
    return None if refusal is None else leader_in(refusal)


def leader_in(refusal: Refusal) -> tuple[str, str, int] | None:
    """Return the leader's (name, host, port) if a refusal names it; otherwise None."""
    if refusal.code != "not-leader" or len(refusal.facts) != 2:
        return None
    name, address = refusal.facts
    host, _, port = address.rpartition(":")
    if not _PORT.fullmatch(port):
        return None
    return name, host.removeprefix("[").removesuffix("]"), int(port)


def with_code(reply: str) -> str:
    """Return a reply in the form for a connection that requested codes."""
    refusal = refusal_in(reply)
    return reply if refusal is None else refusal.coded


def coded_line(name: str, request_id: str, text: str) -> str:
    """Return the line of a reply, like `reply_line`, with a code if it is a refusal."""
    return reply_line(name, request_id, with_code(text) if is_refusal(text) else text)


def codes_line(sender: str, cluster: str = "") -> bytes:
    """Return the line with which a client requests codes, before its first request. A node of
    another cluster than `cluster` then refuses the request. The client does not wait for the
    answer: an earlier build refuses the line, and the client then reads sentences."""
    return f"{sender}#{CODES_ID}@codes {cluster}".rstrip(" ").encode()


def answers_codes(line: bytes) -> bool:
    """Whether the first line of a connection answers `codes_line`. If not, the node sent another
    line first, for example a refusal because it is full."""
    before, _, text = line.partition(b"@")
    if before.endswith(f"#{CODES_ID}".encode()):
        return True
    refusal = refusal_in(text.decode("utf-8", "surrogateescape").rstrip("\r"))
    return refusal is not None and refusal.code == NOT_UNDERSTOOD.code  # a node that reads no ids


def code_of(reply: str) -> str:
    """Return the code of a refusal, "" for any other reply."""
    refusal = refusal_in(reply)
    return "" if refusal is None else refusal.code


def for_people(reply: str) -> str:
    """Return the text of a reply for people, without a code."""
    refusal = refusal_in(reply)
    return reply if refusal is None else str(refusal)


def sentence_of(reply: str) -> str:
    """Return the sentence of a reply for people, without `Sorry, ` and without a code."""
    refusal = refusal_in(reply)
    return reply if refusal is None else refusal.sentence
