"""A client's requests, read into the one canonical spelling that the log will hold. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from raftline.raft.entries import NUMBER_MAX
from raftline.wire.escapes import ProtocolError, escape, shown, unescape
from raftline.wire.forms import MEMBER_VERBS
from raftline.wire.operands import Unfit, operands_of
from raftline.wire.strictjson import DEPTH_MAX, NotJsonError, read_json, spell_json

COMMANDS = "get KEY, set KEY VALUE, delete KEY, show, help"
NOT_UNDERSTOOD = "I don't understand: "
READ_MODES = ("index", "lease", "log", "local")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
_OFFSET = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)


class Request(NamedTuple):
    """One understood command. `command` is its one canonical spelling, as it stands in the log."""

    sender: str  # "" for an anonymous person
    id: str  # "" where none was given
    verb: str
    command: str
    read: str = ""  # how a get or show asks to be read, "" where it does not


class Limits(NamedTuple):
    """How long keys and values may be, in bytes as they are after unescaping."""

    key_bytes: int = 1024
    value_bytes: int = 1 << 20

    @property
    def line_bytes(self) -> int:
        """The longest line to accept: key and value with every byte escaped, name, id, verb."""
        return 4 * (self.key_bytes + self.value_bytes) + 256

    @property
    def line_too_long(self) -> str:
        """The answer, behind `Sorry, `, to a line over `line_bytes`."""
        return (
            f"this line is longer than {self.line_bytes} bytes; nothing of it was done. A key has"
            f" at most {self.key_bytes} bytes, a value {self.value_bytes}."
        )


def read_request(sender: str, request_id: str, message: str, limits: Limits) -> Request:
    """Return the command in canonical spelling, so that two spellings of a key are one key.

    Spaces before the command are dropped, and after it unless it ends in a value. A value is
    all that follows the one space behind the key, kept to the byte.

    Raises:
        ProtocolError: no such command, an operand missing or too many, a key or value too long.
    """
    message = message.lstrip(" ")
    verb, _, operands = message.partition(" ")
    reader = _READERS.get(verb)
    if reader is None:
        if not verb:
            raise ProtocolError(f"the line is empty. Try: {COMMANDS}")
        raise ProtocolError(f"{NOT_UNDERSTOOD}{shown(message.rstrip(' '))}. Try: {COMMANDS}")
    read = ""
    if verb in ("get", "show"):
        message, read = _without_read_mode(verb, message.rstrip(" "))
        operands = message.partition(" ")[2]
    if verb == "session" and not sender:
        raise ProtocolError("a session needs a name before it: NAME@session")
    return Request(sender, request_id, verb, reader(verb, operands, limits), read)


def _without_read_mode(verb: str, message: str) -> tuple[str, str]:
    """Return a get or show without ` read MODE` at its end, and that mode."""
    words = message.split(" ")
    if words[-2:-1] != ["read"] or len(words) < (4 if verb == "get" else 3):
        return message, ""
    if words[-1] not in READ_MODES:
        modes = ", ".join(READ_MODES)
        raise ProtocolError(f"there is no read {shown(words[-1])}; there is {modes}")
    if verb == "show" and words[-1] == "log":
        raise ProtocolError("a show is never an entry of the log; read index, lease or local")
    return " ".join(words[:-2]), words[-1]


def _read_value(verb: str, operands: str, limits: Limits) -> str:
    """`VERB KEY VALUE`: the value is the rest of the line."""
    key, space, value = operands.partition(" ")
    if not key:
        raise ProtocolError(f"the key is missing: {verb} KEY VALUE, with one space before the key")
    if not space:
        raise ProtocolError(f"the value is missing: {verb} KEY VALUE (a space alone: empty value)")
    key = _canonical("key", key, limits.key_bytes)
    return f"{verb} {key} {_canonical('value', value, limits.value_bytes)}"


def _read_key(verb: str, operands: str, limits: Limits) -> str:
    """`VERB KEY`."""
    operand = operands.rstrip(" ")
    if not operand or operand[0] == " ":
        raise ProtocolError(f"the key is missing: {verb} KEY, with one space before the key")
    if " " in operand:
        raise ProtocolError(rf"{verb} takes one key; a space inside a key is written \s")
    return f"{verb} {_canonical('key', operand, limits.key_bytes)}"


def _read_cas(verb: str, operands: str, limits: Limits) -> str:
    key, _, rest = operands.partition(" ")
    old, space, new = rest.partition(" ")
    if not key or not space:
        raise ProtocolError(
            r"cas KEY OLD NEW: the value is set to NEW where it is OLD; a space inside OLD is"
            r" written \s"
        )
    key = _canonical("key", key, limits.key_bytes)
    old = escape(unescape(old), key=True)
    return f"{verb} {key} {old} {_canonical('value', new, limits.value_bytes)}"


def _read_incr(verb: str, operands: str, limits: Limits) -> str:
    key, space, by = operands.rstrip(" ").partition(" ")
    if not key or " " in by:
        raise ProtocolError(r"incr KEY [BY]: one key and one number; a space inside a key is \s")
    key = _canonical("key", key, limits.key_bytes)
    if not space:
        return f"{verb} {key}"
    if not _WHOLE_NUMBER.fullmatch(by) or abs(int(by)) > NUMBER_MAX:
        raise ProtocolError(f"{shown(by)} is no whole number from -(2^63-1) to 2^63-1")
    return f"{verb} {key} {by}"


def _read_object(verb: str, operands: str, limits: Limits) -> str:
    """`object KEY OPERATION [JSON ...]`: each JSON value in its one spelling."""
    key, _, rest = operands.strip(" ").partition(" ")
    operation, _, text = rest.partition(" ")
    if not key or not operation:
        raise ProtocolError('the form is: object KEY OPERATION [JSON ...]: object s dict.put "a" 1')
    key = _canonical("key", key, limits.key_bytes)
    try:
        given = operands_of(operation, unescape(text))
    except Unfit as problem:
        raise ProtocolError(f"{problem}. Nothing was done.") from None
    spelled = " ".join(map(spell_json, given))
    spelled = _canonical("value", escape(spelled, key=False), limits.value_bytes)
    return f"{verb} {key} {operation} {spelled}".rstrip(" ")


def _read_machine(verb: str, operands: str, limits: Limits) -> str:
    """`machine NAME JSON`: a command for a state machine of the program's own."""
    key, _, text = operands.strip(" ").partition(" ")
    if not key or not text:
        raise ProtocolError("the form is: machine NAME JSON")
    key = _canonical("key", key, limits.key_bytes)
    try:
        spelled = spell_json(read_json(unescape(text), DEPTH_MAX))
    except NotJsonError as problem:
        raise ProtocolError(f"{problem}. Nothing was done.") from None
    spelled = _canonical("value", escape(spelled, key=False), limits.value_bytes)
    return f"{verb} {key} {spelled}"


