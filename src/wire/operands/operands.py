"""The operands of each command: their typed forms, and their canonical form in the log. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import cache
from typing import NamedTuple

from ...common.text import NUMBER, NUMBER_MAX, is_printable
from ...raft.identity import CLUSTER
from ..commands.observe_lines import observe_operands
from ..commands.watch_lines import WatchAsked, format_watch, watch_operands
from ..limits import KEY_BYTES, VALUE_BYTES
from ..protocol import NAME, ProtocolError, escape, shown, size_of, unescape
from ..refusal import (
    KEY_TOO_LONG,
    LINE_TOO_LONG,
    NOT_UNDERSTOOD,
    PREFIX_TOO_LONG,
    VALUE_TOO_LONG,
    Refusal,
)
from ..strict_json import DEPTH_MAX, NotJsonError, format_json, read_json

TRY = "Try: get KEY, set KEY VALUE, delete KEY, show, help"
ALL_KEYS = 1 << 30  # all operands have the form of keys
_TOO_LONG = {"key": KEY_TOO_LONG, "prefix": PREFIX_TOO_LONG, "value": VALUE_TOO_LONG}
_OPTIONAL = re.compile(r"\[[^]]*\]")
# In a form. `after KEY` is where a page begins, and LEASE=MS a time.
_CAPITALS = re.compile(r"(?<!after )\b[A-Z]+\b(?!=)")
_OFFSET = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_CLUSTER = re.compile(CLUSTER, re.ASCII)
WITH_INDEX = " with index"  # at the end of a show
WHOLE_NUMBER = "whole number from -(2^63-1) to 2^63-1"
_WHOLE_NUMBER = re.compile(rf"0|-?{NUMBER}")


class Limits(NamedTuple):
    """The maximum lengths of keys and values, in bytes after unescaping."""

    key_bytes: int = KEY_BYTES
    value_bytes: int = VALUE_BYTES

    @property
    def line_bytes(self) -> int:
        """The longest accepted line: a key and a value with every byte escaped, name, id and
        verb."""
        return 4 * (self.key_bytes + self.value_bytes) + 256

    @property
    def line_too_long(self) -> Refusal:
        """The reply to a line over `line_bytes`."""
        limits = f"A key has at most {self.key_bytes} bytes, a value {self.value_bytes}."
        return LINE_TOO_LONG(self.line_bytes, limits)


NO_LIMITS = Limits(1 << 62, 1 << 62)  # for a line that a node with other limits reads


class Kind(Enum):
    """A thing for which a command takes rights. The value is its word in a form."""

    KEY = "KEY"
    PREFIX = "PREFIX"
    LEASE = "LEASE"
    CLAIM = "CLAIM"  # of a lease: extensions/recipes/recipes-as-entries.md
    PART = "CONDITION"  # or an operation, which takes rights for itself


class Name(NamedTuple):
    """A key, a prefix or a lease that a command names."""

    kind: Kind
    text: str


class Operands(NamedTuple):
    """A form of operands, which several commands may share."""

    form: str  # for the help, "" if a command takes no operands
    read: Callable[[str, str, Limits], str]
    """Return the command in canonical form from its verb and the text after the verb and a space.

    Raises:
        ProtocolError: an operand is missing, extra, too long or malformed.
    """
    keys: int = 0  # this many at the front have no space; the rest of the line is one value
    is_line: bool = False  # a single argument may be the whole line, as typed
    is_public: bool = False  # without values and secrets: a console may show it
    names: Callable[[str], Iterable[Name]] | None = None
    """Return what a command in canonical form names, if places in the form don't tell.

    Raises:
        ProtocolError: it is in no canonical form.
    """

    @property
    def needed(self) -> tuple[str, ...]:
        """The required operands."""
        return _needed(self.form)

    @property
    def begins_with_key(self) -> bool:
        """Whether the first operand is always a key."""
        return self.form.startswith("KEY")

    @property
    def ends_in_value(self) -> bool:
        """Whether the rest of the line after the keys is a value."""
        return 0 < self.keys < ALL_KEYS

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of things that the form names."""
        words = _CAPITALS.findall(self.form)
        return frozenset([kind for kind in Kind if kind.value in words])

    @property
    def unknown(self) -> list[str]:
        """The words of the form that are not declared as keys or otherwise."""
        words = _CAPITALS.findall(self.form)
        if self.ends_in_value:
            words.pop()
        return [word for word in words if word not in _MEANINGS]

    @property
    def unplaced(self) -> list[str]:
        """The words of the form that name something at a place which nothing tells."""
        if self.names is not None or Kind.PART in self.kinds:
            return []
        placed = [kind.value for kind, _ in _places(self.form)]
        named = [word for word in _CAPITALS.findall(self.form) if word in _KINDS]
        return named[len(placed) :]

    def named_in(self, command: str) -> Iterable[Name]:
        """Return what a command in canonical form names.

        Raises:
            ProtocolError: it is in no canonical form.
        """
        if self.names is not None:
            return self.names(command)
        places = _places(self.form)
        words = command.split(" ", places[-1][1] + 1) if places else []
        if places and len(words) <= places[-1][1]:
            raise ProtocolError(not_understood(command))
        return [Name(kind, words[place]) for kind, place in places]

    def format(self, words: Sequence[str]) -> str:
        """Return the operands in the form of a typed line; each word is one unescaped operand."""
        if self.is_line:
            return words[0] if len(words) == 1 else " ".join(map(_format_word, words))
        typed = [escape(word, key=True) for word in words[: self.keys]]
        if rest := words[self.keys :]:
            typed.append(escape(" ".join(rest), key=False))
        return " ".join(typed)

    def value_in(self, command: str) -> str:
        """Return the value at the end of a command with a value."""
        return command.split(" ", self.keys + 1)[-1]


