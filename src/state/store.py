"""The pairs as commands see and change them. Pure.

A Store is a mapping of key to value, so that a command acts on it as on a dict. It holds the number
of the entry being applied. For each key, it keeps the number of its last change and its lease. It
records each change as an event.

The pairs are a dict, or a frozen dict with the changes above it (state/pairs.py). They hold each
value with its facts in one text (wire/key_stat.py).
"""

from __future__ import annotations

from collections.abc import (
    Callable,
    Collection,
    Container,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar, overload
from zlib import crc32

from ..common.process.wakeup import PauseFunction, no_pause
from ..raft.log import Entry
from ..wire.commands.rights import LeaseKeys
from ..wire.commands.watch_lines import MESSAGE, topic_of
from ..wire.key_stat import KeyFacts, facts_of, lease_of, value_of, with_facts
from ..wire.limits import APPLIED_CHARACTERS, APPLIED_EVENTS, LEASE_BYTES
from ..wire.protocol import real
from .accounts import Accounts, size_of
from .key_events import (
    DELETE,
    EXPIRE,
    SET,
    BareEvent,
    EventRun,
    TakenEvents,
)
from .key_index import RUN_KEYS, KeyIndex
from .lease_table import Leases
from .user_table import UserTable

Pairs = MutableMapping[str, str]
LONG_KEYS: Final = 5_000  # more keys take a long time to scan
LISTED_LEAST: Final = 64  # from this many keys on, the list of a lease is kept
# The last removal is known of each group of keys, by the CRC-32 of their form, and not of each
# key. All nodes must make the same decision.
REMOVAL_GROUPS: Final = 256
PAUSE_KEYS: Final = 5000  # removed between two pauses: 1 to 10 ms of work
_Other = TypeVar("_Other")


class PairSizes(NamedTuple):
    """The estimated bytes of pairs: of all, and of each user's."""

    bytes: int
    accounts: Accounts


class SecondaryIndex:
    """An index that follows the keys of a store."""

    def add(self, key: str) -> None:
        """Add a key that was absent."""
        raise NotImplementedError

    def remove(self, key: str, held: Container[str]) -> None:
        """Remove a key that is not in `held` any more."""
        raise NotImplementedError


class Store(MutableMapping[str, str]):
    """The pairs, with the facts of each key.

    Callers hold the lock that guards the pairs.
    """

    def __init__(self, held: Pairs | None = None, *, is_at_floor: bool = True) -> None:
        self.held: Pairs = {} if held is None else held
        self.is_at_floor = is_at_floor  # no identity is applied yet (raft/identity.py)
        self.number = 0  # the number of the entry being applied
        self.term = 0  # its term
        self.user = ""  # the user whose entry it is, "" if it names none
        self.accounts = Accounts()
        self.users = UserTable()
        self.on_users: Callable[[UserTable], object] = _nothing
        self.leases = Leases()
        self.leased: dict[str, set[str]] = {}  # the keys of each lease that has any
        self._listed: dict[str, LeaseKeys] = {}  # requested lists of many keys
        self.removals: dict[int, int] = {}  # by group: the last entry that removed a key of it
        self.pair_bytes = 0  # of the pairs in memory, estimated
        self.to_sum = False  # the last entry asks for a sum of the state after it
        # While a transaction is open: the text before it of each key that it changed, and the last
        # event of each.
        self._before: dict[str, str | None] | None = None
        self._pending_events: dict[str, BareEvent] = {}
        self._started = 0  # of the started leases, those before it
        self._restores = False  # it is being rolled back
        self.reworked = 0  # bytes of values that it has read and rewritten
        self._index: KeyIndex | None = None  # made by the first request for a prefix
        # Of extensions, by name; the first entry that asks makes one. An index depends on the keys
        # alone, so it is no part of the state.
        self.indexes: dict[str, SecondaryIndex] = {}
        self.notes_events = False  # whether events are recorded
        self.notes_messages = False  # whether messages are, since somebody waits for some
        # Called during long work: machine code keeps Python's interpreter to itself until then.
        self.pause: PauseFunction = no_pause
        self._runs: list[EventRun] = []
        self._events: list[BareEvent] = []  # after these
        self._count = self._characters = 0  # of all
        self._lost_up_to = 0
        self._changes_of_users: list[tuple[int, UserTable]] = []

    def replace(
        self,
        held: Pairs,
        leases: Leases,
        leased: dict[str, set[str]],
        number: int,
        sizes: PairSizes | None = None,
        users: UserTable | None = None,
        removals: Mapping[int, int] = MappingProxyType({}),
    ) -> Pairs:
        """Replace the pairs with a snapshot that ends with the entry `number`, and return the old
        pairs. The changes in between are unknown, so their events are lost. `sizes` comes from
        `sizes_of`."""
        old, self.held = self.held, held
        self.pair_bytes, self.accounts = sizes_of(held) if sizes is None else sizes
        self._index, self.indexes = None, {}
        self._listed = {}
        self.leased, self.removals = leased, dict(removals)
        self._put_users(UserTable() if users is None else users, number - 1)
        leases.started, self.leases = self.leases.started, leases
        self.forget_events(number)
        return old

    def change_users(self, users: UserTable) -> None:
        """Put other users in force, also at the door of the node."""
        self._put_users(users, self.number)

    def _put_users(self, users: UserTable, number: int) -> None:
        """Do that after the entry with this number. In a snapshot, users may have changed before
        any of the keys."""
        if self.notes_events and (users or self.users):
            self._changes_of_users.append((number, users))
        self.on_users(users)  # first: whoever reads the users here finds no later ones there
        self.users = users

    # --- as a mapping ----------------------------------------------------------------------------

    def __getitem__(self, key: str) -> str:
        return value_of(self.held[key])

    @overload
    def get(self, key: str, /) -> str | None: ...
    @overload
    def get(self, key: str, /, default: str) -> str: ...
    @overload
    def get(self, key: str, /, default: _Other) -> str | _Other: ...
    def get(self, key: str, /, default: object = None) -> object:
        """Return the value of a key, or `default`. This takes one lookup, where Mapping needs
        three."""
        held = self.held.get(key)
        return default if held is None else value_of(held)

    def __contains__(self, key: object) -> bool:
        return key in self.held

    def __iter__(self) -> Iterator[str]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)

    def __setitem__(self, key: str, value: str) -> None:
        """Set the whole value, which takes the key out of its lease."""
        self.write(key, value)
        if self.notes_events:
            self.note(SET, key, value)

    def __delitem__(self, key: str) -> None:
        self._remove(key, DELETE)

    # --- what a dict can't do --------------------------------------------------------------------

    @property
    def bytes(self) -> int:
        """An estimate of the bytes of keys, values and leases in memory. It is the same on every
        node that has applied the same entries."""
        leases = len(self.leases.granted) + len(self.leased)
        return self.pair_bytes + LEASE_BYTES * leases

    def _put(self, key: str, text: str) -> None:
        """Store a text with facts under a key."""
        before, size = self.held.get(key), size_of(key, text)
        if self._before is not None:
            self._before.setdefault(key, before)
        is_counted = bool(self.user or self.accounts.bytes or self._restores)
        if before is None:
            self.pair_bytes += size
            if self._index is not None:
                self._index.add(key)
                if self._index.count > 2 * len(self.held) + LONG_KEYS:
                    self._index = None  # most of its keys were removed
            if self.indexes:
                for index in self.indexes.values():
                    index.add(key)
        else:
            before_size = size_of(key, before)
            self.pair_bytes += size - before_size
            if is_counted:
                self.accounts.count(before, before_size, -1)
        if is_counted:
            self.accounts.count(text, size)
        self.held[key] = text

    def _drop(self, key: str, before: str | None) -> None:
        """Remove a key that has this text; None if the key is absent."""
        if before is not None:
            size = size_of(key, before)
            self.pair_bytes -= size
            if self.accounts.bytes:
                self.accounts.count(before, size, -1)
            if self._before is None:
                self.removals[_group_of(key)] = self.number
            else:
                self._before.setdefault(key, before)
            del self.held[key]
            if self.indexes:
                for index in self.indexes.values():
                    index.remove(key, self.held)

    def write(self, key: str, value: str) -> None:
        """Set the whole value. The caller records the event with `note_sets`."""
        if self.leased:
            self._unbind(key)
        if self.user:
            self._put(key, with_facts(value, self.number, "", self.user))
        else:
            self._put(key, f"{value}\0{self.number}")

    def amend(self, key: str, value: str) -> None:
        """Change the value. The key stays in its lease."""
        lease = self.lease_of(key)
        self._put(key, with_facts(value, self.number, lease, self.user))
        if self.notes_events:
            self.note(SET, key, value)

    def keep(self, key: str, value: str) -> None:
        """Set the value to an object's text. An equal value is not a change."""
        if self.get(key) != value:
            self.amend(key, value)

    def put_under(self, lease: str, key: str, value: str) -> None:
        """Set the value, and put the key under a lease, or under none ("")."""
        self._bind(key, lease)
        self._put(key, with_facts(value, self.number, lease, self.user))
        if self.notes_events:
            self.note(SET, key, value)

    def put_for(self, user: str, lease: str, key: str, value: str) -> None:
        """Do that, and count the key for this user, even in another's entry."""
        writer, self.user = self.user, user
        self.put_under(lease, key, value)
        self.user = writer

    def move(self, key: str, to: str) -> None:
        """Move the value of a key to another key, with its lease and its user. That is a change by
        this entry."""
        _, lease, user = facts_of(self.held[key])
        self.put_for(user, lease, to, self[key])
        self._remove(key, DELETE)

    def bind(self, key: str, lease: str) -> None:
        """Put an existing key under a lease, or under none (""). Its value stays, so this is not a
        change and makes no event."""
        self._bind(key, lease)
        text = self.held[key]
        changed, _, user = facts_of(text)
        self._put(key, with_facts(value_of(text), changed, lease, user))

    def expire(self, lease: str, kind: str = EXPIRE) -> list[str]:
        """Delete all keys of a lease, in the same order on every node, and return them."""
        keys = in_one_order(self.leased.get(lease, ()))
        self.remove_all(keys, kind)
        return keys

    def remove_all(self, keys: list[str], kind: str) -> None:
        """Remove existing keys. Each removal is an event of this kind."""
        for begin in range(0, len(keys), PAUSE_KEYS):
            if begin:
                self.pause()
            for key in keys[begin : begin + PAUSE_KEYS]:
                self._remove(key, kind)

    def put_text(self, key: str, text: str | None) -> None:
        """Set a key to a text with its facts, or remove it, without recording an event."""
        self._bind(key, "" if text is None else lease_of(text))
        if text is None:
            self._drop(key, self.held.get(key))
            return
        self._put(key, text)

    # --- a transaction ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a transaction. Until `commit` or `roll_back`, no change is an event."""
        self._before = {}
        self.reworked = 0
        self._started = len(self.leases.started or ())

    def commit(self) -> None:
        """End the transaction. Each changed key gets one event, with its new state."""
        changed, self._before = self._before or {}, None
        events, self._pending_events = self._pending_events, {}
        for place, (key, before) in enumerate(changed.items(), start=1):
            if place % PAUSE_KEYS == 0:
                self.pause()
            if key not in self.held:
                if before is None:
                    events.pop(key, None)  # the key is unchanged
                else:
                    self.removals[_group_of(key)] = self.number
        for _, kind, key, value in events.values():
            self.note(kind, key, value)

    def roll_back(self) -> None:
        """End the transaction, and restore all that it changed."""
        self._restores = True
        for place, (key, before) in enumerate((self._before or {}).items(), start=1):
            if place % PAUSE_KEYS == 0:
                self.pause()
            self.put_text(key, before)
        self._before, self._pending_events, self._restores = None, {}, False
        if self.leases.started is not None:
            del self.leases.started[self._started :]

    # --- keys by prefix --------------------------------------------------------------------------

    @property
    def unsorted(self) -> int:
        """The number of keys that the next query for a prefix sorts first. Read without the lock,
        it may be slightly out of date."""
        index = self._index
        return len(self.held) if index is None else len(index.new)

    def keys_under(self, prefix: str) -> list[str]:
        """Return the keys that begin with a prefix, in no order."""
        keys = self._sorted().under(prefix, self.held, self.pause)
        self.pause()
        return list(filter(_fits(prefix), keys))

    def keys_after(self, prefix: str, after: str) -> Iterator[str]:
        """Yield the keys that begin with a prefix and come after a key, or after none (""), in the
        order of their bytes. The store does not change meanwhile."""
        keys = self._sorted().in_order(prefix, after, self.held, self.pause)
        beginning = real(prefix)
        return filter(lambda key: real(key).startswith(beginning), keys)

    def sort_some(self) -> bool:
        """Sort some keys for the next query, which takes a few ms; return whether many remain."""
        index = self._sorted()
        if len(index.new) > RUN_KEYS:
            index.sort_some()
        return len(index.new) > RUN_KEYS

    def has_keys_under(self, prefix: str) -> bool:
        """Return whether a key begins with a prefix."""
        return self._sorted().has_any(prefix, self.held, _fits(prefix), self.pause)

    def _sorted(self) -> KeyIndex:
        if self._index is None:
            self._index = KeyIndex(self.held)
        return self._index

    def facts(self, key: str) -> KeyFacts | None:
        """Return the facts of a key, or None if it is absent."""
        held = self.held.get(key)
        return None if held is None else facts_of(held)

    def last_removal(self, key: str) -> int:
        """Return the number of the last entry that may have removed a key, 0 if there is none: it
        removed a key of the same group."""
        return self.removals.get(_group_of(key), 0)

    def lease_of(self, key: str) -> str:
        """Return the lease of a key, or "" if it has none."""
        return lease_of(self.held.get(key, ""))

    # --- events ----------------------------------------------------------------------------------

    def take_events(self) -> TakenEvents:
        """Return the events since the last call, and drop them."""
        if self._events:
            self._runs.append(EventRun(self._events))
        events = TakenEvents(self._runs, self._lost_up_to, self._changes_of_users)
        self._runs, self._events, self._lost_up_to = [], [], 0
        self._changes_of_users = []
        self._count = self._characters = 0
        return events

    def note(self, kind: str, key: str, value: str) -> None:
        """Record a change by the entry being applied."""
        number = self.number
        if self._before is not None:
            self._pending_events[key] = (number, kind, key, value)
            return
        if number == self._lost_up_to:  # record all events of an entry or none
            return
        self._events.append((number, kind, key, value))
        self._count += 1
        self._characters += len(value)
        if self._characters > APPLIED_CHARACTERS or self._count > APPLIED_EVENTS:
            self.forget_events(number)

    def tell(self, topic: str, message: str) -> None:
        """Record a message of the entry being applied. It changes nothing in the store."""
        if self.notes_messages:
            self.note(MESSAGE, topic_of(topic), message)

    def note_sets(self, numbers: Sequence[int], entries: Sequence[Entry]) -> None:
        """Record the changes by the entries with these numbers, all of which are `set`."""
        if not self.notes_events:
            return
        first, count = numbers[0], len(numbers)
        if numbers[-1] - first != count - 1:  # an epoch begins among them
            for place in range(count):
                self.note_sets(numbers[place : place + 1], entries[place : place + 1])
            return
        if self._events:
            self._runs.append(EventRun(self._events))
            self._events = []
        commands = [entry[2] for entry in entries]
        self._runs.append(EventRun([], first, commands))
        self._count += count
        self._characters += sum(map(len, commands))
        if self._characters > APPLIED_CHARACTERS or self._count > APPLIED_EVENTS:
            self.forget_events(first + count - 1)

    def forget_events(self, number: int) -> None:
        """Drop the events of all entries up to this one."""
        self._runs, self._events, self._lost_up_to = [], [], number
        self._count = self._characters = 0

    # --- its parts -------------------------------------------------------------------------------

    def _remove(self, key: str, kind: str) -> None:
        if self.leased:
            self._unbind(key)
        self._drop(key, self.held[key])
        if self.notes_events:
            self.note(kind, key, "")

    def keys_of(self, lease: str) -> LeaseKeys:
        """Return the keys of a lease. A long list is the same object until a key is added or
        removed."""
        keys = self._listed.get(lease)
        if keys is None:
            keys = LeaseKeys(list(self.leased.get(lease, ())))
            if len(keys) >= LISTED_LEAST:
                self._listed[lease] = keys
        return keys

    def _bind(self, key: str, lease: str) -> None:
        """Put a key under a lease, or under none ("")."""
        if lease and key in self.leased.get(lease, ()):
            return
        self._unbind(key)
        if lease:
            self.leased.setdefault(lease, set()).add(key)
            self._listed.pop(lease, None)

    def _unbind(self, key: str) -> None:
        """Take a key out of its lease, if it has one."""
        held = self.held.get(key)
        lease = "" if held is None else lease_of(held)
        keys = self.leased.get(lease) if lease else None
        if keys is not None:
            keys.discard(key)
            self._listed.pop(lease, None)
            if not keys:
                del self.leased[lease]