def _read_show(verb: str, operands: str, limits: Limits) -> str:
    prefix, after = show_operands(f"{verb} {operands.strip(' ')}".rstrip(" "))
    command = verb
    if prefix:
        command += " " + _canonical("key", prefix, limits.key_bytes)
    if after:
        command += " after " + _canonical("key", after, limits.key_bytes)
    return command


def _read_transfer(verb: str, operands: str, limits: Limits) -> str:
    name = operands.strip(" ")
    if name and not NAME.fullmatch(name):
        raise ProtocolError("transfer takes the name of one server, or none: transfer s3")
    return f"{verb} {name}".rstrip(" ")


def _read_members(verb: str, operands: str, limits: Limits) -> str:
    """Words with one space between them; which ones, membercommands.read_change looks at."""
    return " ".join([verb, *operands.split()])


def _read_backup(verb: str, operands: str, limits: Limits) -> str:
    """`backup` begins one, `backup from BYTE` asks for a piece of it."""
    words = operands.split()
    if not words:
        return verb
    if len(words) != 2 or words[0] != "from" or not _OFFSET.fullmatch(words[1]):
        raise ProtocolError("the form is: backup, then backup from BYTE")
    return f"{verb} from {words[1]}"


def _read_bare(verb: str, operands: str, limits: Limits) -> str:
    """A command without operands."""
    if operands.strip(" "):
        line = shown(f"{verb} {operands}".rstrip(" "))
        raise ProtocolError(f"{NOT_UNDERSTOOD}{line}. Try: {COMMANDS}")
    return verb


_READERS: dict[str, Callable[[str, str, Limits], str]] = {
    "set": _read_value,
    "setnx": _read_value,
    "append": _read_value,
    "get": _read_key,
    "delete": _read_key,
    "cas": _read_cas,
    "incr": _read_incr,
    "object": _read_object,
    "machine": _read_machine,
    "show": _read_show,
    "transfer": _read_transfer,
    "backup": _read_backup,
    "help": _read_bare,
    "status": _read_bare,
    "session": _read_bare,
    **dict.fromkeys(MEMBER_VERBS, _read_members),
}
VERBS = frozenset(_READERS)


def _canonical(what: str, text: str, limit: int) -> str:
    if "\\" in text or not text.isprintable():
        if what == "key" and "\t" in text:
            raise ProtocolError(r"a tab inside a key is written \t")
        raw = unescape(text)
        text = escape(raw, what == "key")
    else:
        raw = text
    size = len(raw) if raw.isascii() else len(raw.encode("utf-8", "surrogateescape"))
    if size > limit:
        raise ProtocolError(f"the {what} has {size} bytes; the limit is {limit}. Nothing was done.")
    return text


def show_operands(command: str) -> tuple[str | None, str | None]:
    """Return (prefix, after) of `show [PREFIX] [after KEY]`, still escaped.

    `show after` asks for the prefix `after`; `show after k` for what follows the key `k`.

    Raises:
        ProtocolError: the words after `show` have another form.
    """
    match command.split(" "):
        case ["show"]:
            return None, None
        case ["show", prefix] if prefix:
            return prefix, None
        case ["show", "after", after] if after:
            return None, after
        case ["show", prefix, "after", after] if prefix and after:
            return prefix, after
    raise ProtocolError(r"show takes [PREFIX] [after KEY]; a space inside a key is written \s")