_KINDS = {kind.value: kind for kind in Kind}
# The other words of the forms: a word that is not here may name a key, so no row can be made of it.
_MEANINGS = {
    *_KINDS, "BY", "CLUSTER", "COMMAND", "COUNT", "INDEX", "JSON", "MAX", "MESSAGE", "MODE", "NAME",
    "NOW", "MS", "NUMBER", "OLD", "OPERATION", "PASSWORD", "SECONDS", "TOKEN", "VALUE",
}  # fmt: skip


@cache
def _places(form: str) -> tuple[tuple[Kind, int], ...]:
    """Return what the words of a form name, up to the first one that may be left out, and their
    places in a command."""
    words = form.partition("[")[0].split()
    return tuple([(_KINDS[word], place) for place, word in enumerate(words, 1) if word in _KINDS])


@cache
def _needed(form: str) -> tuple[str, ...]:
    return tuple([word for word in _OPTIONAL.sub("", form).split() if word.isalpha()])


def _format_word(word: str) -> str:
    r"""Return a word of a line, in which an empty word is written `\e`."""
    return escape(word, key=True) or r"\e"


def not_understood(line: str, advice: str = TRY) -> Refusal:
    """Return the refusal of a line that is not a command."""
    return NOT_UNDERSTOOD(shown(line), advice)


def _read_value(verb: str, operands: str, limits: Limits) -> str:
    """Parse `VERB KEY VALUE`. The value is the rest of the line."""
    end = operands.find(" ")
    if not operands or end == 0:
        raise ProtocolError(f"the key is missing: {verb} KEY VALUE, with one space before the key")
    if end < 0:
        raise ProtocolError(f"the value is missing: {verb} KEY VALUE (a space alone: empty value)")
    key = canonical("key", operands[:end], limits.key_bytes)
    return f"{verb} {key} {canonical('value', operands[end + 1 :], limits.value_bytes)}"


def is_canonical_line(message: str, limits: Limits) -> bool:
    """Whether `VERB KEY VALUE` is already canonical, so that `_read_value` would return it
    unchanged, but without a copy of the value. Each character is a byte."""
    begin = message.find(" ") + 1
    end = message.find(" ", begin)
    return (
        0 < end - begin <= limits.key_bytes
        and len(message) - end - 1 <= limits.value_bytes
        and message.isascii()
        and "\\" not in message
        and "\t" not in message
    )


def _read_key(verb: str, operands: str, limits: Limits) -> str:
    """Parse `VERB KEY`."""
    operand = operands.rstrip(" ")
    if not operand or operand[0] == " ":
        raise ProtocolError(f"the key is missing: {verb} KEY, with one space before the key")
    if " " in operand:
        raise ProtocolError(rf"{verb} takes one key; a space inside a key is written \s")
    return f"{verb} {canonical('key', operand, limits.key_bytes)}"


