"""The keys that exist when a watch begins, at one entry of the log, and their lines.

Many watches can begin at the same time: clients return after a node was away, or a snapshot
replaced the state under all of them. Watches that arrive during a scan of the pairs share the next
scan.
"""

from __future__ import annotations

import errno
import io
import os
import tempfile
import threading
import weakref
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from typing import IO

from ...common.process.wakeup import PauseFunction, give_way
from ...logmanager import LogManager
from ...state.key_index import place_of
from ...state.pairs import StillPairs
from ...state.prefixes import PrefixIndex
from ...state.sessions import entry_number
from ...storage.disk import StateRefused
from ...wire.commands.watch_lines import has
from ...wire.key_stat import value_of
from ...wire.limits import LISTING_BYTES, LISTING_FILES, LISTINGS_BYTES
from ...wire.protocol import real
from ...wire.refusal import NOT_LISTED, NOT_WRITTEN
from ..disk_room import spares

STEP_KEYS = 1000  # scanned between two pauses
STEP_BYTES = 256 << 10  # of lines that are encoded before they are written
SORTED_KEYS = 10_000  # sorted at once
PIECE_BYTES = 64 << 10
FILE_BUFFER_BYTES = 8 << 10  # of each file; the default is 128 KiB from Python 3.14 on
OWN_BYTES = 1 << 10  # counted for the memory of a scan, in addition to its lines


def _with_prefix(keys: list[str], prefix: str) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each run of keys that have a prefix; the keys are in order."""
    raw = real(prefix)
    try:
        first = raw.encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8: such keys may not be adjacent
        is_within = [real(key).startswith(raw) for key in keys]
        for matches, run in groupby(range(len(keys)), is_within.__getitem__):
            places = list(run)
            if matches:
                yield places[0], places[-1] + 1
        return
    begin = bisect_left(keys, first, key=place_of)
    end = bisect_left(keys, True, begin, key=lambda key: not place_of(key).startswith(first))
    if begin < end:
        yield begin, end


class GivenUp(Exception):
    """The lines of a listing are gone: it was read too slowly, and others needed the room."""


class ListingRoom:
    """The memory and the nameless files that the lines of all listings take.

    Each of them counts until the last watch has released it. The thread that then collects it as
    garbage may already hold the lock, so it only leaves a note.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0
        self._released: deque[list[int]] = deque()
        # In the order of their last reads.
        self._files: weakref.WeakKeyDictionary[IO[bytes], None] = weakref.WeakKeyDictionary()

    def _counted(self) -> int:
        """Return the memory in use; with the lock held."""
        while self._released:
            self._bytes -= self._released.popleft()[0]
        return self._bytes

    def memory(self, counted: list[int]) -> IO[bytes]:
        """Return a buffer in memory; `counted` holds the bytes that `grow` counts for it."""
        place = io.BytesIO()
        weakref.finalize(place, self._released.append, counted).atexit = False
        return place

    def grow(self, counted: list[int], size: int) -> bool:
        """Count `size` more bytes for a buffer; return whether there is room for them."""
        with self._lock:
            if counted[0] + size > LISTING_BYTES or self._counted() + size > LISTINGS_BYTES:
                return False
            counted[0] += size
            self._bytes += size
            return True

    def file(self, folder: str) -> IO[bytes]:
        """Return a file. If there are too many, close the least recently read one.

        Raises:
            OSError: the file can't be created.
        """
        while len(self._files) >= LISTING_FILES:
            self.give_up_one()
        place = tempfile.TemporaryFile(buffering=FILE_BUFFER_BYTES, dir=folder)  # noqa: SIM115
        self.touch(place)
        return place

    def touch(self, place: IO[bytes]) -> None:
        """Note that a file is being read."""
        with self._lock:
            self._files.pop(place, None)
            self._files[place] = None

    def give_up_one(self, besides: IO[bytes] | None = None) -> bool:
        """Close the least recently read file, except `besides`; return whether there was one."""
        with self._lock:
            oldest = next((each for each in list(self._files) if each is not besides), None)
            if oldest is None:
                return False
            del self._files[oldest]
        oldest.close()  # waits for a read that is under way
        return True


