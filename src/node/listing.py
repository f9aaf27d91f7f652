"""The keys that are there when a watch begins, as of one entry, and their lines.

Many watches begin at a time: clients come back after a node was away, or a snapshot replaced the
state under all of them. Those that come while the pairs are looked through share the next look.
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

from ..common.wakeup import Breathe, give_way
from ..logmanager import LogManager
from ..state.pages import key_bytes
from ..state.pairs import StillPairs
from ..state.prefixes import PrefixIndex
from ..state.sessions import entry_number
from ..storage.disk import HalfApplied
from ..wire.keyfacts import value_of
from ..wire.limits import LISTING_BYTES, LISTING_FILES, LISTINGS_BYTES
from ..wire.protocol import real
from ..wire.watches import has
from .disk_room import spares

STEP_KEYS = 1000  # looked at in one go
STEP_BYTES = 256 << 10  # of lines that are spelled before they are written
SORTED_KEYS = 10_000  # sorted in one go
PIECE_BYTES = 64 << 10
OWN_BYTES = 1 << 10  # as which a look counts in memory, besides its lines
NOT_LISTED = (
    "the keys of this watch can't be listed: a look at them failed. Nothing was done; try another."
)


def _place(key: str) -> bytes:
    """Return the place of a spelled key in the order, which is that of the keys' bytes."""
    return key_bytes(real(key))


def _with_prefix(keys: list[str], prefix: str) -> Iterator[tuple[int, int]]:
    """Yield the first and the end of each run of those of the keys, which are in order, that have
    a prefix."""
    raw = real(prefix)
    try:
        first = raw.encode()
    except UnicodeEncodeError:  # with a byte that is no UTF-8: such keys may stand apart
        is_within = [real(key).startswith(raw) for key in keys]
        for found, run in groupby(range(len(keys)), is_within.__getitem__):
            places = list(run)
            if found:
                yield places[0], places[-1] + 1
        return
    begin = bisect_left(keys, first, key=_place)
    end = bisect_left(keys, True, begin, key=lambda key: not _place(key).startswith(first))
    if begin < end:
        yield begin, end


class GivenUp(Exception):
    """The lines of a listing are gone: it was read too slowly, and others needed their room."""