def _read_prefix(verb: str, operands: str, limits: Limits) -> str:
    """Parse `VERB PREFIX`. An empty prefix would mean all keys, so it is refused as a likely
    mistake."""
    operand = operands.rstrip(" ")
    if not operand or operand[0] == " ":
        raise ProtocolError(f"the prefix is missing: {verb} PREFIX. Nothing was done.")
    if " " in operand:
        raise ProtocolError(
            rf"{verb} takes one prefix; a space inside a key is written \s. Nothing was done."
        )
    return f"{verb} {canonical('prefix', operand, limits.key_bytes)}"


def _read_cas(verb: str, operands: str, limits: Limits) -> str:
    key, _, rest = operands.partition(" ")
    old, space, new = rest.partition(" ")
    if not key or not space:
        raise ProtocolError(
            r"cas KEY OLD NEW: the value is set to NEW where it is OLD; a space inside OLD is"
            r" written \s"
        )
    key = canonical("key", key, limits.key_bytes)
    old = escape(unescape(old), key=True)
    return f"{verb} {key} {old} {canonical('value', new, limits.value_bytes)}"


def _read_incr(verb: str, operands: str, limits: Limits) -> str:
    key, space, by = operands.rstrip(" ").partition(" ")
    if not key or " " in by:
        raise ProtocolError(r"incr KEY [BY]: one key and one number; a space inside a key is \s")
    key = canonical("key", key, limits.key_bytes)
    if not space:
        return f"{verb} {key}"
    if not is_whole_number(by):
        raise ProtocolError(f"{shown(by)} is not a {WHOLE_NUMBER}")
    return f"{verb} {key} {by}"


def is_whole_number(text: str) -> bool:
    """Whether a text is a canonical number for `incr`."""
    return _WHOLE_NUMBER.fullmatch(text) is not None and abs(int(text)) <= NUMBER_MAX


def _read_machine(verb: str, operands: str, limits: Limits) -> str:
    """Parse `machine NAME JSON`, a command for a program's own state machine."""
    key, _, text = operands.strip(" ").partition(" ")
    if not key or not text:
        raise ProtocolError("the form is: machine NAME JSON")
    key = canonical("key", key, limits.key_bytes)
    try:
        value = format_json(read_json(unescape(text), DEPTH_MAX))
    except NotJsonError as problem:
        raise ProtocolError(f"{problem}. Nothing was done.") from None
    value = canonical("value", escape(value, key=False), limits.value_bytes)
    return f"{verb} {key} {value}"


def _read_show(verb: str, operands: str, limits: Limits) -> str:
    prefix, after = show_operands(f"{verb} {operands.strip(' ')}".rstrip(" "))
    command = verb
    if prefix:
        command += " " + canonical("prefix", prefix, limits.key_bytes)
    if after:
        command += " after " + canonical("key", after, limits.key_bytes)
    return f"{command}{WITH_INDEX}" if asks_for_index(f" {operands}") else command


def _read_watch(verb: str, operands: str, limits: Limits) -> str:
    options = watch_operands(f"{verb} {operands.strip(' ')}".rstrip(" "))
    prefix = canonical("prefix", options.prefix, limits.key_bytes)
    return format_watch(WatchAsked(prefix, options.after))


def _read_observe(verb: str, operands: str, limits: Limits) -> str:
    command = f"{verb} {operands.strip(' ')}".rstrip(" ")
    observe_operands(command)
    return command


def _read_transfer(verb: str, operands: str, limits: Limits) -> str:
    name = operands.strip(" ")
    if name and not NAME.fullmatch(name):
        raise ProtocolError("transfer takes the name of one server, or none: transfer s3")
    return f"{verb} {name}".rstrip(" ")


def _read_begin(verb: str, operands: str, limits: Limits) -> str:
    word, *names = operands.split() or ["without"]
    is_form = word == "without" and (names or not operands.strip(" "))
    if not is_form or not all(NAME.fullmatch(name) for name in names):
        raise ProtocolError("begin takes the names of members that never ran: begin without s3")
    return " ".join([verb, *operands.split()])


def _read_codes(verb: str, operands: str, limits: Limits) -> str:
    cluster = operands.strip(" ")
    if cluster and not _CLUSTER.fullmatch(cluster):
        raise ProtocolError("codes takes the identity of a cluster, as status shows it, or nothing")
    return f"{verb} {cluster}".rstrip(" ")


def _read_words(verb: str, operands: str, limits: Limits) -> str:
    """Return the words separated by single spaces; member_commands.read_change checks each of
    them."""
    return " ".join([verb, *operands.split()])


