"""The requests of a typed client: how each is written as one line, and how its reply is read. Pure.

A `Call` is one request and the reader of its reply. Threads and asyncio tasks send the same calls.
No key or value can be mistaken for another word of the line: spaces and control bytes in it are
escaped (`wire/protocol.escape`), and a value comes last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from raftline.common.errors import RaftlineError
from raftline.common.public import public
from raftline.wire.commands.transaction_line import format_word
from raftline.wire.done_reply import NO_SUCH_KEY, NO_SUCH_LEASE, THEN, DoneReply, done_reply
from raftline.wire.operands.lease_operands import (
    NO_LEASE,
    SECONDS_MAX,
    format_seconds,
    lease_in,
    own_in,
)
from raftline.wire.operands.operands import WITH_INDEX
from raftline.wire.protocol import NAME, ProtocolError, escape, is_number, unescape

from ..connections.node_connection import Refused
from ..requests.times import Seconds, seconds_in
from .kv_errors import LeaseLost, NotUnderstood
from .value_codec import TEXT, Codec, Data

Result = TypeVar("Result")
Kind = TypeVar("Kind")
LEAST_LEASE_S = 0.001
TTL_OR_LEASE = "ttl gives the key a lease of its own; give that or lease, not both"


class HasId(Protocol):
    """A lease, as `kv.lease()` returns it."""

    @property
    def id(self) -> str: ...


AnyLease: TypeAlias = HasId | str | None  # a lease or its id


class _NoSuchKey(Exception):
    """The reply means "no such key". A plain KeyError means a reply of an unknown form."""


class Call(Generic[Result]):
    """A request, and the function that reads the text of its reply."""

    __slots__ = ("_leases", "_read", "command")

    def __init__(
        self, command: str, read: Callable[[str], Result], leases: Collection[str] = ()
    ) -> None:
        """`leases` are the leases that a transaction names: if one has ended, the request is
        refused."""
        self.command = command
        self._read = read
        self._leases = leases

    def read(self, text: str) -> Result:
        """Return the result that a reply stands for.

        Raises:
            NotUnderstood: the reply has an unknown form. (A ValueError would mean that nothing was
                sent.)
            LeaseLost, KeyError: see the request.
        """
        try:
            return self._read(text)
        except _NoSuchKey as absent:
            raise KeyError(*absent.args) from None
        except (ValueError, TypeError, LookupError, AttributeError):
            raise NotUnderstood(f"the reply has an unknown form: {text[:80]}") from None

    def failure(self, error: RaftlineError) -> RaftlineError:
        """Return the error of this request: LeaseLost if it was refused because a lease that it
        names has ended."""
        lease = error.facts[-1] if isinstance(error, Refused) and error.code == "lease-over" else ""
        return (
            LeaseLost(f"{lease} has ended, so nothing was done") if lease in self._leases else error
        )


class Ask(NamedTuple):
    """A step of a machine: send a request; the answer is the result that the reply stands for."""

    call: Call[Any]
    limit_s: float | None = None  # None: the client's limit


Steps = Generator[Ask, Any, Kind]


@public("raftline.api")
@dataclass(frozen=True)
class Stat:
    """The metadata of a key."""

    index: int  # of its last change, for `unchanged` in a transaction
    lease: str | None  # None: it has no lease
    bytes: int


if TYPE_CHECKING:

    class Version(NamedTuple, Generic[Data]):
        """The value of a key, and the index of its last change; None and 0 for an absent key."""

        value: Data | None
        index: int  # type: ignore[assignment]

else:  # a NamedTuple can't be generic in Python 3.10

    @public("raftline.api")
    class Version(NamedTuple):
        """The value of a key, and the index of its last change; None and 0 for an absent key."""

        value: Any
        index: int
        __class_getitem__ = classmethod(GenericAlias)


@dataclass(frozen=True)
class Page(Generic[Kind]):
    """Some pairs in the order of their keys, and whether more follow."""

    pairs: list[Kind]
    is_last: bool
    after: str  # the text of the last key


def answered(text: str) -> DoneReply:
    """Return the parts of a reply that is not an error.

    Raises:
        NotUnderstood: the reply has an unknown form.
    """
    parts = done_reply(text)
    if parts is None:
        raise NotUnderstood(f"the reply has an unknown form: {text[:80]}")
    return parts


def lease_ms(ttl: Seconds) -> int:
    """Return the time of a lease in milliseconds. Raises TypeError, ValueError."""
    seconds = seconds_in(ttl, "a lease time")
    if not LEAST_LEASE_S <= seconds <= SECONDS_MAX:  # nan fails this, too
        raise ValueError(
            f"{seconds} is not a valid lease time: {LEAST_LEASE_S} to {SECONDS_MAX} seconds; "
            "nothing was sent"
        )
    return round(1000 * seconds)


def lease_time(ttl: Seconds) -> str:
    """Return the time of a lease as it is written on the wire. Raises TypeError, ValueError."""
    return format_seconds(lease_ms(ttl))


def whole(number: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"a whole number is an int, not {type(number).__name__}")
    return int(number)  # also for an enum, which would be written differently


def entry_index(number: int) -> int:
    """Return the index of an entry. Raises TypeError, ValueError."""
    index = whole(number)
    if not is_number(str(index)):
        raise ValueError(f"{index} is not an entry index: a whole number from 0 up")
    return index


def name_of(what: str, name: str) -> str:
    """Return the name of a node, a user or a role. Raises TypeError, ValueError."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a {what} is a str, not {type(name).__name__}")
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a {what}; nothing was sent")
    return name