class ListingRoom:
    """The memory and the files without a name that the lines of all listings take.

    Each counts until the last watch has let go of it. Whoever collects it as garbage may hold the
    lock, and so leaves a note alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0
        self._let_go: deque[list[int]] = deque()
        # In the order in which they were read last.
        self._files: weakref.WeakKeyDictionary[IO[bytes], None] = weakref.WeakKeyDictionary()

    def _counted(self) -> int:
        """Return the memory that is taken, with the lock held."""
        while self._let_go:
            self._bytes -= self._let_go.popleft()[0]
        return self._bytes

    def memory(self, counted: list[int]) -> IO[bytes]:
        """Return a place in memory; `counted` has the bytes that `grow` counts for it."""
        place = io.BytesIO()
        weakref.finalize(place, self._let_go.append, counted).atexit = False
        return place

    def grow(self, counted: list[int], size: int) -> bool:
        """Count `size` more bytes of a place in memory; return whether there is room for them."""
        with self._lock:
            if counted[0] + size > LISTING_BYTES or self._counted() + size > LISTINGS_BYTES:
                return False
            counted[0] += size
            self._bytes += size
            return True

    def file(self, folder: str) -> IO[bytes]:
        """Return a file. If there are too many, the one goes that was not read for longest.

        Raises:
            OSError: it can't be made.
        """
        while len(self._files) >= LISTING_FILES:
            self.give_up_one()
        place = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self.touch(place)
        return place

    def touch(self, place: IO[bytes]) -> None:
        """Note that somebody reads a file."""
        with self._lock:
            self._files.pop(place, None)
            self._files[place] = None

    def give_up_one(self, besides: IO[bytes] | None = None) -> bool:
        """Close the file that was not read for longest; return whether there was one."""
        with self._lock:
            oldest = next((each for each in list(self._files) if each is not besides), None)
            if oldest is None:
                return False
            del self._files[oldest]
        oldest.close()  # after a read that is under way
        return True


class Lines:
    """The lines of all listings of one look, which one thread writes before others read them."""

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
        """Add lines. After a failure of the disk no listing of this look is any good."""
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
            self.failure = (
                f"the keys of this watch can't be written to {self._folder}: {failure.strerror}. "
                "Nothing was done; try another."
            )
        self.size += len(data)

    def _move(self) -> None:
        """Go on in a file."""
        written, self._place = self._place, self._room.file(self._folder)
        self._is_file = True
        self._make_room(self.size)
        written.seek(0)
        self._place.write(written.read())

    def _make_room(self, size: int) -> None:
        """Give up others' files until the disk has room for these bytes.

        Raises:
            OSError: it has none.
        """
        while not spares(self._folder, size):
            if not self._room.give_up_one(besides=self._place):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on.

        Raises:
            GivenUp: they are gone.
            OSError: the disk does not give them.
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
    """The lines of the keys with one prefix; watches of one look share it, each at its own place.

    A reader may take its time: the lines lie apart from the state, which goes on changing. If
    it takes none, others may need the room.
    """

    def __init__(self, lines: Lines) -> None:
        self.number = 0  # of the entry that this is the state after
        self.count = 0
        self._lines = lines
        self._spans: list[tuple[int, int]] = []  # of the lines of its look

    @property
    def failure(self) -> str:
        """Why there is no such listing; "" if there is."""
        return self._lines.failure

    def begin(self, number: int, runs: Iterable[tuple[int, int]], places: Sequence[int]) -> None:
        """Begin with the state after an entry, and these runs of the keys of the look. `places`
        has where the line of each key begins, and the end of all."""
        self.number = number
        for first, end in runs:
            self.count += end - first
            self._spans.append((places[first], places[end]))

    def piece(self, offset: int) -> bytes:
        """Return whole lines from this place on; b"" after the last.

        Raises:
            GivenUp, OSError: as of `Lines.read`.
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
    """Looks the pairs through for all who wait for it."""

    def __init__(self, logmanager: LogManager, breathe: Breathe = give_way) -> None:
        self._logmanager = logmanager
        self._breathe = breathe
        self._looking = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: dict[str, KeyListing] = {}
        self._lines: Lines | None = None  # of those that wait
        self.room = ListingRoom()

    def take(self, prefixes: Sequence[str]) -> list[KeyListing]:
        """Return the keys with each of these prefixes, as of a moment after this call. A look
        that fails raises to who took it; the others see `KeyListing.failure`."""
        if not prefixes:
            return []
        with self._lock:
            found = [self._wanted(prefix) for prefix in prefixes]
        with self._looking:
            with self._lock:
                waiting, self._waiting = self._waiting, {}
                lines, self._lines = self._lines, None
            if lines is not None:  # else the turn before has taken them
                try:
                    self._look(waiting, lines)
                except HalfApplied as failure:
                    lines.failure = str(failure)
                except BaseException:
                    lines.failure = NOT_LISTED  # to others whose keys these were to be as well
                    raise
        return found

    def _wanted(self, prefix: str) -> KeyListing:
        listing = self._waiting.get(prefix)
        if listing is None:
            if self._lines is None:
                self._lines = Lines(self.room, self._logmanager.folder_path)
            listing = self._waiting[prefix] = KeyListing(self._lines)
        return listing

    def _look(self, waiting: dict[str, KeyListing], lines: Lines) -> None:
        """Look the pairs through once, while they stand still.

        Prefixes may lie within one another, so no key and no line is kept more than once for all
        of them.
        """
        index: PrefixIndex[bool] = PrefixIndex()
        for prefix in waiting:
            if index.get(prefix) is None:
                index.put(prefix, True)
        applied, still = self._logmanager.hold()
        try:
            found: list[str] = []
            for place, key in enumerate(still, start=1):
                if index.matching(key):
                    found.append(key)
                if place % STEP_KEYS == 0:
                    self._breathe()
            keys, number = self._in_order(found), entry_number(*applied)
            places = self._spell(still, keys, number, lines)
            for prefix, listing in waiting.items():
                listing.begin(number, _with_prefix(keys, prefix), places)
        finally:
            self._logmanager.let_go(still, self._breathe)

    def _spell(
        self, still: StillPairs, keys: Iterable[str], number: int, lines: Lines
    ) -> Sequence[int]:
        """Write down the lines of keys; return where each begins, and the end of all."""
        places, spelled, begun = array("Q", [0]), list[bytes](), 0
        for key in keys:
            line = has(number, key, value_of(still[key]))
            spelled.append(f"{line}\n".encode("utf-8", "replace"))
            places.append(places[-1] + len(spelled[-1]))
            if len(spelled) >= STEP_KEYS or places[-1] - begun >= STEP_BYTES:
                lines.write(b"".join(spelled))
                spelled, begun = [], places[-1]
                self._breathe()
        lines.write(b"".join(spelled))
        return places

    def _in_order(self, keys: list[str]) -> list[str]:
        """Return the keys in order; to sort a million at once would stop every thread."""
        if len(keys) <= SORTED_KEYS:
            return sorted(keys, key=_place)
        runs = []
        for begin in range(0, len(keys), SORTED_KEYS):
            runs.append(sorted(keys[begin : begin + SORTED_KEYS], key=_place))
            self._breathe()
        return self._merged(runs)

    def _merged(self, runs: list[list[str]]) -> list[str]:
        ordered: list[str] = []
        for key in merge(*runs, key=_place):
            ordered.append(key)
            if len(ordered) % STEP_KEYS == 0:
                self._breathe()
        return ordered
