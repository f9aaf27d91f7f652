"""The reply to `show`: one page of the pairs as JSON, and the command for the next page. Pure.

A page shows the pairs at one moment, and holds the first keys after a place. Scanning all keys for
each page would take minutes for a million keys. So the next keys are kept, in order, as a *run*.
Keys of the run that were removed are skipped. New keys are found at the end of the pairs, because a
dict keeps its keys in insertion order. If that would take a long time, all keys are scanned again.

While the pairs are frozen, a removed key keeps its place in the dict until the removal moves down.
If the key is set again before that, it keeps its old place. So a run holds such keys as well.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from ..wire.commands.operands import WITH_INDEX, asks_for_index, show_operands
from ..wire.key_stat import facts_of, value_of
from ..wire.protocol import ProtocolError, real
from .pairs import StillPairs

PAGE_KEYS = 1000
STEP_KEYS = 2000  # keys scanned between two pauses
PAGE_CHARACTERS = 1 << 20  # a page ends after the pair that reaches this size
RUN_KEYS = 20_000  # up to twice as many are sorted at a time
RUN_BYTES = 2 << 20  # bytes of the keys in a run
RUNS_MAX = 2  # runs that are kept, for concurrent listings
_AFTER_ASCII = "\x80"

Order = Callable[[str], bytes]
Listed = tuple[bytes, str]  # the bytes of a key, to sort by, and its spelling
_place: Callable[[Listed], bytes] = itemgetter(0)


class Selection(NamedTuple):
    """The keys that a `show` selects. `prefix` and `after` are escaped, or "" if absent.
    `with_index` asks for the last change of each key as well."""

    prefix: str
    after: str
    error: str = ""
    with_index: bool = False


def read_selection(command: str) -> Selection | None:
    """Return the selection of a `show` command, or None for another command."""
    if command.partition(" ")[0] != "show":
        return None
    try:
        prefix, after = show_operands(command.rstrip(" "))
    except ProtocolError as error:
        return Selection("", "", error.refusal)
    return Selection(prefix or "", after or "", with_index=asks_for_index(command))


def show_page(
    pairs: Mapping[str, str],
    selection: Selection,
    breathe: Callable[[], None],
    runs: KeyRuns | None = None,
) -> str:
    """Return the reply: JSON of unescaped keys and values, in the byte order of the keys. With
    `runs`, a listing of frozen pairs continues without a scan of all keys.

    Bytes that are not UTF-8 are lone surrogates, `\\udcNN` in the JSON. If keys remain, the command
    for the next page follows the JSON.
    """
    if selection.error:
        return selection.error
    after = key_bytes(real(selection.after)) if selection.after else None
    listing = KeyRange(real(selection.prefix), key_bytes, after)
    if runs is not None and isinstance(pairs, StillPairs):
        keys = runs.first_of(pairs, listing, breathe)
    else:
        keys, _ = listing.first(pairs, PAGE_KEYS + 1, breathe)
    page: dict[str, object] = {}
    characters = 0
    last = ""
    for _, key in keys[:PAGE_KEYS]:
        shown, text = real(key), pairs[key]
        value = real(value_of(text))
        page[shown] = [facts_of(text).changed, value] if selection.with_index else value
        characters += len(shown) + len(value)
        last = key
        if characters >= PAGE_CHARACTERS:
            break
    reply = f"SHOW response: {json.dumps(page)}"
    if len(page) < len(keys):
        begin = f"show {selection.prefix} after" if selection.prefix else "show after"
        reply += f" more: {begin} {last}{WITH_INDEX if selection.with_index else ''}"
    return reply


class KeyRange(NamedTuple):
    """The keys with a prefix that come after a place in an order, or all of them if `after` is
    None."""

    prefix: str
    order: Order
    after: bytes | None

    def first(
        self, keys: Iterable[str], count: int, breathe: Callable[[], None]
    ) -> tuple[list[Listed], bool]:
        """Return the first `count` of these keys in order, or fewer if they are long, and whether
        these are all. Little more is in memory at a time. Other threads run in between."""
        rest, first_keys, size = iter(keys), list[Listed](), 0
        end: bytes | None = None  # keys from here on are not needed
        while some := list(islice(rest, STEP_KEYS)):
            new = self.among(some, end)
            first_keys += new
            size += sum([len(place) for place, _ in new])
            is_large = size >= RUN_BYTES * 3 // 2 and len(first_keys) > 2 * PAGE_KEYS
            if len(first_keys) >= 2 * count or is_large:
                size = _cut(first_keys, count)
                end = first_keys[-1][0]
            if len(some) == STEP_KEYS:
                breathe()
        there = len(first_keys)
        _cut(first_keys, count)
        return first_keys, end is None and len(first_keys) == there

    def among(self, keys: Sequence[str], end: bytes | None) -> list[Listed]:
        """Return the given keys that are in this range and come before `end`."""
        prefix, order, after = self
        text = "".join(keys)
        if text.isascii() and "\\" not in text:
            # No key has an escape, so text order is byte order. No Python function is called for
            # each key: most keys of a million are left out.
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
    """The first keys of a listing at one moment. `is_whole` says whether they are all its keys."""

    listing: KeyRange
    keys: list[Listed]
    is_whole: bool
    base: MutableMapping[str, str]  # of the pairs
    size: int  # length of the base at that time
    removed: int  # keys removed from the base by then, or fewer

    def fits(self, pairs: StillPairs, listing: KeyRange) -> bool:
        """Return whether a listing continues from a place in this run."""
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
        """Return the first keys of a listing that fits, one more than a page holds. Return None if
        all keys must be scanned."""
        base = pairs.base
        assert isinstance(base, dict)
        assert listing.after is not None
        newest = max(0, len(base) - self.size + pairs.removed - self.removed)
        if newest + len(pairs.changes) > RUN_KEYS:
            return None
        keys: list[Listed] = []
        begin = bisect_right(self.keys, listing.after, key=_place)
        for each in islice(self.keys, begin, None):
            if each[1] in pairs:
                keys.append(each)
                if len(keys) > PAGE_KEYS:
                    break
        if len(keys) <= PAGE_KEYS and not self.is_whole:
            return None
        # At most as many of the first `size` keys are missing as were removed. So the newer keys
        # are among these.
        newcomers = [*islice(reversed(base), newest), *pairs.changes]
        new_keys, _ = listing.first(
            [key for key in newcomers if key in pairs], PAGE_KEYS + 1, breathe
        )
        return sorted({*keys, *new_keys}, key=_place)[: PAGE_KEYS + 1]


class KeyRuns:
    """The runs of the latest listings. Any thread may call this, and a race may lose a run."""

    def __init__(self) -> None:
        self._runs: list[KeyRun] = []

    def first_of(
        self, pairs: StillPairs, listing: KeyRange, breathe: Callable[[], None]
    ) -> list[Listed]:
        """Return the first keys of a listing, one more than a page holds."""
        for run in self._runs:
            if run.fits(pairs, listing):
                page = run.page(pairs, listing, breathe)
                if page is not None:
                    self._put(run if len(page) > PAGE_KEYS else None, [run], pairs)
                    return page
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
        # Keys that the changes remove leave the base later, but are counted already.
        removed = pairs.removed - len(pairs.changes)
        kept = sorted([*keys, *hidden], key=_place)
        run = KeyRun(listing, kept, is_whole, pairs.base, len(pairs.base), removed)
        self._put(run, [one for one in self._runs if one.fits(pairs, listing)], pairs)

    def _put(self, run: KeyRun | None, instead_of: list[KeyRun], pairs: StillPairs) -> None:
        """Put a run first, as the latest one used. Drop the runs of other pairs, which are useless
        now."""
        others = [
            one
            for one in self._runs
            if one.base is pairs.base and not any(one is each for each in instead_of)
        ]
        self._runs = ([run] if run is not None else []) + others[: RUNS_MAX - 1]


def _cut(keys: list[Listed], count: int) -> int:
    """Sort keys, drop the keys beyond `count` or beyond the bytes of a run, and return the bytes
    left."""
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
    """Return the bytes of a key. A lone surrogate is a byte that is not UTF-8. Other surrogates
    give three bytes; they occur only in a log written by hand."""
    try:
        return shown.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text_bytes(shown)


def text_bytes(shown: str) -> bytes:
    """Return bytes that sort like the characters of a text, including lone surrogates."""
    return shown.encode("utf-8", "surrogatepass")