def lease_name(lease: str) -> str:
    if lease_in(lease) is None:
        raise ValueError(f"{lease!r} is not a lease: give a lease from kv.lease(), or its id")
    return lease


def raw_text(text: str) -> str:
    """Return a text of a reply without its escapes."""
    try:
        return unescape(text)
    except ProtocolError as problem:
        raise NotUnderstood(f"the reply has a part that can't be read: {problem}") from None


def _none(text: str) -> None:
    answered(text)


def _is_done(text: str) -> bool:
    return not answered(text).word


def _size(text: str) -> int:
    """Read `b has 12 bytes`."""
    return int(answered(text).rest.rsplit(" ", 2)[-2])


def _count(text: str) -> int:
    """Read `2 keys deleted`, also after `lease-57 released, `."""
    return int(answered(text).rest.rpartition(", ")[2].partition(" ")[0])


def read_stat(facts: str) -> Stat:
    """Return the metadata of a key from its JSON."""
    stat = json.loads(facts)
    return Stat(int(stat["index"]), stat["lease"], int(stat["bytes"]))


def read_version(facts: str, codec: Codec[Data]) -> Version[Data]:
    """Return a value and its index from their JSON."""
    version = json.loads(facts)
    return Version(codec.of(version["value"]), int(version["index"]))


def condition_of(version: Version[Any]) -> str:
    """Return the condition that a key has not changed since this version was read."""
    if version.value is None:
        return "absent"
    return f"unchanged since {entry_index(version.index)}"


def condition_on_lease(stat: Stat) -> str:
    """Return the condition that a key has neither changed nor moved to another lease, or lost its
    lease, since this metadata was read. Raises TypeError, ValueError."""
    lease = NO_LEASE if stat.lease is None else stat.lease
    if lease != NO_LEASE and lease_in(lease) is None and own_in(lease) is None:
        raise ValueError(f"{lease!r} is not a lease of a key: give the result of kv.stat()")
    return f"unchanged since {entry_index(stat.index)} under {lease}"


def _read_page(
    text: str, of: Callable[[str], Data], value_of: Callable[[Any], Result]
) -> Page[tuple[Data, Result]]:
    rest = answered(text).rest
    pairs, end = json.JSONDecoder().raw_decode(rest)
    items = [(of(key), value_of(pairs[key])) for key in pairs]
    is_last = end == len(rest)
    if not items and not is_last:
        raise ValueError("an empty page that is not the last: the next can't be asked for")
    return Page(items, is_last, next(reversed(pairs)) if pairs else "")


