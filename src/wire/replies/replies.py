"""The meaning of a reply: its outcome, and its forms for people and for programs."""

from __future__ import annotations

import json
import re
import sys
from base64 import b64encode
from typing import Any, NamedTuple

from ..commands.command_table import COMMANDS, FOREIGN, ReplyForm, read_request, row_of
from ..done_reply import ELSE, NO_SUCH_KEY, NOT_MET, DoneReply, done_reply, word_in
from ..operands.lease_operands import without_lease
from ..operands.operands import Limits
from ..protocol import (
    ProtocolError,
    decode_line,
    escape,
    real,
    split_sender,
    without_controls,
)
from ..refusal import NOT_UNDERSTOOD
from ..refusal import RequestOutcome as RequestOutcome
from .refusals import for_people, leader_named_in, refusal_in, sentence_of

NOT_RECOGNIZED = ">> Command not recognized"
NOT_FOUND = "Entry not found"  # on the screen, as in the course's figures
_ROWS = {verb.upper(): row for verb, row in COMMANDS.items()}  # by the verb in a reply
_NOT_MET = NOT_MET.union(*[row.not_met for row in COMMANDS.values()])


_LONE = re.compile(r"[\ud800-\udfff]")


class Reply(NamedTuple):
    """An answer: the name of its server, and its text without the name (`GET response: 5`)."""

    server: str
    text: str


def read_reply(raw: bytes) -> Reply | None:
    """Return the reply in a line without its newline; None if the line can't come from a node."""
    try:
        name, _, text = split_sender(without_controls(raw.decode("utf-8", "surrogateescape")))
    except ProtocolError:
        return None
    return Reply(name, text) if name else None


def outcome_of(text: str) -> RequestOutcome:
    """Return the outcome of the request with this reply."""
    if refusal := refusal_in(text):
        return refusal.outcome
    return RequestOutcome.ABSENT if word_in(text) in _NOT_MET else RequestOutcome.DONE


def outcome_to(command: str, text: str) -> RequestOutcome:
    """Return the outcome of this command with this reply. A mistake in the command is a usage
    error, even if a node refuses it."""
    return or_usage(command, outcome_of(text))


def or_usage(command: str, outcome: RequestOutcome) -> RequestOutcome:
    """Return the outcome, or a usage error if the command was refused and has a mistake."""
    is_usage = outcome is RequestOutcome.REFUSED and mistake_in(command)
    return RequestOutcome.USAGE if is_usage else outcome


def mistake_in(command: str) -> str:
    """Return why no node can accept the command, whatever its state: an unknown command, a missing
    or extra word, or text that can't be in a line. Return "" if a node may accept it."""
    try:
        if decode_line(command.encode("utf-8", "surrogateescape")) != command:
            return "the command holds characters that a line can't carry."
        request = read_request("client", "", command, Limits(sys.maxsize, sys.maxsize))
        if row_of(command).handling.kind == "members":
            from ..commands.member_commands import read_change  # needed only after a mistake

            read_change(request.command)
    except (ProtocolError, UnicodeError) as mistake:
        return str(mistake)
    return ""


def _parts(text: str) -> DoneReply:
    return done_reply(text) or DoneReply("", "", text)


def _pairs(rest: str) -> tuple[dict[str, str], str]:
    """Return the pairs of a `show`, and the command for the next page or "".

    docs/use/protocol.md has the form.

    Raises:
        ValueError: the text is not the JSON that a node writes.
    """
    pairs, end = json.JSONDecoder().raw_decode(rest)
    if not isinstance(pairs, dict):
        raise ValueError("no pairs")
    return pairs, rest[end:].removeprefix(" more: ")


def pairs_of(text: str) -> tuple[dict[str, str], str]:
    """Return the pairs in the reply to a `show`, and the command for the next page or "".

    Raises:
        ValueError: the reply does not have the form that a node writes.
    """
    return _pairs(_parts(text)[2])


def value_in(text: str) -> str:
    """Return the result in a successful reply for a program: a value, pairs as JSON, or ""."""
    verb, _, rest = _parts(text)
    form = _ROWS.get(verb, FOREIGN).reply
    if form is ReplyForm.LEASE:
        return rest.partition(" ")[0]
    return "" if form in (ReplyForm.WRITTEN, ReplyForm.DELETED) else rest


def screen_lines(text: str) -> list[str]:
    """Return the screen lines of the reply, in the words of the course program's figures."""
    if (refusal := refusal_in(text)) is not None:
        unknown = [NOT_RECOGNIZED] if refusal.code == NOT_UNDERSTOOD.code else []
        return [*unknown, for_people(text)]
    verb, word, rest = _parts(text)
    if not verb:
        return [text]
    form = _ROWS.get(verb, FOREIGN).reply
    if word:
        body = [NOT_FOUND if word == NO_SUCH_KEY else f"{word}: {rest}"]
    elif form is ReplyForm.DELETED:
        body = [rest.removesuffix(" deleted") + " has been deleted"]
    elif form is ReplyForm.PAIRS:
        body = _shown_pairs(rest)
    elif rest == NOT_FOUND:
        body = [rest, "(this is the value: the key is there)"]
    else:
        body = [rest]
    return [f">> {verb} response:", *body]


