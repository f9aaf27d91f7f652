"""The reply to `show`: one page of the pairs as JSON, and the command that asks for the next. Pure.

A page is as of one moment, and holds the first keys after a place. To look at all keys for each
page would take minutes of a million. So the next keys are kept, in order, as a *run*. Of these
those count that are still there. Keys that came since are found at the end of the pairs: a dict
keeps the order in which its keys came. If that would take long, all keys are looked at again.

A key whose removal waits above pairs that stand still has its place in these until then. If it is
set again before, it keeps that place. So a run has such keys as well.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from ..raft.levels import BOUNDED
from ..wire.keyfacts import value_of
from ..wire.operands import show_operands
from ..wire.protocol import ProtocolError, real
from .pairs import StillPairs

PAGE_KEYS = 1000
STEP_KEYS = 2000  # keys scanned between two pauses
PAGE_CHARACTERS = 1 << 20  # a page ends after the pair that reaches this, whatever its size
RUN_KEYS = 20_000  # up to twice as many are sorted in one go
RUN_BYTES = 2 << 20  # of the keys of a run
RUNS_MAX = 2  # that are kept, of listings that go on at a time
_AFTER_ASCII = "\x80"

Order = Callable[[str], bytes]
Listed = tuple[bytes, str]  # the bytes of a key for the order, and its spelling
_place: Callable[[Listed], bytes] = itemgetter(0)


class Selection(NamedTuple):
    """The keys that a show selects; `prefix` and `after` in escaped spelling, "" if absent."""

    prefix: str
    after: str
    error: str = ""


def read_selection(command: str) -> Selection | None:
    """Return what a show command selects; None if it is another command."""
    if command.partition(" ")[0] != "show":
        return None
    try:
        prefix, after = show_operands(command.rstrip(" "))
    except ProtocolError as error:
        return Selection("", "", str(error))
    return Selection(prefix or "", after or "")


def show_page(
    pairs: Mapping[str, str],
    selection: Selection,
    breathe: Callable[[], None],
    level: int,
    runs: KeyRuns | None = None,
) -> str:
    """Return the reply: JSON of real keys and values, in the order of the keys' bytes. Below level
    3 the order is that of their text: an older build may send the next page. With `runs` a listing
    of still pairs goes on without a look at all keys.

    Bytes that are not UTF-8 are lone surrogates, `\\udcNN` in the JSON. When keys remain, the
    command for the next page follows the JSON.
    """
    if selection.error:
        return f"Sorry, {selection.error}"
    order = key_bytes if level >= BOUNDED else text_bytes
    after = order(real(selection.after)) if selection.after else None
    listing = KeyRange(real(selection.prefix), order, after)
    if runs is not None and isinstance(pairs, StillPairs):
        wanted = runs.first_of(pairs, listing, breathe)
    else:
        wanted, _ = listing.first(pairs, PAGE_KEYS + 1, breathe)
    page: dict[str, str] = {}
    characters = 0
    last = ""
    for _, key in wanted[:PAGE_KEYS]:
        shown = real(key)
        page[shown] = real(value_of(pairs[key]))
        characters += len(shown) + len(page[shown])
        last = key
        if characters >= PAGE_CHARACTERS:
            break
    reply = f"SHOW response: {json.dumps(page)}"
    if len(page) < len(wanted):
        begin = f"show {selection.prefix} after" if selection.prefix else "show after"
        reply += f" more: {begin} {last}"
    return reply


class KeyRange(NamedTuple):
    """The keys with a prefix that lie after a place in an order, all of them without one."""

    prefix: str
    order: Order
    after: bytes | None

    def first(
        self, keys: Iterable[str], count: int, breathe: Callable[[], None]
    ) -> tuple[list[Listed], bool]:
        """Return the first `count` of these keys in order, or fewer if they are long, and whether
        these are all. Not much more is in memory at a time. Other threads run in between."""
        left, found, size = iter(keys), list[Listed](), 0
        end: bytes | None = None  # what lies there or later is not wanted any more
        while some := list(islice(left, STEP_KEYS)):
            new = self.among(some, end)
            found += new
            size += sum([len(place) for place, _ in new])
            is_large = size >= RUN_BYTES * 3 // 2 and len(found) > 2 * PAGE_KEYS
            if len(found) >= 2 * count or is_large:
                size = _cut(found, count)
                end = found[-1][0]
            if len(some) == STEP_KEYS:
                breathe()
        there = len(found)
        _cut(found, count)
        return found, end is None and len(found) == there

    def among(self, keys: Sequence[str], end: bytes | None) -> list[Listed]:
        """Return those of these keys that are of this range, and lie before `end`."""
        prefix, order, after = self
        text = "".join(keys)
        if text.isascii() and "\\" not in text:
            # Each stands for itself, and is in the order of its bytes. No function of Python is
            # called for a key: most of a million are left out.
            low = "" if after is None else after.decode("latin-1")
            high = _AFTER_ASCII if end is None else end.decode("latin-1")
            own = [key for key in keys if low < key < high and key.startswith(prefix)]
            return [(key.encode(), key) for key in own]
        shown = [(one, key) for one, key in zip(map(real, keys), keys, strict=True)]
        listed = [(order(one), key) for one, key in shown if one.startswith(prefix)]
        return [
            each
            for each in listed
            if (after is None or each[0] > after) and (end is None or each[0] < end)
        ]


class KeyRun(NamedTuple):
    """The first keys of a listing as of one moment; `is_whole` if they are all of them."""

    listing: KeyRange
    keys: list[Listed]
    is_whole: bool
    base: MutableMapping[str, str]  # of the pairs
    size: int  # of the base then
    removed: int  # how many keys had been removed from the base, or fewer

    def fits(self, pairs: StillPairs, listing: KeyRange) -> bool:
        """Whether a listing goes on from a place in it."""
        prefix, order, begin = self.listing
        if pairs.base is not self.base or listing.prefix != prefix or listing.order is not order:
            return False
        after = listing.after
        if after is None or (begin is not None and after < begin):
            return False
        return self.is_whole or after < self.keys[-1][0]

    def page(
        self, pairs: StillPairs, listing: KeyRange, breathe: Callable[[], None]
    ) -> list[Listed] | None:
        """Return the first keys of a listing that fits, for one page and one more; None if all keys
        have to be looked at."""
        base = pairs.base
        assert isinstance(base, dict)
        assert listing.after is not None
        newest = max(0, len(base) - self.size + pairs.removed - self.removed)
        if newest + len(pairs.changes) > RUN_KEYS:
            return None
        found: list[Listed] = []
        begin = bisect_right(self.keys, listing.after, key=_place)
        for each in islice(self.keys, begin, None):
            if each[1] in pairs:
                found.append(each)
                if len(found) > PAGE_KEYS:
                    break
        if len(found) <= PAGE_KEYS and not self.is_whole:
            return None
        # At most as many of the first `size` keys are gone as were removed. So those that came
        # since are among these.
        came = [*islice(reversed(base), newest), *pairs.changes]
        added, _ = listing.first([key for key in came if key in pairs], PAGE_KEYS + 1, breathe)
        return sorted({*found, *added}, key=_place)[: PAGE_KEYS + 1]


class KeyRuns:
    """The runs of the listings that went on last; any thread may ask, and may lose one."""

    def __init__(self) -> None:
        self._runs: list[KeyRun] = []

    def first_of(
        self, pairs: StillPairs, listing: KeyRange, breathe: Callable[[], None]
    ) -> list[Listed]:
        """Return the first keys of a listing, for one page and one more."""
        for run in self._runs:
            if run.fits(pairs, listing):
                found = run.page(pairs, listing, breathe)
                if found is not None:
                    self._put(run if len(found) > PAGE_KEYS else None, [run], pairs)
                    return found
        if listing.after is None:  # most listings end after one page
            return listing.first(pairs, PAGE_KEYS + 1, breathe)[0]
        keys, is_whole = listing.first(pairs, RUN_KEYS, breathe)
        if len(keys) > PAGE_KEYS and len(pairs.changes) <= RUN_KEYS:
            self._keep(pairs, listing, keys, is_whole)
        return keys[: PAGE_KEYS + 1]

    def _keep(
        self, pairs: StillPairs, listing: KeyRange, keys: list[Listed], is_whole: bool
    ) -> None:
        gone = [key for key, text in pairs.changes.items() if text is None]
        hidden = listing.among(gone, None if is_whole else keys[-1][0])
        # What the changes remove goes from the base later on, and was counted before.
        removed = pairs.removed - len(pairs.changes)
        kept = sorted([*keys, *hidden], key=_place)
        run = KeyRun(listing, kept, is_whole, pairs.base, len(pairs.base), removed)
        self._put(run, [one for one in self._runs if one.fits(pairs, listing)], pairs)

    def _put(self, run: KeyRun | None, instead_of: list[KeyRun], pairs: StillPairs) -> None:
        """Have a run first, of the one used last; those of other pairs are of no more use."""
        others = [
            one
            for one in self._runs
            if one.base is pairs.base and not any(one is each for each in instead_of)
        ]
        self._runs = ([run] if run is not None else []) + others[: RUNS_MAX - 1]


def _cut(keys: list[Listed], count: int) -> int:
    """Put keys in order, and drop those beyond a number, or that are too long for a run; return the
    bytes left."""
    keys.sort(key=_place)
    del keys[count:]
    size = sum([len(place) for place, _ in keys])
    if size <= RUN_BYTES:
        return size
    size = 0
    for number, (place, _) in enumerate(keys):
        if size + len(place) > RUN_BYTES and number > PAGE_KEYS:
            del keys[number:]
            break
        size += len(place)
    return size


def key_bytes(shown: str) -> bytes:
    """Return the bytes of a key. A lone surrogate is a byte that is not UTF-8. Other surrogates,
    which only a log written by hand has, give three bytes."""
    try:
        return shown.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text_bytes(shown)


def text_bytes(shown: str) -> bytes:
    """Return bytes that are in the order of the characters of a text, of lone surrogates too."""
    return shown.encode("utf-8", "surrogatepass")