class CallFactory(Generic[Data]):
    """The requests of a client whose keys and values are of one kind."""

    def __init__(self, codec: Codec[Data]) -> None:
        self.codec = codec

    def _key(self, key: Data) -> str:
        return escape(self.codec.key(key), key=True)

    def _value(self, value: Data) -> str:
        return escape(self.codec.text(value), key=False)

    # --- one key --------------------------------------------------------------------------------

    def get(self, key: Data) -> Call[Data | None]:
        """Read a key; return its value, or None if it is absent."""
        return Call(f"get {self._key(key)}", self._read_value)

    def _read_value(self, text: str) -> Data | None:
        reply = answered(text)
        return None if reply.word else self.codec.of(raw_text(reply.rest))

    def set(
        self, key: Data, value: Data, *, ttl: Seconds | None = None, lease: AnyLease = None
    ) -> Call[None]:
        """Set a key: permanently, for `ttl` seconds, or for as long as a lease lasts.

        Raises:
            LeaseLost: the lease has ended; nothing was done.
        """
        if ttl is None:
            return _under(lease, f"set {self._key(key)} {self._value(value)}", _none)
        if lease is not None:
            raise ValueError(TTL_OR_LEASE)
        seconds = lease_time(ttl)
        return Call(f"setex {self._key(key)} {seconds} {self._value(value)}", _none)

    def setnx(
        self, key: Data, value: Data, *, ttl: Seconds | None = None, lease: AnyLease = None
    ) -> Call[bool]:
        """Set a key if it is absent; return whether it was set."""
        if ttl is not None:
            return self._set_if("absent", key, value, ttl, lease)
        return _under(lease, f"setnx {self._key(key)} {self._value(value)}", _is_done)

    def cas(
        self,
        key: Data,
        old: Data | Version[Data],
        new: Data,
        *,
        ttl: Seconds | None = None,
        lease: AnyLease = None,
    ) -> Call[bool]:
        """Set a key to `new` if its value is `old`, or if it has not changed since `old` was read
        by `read`; return whether it was set."""
        if isinstance(old, Version):
            return self._set_if(condition_of(old), key, new, ttl, lease)
        if ttl is not None:
            return self._set_if(f"= {format_word(self.codec.text(old))}", key, new, ttl, lease)
        expected = escape(self.codec.text(old), key=True)
        return _under(lease, f"cas {self._key(key)} {expected} {self._value(new)}", _is_done)

    def _set_if(
        self, condition: str, key: Data, value: Data, ttl: Seconds | None, lease: AnyLease
    ) -> Call[bool]:
        """Set a key, for `ttl` seconds or under a lease if either is given, if a condition on the
        key holds, in one entry."""
        name, text = format_word(self.codec.key(key)), format_word(self.codec.text(value))
        operation, leases = f"set {name} {text}", []
        if lease is not None:
            if ttl is not None:
                raise ValueError(TTL_OR_LEASE)
            leases = [lease_name(str(lease))]
            operation = f"under {leases[0]} {operation}"
        elif ttl is not None:
            operation = f"setex {name} {lease_time(ttl)} {text}"
        command = f"txn if {name} {condition} then {operation}"
        return Call(command, lambda reply: answered(reply).word == THEN, leases)

    def incr(self, key: Data, by: int = 1, *, lease: AnyLease = None) -> Call[int]:
        """Add to the number in a key, which starts at 0; return the sum."""
        command = f"incr {self._key(key)} {whole(by)}"
        return _under(lease, command, lambda text: int(answered(text).rest))

    def append(self, key: Data, value: Data, *, lease: AnyLease = None) -> Call[int]:
        """Append to the value of a key; return the new length in bytes."""
        return _under(lease, f"append {self._key(key)} {self._value(value)}", _size)

    def delete(self, key: Data) -> Call[bool]:
        """Remove a key; return whether it existed."""
        return Call(f"delete {self._key(key)}", _is_done)

    def stat(self, key: Data) -> Call[Stat | None]:
        """Return the index of a key's last change, its lease and its size in bytes; None if there
        is no such key."""

        def read(text: str) -> Stat | None:
            answer = answered(text)
            return None if answer.word else read_stat(answer.rest)

        return Call(f"stat {self._key(key)}", read)

    def read(self, key: Data) -> Call[Version[Data]]:
        """Return the value of a key and the index of its last change, for `cas` and for
        `unchanged` in a transaction; None and 0 if it is absent."""

        def read(text: str) -> Version[Data]:
            answer = answered(text)
            return Version(None, 0) if answer.word else read_version(answer.rest, self.codec)

        return Call(f"read {self._key(key)}", read)

    def exists(self, key: Data) -> Call[bool]:
        """Return whether a key exists, without its value."""
        return Call(f"stat {self._key(key)}", _is_done)

    def ttl(self, key: Data) -> Call[float | None]:
        """Return the seconds that a key has left, or None if it does not expire. Raises KeyError if
        there is no such key."""

        def read(text: str) -> float | None:
            answer = answered(text)
            if answer.word == NO_SUCH_KEY:
                raise _NoSuchKey(key)
            return None if answer.word else float(answer.rest)

        return Call(f"ttl {self._key(key)}", read)

    def expire(self, key: Data, ttl: Seconds) -> Call[bool]:
        """Expire a key after `ttl` seconds; return whether the key exists."""
        return Call(f"expire {self._key(key)} {lease_time(ttl)}", _is_done)

    def persist(self, key: Data) -> Call[bool]:
        """Take a key out of its lease, so that it stays; return whether it was under a lease."""
        return Call(f"persist {self._key(key)}", _is_done)

    def pop(self, key: Data) -> Call[Data | None]:
        """Remove a key and return its value, in one step; None if it is absent."""
        word = format_word(self.codec.key(key))

        def read(text: str) -> Data | None:
            value = json.loads(answered(text).rest)[0]
            return None if value is None else self.codec.of(value)

        return Call(f"txn get {word} ; delete {word}", read)

    def popped_item(self, prefix: Data | None) -> Generator[Call[Any], Any, tuple[Data, Data]]:
        """Remove one key, and return it with its value. This is a generator: it yields calls, and
        is sent their results. If another client has removed the key meanwhile, it tries the next.

        Raises:
            KeyError: there is no key.
        """
        while True:
            page = yield self.page(prefix)
            if not page.pairs:
                raise KeyError("there is no key" if prefix is None else f"no key under {prefix!r}")
            for key, _ in page.pairs:
                value = yield self.pop(key)
                if value is not None:
                    return key, value

    # --- many keys ------------------------------------------------------------------------------

    def page(self, prefix: Data | None = None, after: str = "") -> Call[Page[tuple[Data, Data]]]:
        """Return at most a thousand pairs, after the key whose text is `after`."""
        of = self.codec.of
        return Call(self._show(prefix, after), lambda text: _read_page(text, of, of))

    def versions_page(
        self, prefix: Data | None = None, after: str = ""
    ) -> Call[Page[tuple[Data, Version[Data]]]]:
        """Return at most a thousand keys with their versions; see `page`."""
        of = self.codec.of

        def version(pair: list[Any]) -> Version[Data]:
            return Version(of(pair[1]), int(pair[0]))

        command = f"{self._show(prefix, after)}{WITH_INDEX}"
        return Call(command, lambda text: _read_page(text, of, version))

    def _show(self, prefix: Data | None, after: str) -> str:
        command = "show"
        if prefix:
            command += f" {escape(self.codec.text(prefix, 'a prefix'), key=True)}"
        if after:
            command += f" after {escape(after, key=True)}"
        return command

    def clear(self, prefix: Data) -> Call[int]:
        """Delete all keys under a prefix, in one entry; return their number."""
        text = self.codec.key(prefix, "a prefix")
        return Call(f"clear {escape(text, key=True)}", _count)

    # --- leases ---------------------------------------------------------------------------------

    def grant(self, ttl: Seconds) -> Call[str]:
        return Call(f"lease {lease_time(ttl)}", lambda text: answered(text).rest.partition(" ")[0])

    def renew(self, lease: str) -> Call[bool]:
        return Call(f"renew {lease_name(lease)}", _is_done)

    def release(self, lease: str) -> Call[int | None]:
        """End a lease; return how many keys were deleted with it, or None if it had ended
        before."""
        command = f"release {lease_name(lease)}"
        return Call(command, lambda text: None if answered(text).word else _count(text))


def _under(lease: AnyLease, command: str, read: Callable[[str], Result]) -> Call[Result]:
    """Return a call, under a lease if one is given."""
    if lease is None:
        return Call(command, read)
    name = lease_name(str(lease))

    def read_under(text: str) -> Result:
        if answered(text).word == NO_SUCH_LEASE:
            raise LeaseLost(f"{name} has ended, so nothing was written under it")
        return read(text)

    return Call(f"under {name} {command}", read_under)


CALLS = CallFactory(TEXT)  # with str names and values, even if the program's keys are bytes