def _shown_pairs(rest: str) -> list[str]:
    try:
        pairs, more = _pairs(rest)
    except ValueError:
        return [rest]
    lines = [
        without_controls(f"'{escape(key, True)}': '{escape(str(value), False)}'")
        for key, value in pairs.items()
    ]
    return [*lines, f"more: {more}"] if more else lines


def as_json(command: str, reply: Reply) -> str:
    """Return the reply as one JSON object in one line, with keys and values unescaped.

    A value that is not UTF-8 is null, and its bytes are in `base64`. Pairs whose key or value is
    not UTF-8 are in `base64` instead of `pairs`, and such a key is in `key_base64`. Elsewhere such
    a byte is escaped as in a line, `\\xNN`.
    """
    outcome = outcome_to(command, reply.text)
    typed = command.lstrip(" ")
    fields: dict[str, Any] = {"ok": outcome is RequestOutcome.DONE, "verb": typed.partition(" ")[0]}
    command = without_lease(typed)
    if row_of(command).operands.begins_with_key:
        fields["key"] = real(command.partition(" ")[2].partition(" ")[0])
    if command != typed:
        fields["lease"] = typed.split(" ")[1]
    if outcome is RequestOutcome.DONE:
        fields |= _facts(command, reply.text)
    else:
        word = word_in(reply.text)
        fields["error"] = word if word in _NOT_MET else sentence_of(reply.text)
        fields["code"] = int(outcome)
        if word == ELSE:
            fields |= _facts(command, reply.text)
        leader = leader_named_in(reply.text)
        if leader:
            fields["leader"] = dict(zip(("name", "host", "port"), leader, strict=True))
    if reply.server:
        fields["server"] = reply.server
    return valid_json(fields)


def valid_json(fields: Any) -> str:
    """Return the fields as JSON that every reader accepts, without the lone surrogates with which
    Python represents bytes that are not UTF-8. An object has such keys, values and pairs in
    base64."""
    if is_text(json.dumps(fields, ensure_ascii=False)):
        return json.dumps(fields)
    return json.dumps(_without_lone(_with_base64(fields) if isinstance(fields, dict) else fields))


def is_text(text: str) -> bool:
    """Whether all bytes of the text are UTF-8."""
    return not _LONE.search(text)


def base64_of(text: str) -> str:
    """Return the bytes of the text in base64."""
    return b64encode(text.encode("utf-8", "surrogateescape")).decode()


def _with_base64(fields: dict[str, Any]) -> dict[str, Any]:
    result = dict(fields)
    key, value, pairs = fields.get("key"), fields.get("value"), fields.get("pairs")
    if isinstance(value, str) and not is_text(value):
        result |= {"value": None, "base64": base64_of(value)}
    if isinstance(key, str) and not is_text(key):
        result["key_base64"] = base64_of(key)
    if isinstance(pairs, dict):
        result["pairs"] = {name: each for name, each in pairs.items() if is_text(f"{name}{each}")}
        result["base64"] = {
            base64_of(name): base64_of(str(each))
            for name, each in pairs.items()
            if name not in result["pairs"]
        }
    return result


def _without_lone(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE.sub(lambda match: f"\\x{ord(match[0]) - 0xDC00:02x}", value)
    if isinstance(value, dict):
        return {_without_lone(key): _without_lone(each) for key, each in value.items()}
    return [_without_lone(each) for each in value] if isinstance(value, list) else value


def _facts(command: str, text: str) -> dict[str, Any]:
    verb, branch, rest = _parts(text)
    row = _ROWS.get(verb, FOREIGN)
    try:
        match row.reply:
            case ReplyForm.RESULTS:
                return {"branch": branch, "results": json.loads(rest)}
            case ReplyForm.VALUE | ReplyForm.NUMBER | ReplyForm.RESULT:
                return {"value": _value(row.reply, rest)}
            case ReplyForm.WRITTEN:
                return {"value": real(row.operands.value_in(command.lstrip(" ")))}
            case ReplyForm.LEASE:
                lease, _, seconds = rest.partition(" for ")
                return {"lease": lease, "seconds": json.loads(seconds.removesuffix(" s"))}
            case ReplyForm.FACTS:
                return {row.verb: json.loads(rest)}
            case ReplyForm.PAIRS:
                pairs, more = _pairs(rest)
                return {"pairs": pairs, "more": more} if more else {"pairs": pairs}
            case ReplyForm.DELETED:
                return {}
    except ValueError:
        pass  # not the form that a node writes: returned unchanged
    return {"text": rest}


def _value(form: ReplyForm, rest: str) -> Any:
    if form is ReplyForm.NUMBER:
        return int(rest)
    return real(rest) if form is ReplyForm.VALUE else json.loads(real(rest))
