"""The keys that are there when a watch begins, as of one entry, and their lines.

Many watches begin at a time: clients come back after a node was away, or a snapshot replaced the
state under all of them. Those that come while the pairs are looked through share the next look.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from heapq import merge

from raftline.common.wakeup import give_way
from raftline.logmanager import LogManager
from raftline.state.pairs import Breathe, StillPairs, key_bytes
from raftline.state.prefixes import PrefixIndex
from raftline.state.sessions import entry_number
from raftline.storage.disk import HalfApplied
from raftline.wire.keyfacts import value_of
from raftline.wire.protocol import real
from raftline.wire.watches import has

STEP_KEYS = 1000  # looked at in one go
SORTED_KEYS = 10_000  # sorted in one go
MEMORY_BYTES = 1 << 20  # of one listing; a longer one lies in a file without a name
PIECE_BYTES = 64 << 10


def _place(key: str) -> bytes:
    """Return the place of a spelled key in the order, which is that of the keys' bytes."""
    return key_bytes(real(key))


class KeyListing:
    """The lines of the keys with one prefix; watches of one look share it, each at its own place.

    A reader may take its time: the lines lie apart from the state, which goes on changing.
    """

    def __init__(self, folder: str) -> None:
        self.number = 0  # of the entry that this is the state after
        self.count = 0
        self.failure = ""
        self._folder = folder
        self._lock = threading.Lock()
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=folder)  # noqa: SIM115

    def write(self, lines: Sequence[str]) -> None:
        """Add lines of keys."""
        self.count += len(lines)
        try:
            self._file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
        except OSError as failure:
            self.failure = (
                f"the keys of this watch can't be written to {self._folder}: {failure.strerror}. "
                "Nothing was done; try another."
            )

    def piece(self, offset: int) -> bytes:
        """Return whole lines from this place on; b"" after the last."""
        with self._lock:
            self._file.seek(offset)
            data = self._file.read(PIECE_BYTES)
            end = data.rfind(b"\n") + 1
            while data and not end:
                more = self._file.read(PIECE_BYTES)
                data, end = data + more, len(data) + more.rfind(b"\n") + 1 if b"\n" in more else 0
        return data[:end]


class Lister:
    """Looks the pairs through for all who wait for it."""

    def __init__(self, logmanager: LogManager, breathe: Breathe = give_way) -> None:
        self._logmanager = logmanager
        self._breathe = breathe
        self._looking = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: dict[str, KeyListing] = {}

    def take(self, prefixes: Sequence[str]) -> list[KeyListing]:
        """Return the keys with each of these prefixes, as of a moment after this call."""
        if not prefixes:
            return []
        with self._lock:
            found = [self._wanted(prefix) for prefix in prefixes]
        with self._looking:
            with self._lock:
                waiting, self._waiting = self._waiting, {}
            if waiting:  # else the turn before has taken them
                try:
                    self._look(waiting)
                except HalfApplied as failure:
                    for listing in waiting.values():
                        listing.failure = str(failure)
        return found

    def _wanted(self, prefix: str) -> KeyListing:
        listing = self._waiting.get(prefix)
        if listing is None:
            listing = self._waiting[prefix] = KeyListing(self._logmanager.folder_path)
        return listing

    def _look(self, waiting: dict[str, KeyListing]) -> None:
        """Look the pairs through once, while they stand still."""
        index: PrefixIndex[list[str]] = PrefixIndex()
        matching: dict[str, list[str]] = {}
        for prefix in waiting:
            keys = index.get(prefix)
            if keys is None:
                index.put(prefix, keys := [])
            matching[prefix] = keys
        applied, still = self._logmanager.hold()
        try:
            for place, key in enumerate(still, start=1):
                for keys in index.matching(key):
                    keys.append(key)
                if place % STEP_KEYS == 0:
                    self._breathe()
            for prefix, listing in waiting.items():
                listing.number = entry_number(*applied)
                self._spell(still, matching[prefix], listing)
        finally:
            self._logmanager.let_go(still, self._breathe)

    def _spell(self, still: StillPairs, keys: list[str], listing: KeyListing) -> None:
        """Write down the lines, in the order of the keys."""
        lines: list[str] = []
        for place, key in enumerate(self._in_order(keys), start=1):
            lines.append(has(listing.number, key, value_of(still[key])))
            if place % STEP_KEYS == 0:
                listing.write(lines)
                lines.clear()
                self._breathe()
        listing.write(lines)

    def _in_order(self, keys: list[str]) -> Iterator[str]:
        """Return the keys in order; to sort a million at once would stop every thread."""
        if len(keys) <= SORTED_KEYS:
            return iter(sorted(keys, key=_place))
        runs = []
        for begin in range(0, len(keys), SORTED_KEYS):
            runs.append(sorted(keys[begin : begin + SORTED_KEYS], key=_place))
            self._breathe()
        return merge(*runs, key=_place)
