"""The keys of some commands, as these see and change them. Pure.

A command on keys is a function of a `View` and its words. Each node that applies an entry runs the
same functions on the same keys, so a view has no clock, and counts by nothing that depends on the
version of Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple
from zlib import crc32

from raftline.wire.key_stat import TYPED
from raftline.wire.operands.lease_operands import own_in
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import escape, real, size_of

from .programs import CommandRefused, bounded, checked_key, seconds_text
from .replies import WRONG_TYPE, Value
from .request_ledger import RequestLedger
from .types.elements import COPIED_PART, Body, Items, fitting, memory_of
from .types.typed import STRING, body_of, type_in, typed

_LOOK: Final = 256  # for each look at a value with a type, however short it is
_LIMITS: Final = Limits()


def _nothing() -> None:
    """Do nothing."""


class HeldKey(NamedTuple):
    """A key at one moment: its value, and the lease that it is under, or the time that a command
    has given it. A value with a type is written as in the store, any other one is meant."""

    value: str | None = None
    lease: str = ""
    left_ms: int | None = None  # of a lease of its own, which begins now
    is_written: bool = False  # its value was set or removed, and not its time alone
    type: str = STRING

    @property
    def formatted(self) -> str:
        """The value as the store writes it."""
        value = self.value or ""
        return escape(value, key=False) if self.type == STRING else value


def held_of(value: str, lease: str) -> HeldKey:
    """Return a key with a value that the store writes so."""
    if not value.startswith(TYPED):
        return HeldKey(real(value) if "\\" in value else value, lease)
    return HeldKey(value, lease, type=type_in(value))


class View:
    """The keys of commands, with the changes that these make."""

    def __init__(
        self,
        held: Callable[[str], HeldKey],
        ms_left: Callable[[str], int],
        now_ms: int,
        ledger: RequestLedger,
        seed: Callable[[], str],
    ) -> None:
        """`held` returns a key as it is, `ms_left` the time that a lease has left, and `seed` what
        chance depends on: it differs from that of other commands."""
        self.now_ms = now_ms
        self.limits = _LIMITS
        self._held = held
        self._ms_left = ms_left
        self._ledger = ledger
        self._looked: dict[str, HeldKey] = {}
        self._changed: dict[str, HeldKey] = {}
        self._new: dict[str, HeldKey] = {}  # what the present command has changed
        self._messages: list[tuple[str, str]] = []
        self._seed = seed
        self._seeded = ""
        self._chances = 0
        # For scripts: whether the user may read or write a key, whether the entry has the time that
        # a lease has left, and what long work has to call at times.
        self.may: Callable[[str, bool, bool], bool] | None = None
        self.knows_time: Callable[[str], bool] | None = None
        self.pause: Callable[[], None] = _nothing
        self.in_script = False
        self.lacking: dict[str, None] = {}  # the keys whose times a script lacks

    def _now(self, key: str) -> HeldKey:
        """Return a key as it is now.

        Raises:
            Refused: it is empty or too long.
        """
        now = self._new.get(key) or self._changed.get(key) or self._looked.get(key)
        if now is None:
            if not key or 4 * len(key) > self.limits.key_bytes:
                checked_key(key, self.limits)
            now = self._looked[key] = self._held(key)
        return now

    def get(self, key: str) -> str | None:
        """Return the text of a key, None if it is absent.

        Raises:
            Refused: the key has a value of another type.
        """
        now = self._now(key)
        if now.type != STRING:
            raise CommandRefused(WRONG_TYPE)
        value = now.value
        if value is not None and 4 * len(value) >= COPIED_PART:
            self._ledger.works(memory_of(value) // COPIED_PART)
        return value

    def has(self, key: str) -> bool:
        """Whether a key exists."""
        return self._now(key).value is not None

    def type_of(self, key: str) -> str:
        """Return the type of a key that exists."""
        return self._now(key).type

    def body(self, key: str, kind: str) -> Body:
        """Return the elements of a value of this type, none if the key is absent.

        Raises:
            Refused: the key has a value of another type.
        """
        self._ledger.works(_LOOK)
        now = self._now(key)
        if now.value is None:
            return Body("", self._ledger.works)
        if now.type != kind:
            raise CommandRefused(WRONG_TYPE)
        self._ledger.works(memory_of(now.value) // COPIED_PART)
        return Body(body_of(now.value), self._ledger.works)

    def items(self, key: str, kind: str) -> Items:
        """Return the elements of a value of this type, parted.

        Raises:
            Refused: the key has a value of another type.
        """
        return self.body(key, kind).items()

    def items_of(self, items: list[str]) -> Items:
        """Return elements that a command has made, each look at which counts from here on."""
        return Items(items, self._ledger.works, is_escaped=True)

    def fitting(self, fits: Callable[[str], bool], names: list[str]) -> list[str]:
        """Return the names that fit a pattern."""
        return fitting(fits, names, self._ledger.works)

    def put_body(self, key: str, kind: str, body: Body | Items) -> None:
        """Set the elements of a value, which keeps its lease. Without any it is removed.

        Raises:
            Refused: the value is too long.
        """
        if not body:
            self.delete(key)
            return
        value = typed(kind, body.made())
        now = self._now(key)
        self._write(key, HeldKey(value, now.lease, now.left_ms, True, kind))

    def chance(self, count: int) -> int:
        """Return a number below this one that chance gives, the same at each node."""
        self._seeded = self._seeded or self._seed()
        self._chances += 1
        return crc32(f"{self._seeded} {self._chances}".encode()) % count

    def set(self, key: str, value: str, left_ms: int | None = None) -> None:
        """Set a key, which ends after this time.

        Raises:
            Refused: the value or the time is too long.
        """
        self._now(key)
        self._write(key, HeldKey(value, "", left_ms, is_written=True))

    def amend(self, key: str, value: str) -> None:
        """Set the text of a key, and leave it its lease."""
        now = self._now(key)
        self._write(key, HeldKey(value, now.lease, now.left_ms, True))

    def set_like(self, key: str, like: str) -> None:
        """Set a key to the value of another one, with which it ends. It goes under the same lease,
        unless others may hold that one: then it gets the time that this lease has left."""
        now = self._now(like)
        lease, left_ms = now.lease, now.left_ms
        if lease and own_in(lease) is None:
            lease, left_ms = "", self._ms_left(lease)
        self._now(key)
        self._write(key, HeldKey(now.value, lease, left_ms, is_written=True, type=now.type))

    def _write(self, key: str, new: HeldKey) -> None:
        """Write a key that was looked at."""
        value = new.value or ""
        self._ledger.works(memory_of(value) // (1 if new.type == STRING else COPIED_PART))
        if 4 * len(value) > self.limits.value_bytes:
            bounded("value", value, self.limits.value_bytes)
        if new.left_ms:
            seconds_text(new.left_ms)
        self._new[key] = new

    def publish(self, channel: str, message: str) -> None:
        """Send a message, which is the last thing that a command does.

        Raises:
            Refused: it is too long.
            OverLedgerError: the entry has too many bytes.
        """
        bounded("message", message, self.limits.value_bytes)
        self._ledger.changes(size_of(channel) + size_of(message))
        self._messages.append((channel, message))

    def works(self, size: int) -> None:
        """Count work that this view can't see: the words that a script makes."""
        self._ledger.works(size)

    def delete(self, key: str) -> bool:
        """Remove a key; return whether it existed."""
        existed = self.has(key)
        if existed:
            self._new[key] = HeldKey(is_written=True)
        return existed

    def has_time(self, key: str) -> bool:
        """Whether a key ends by itself."""
        now = self._now(key)
        return bool(now.lease) or now.left_ms is not None

    def left_ms(self, key: str) -> int | None:
        """Return the time that a key has left, None if it stays."""
        now = self._now(key)
        if not now.lease:
            return now.left_ms
        if self.in_script and self.knows_time is not None and not self.knows_time(now.lease):
            self.lacking[key] = None
        return self._ms_left(now.lease)

    def expire(self, key: str, left_ms: int | None) -> None:
        """Set or remove the time of a key that exists; a time that is over removes the key."""
        if left_ms is not None and left_ms <= 0:
            self.delete(key)
            return
        if left_ms:
            seconds_text(left_ms)
        now = self._now(key)
        self._new[key] = HeldKey(now.value, "", left_ms, now.is_written, now.type)

    def attempt(self, decide: Decide, words: list[str]) -> Value:
        """Return the reply to one command. If that is an error, the command changes nothing."""
        self._new = {}
        try:
            value = decide(self, words)
        except CommandRefused as refused:
            self._new = {}
            return refused.failure
        self._changed.update(self._new)
        return value

    @property
    def messages(self) -> Sequence[tuple[str, str]]:
        """The channels and texts of the messages, in their order."""
        return self._messages

    def changes(self) -> Iterable[tuple[str, HeldKey]]:
        """Return the keys that the commands have changed.

        Raises:
            OverLedgerError: they have too many bytes.
        """
        for key, now in self._changed.items():
            if now.is_written:
                self._ledger.changes(size_of(key) + size_of(now.value or ""))
        return self._changed.items()


Decide = Callable[[View, list[str]], Value]