def _read_backup(verb: str, operands: str, limits: Limits) -> str:
    """Parse `backup`, which begins a backup, or `backup from BYTE`, which fetches a piece of it."""
    words = operands.split()
    if not words:
        return verb
    if len(words) != 2 or words[0] != "from" or not _OFFSET.fullmatch(words[1]):
        raise ProtocolError("the form is: backup, then backup from BYTE")
    return f"{verb} from {words[1]}"


def _read_bare(verb: str, operands: str, limits: Limits) -> str:
    """Parse a command without operands."""
    if operands.strip(" "):
        raise ProtocolError(f"{verb} takes no operands. Nothing was done.")
    return verb


def _read_help(verb: str, operands: str, limits: Limits) -> str:
    if operands.strip(" ") not in ("", "all"):
        raise ProtocolError("the form is: help, or help all")
    return f"{verb} {operands.strip(' ')}".rstrip(" ")


def canonical(what: str, text: str, limit: int) -> str:
    """Return the canonical form of a key, a prefix or a value.

    Raises:
        ProtocolError: it is malformed or too long.
    """
    if "\\" in text or not is_printable(text):
        if what != "value" and "\t" in text:
            raise ProtocolError(rf"a tab inside a {what} is written \t")
        raw = unescape(text)
        text = escape(raw, what != "value")
    else:
        raw = text
    size = size_of(raw)
    if size > limit:
        raise ProtocolError(_TOO_LONG[what](size, limit))
    return text


def show_operands(command: str) -> tuple[str | None, str | None]:
    """Return (prefix, after) of `show [PREFIX] [after KEY] [with index]`, still escaped, or of
    `lines`, which takes no `with index`.

    `show after` requests the prefix `after`; `show after k` requests the keys after `k`.

    Raises:
        ProtocolError: the words after the verb are malformed.
    """
    verb, *words = command.split(" ")
    form = LINES.form
    if verb == "show":
        form = PAGE.form
        words = command.removesuffix(WITH_INDEX).split(" ")[1:]
    match words:
        case []:
            return None, None
        case [prefix] if prefix:
            return prefix, None
        case ["after", after] if after:
            return None, after
        case [prefix, "after", after] if prefix and after:
            return prefix, after
    raise ProtocolError(rf"{verb} takes {form}; a space inside a key is written \s")


def asks_for_index(command: str) -> bool:
    """Return whether a `show` asks for the last change of each key as well."""
    return command.rstrip(" ").endswith(WITH_INDEX)


def _names_of_page(command: str) -> list[Name]:
    return [Name(Kind.PREFIX, show_operands(command)[0] or "")]


def _names_of_watch(command: str) -> list[Name]:
    return [Name(Kind.PREFIX, watch_operands(command).prefix)]


KEY = Operands("KEY", _read_key, ALL_KEYS, is_public=True)
PREFIX = Operands("PREFIX", _read_prefix, ALL_KEYS, is_public=True)
KEY_VALUE = Operands("KEY VALUE", _read_value, 1)
KEY_OLD_NEW = Operands("KEY OLD NEW", _read_cas, 2)
KEY_BY = Operands("KEY [BY]", _read_incr, ALL_KEYS, is_public=True)
MACHINE = Operands("NAME JSON", _read_machine)
PAGE = Operands(
    "[PREFIX] [after KEY] [with index]", _read_show, ALL_KEYS, is_public=True, names=_names_of_page
)
LINES = Operands("[PREFIX] [after KEY]", _read_show, ALL_KEYS, is_public=True, names=_names_of_page)
WATCHED = Operands(
    "[PREFIX] [after INDEX]", _read_watch, ALL_KEYS, is_public=True, names=_names_of_watch
)
OBSERVED = Operands("[json] [all]", _read_observe, is_public=True)
TO = Operands("[NAME]", _read_transfer, is_public=True)
WITHOUT = Operands("[without NAME ...]", _read_begin, is_public=True)
EXPECTED = Operands("[CLUSTER]", _read_codes, is_public=True)
PIECE = Operands("[from BYTE]", _read_backup, is_public=True)
MORE = Operands("[all]", _read_help, is_public=True)
NONE = Operands("", _read_bare, is_public=True)


def words(form: str) -> Operands:
    """Return operands that are names, hosts and ports, one word each."""
    return Operands(form, _read_words, is_public=True)