class Lines:
    """The lines of all listings of one scan, which one thread writes before others read them."""

    def __init__(self, room: ListingRoom, folder: str) -> None:
        self.size = 0
        self.failure = ""
        self._room = room
        self._folder = folder
        self._lock = threading.Lock()
        self._counted = [0]
        self._place = room.memory(self._counted)
        self._is_file = False

    def write(self, data: bytes) -> None:
        """Add lines. After a disk error, all listings of this scan fail."""
        try:
            if not self._is_file and not self._room.grow(
                self._counted, len(data) + OWN_BYTES * (not self._counted[0])
            ):
                self._move()
            if self._is_file:
                self._make_room(len(data))
            self._place.write(data)
            self._place.flush()
        except OSError as failure:
            self.failure = NOT_WRITTEN(self._folder, failure.strerror)
        self.size += len(data)

    def _move(self) -> None:
        """Move the lines from memory to a file."""
        memory, self._place = self._place, self._room.file(self._folder)
        self._is_file = True
        self._make_room(self.size)
        memory.seek(0)
        self._place.write(memory.read())

    def _make_room(self, size: int) -> None:
        """Give up other scans' files until the disk has room for these bytes.

        Raises:
            OSError: the disk has no room.
        """
        while not spares(self._folder, size):
            if not self._room.give_up_one(besides=self._place):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on.

        Raises:
            GivenUp: the lines are gone.
            OSError: the disk can't read them.
        """
        with self._lock:
            try:
                self._place.seek(offset)
                data = self._place.read(size)
            except ValueError:  # the file is closed
                raise GivenUp from None
            if self._is_file:
                self._room.touch(self._place)
            return data


class KeyListing:
    """The lines of the keys with one prefix. Watches that share a scan share the listing, each at
    its own position.

    A reader may be slow: the lines are stored apart from the state, which continues to change. If
    it stops reading, other listings may take the room.
    """

    def __init__(self, lines: Lines) -> None:
        self.number = 0  # of the last entry in this state
        self.count = 0
        self._lines = lines
        self._spans: list[tuple[int, int]] = []  # the parts of the scan's lines

    @property
    def failure(self) -> str:
        """The reason why the listing failed; "" if it did not."""
        return self._lines.failure

    def begin(self, number: int, runs: Iterable[tuple[int, int]], places: Sequence[int]) -> None:
        """Begin with the state after an entry, and with these runs of the scan's keys. `places`
        holds the start of each key's line, and the end of the last."""
        self.number = number
        for first, end in runs:
            self.count += end - first
            self._spans.append((places[first], places[end]))

    def piece(self, offset: int) -> bytes:
        """Return whole lines from this position on; b"" after the last.

        Raises:
            GivenUp, OSError: see `Lines.read`.
        """
        for begin, end in self._spans:
            if offset < end - begin:
                return self._whole(begin + offset, end)
            offset -= end - begin
        return b""

    def _whole(self, begin: int, end: int) -> bytes:
        data = b""
        while begin < end:
            more = self._lines.read(begin, min(PIECE_BYTES, end - begin))
            begin += len(more)
            if last := more.rfind(b"\n") + 1:
                return data + more[:last]
            data += more
        return data


class Lister:
    """Scans the pairs for all watches that wait for their keys."""

    def __init__(self, logmanager: LogManager, pause: PauseFunction = give_way) -> None:
        self._logmanager = logmanager
        self._pause = pause
        self._looking = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: dict[str, KeyListing] = {}
        self._lines: Lines | None = None  # of the waiting listings
        self.room = ListingRoom()

    def take(self, prefixes: Sequence[str]) -> list[KeyListing]:
        """Return the keys with each of these prefixes, at a moment after this call.

        If a scan fails, the caller that ran it gets the exception; the others see it in
        `KeyListing.failure`.
        """
        if not prefixes:
            return []
        with self._lock:
            listings = [self._wanted(prefix) for prefix in prefixes]
        with self._looking:
            with self._lock:
                waiting, self._waiting = self._waiting, {}
                lines, self._lines = self._lines, None
            if lines is not None:  # else the previous scan included these prefixes
                try:
                    self._scan(waiting, lines)
                except StateRefused as refused:
                    lines.failure = refused.refusal
                except BaseException:
                    lines.failure = NOT_LISTED  # for the other callers of this scan
                    raise
        return listings

    def _wanted(self, prefix: str) -> KeyListing:
        listing = self._waiting.get(prefix)
        if listing is None:
            if self._lines is None:
                self._lines = Lines(self.room, self._logmanager.folder_path)
            listing = self._waiting[prefix] = KeyListing(self._lines)
        return listing

    def _scan(self, waiting: dict[str, KeyListing], lines: Lines) -> None:
        """Scan the pairs once, while they do not change.

        One prefix may contain another, so each key and each line is kept only once for all of them.
        """
        index: PrefixIndex[bool] = PrefixIndex()
        for prefix in waiting:
            if index.get(prefix) is None:
                index.put(prefix, True)
        applied, still = self._logmanager.hold()
        try:
            matches: list[str] = []
            for place, key in enumerate(still, start=1):
                if index.matching(key):
                    matches.append(key)
                if place % STEP_KEYS == 0:
                    self._pause()
            keys, number = self._in_order(matches), entry_number(*applied)
            places = self._format(still, keys, number, lines)
            for prefix, listing in waiting.items():
                listing.begin(number, _with_prefix(keys, prefix), places)
        finally:
            self._logmanager.release(still, self._pause)

    def _format(
        self, still: StillPairs, keys: Iterable[str], number: int, lines: Lines
    ) -> Sequence[int]:
        """Write the lines of these keys; return the start of each line, and the end of the last."""
        places, parts, start = array("Q", [0]), list[bytes](), 0
        for key in keys:
            line = has(number, key, value_of(still[key]))
            parts.append(f"{line}\n".encode("utf-8", "replace"))
            places.append(places[-1] + len(parts[-1]))
            if len(parts) >= STEP_KEYS or places[-1] - start >= STEP_BYTES:
                lines.write(b"".join(parts))
                parts, start = [], places[-1]
                self._pause()
        lines.write(b"".join(parts))
        return places

    def _in_order(self, keys: list[str]) -> list[str]:
        """Return the keys in order; sorting a million at once would block every thread."""
        if len(keys) <= SORTED_KEYS:
            return sorted(keys, key=place_of)
        runs = []
        for begin in range(0, len(keys), SORTED_KEYS):
            runs.append(sorted(keys[begin : begin + SORTED_KEYS], key=place_of))
            self._pause()
        return self._merged(runs)

    def _merged(self, runs: list[list[str]]) -> list[str]:
        ordered: list[str] = []
        for key in merge(*runs, key=place_of):
            ordered.append(key)
            if len(ordered) % STEP_KEYS == 0:
                self._pause()
        return ordered
