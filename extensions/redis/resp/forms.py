"""The reply to a Redis client, made from the reply to a line of this store. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from raftline.wire.done_reply import NO_SUCH_KEY, is_done, word_in
from raftline.wire.key_stat import TYPED
from raftline.wire.protocol import real, size_of

from .entry import RESPONSE, VERB, answers_in, numbers_in
from .functions import FUNCTIONS
from .programs import in_capitals
from .replies import (
    OK,
    OK_LINE,
    QUEUED,
    WRONG_TYPE,
    Failure,
    Several,
    Simple,
    Value,
    bulk,
    failure_of,
    format_reply,
)
from .request_ledger import RequestLedger
from .session import RedisSession
from .strings import part_of
from .times import NO_KEY, NO_TIME, told
from .types.typed import type_in
from .view import HeldKey, View, held_of

Parameters = list[str]
EXECUTED: Final = "exec"  # the form of the reply to a whole transaction
_EXECUTED: Final = f"{EXECUTED}:"
_QUEUED_LINE: Final = f"+{QUEUED}\r\n"


def _value(reply: str, _: Parameters) -> Value:
    """Return the value in the reply to a `get`."""
    if not is_done(reply):
        return None
    text = reply.partition(": ")[2]
    return WRONG_TYPE if text.startswith(TYPED) else real(text)


def _range(reply: str, parameters: Parameters) -> Value:
    value = _value(reply, parameters)
    if isinstance(value, Failure):
        return value
    return part_of(value if isinstance(value, str) else "", *map(int, parameters))


def _met(reply: str, _: Parameters) -> Value:
    """Return 1 if the command was carried out, 0 if its condition did not hold."""
    return int(is_done(reply))


def _ok(_reply: str, _: Parameters) -> Value:
    return OK


def _number(reply: str, _: Parameters) -> Value:
    return int(reply.rpartition(" ")[2])


def _appended(reply: str, _: Parameters) -> Value:
    return int(reply.rsplit(" ", 2)[1])  # `… has 12 bytes`


def _strlen(reply: str, _: Parameters) -> Value:
    value = _value(reply, [])
    return value if isinstance(value, Failure) else size_of(str(value or ""))


def _type(reply: str, _: Parameters) -> Value:
    return Simple(type_in(reply.partition(": ")[2]) if _met(reply, []) else "none")


def _element(reply: str, parameters: Parameters) -> Value:
    """Return the reply of a command that reads one element of the value."""
    words = list(map(real, parameters))
    held = held_of(reply.partition(": ")[2], "") if is_done(reply) else HeldKey()
    view = View(lambda key: held, lambda lease: 0, 0, RequestLedger(0), str)
    return view.attempt(FUNCTIONS[in_capitals(words[0])].decide, words)


def _ttl(reply: str, parameters: Parameters) -> Value:
    if word_in(reply) == NO_SUCH_KEY:
        return NO_KEY
    if not _met(reply, []):
        return NO_TIME
    left_ms = max(0, round(1000 * float(reply.partition(": ")[2])))
    return told(parameters[0], left_ms, int(parameters[1]))


def _published(reply: str, parameters: Parameters) -> Value:
    """Return the number of receivers at this node; the entry counts none."""
    value = _entry(reply, parameters)
    return value if isinstance(value, Failure) else int(parameters[0])


def _entry(reply: str, _: Parameters) -> Value:
    """Return the reply to the only command of an entry."""
    values = answers_in(reply)
    return values[0] if values else None


def _executed(reply: str, parameters: Parameters) -> Value:
    """Return the replies to the commands of an entry; of a `PUBLISH`, the number of receivers at
    this node."""
    return [
        int(receivers) if receivers and not isinstance(value, Failure) else value
        for value, receivers in zip(answers_in(reply) or [], parameters, strict=True)
    ]


FORMS: Final[Mapping[str, Callable[[str, Parameters], Value]]] = {
    "append": _appended,
    "element": _element,
    EXECUTED: _executed,
    "get": _value,
    "incr": _number,
    "met": _met,
    "range": _range,
    "publish": _published,
    VERB: _entry,
    "set": _ok,
    "strlen": _strlen,
    "ttl": _ttl,
    "type": _type,
}


def value_of(form: str, key: str, reply: str) -> Value:
    """Return the value of a reply to a line on this key. That of a whole transaction has the
    replies to `MULTI` and to what was queued before it."""
    name, *parameters = form.split(":")
    failure = failure_of(reply, key)
    value = FORMS[name](reply, parameters) if failure is None else failure
    if name == EXECUTED:
        return Several([OK, *[QUEUED] * len(parameters), value])
    return value


def _format_numbers(form_and_key: str, reply: str) -> str:
    """Return the reply to an entry whose commands all replied with a number, "" to another one.
    `format_reply` makes the same of its value."""
    form = form_and_key.partition(" ")[0]
    is_whole = form.startswith(_EXECUTED) and not form.strip(_EXECUTED)
    numbers = numbers_in(reply) if is_whole or form == VERB else None
    if numbers is None:
        return ""
    text = "".join([f":{number}\r\n" for number in numbers])
    if not is_whole:
        return text
    count = len(numbers)
    return f"{OK_LINE}{_QUEUED_LINE * count}*{count}\r\n{text}"


class ReplyFormatter:
    """Formats the replies of one connection."""

    def __init__(self, session: RedisSession, read_no_more: Callable[[], None]) -> None:
        """`read_no_more` ends the connection after the replies."""
        self._session = session
        self._read_no_more = read_no_more

    def format(self, name: str, form_and_key: str, reply: str) -> str:
        """Return the reply to a line in the form of a command's reply, with the signature of
        `reply_line`. Without a form, the reply is a refusal that belongs to no line."""
        head, form = reply[:14], form_and_key[:4]
        if form == "get " and head == "GET response: ":
            self._session.was_served = True
            if "\\" not in reply:
                text = reply[14:]
                return f"${len(text)}\r\n{text}\r\n" if reply.isascii() else bulk(text)
        if form == "set " and head in ("SET response: ", "SETEX response"):
            self._session.was_served = True
            return OK_LINE
        if head == RESPONSE and (text := _format_numbers(form_and_key, reply)):
            self._session.was_served = True
            return text
        form, _, key = form_and_key.partition(" ")
        value = value_of(form, key, reply)
        last = value.items[-1] if isinstance(value, Several) else value
        if not isinstance(last, Failure):
            self._session.was_served = True
        elif self._session.ends_after(last):
            self._read_no_more()
        return format_reply(value, self._session.version)