def _group_of(key: str) -> int:
    return crc32(key.encode()) % REMOVAL_GROUPS


def _nothing(users: UserTable) -> None:
    pass


def _fits(prefix: str) -> Callable[[str], bool]:
    """Return a test for keys that begin with the form of a prefix. It fails if the prefix ends
    within an escape sequence of the key."""
    if "\\" not in prefix:
        return lambda key: key.startswith(prefix)
    beginning = real(prefix)
    return lambda key: key.startswith(prefix) and real(key).startswith(beginning)


def sizes_of(pairs: Mapping[str, str], pause: PauseFunction = no_pause) -> PairSizes:
    """Return an estimate of the bytes of pairs in memory, as a store makes it."""
    size, accounts = 0, Accounts()
    for place, (key, text) in enumerate(pairs.items(), start=1):
        one = size_of(key, text)
        size += one
        accounts.count(text, one)
        if place % PAUSE_KEYS == 0:
            pause()
    return PairSizes(size, accounts)


def in_one_order(keys: Collection[str]) -> list[str]:
    """Return keys in the order in which every node removes them, since their events show it. Too
    many keys for any node to keep their events are in no order: sorting a million takes half a
    second, during which no other thread runs."""
    return list(keys) if len(keys) > APPLIED_EVENTS else sorted(keys)
