"""The events of a watch, each once, even if the watch continues at another node. Pure.

A `WatchCursor` takes the lines of a watch (docs/use/watch.md) and returns events. If a connection
ends, it writes the request that continues the watch: after the last entry that arrived whole,
without those events of the next entry that have already arrived. If the events after that entry are
gone, the node lists the existing keys. The cursor then returns the differences from the known keys
as events, so a loop sees every final state.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic

from raftline.common.public import public
from raftline.wire.commands.watch_lines import WatchAsked, format_watch
from raftline.wire.protocol import ProtocolError, escape, unescape
from raftline.wire.refusal import RequestOutcome
from raftline.wire.replies.refusals import refusal_in

from ..calls.calls import Version, entry_index
from ..calls.kv_errors import EventsGone, NotUnderstood
from ..calls.value_codec import Codec, Data
from ..requests.search import error_of

_BEGINS = re.compile(r"WATCH response: ([0-9]+) keys? as of ([0-9]+)", re.ASCII)
_GOES_ON = re.compile(r"WATCH response: goes on after ([0-9]+)", re.ASCII)
_DIGEST_BYTES = 32


@public("raftline.api")
@dataclass(frozen=True)
class Event(Generic[Data]):
    """A change of one key by one entry of the log.

    `kind` is "has" for a key that exists when the watch begins, then "set", "delete" (by a command)
    or "expire" (its lease ended). `value` is None for the last two.
    """

    index: int
    kind: str
    key: Data
    value: Data | None

    @property
    def is_there(self) -> bool:
        """Whether the key exists after this event."""
        return self.value is not None


@public("raftline.api")
@dataclass(frozen=True)
class KVSnapshot(Generic[Data]):
    """All pairs under a prefix, in the order of their keys, at one entry of the log."""

    index: int
    pairs: dict[Data, Data]
    _indices: dict[Data, int] = field(default_factory=dict, repr=False, compare=False)

    def read(self, key: Data) -> Version[Data]:
        """Return the value of a key in this snapshot and the index of its last change, as `kv.read`
        does; None and 0 if it is absent. For a key that changed while the snapshot was taken, the
        index is that of the snapshot: `cas` and `unchanged` fail with it as well."""
        value = self.pairs.get(key)
        return Version(value, 0 if value is None else self._indices.get(key, self.index))

    def _with_indices(self, read: Iterable[tuple[Data, Version[Data]]]) -> KVSnapshot[Data]:
        """Add the indices of the keys that were read afterwards, and have not changed since."""
        indices = {key: version.index for key, version in read if version.index <= self.index}
        return KVSnapshot(self.index, self.pairs, indices)

    @classmethod
    def _of(cls, index: int | None, events: list[Event[Data]]) -> KVSnapshot[Data]:
        """Return the snapshot with which a watch began. The watch may have started again at another
        node while it listed the keys. Keys that had arrived may then have changed or been deleted,
        and other keys lie between them."""
        assert index is not None, "a watch that has listed its keys has a position"
        pairs: dict[Data, Data] = {}
        for event in events:
            if event.value is None:
                pairs.pop(event.key, None)
            else:
                pairs[event.key] = event.value
        return cls(index, dict(sorted(pairs.items(), key=_place)))


class WatchEnded(Exception):
    """The node has ended this watch; another node may continue it."""


class WatchCursor(Generic[Data]):
    """The position of a watch in the events of a prefix."""

    def __init__(self, codec: Codec[Data], prefix: Data | None, after: int | None) -> None:
        self._codec = codec
        text = "" if prefix is None else codec.text(prefix, "a prefix")
        self.prefix = escape(text, key=True)  # as written on the wire
        self._known_keys: dict[str, tuple[bytes, int]] | None = {} if after is None else None
        self._listing = 0  # its number, which marks its keys in `_known_keys`
        self._left = 0  # keys of the listing still to come
        self._as_of = 0  # the listing is the state after this entry
        self._has_begun = False  # a listing has arrived whole
        # Nothing up to this entry is missing.
        self._whole = None if after is None else entry_index(after)
        self._index = 0  # of the entry after `_whole`, 0: no such entry yet; …
        self._count = 0  # … this many of its events were returned, …
        self._seen = 0  # … and arrived on this connection
        self._is_served = False  # a line of the watch has arrived on this connection

    @property
    def command(self) -> str:
        """The request that begins or resumes the watch on a new connection."""
        self._seen = self._left = 0
        self._is_served = False
        return format_watch(WatchAsked(self.prefix, self._whole))

    @property
    def position(self) -> int | None:
        """The entry after which a new watch would continue; None if it has to begin with the
        keys."""
        return self._whole

    @property
    def is_listed(self) -> bool:
        """Whether all keys have arrived, and since then each change up to the last line."""
        return self._has_begun and not self._left

    @property
    def is_listed_or_follows(self) -> bool:
        """Whether this connection sends only changes from now on."""
        return self._is_served and not self._left and self._whole is not None

    def refused(self, text: str) -> None:
        """Handle the last line of a node. The watch continues, or begins again with the keys.

        Raises:
            NotAllowed, Refused: no node would serve the watch.
        """
        refusal = refusal_in(text)
        if refusal is not None and refusal.code in ("no-login", "not-allowed"):
            raise error_of(refusal)
        if self._is_served or refusal is None or refusal.outcome is RequestOutcome.NO_LEADER:
            return
        if self._known_keys is None or self._whole is None:
            raise error_of(refusal)
        self._whole = None  # this cluster was restored to a time before that entry

    def take(self, text: str) -> list[Event[Data]]:
        """Handle a line, without the node's name; return its events.

        Raises:
            WatchEnded: it is the last line of this node.
            EventsGone: the changes since the index that the program gave are unknown.
        """
        word, _, rest = text.partition(" ")
        if word == "EVENT":
            return self._event(rest)
        if word == "WATCH":
            return self._first(text)
        refusal = refusal_in(text)
        if refusal is None:
            raise NotUnderstood(f"the answer to a watch has an unknown form: {text[:80]}")
        if refusal.code != "events-gone":
            raise WatchEnded(text)
        if self._known_keys is None:
            gone = refusal.sentence.partition("; ")[0]
            raise EventsGone(
                f"{gone}, and the keys at that index are unknown here; watch without after"
            )
        return []  # the listing follows

    def _first(self, text: str) -> list[Event[Data]]:
        self._is_served = True
        if begins := _BEGINS.fullmatch(text):
            self._listing += 1
            self._left = int(begins[1])
            self._whole = None  # a watch can't resume in the middle of the listing
            self._as_of = int(begins[2])
            return [] if self._left else self._listed()
        if not _GOES_ON.fullmatch(text):
            raise NotUnderstood(f"the answer to a watch has an unknown form: {text[:80]}")
        return []

    def _event(self, rest: str) -> list[Event[Data]]:
        number, _, what = rest.partition(" ")
        try:
            index = int(number)
            kind, _, operands = what.partition(" ")
            key, _, value = operands.partition(" ")
            key = unescape(key)
            value = unescape(value)
        except (ValueError, ProtocolError):
            raise NotUnderstood(f"an event has an unknown form: {rest[:80]}") from None
        if not kind:
            self._nothing_until(index)
            return []
        if kind == "has":
            return self._has(key, value)
        if kind not in ("set", "delete", "expire"):
            raise NotUnderstood(f"an event has an unknown kind: {rest[:80]}")
        return self._changed(index, kind, key, value)

    def _changed(self, index: int, kind: str, key: str, value: str) -> list[Event[Data]]:
        if index != self._index:  # events of one entry are adjacent, so the last entry is whole
            self._whole = self._index or self._whole
            self._index, self._count, self._seen = index, 0, 0
        self._seen += 1
        if self._seen <= self._count:  # returned on an earlier connection
            return []
        self._count = self._seen
        if self._known_keys is not None and kind == "set":
            self._known_keys[key] = (_digest(value), self._listing)
        elif self._known_keys is not None:
            self._known_keys.pop(key, None)
        return [self._made(index, kind, key, value if kind == "set" else None)]

    def _nothing_until(self, index: int) -> None:
        """Record that all events up to an entry have arrived. After a change of nodes, that entry
        may precede one that the other node sent in part."""
        self._whole = max(index, self._whole or 0)
        if index >= self._index:
            self._index = self._count = self._seen = 0

    def _has(self, key: str, value: str) -> list[Event[Data]]:
        """Handle an existing key; it is an event if the key or its value is new."""
        self._left -= 1
        keys = self._known_keys if self._known_keys is not None else {}
        previous = keys.get(key)
        keys[key] = (_digest(value), self._listing)
        events = []
        if previous is None or previous[0] != _digest(value):
            kind = "set" if self._has_begun else "has"
            events.append(self._made(self._as_of, kind, key, value))
        return events if self._left else events + self._listed()

    def _listed(self) -> list[Event[Data]]:
        """End a listing: known keys that are not in it were deleted."""
        keys = self._known_keys if self._known_keys is not None else {}
        gone = [key for key, (_, listing) in keys.items() if listing != self._listing]
        for key in gone:
            del keys[key]
        self._has_begun = True
        self._whole, self._index, self._count, self._seen = self._as_of, 0, 0, 0
        return [self._made(self._as_of, "delete", key, None) for key in gone]

    def _made(self, index: int, kind: str, key: str, value: str | None) -> Event[Data]:
        of = self._codec.of
        return Event(index, kind, of(key), None if value is None else of(value))


def _place(pair: tuple[object, object]) -> bytes:
    """Return the sort key of a pair: the bytes of its key."""
    key = pair[0]
    return key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogateescape")


def _digest(value: str) -> bytes:
    """Return a digest of a value, to save the memory of a long value."""
    raw = value.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(raw, digest_size=_DIGEST_BYTES).digest() if len(raw) > 64 else raw
