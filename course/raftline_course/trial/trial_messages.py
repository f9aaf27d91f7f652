"""Messages in the form of the course's simulator, and their lines in our protocol. Pure functions.

A message is a dictionary with source, destination, leader, req_category and Message-ID. A request
is `put` or `get`; an answer is `success`, `failure`, `forward2leader` or `unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from raftline.common.text import NUMBER_MAX
from raftline.wire.protocol import escape, unescape
from raftline.wire.replies.refusals import leader_named_in
from raftline.wire.replies.replies import RequestOutcome, outcome_of

UNKNOWN_LEADER = "unkown"  # the spelling that the course's programs expect
MESSAGE_ID = "Message-ID"
MANDATORY = ("source", "destination", "leader", "req_category", MESSAGE_ID)
REQUESTS = ("put", "get")
ANSWERS = ("success", "failure", "forward2leader", "unknown")
_ADDRESS = re.compile("[0-9]{4}", re.ASCII)
_FORMS = ("Message ID", "Message_ID")
_OPERANDS = {"put": ("key", "value"), "get": ("key",)}

Message = dict[str, Any]


def in_words(leader: str) -> str:
    """Return a leader's id for a person."""
    return "unknown" if leader == UNKNOWN_LEADER else leader


class BadMessage(ValueError):
    """An invalid message. The text names the missing or wrong component."""


def node_name(server: str) -> str:
    """Return the name of the node with this id in the protocol, where a name begins with a
    letter."""
    return f"s{server}"


def checked(message: object, known: Collection[str]) -> Message:
    """Return the message with its id written `Message-ID`; `known` are the existing ids.

    Raises:
        BadMessage: a component is missing or invalid.
    """
    if not isinstance(message, Mapping):
        raise BadMessage(f"a message is a dictionary, not {type(message).__name__}")
    plain = {MESSAGE_ID if key in _FORMS else key: value for key, value in message.items()}
    missing = [part for part in MANDATORY if part not in plain]
    if missing:
        raise BadMessage(f"the message lacks {', '.join(missing)}")
    for part in ("source", "destination"):
        check_address(plain[part], known, part)
    if plain["leader"] != UNKNOWN_LEADER:
        check_address(plain["leader"], known, "leader")
    category = plain["req_category"]
    if category not in (*REQUESTS, *ANSWERS):
        raise BadMessage(f"{category!r} is not a req_category: {', '.join((*REQUESTS, *ANSWERS))}")
    number = plain[MESSAGE_ID]
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= NUMBER_MAX:
        raise BadMessage(f"{number!r} is no {MESSAGE_ID}: a number from 0 to {NUMBER_MAX}")
    for operand in _OPERANDS.get(category, ()):
        if not isinstance(plain.get(operand), str):
            raise BadMessage(f"{category} lacks its {operand}, a text")
    return plain


def check_address(value: object, known: Collection[str], part: str) -> None:
    """Make sure that `value` is a known id. Raises BadMessage."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise BadMessage(f"{part} {value!r} is not an id: four digits, such as '0000'")
    if value not in known:
        raise BadMessage(f"{part} {value!r} is unknown here")


def line_of(request: Message) -> str:
    """Return the request line of a message, without its newline."""
    sender = f"c{request['source']}#{request[MESSAGE_ID]}"
    key = escape(request["key"], key=True)
    if request["req_category"] == "get":
        return f"{sender}@get {key}"
    return f"{sender}@set {key} {escape(request['value'], key=False)}"


def answer_to(request: Message, text: str) -> Message:
    """Return the message for a node's reply to `request`."""
    message: Message = {
        "source": request["destination"],
        "destination": request["source"],
        "leader": UNKNOWN_LEADER,
        "req_category": "failure",
        MESSAGE_ID: request[MESSAGE_ID],
    }
    outcome = outcome_of(text)
    if outcome is RequestOutcome.NO_LEADER:
        named = leader_named_in(text)
        leader = named[0][1:] if named else UNKNOWN_LEADER
        return {**message, "req_category": "forward2leader", "leader": leader}
    if outcome is RequestOutcome.UNKNOWN:
        return {**message, "req_category": "unknown", "reason": text}
    message["leader"] = request["destination"]  # only a leader sends more than a redirect
    if outcome is not RequestOutcome.DONE:
        absent = outcome is RequestOutcome.ABSENT
        return {**message, "reason": "no such key" if absent else text, "absent": absent}
    if request["req_category"] == "get":
        message["value"] = unescape(text.partition(": ")[2])
    return {**message, "req_category": "success"}
